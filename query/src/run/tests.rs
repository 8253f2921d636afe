//! A thousand of each bad thing, through the HTTP server of a whole querier: nothing stays behind.
//!
//! What stays is counted, not timed: bytes of the budget, queries and requests in flight, live tasks. Each test waits
//! until all is given back, however slow the machine is.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt as _, stream};
use sabre_proto::thanos::{AggrChunk, Chunk, Series};
use sabre_runtime::flags::App;
use sabre_testkit::grpc::Served;
use sabre_tsdb::chunk::xor::XorAppender;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::testing::{FakeStore, Step, framed, series};

/// Of each bad thing.
const MANY: usize = 1000;
/// Requests at once, and the places of the gate.
const AT_ONCE: usize = 4;
/// Tasks that come and go by themselves, such as those that ask endpoints who they are.
const COMING_AND_GOING: usize = 16;

/// A querier before fake stores.
struct Querier {
    http: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
    stores: Vec<(Served, Arc<FakeStore>)>,
}

/// What is asked again and again, and what its answers may be.
struct Bad {
    addresses: Vec<String>,
    is_right: fn(u16, &str) -> bool,
}

impl Querier {
    async fn start(stores: Vec<FakeStore>, flags: &[&str]) -> Self {
        let mut served = Vec::new();
        for store in stores {
            served.push(store.serve().await);
        }
        let app = App::new("sabre", "0", "").global(groups::global());
        let app = app.command(crate::flags::command());
        let mut arguments = vec!["sabre".to_owned(), "query".to_owned()];
        arguments.extend(["--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0"].map(str::to_owned));
        arguments.push(format!("--query.max-concurrent={AT_ONCE}"));
        // However busy the machine is, endpoints say who they are in time.
        arguments.push("--endpoint.info-timeout=1m".to_owned());
        arguments.extend(
            served
                .iter()
                .map(|(served, _)| format!("--endpoint={}", served.address)),
        );
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        let parsed = app.parse(&arguments).map_err(|error| error.text).unwrap();
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let (listening, bound) = oneshot::channel();
        let task = tokio::spawn({
            let (registry, stop) = (registry.clone(), stop.clone());
            async move {
                let outcome = run(&parsed.flags, registry, stop, Some(listening)).await;
                outcome.map_err(|error| error.to_string())
            }
        });
        let querier = Self {
            http: bound.await.unwrap().http,
            registry,
            stop,
            task,
            stores: served,
        };
        querier.meet().await;
        querier
    }

    /// Asks until all stores were asked: they have said who they are.
    async fn meet(&self) {
        let client = reqwest::Client::new();
        for (index, (_, store)) in self.stores.iter().enumerate() {
            while store.seen.lock().is_empty() {
                let path = format!("/query?query=x&time=5&timeout=20ms&{}", self.only(index));
                self.get(&client, &path).await;
            }
        }
    }

    /// The parameter that picks a store.
    fn only(&self, index: usize) -> String {
        picked(&self.stores[index].0.address.to_string())
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> (u16, String) {
        let answer = client.get(format!("http://{}/api/v1{path}", self.http)).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Asks so often, some at a time, and takes a look at every answer.
    async fn ask(&self, bad: &Bad, count: usize) {
        let client = &reqwest::Client::new();
        let asked = bad.addresses.iter().cycle().take(count);
        stream::iter(asked)
            .for_each_concurrent(AT_ONCE, |path| async move {
                let (status, body) = self.get(client, path).await;
                assert!((bad.is_right)(status, &body), "{path}: {status} {body}");
            })
            .await;
    }

    /// Does it a few times, then a thousand times, and waits until all is as it was between.
    async fn survives(&self, what: &str, again: impl AsyncFn(usize)) {
        again(2 * AT_ONCE).await;
        self.settles(what, usize::MAX).await;
        let before = tasks();
        again(MANY).await;
        self.settles(what, before + COMING_AND_GOING).await;
    }

    async fn survives_asking(&self, what: &str, bad: Bad) {
        self.survives(what, async |count| self.ask(&bad, count).await)
            .await;
    }

    /// Waits until nothing is held and nothing is under way.
    async fn settles(&self, what: &str, most_tasks: usize) {
        for round in 0.. {
            let held = self.held();
            let tasks = tasks();
            if held.is_empty() && tasks <= most_tasks {
                return;
            }
            assert!(
                round < 30_000,
                "after {what}: {tasks} tasks of {most_tasks}, {held:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Figures that are nothing when nothing is asked.
    fn held(&self) -> Vec<String> {
        const NOTHING: [&str; 4] = [
            "sabre_memory_budget_used_bytes",
            "thanos_query_concurrent_gate_queries_in_flight",
            "prometheus_engine_queries ",
            "http_inflight_requests",
        ];
        let text = self.registry.classic();
        let mut found = [false; NOTHING.len()];
        let mut held = Vec::new();
        for line in text.lines() {
            let Some(index) = NOTHING.iter().position(|name| line.starts_with(name)) else {
                continue;
            };
            found[index] = true;
            if !line.ends_with(" 0") {
                held.push(line.to_owned());
            }
        }
        assert_eq!(found, [true; NOTHING.len()], "in {text}");
        held
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn picked(address: &str) -> String {
    let matcher = format!(r#"{{__address__="{address}"}}"#);
    format!("storeMatch[]={}", encoded(&matcher))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn instant(expression: &str, more: &str) -> String {
    format!("/query?query={}&time=5{more}", encoded(expression))
}

/// A series with one sample at the time 5 s.
fn sample(text: &str) -> Series {
    let mut appender = XorAppender::new();
    appender.append(5000, 1.0).unwrap();
    let chunk = AggrChunk {
        min_time: 5000,
        max_time: 5000,
        raw: Some(Chunk {
            data: appender.finish().into(),
            ..Chunk::default()
        }),
        ..AggrChunk::default()
    };
    Series {
        chunks: vec![chunk],
        ..series(text, &[])
    }
}

fn good() -> FakeStore {
    let texts = [r#"__name__="x",g="1",n="1""#, r#"__name__="x",g="1",n="2""#];
    FakeStore::new(texts.map(|text| Step::Series(sample(text))).into())
}

fn warned(status: u16, body: &str) -> bool {
    status == 200 && body.contains("\"warnings\":[")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_bad_queries_leave_nothing() {
    let querier = Querier::start(vec![good()], &[]).await;
    let deep = "(".repeat(500);
    let unparsable = [
        "1 +", "x{", "sum(", "\"", "x[5m", "x y", "foo(1)", "{}", "rate(x)", &deep,
    ];
    let unparsable = Bad {
        addresses: unparsable.map(|text| instant(text, "")).into(),
        is_right: |status, body| status == 400 && body.contains("bad_data"),
    };
    querier
        .survives_asking("queries that do not parse", unparsable)
        .await;
    let exploding = Bad {
        addresses: vec![
            "/query_range?query=x&start=0&end=11001&step=1".to_owned(),
            "/query_range?query=x&start=0&end=99999999999&step=0.001".to_owned(),
        ],
        is_right: |status, body| status == 400 && body.contains("11,000"),
    };
    querier.survives_asking("queries that explode", exploding).await;
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_queries_that_match_many_to_many_leave_nothing() {
    let querier = Querier::start(vec![good()], &[]).await;
    let many = Bad {
        addresses: vec![instant("x * on(g) x", "")],
        is_right: |status, body| status == 422 && body.contains("many-to-many"),
    };
    querier.survives_asking("many-to-many", many).await;
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_odd_times_leave_nothing() {
    let querier = Querier::start(vec![good()], &[]).await;
    let mut addresses = Vec::new();
    let odd = [
        "",
        "NaN",
        "inf",
        "-inf",
        "1e400",
        "-1",
        "0x10",
        "1_000",
        "9999999999999999999",
        "1e18",
        "-1e18",
        "now",
        "2020-13-01T00:00:00Z",
        "1970-01-01T00:00:00%2B25:00",
        "1970-01-01",
        "%00",
        "%FF",
        "%EF%BC%95",
        "-292273086-05-16T16:47:06Z",
        "292277025-08-18T07:12:54.999999999Z",
    ];
    for odd in odd {
        addresses.push(format!("/query?query=x&time={odd}"));
        addresses.push(format!("/query_range?query=x&start={odd}&end=5&step=1"));
        addresses.push(format!("/query_range?query=x&start=0&end={odd}&step=1"));
        addresses.push(format!("/query_range?query=x&start=0&end=5&step={odd}"));
        addresses.push(format!("/query?query=x&time=5&timeout={odd}"));
        addresses.push(format!("/query?query=x&time=5&lookback_delta={odd}"));
        addresses.push(format!("/query?query=x&time=5&max_source_resolution={odd}"));
        addresses.push(format!("/series?match[]=x&start={odd}&end=5"));
    }
    let odd = Bad {
        addresses,
        is_right: |status, body| [200, 400, 422, 503].contains(&status) && body.starts_with("{\"status\":"),
    };
    querier.survives_asking("odd times", odd).await;
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_to_endpoints_that_are_down_or_slow_leave_nothing() {
    const DOWN: &str = "127.0.0.1:1";
    let down = format!("--endpoint-strict={DOWN}");
    let querier = Querier::start(vec![FakeStore::new(vec![Step::Hang])], &[&down]).await;
    let down = Bad {
        addresses: vec![instant("x", &format!("&{}", picked(DOWN)))],
        is_right: warned,
    };
    querier.survives_asking("an endpoint that is down", down).await;
    let slow = Bad {
        addresses: vec![instant("x", &format!("&timeout=3ms&{}", querier.only(0)))],
        is_right: |status, body| status == 503 && body.contains("timeout"),
    };
    querier.survives_asking("an endpoint that is slow", slow).await;
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wrong_answers_of_endpoints_leave_nothing() {
    let unordered = ["3", "1", "2"].map(|n| Step::Series(sample(&format!(r#"__name__="x",n="{n}""#))));
    let stores = vec![
        FakeStore::new(unordered.into()),
        FakeStore::new(vec![Step::Raw(framed(&[0xff; 64]))]),
    ];
    let querier = Querier::start(stores, &[]).await;
    for (index, what) in [(0, "out of order"), (1, "garbage")] {
        let wrong = Bad {
            addresses: vec![instant("x", &format!("&{}", querier.only(index)))],
            is_right: warned,
        };
        querier.survives_asking(what, wrong).await;
    }
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_endless_answers_leave_nothing() {
    // Wide series use the memory of a query up after a few, and the least that a query may have is soon used up.
    let wide = "w".repeat(128 << 10);
    let endless = sample(&format!(r#"__name__="x",wide="{wide}""#));
    let endless = FakeStore::new(vec![Step::Endless(endless, true)]);
    let querier = Querier::start(vec![endless], &["--sabre.query-memory=2MiB"]).await;
    let bad = Bad {
        addresses: vec![instant(r#"{wide!=""}"#, "")],
        is_right: |status, body| status == 422 && body.contains("memory for samples"),
    };
    querier.survives_asking("endless answers", bad).await;
    querier.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_go_leave_nothing() {
    let querier = Querier::start(vec![FakeStore::new(vec![Step::Hang])], &[]).await;
    let connect = async |path: &str| {
        let mut connection = TcpStream::connect(querier.http).await.unwrap();
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nhost: q\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        connection
    };
    let store = &querier.stores[0].1;
    let waiting = async |count: usize| {
        for _ in 0..count.div_ceil(AT_ONCE) {
            let before = store.seen.lock().len();
            // All places of the gate are taken at once, so none of those before is still taken.
            let connections = stream::iter(0..AT_ONCE).then(|_| connect("/query?query=x&time=5"));
            let connections: Vec<_> = connections.collect().await;
            while store.seen.lock().len() < before + AT_ONCE {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(connections);
        }
    };
    querier
        .survives("clients that go before the answer", waiting)
        .await;

    let read = AtomicUsize::new(0);
    let reading = async |count: usize| {
        stream::iter(0..count)
            .for_each_concurrent(AT_ONCE, |_| async {
                let path = "/query_range?query=vector(1)&start=0&end=10000&step=1";
                let mut connection = connect(path).await;
                let mut first = [0; 64];
                connection.read_exact(&mut first).await.unwrap();
                assert!(first.starts_with(b"HTTP/1.1 200 OK"));
                read.fetch_add(1, Ordering::Relaxed);
            })
            .await;
    };
    querier
        .survives("clients that go within the answer", reading)
        .await;
    assert!(read.load(Ordering::Relaxed) >= MANY);
    querier.end().await;
}
