//! A cluster in memory, for tests: strict about what it is asked, and it keeps count of every document.
//!
//! It answers in the shapes of the engines' documentation, has the snapshot semantics of both lines (nothing else while one
//! runs, up to 7.10; side by side later), counts only refreshed documents, and takes note of each thing that must never
//! happen: see [`World::sins`].

mod answers;
mod documents;
mod faults;
pub(crate) mod lab;
pub(crate) mod script;
mod snapshots;

pub(crate) use documents::DocId;
pub(crate) use faults::{Fault, RepositoryTrouble};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::civil::Date;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use sabre_testkit::s3::{Answer as HttpAnswer, Recorded, ScriptedServer};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cluster::transport::{Method, Request, Response, Transport, TransportError};

/// The cluster. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct FakeCluster {
    world: Arc<Mutex<World>>,
    /// Told when a request was reached at which the process is killed.
    pub(crate) killed: Arc<Notify>,
    /// Cancelled at [`World::stop_at`].
    pub(crate) stop: CancellationToken,
}

/// All that the cluster and its repository hold.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) distribution: Option<&'static str>,
    pub(crate) number: &'static str,
    pub(crate) indices: BTreeMap<String, FakeIndex>,
    pub(crate) snapshots: BTreeMap<String, FakeSnapshot>,
    pub(crate) repository: Option<Value>,
    pub(crate) repository_works: bool,
    pub(crate) records: BTreeMap<String, Value>,
    /// Template for all indices: its settings, if it is there.
    pub(crate) template: Option<Value>,
    /// How often snapshots are looked at before they end.
    pub(crate) looks_per_snapshot: u32,
    /// How the next snapshot ends, when not well.
    pub(crate) next_ending: Option<&'static str>,
    /// How many more looks a snapshot of somebody else runs.
    pub(crate) foreign_looks: u32,
    pub(crate) clock_ms: i64,
    /// What must never happen and did.
    pub(crate) sins: Vec<String>,
    /// Requests so far.
    pub(crate) calls: usize,
    /// What goes wrong at which request.
    pub(crate) fault: Option<(usize, Fault)>,
    /// The request during which the process is told to stop.
    pub(crate) stop_at: Option<usize>,
    /// The request before which something happens to the repository.
    pub(crate) trouble_at: Option<(usize, RepositoryTrouble)>,
    /// A document that is written right before which request, into which index.
    pub(crate) write_at: Option<(usize, String, DocId)>,
    /// Whether that document was taken.
    pub(crate) written: bool,
    /// How often others get their turn before each request.
    pub(crate) turns: Vec<u8>,
    /// Method and path of all requests.
    pub(crate) log: Vec<String>,
    serial: u64,
}

/// An index.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeIndex {
    pub(crate) uuid: String,
    pub(crate) created_ms: i64,
    pub(crate) shards: Vec<FakeShard>,
    pub(crate) closed: bool,
    /// No node may hold its shards.
    pub(crate) red: bool,
    pub(crate) aliases: BTreeMap<String, Option<bool>>,
    pub(crate) data_stream: Option<String>,
    pub(crate) blocks: BTreeSet<&'static str>,
    pub(crate) replicas: u64,
}

/// A primary shard.
#[derive(Debug, Clone)]
pub(crate) struct FakeShard {
    pub(crate) docs: BTreeSet<DocId>,
    /// Not counted until the next refresh.
    pub(crate) fresh: BTreeSet<DocId>,
    pub(crate) max_seq_no: i64,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub(crate) struct FakeSnapshot {
    pub(crate) uuid: String,
    pub(crate) state: &'static str,
    pub(crate) indices: Vec<String>,
    pub(crate) docs: BTreeSet<DocId>,
    pub(crate) shards: u64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) metadata: Option<Value>,
    pub(crate) looks_left: u32,
    pub(crate) ending: &'static str,
}

/// Status and body.
type Answer = (u16, Value);

impl FakeCluster {
    /// A cluster without anything, with a repository `repo`.
    pub(crate) fn new(distribution: Option<&'static str>, number: &'static str) -> Self {
        let world = World {
            distribution,
            number,
            indices: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            repository: Some(json!({"type": "fs", "settings": {"location": "x"}})),
            repository_works: true,
            records: BTreeMap::new(),
            template: None,
            looks_per_snapshot: 2,
            next_ending: None,
            foreign_looks: 0,
            clock_ms: 1_700_000_000_000,
            sins: Vec::new(),
            calls: 0,
            fault: None,
            stop_at: None,
            trouble_at: None,
            write_at: None,
            written: false,
            turns: Vec::new(),
            log: Vec::new(),
            serial: 0,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            killed: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
        }
    }

    /// A server on loopback that is this cluster.
    pub(crate) async fn serve(&self) -> ScriptedServer {
        let world = Arc::clone(&self.world);
        ScriptedServer::start_with(move |recorded| {
            let request = request_of(recorded);
            let mut world = world.lock();
            world.log.push(request.to_string());
            let (status, body) = world.answer(&request);
            HttpAnswer::new(status).body(body.to_string())
        })
        .await
        .unwrap()
    }

    /// Another cluster in the same state.
    pub(crate) fn copy(&self) -> Self {
        Self {
            world: Arc::new(Mutex::new(self.with(|world| world.clone()))),
            killed: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
        }
    }

    /// Looks into it, or changes it from outside.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock())
    }
}

#[async_trait::async_trait]
impl Transport for FakeCluster {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let turns = self.with(|world| world.turns.pop().unwrap_or_default());
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let (fault, answer) = self.with(|world| {
            let call = world.calls;
            world.calls += 1;
            if let Some((_, index, doc)) = world.write_at.take_if(|(at, ..)| *at == call) {
                world.written = world.write(&index, doc);
            }
            world.log.push(request.to_string());
            if world.stop_at == Some(call) {
                self.stop.cancel();
            }
            if let Some((_, trouble)) = world.trouble_at.take_if(|(at, _)| *at == call) {
                trouble.happen(world);
            }
            let fault = world.fault.filter(|(at, _)| *at == call).map(|(_, fault)| fault);
            let answer = match fault {
                Some(fault) if !fault.has_effect() => None,
                _ => Some(world.answer(&request)),
            };
            (fault, answer)
        });
        match (fault, answer) {
            (Some(fault), _) => fault.strike(&request, &self.killed).await,
            (None, Some((status, body))) => Ok(Response {
                status,
                body: Bytes::from(body.to_string()),
                retry_after: None,
            }),
            (None, None) => unreachable!("only faults have no answer"),
        }
    }
}

impl World {
    pub(crate) fn sin(&mut self, what: String) {
        self.sins.push(what);
    }

    pub(crate) fn next_uuid(&mut self) -> String {
        self.serial += 1;
        format!("uuid-{:018}", self.serial)
    }

    /// Whether nothing may be deleted or begun while a snapshot runs.
    pub(crate) fn one_at_a_time(&self) -> bool {
        let mut numbers = self.number.split('.').map(|part| part.parse::<u32>().unwrap());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        self.distribution.is_none() && version <= (7, 10)
    }

    pub(crate) fn version(&self) -> (u32, u32) {
        if self.distribution.is_some() {
            return (7, 10);
        }
        let mut numbers = self.number.split('.').map(|part| part.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    fn answer(&mut self, request: &Request) -> Answer {
        self.clock_ms += 10;
        let path: Vec<String> = request
            .path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8().unwrap().into_owned())
            .collect();
        let path: Vec<&str> = path
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let query: BTreeMap<String, String> = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| {
                let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
                (decode(name), decode(value))
            })
            .collect();
        let body: Value = request
            .body
            .as_ref()
            .map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        if request.method == Method::Post && !query.is_empty() {
            self.sin(format!(
                "a query at a POST, which Amazon's service ignores: {request}"
            ));
        }
        if path.first() == Some(&"_snapshot") {
            self.answer_snapshots(request, path.get(1..).unwrap_or_default(), &query, &body)
        } else {
            self.answer_rest(request, &path, &query, &body)
        }
    }

    /// Every parameter must be one that the engine knows here.
    pub(crate) fn check_query(
        &mut self,
        request: &Request,
        query: &BTreeMap<String, String>,
        known: &[&str],
    ) {
        for name in query.keys() {
            if !known.contains(&name.as_str()) && name != "filter_path" {
                self.sin(format!("unknown parameter {name}: {request}"));
            }
        }
    }

    /// The documents of this index in SUCCESS snapshots of the repository.
    pub(crate) fn snapshotted(&self, index: &str) -> BTreeSet<DocId> {
        self.snapshots
            .values()
            .filter(|snapshot| {
                snapshot.state == "SUCCESS" && snapshot.indices.iter().any(|name| name == index)
            })
            .flat_map(|snapshot| snapshot.docs.iter().copied())
            .collect()
    }

    /// Every document of an index of `from` or later must be in the cluster or in a SUCCESS snapshot.
    pub(crate) fn missing(
        &self,
        ever: &BTreeMap<Date, BTreeSet<DocId>>,
        from: Date,
        name: impl Fn(Date) -> String,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        for (day, docs) in ever.range(from..) {
            let index = name(*day);
            let mut there = self.snapshotted(&index);
            if let Some(alive) = self.indices.get(&index) {
                there.extend(alive.all_docs());
            }
            let lost = docs.difference(&there).count();
            if lost > 0 {
                missing.push(format!("{lost} documents of {index} are nowhere"));
            }
        }
        missing
    }
}

/// A request as it came over the wire.
fn request_of(recorded: &Recorded) -> Request {
    let method = match recorded.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        other => panic!("method {other}"),
    };
    let (path, query) = recorded.target.split_once('?').unwrap_or((&recorded.target, ""));
    let mut request = Request::new(method, &[], Duration::ZERO);
    request.path = path.to_owned();
    request.query = query.to_owned();
    request.body = Some(recorded.body.clone()).filter(|body| !body.is_empty());
    request
}

/// An error in the engine's shape.
pub(crate) fn error(status: u16, kind: &str, reason: &str) -> Answer {
    let cause = json!({"type": kind, "reason": reason});
    let body = json!({"error": {"root_cause": [cause], "type": kind, "reason": reason}, "status": status});
    (status, body)
}
