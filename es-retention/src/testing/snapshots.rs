//! Answers on the repository and its snapshots.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Answer, FakeIndex, FakeSnapshot, World, error};
use crate::cluster::transport::{Method, Request};

const REPOSITORY: &str = "repo";

impl World {
    pub(super) fn is_running(&self) -> bool {
        self.foreign_looks > 0
            || self
                .snapshots
                .values()
                .any(|snapshot| snapshot.state == "IN_PROGRESS")
    }

    pub(super) fn answer_snapshots(
        &mut self,
        request: &Request,
        path: &[&str],
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        use Method::{Delete, Get, Post, Put};
        let known: &[&str] = match (request.method, path) {
            (Put, [_, _]) => &["wait_for_completion"],
            (Get, [_, _]) => &["verbose"],
            _ => &[],
        };
        self.check_query(request, query, known);
        if let (Get, ["_status"]) = (request.method, path) {
            return (200, self.running());
        }
        if let (Put, [REPOSITORY]) = (request.method, path) {
            self.repository = Some(body.clone());
            return (200, json!({"acknowledged": true}));
        }
        let repository = path.first().copied().unwrap_or_default();
        let Some(settings) = self.repository.clone().filter(|_| repository == REPOSITORY) else {
            return error(
                404,
                "repository_missing_exception",
                &format!("[{repository}] missing"),
            );
        };
        match (request.method, path.get(1..).unwrap_or_default()) {
            (Get, []) => (200, json!({REPOSITORY: settings})),
            _ if !self.repository_works => error(500, "repository_exception", "cannot read"),
            (Put | Delete, [_]) if settings["settings"]["readonly"] == "true" => error(
                500,
                "repository_exception",
                "[repo] cannot modify a readonly repository",
            ),
            (Post, ["_verify"]) => (200, json!({"nodes": {"n1": {"name": "a"}}})),
            (Get, [names]) => {
                self.get_snapshots(names, query.get("verbose").is_none_or(|text| text != "false"))
            }
            (Get, [names, "_status"]) => {
                let sizes = names.split(',').filter_map(|name| {
                    let snapshot = self.snapshots.get(name)?;
                    Some(json!({"snapshot": name, "repository": REPOSITORY, "state": snapshot.state, "stats": {"total": {"size_in_bytes": 10}}}))
                });
                (200, json!({"snapshots": sizes.collect::<Vec<_>>()}))
            }
            (Put, [name]) => self.begin(name, query, body),
            (Delete, [name]) => self.delete_one(name),
            (Post, [name, "_restore"]) => self.restore(name, body),
            _ => {
                self.sin(format!("nobody knows {request}"));
                error(405, "unknown", "no handler found")
            }
        }
    }

    fn running(&mut self) -> Value {
        let mut running = Vec::new();
        if self.foreign_looks > 0 {
            running.push(json!({"snapshot": "hourly", "repository": "cs-automated", "state": "STARTED"}));
            self.foreign_looks -= 1;
        }
        let names: Vec<String> = self.snapshots.keys().cloned().collect();
        for name in names {
            if self.snapshots[&name].state == "IN_PROGRESS" {
                running.push(json!({"snapshot": name, "repository": REPOSITORY, "state": "STARTED", "shards_stats": {"done": 1, "total": 2}}));
                self.look(&name);
            }
        }
        json!({ "snapshots": running })
    }

    fn look(&mut self, name: &str) {
        let clock_ms = self.clock_ms;
        let snapshot = self.snapshots.get_mut(name).unwrap();
        if snapshot.state == "IN_PROGRESS" {
            if snapshot.looks_left == 0 {
                snapshot.state = snapshot.ending;
                snapshot.end_ms = clock_ms;
            } else {
                snapshot.looks_left -= 1;
            }
        }
    }

    fn get_snapshots(&mut self, names: &str, verbose: bool) -> Answer {
        let mut found = Vec::new();
        for expression in names.split(',') {
            let matching: Vec<String> = match expression.strip_suffix('*') {
                Some(prefix) => self
                    .snapshots
                    .keys()
                    .filter(|name| name.starts_with(prefix))
                    .cloned()
                    .collect(),
                None => match self.snapshots.contains_key(expression) {
                    true => vec![expression.to_owned()],
                    false => {
                        return error(
                            404,
                            "snapshot_missing_exception",
                            &format!("[repo:{expression}] is missing"),
                        );
                    }
                },
            };
            for name in matching {
                if verbose {
                    self.look(&name);
                }
                found.push(describe(&name, &self.snapshots[&name], verbose));
            }
        }
        if found.is_empty() && self.version() < (7, 10) {
            return error(404, "snapshot_missing_exception", "[repo:x] is missing");
        }
        (
            200,
            json!({"snapshots": found, "total": found.len(), "remaining": 0}),
        )
    }

    fn begin(&mut self, name: &str, query: &BTreeMap<String, String>, body: &Value) -> Answer {
        if query
            .get("wait_for_completion")
            .is_none_or(|wait| wait != "false")
        {
            self.sin(format!("{name} is waited for in one call"));
        }
        let index = body["indices"].as_str().unwrap().to_owned();
        if body["include_global_state"] != json!(false) || body["ignore_unavailable"] != json!(true) {
            self.sin(format!("{name} is not taken as it was"));
        }
        let metadata = body.get("metadata").cloned();
        if metadata.is_some() && self.version() < (7, 3) {
            return error(
                400,
                "action_request_validation_exception",
                "unknown parameter [metadata]",
            );
        }
        if metadata
            .as_ref()
            .is_some_and(|metadata| metadata.to_string().len() >= 1024)
        {
            return error(
                400,
                "action_request_validation_exception",
                "metadata must be smaller than 1024 bytes",
            );
        }
        if self.snapshots.contains_key(name) {
            return error(
                400,
                "invalid_snapshot_name_exception",
                "snapshot with the same name already exists",
            );
        }
        if self.one_at_a_time() && self.is_running() {
            return error(
                503,
                "concurrent_snapshot_execution_exception",
                "a snapshot is already running",
            );
        }
        let source = self.indices.get(&index).cloned();
        let ending = self.next_ending.take().unwrap_or("SUCCESS");
        let mut docs = source.as_ref().map(FakeIndex::all_docs).unwrap_or_default();
        match ending {
            "FAILED" => docs.clear(),
            "PARTIAL" => docs.retain(|doc| doc % 2 == 0),
            _ => {}
        }
        let uuid = self.next_uuid();
        let snapshot = FakeSnapshot {
            uuid,
            state: "IN_PROGRESS",
            shards: source.as_ref().map_or(0, |index| index.shards.len() as u64),
            indices: source.map(|_| index).into_iter().collect(),
            docs,
            start_ms: self.clock_ms,
            end_ms: 0,
            metadata,
            looks_left: self.looks_per_snapshot,
            ending,
        };
        self.snapshots.insert(name.to_owned(), snapshot);
        (200, json!({"accepted": true}))
    }

    fn delete_one(&mut self, name: &str) -> Answer {
        let Some(snapshot) = self.snapshots.get(name).cloned() else {
            return error(
                404,
                "snapshot_missing_exception",
                &format!("[repo:{name}] is missing"),
            );
        };
        if name.contains(['*', ',']) {
            self.sin(format!("a pattern is deleted: {name}"));
        }
        if self.one_at_a_time() && self.is_running() {
            return error(
                503,
                "concurrent_snapshot_execution_exception",
                "cannot delete - another snapshot is running",
            );
        }
        if snapshot.state == "IN_PROGRESS" {
            self.sin(format!("{name} is aborted"));
        }
        self.snapshots.remove(name);
        (200, json!({"acknowledged": true}))
    }

    fn restore(&mut self, name: &str, body: &Value) -> Answer {
        let Some(snapshot) = self.snapshots.get(name).cloned() else {
            return error(404, "snapshot_missing_exception", "missing");
        };
        let target = body["rename_replacement"].as_str().unwrap().replace("\\$", "$");
        if self.indices.contains_key(&target) {
            return error(
                500,
                "snapshot_restore_exception",
                "an open index with same name already exists",
            );
        }
        let uuid = self.next_uuid();
        let mut index = FakeIndex::new(uuid, snapshot.start_ms, usize::try_from(snapshot.shards).unwrap());
        for doc in &snapshot.docs {
            let shards = index.shards.len();
            index.shards[usize::try_from(*doc).unwrap() % shards]
                .docs
                .insert(*doc);
        }
        self.indices.insert(target, index);
        (200, json!({"accepted": true}))
    }
}

fn describe(name: &str, snapshot: &FakeSnapshot, verbose: bool) -> Value {
    if !verbose {
        return json!({"snapshot": name, "uuid": snapshot.uuid, "indices": snapshot.indices, "state": snapshot.state});
    }
    let failed = match snapshot.state {
        "FAILED" => snapshot.shards,
        "PARTIAL" => 1,
        _ => 0,
    };
    let failures: Vec<Value> = (0..failed)
        .map(|shard| json!({"index": "x", "shard_id": shard, "reason": "node left"}))
        .collect();
    let mut described = Map::new();
    described.insert("snapshot".to_owned(), name.into());
    let fields = json!({
        "uuid": snapshot.uuid,
        "state": snapshot.state,
        "indices": snapshot.indices,
        "include_global_state": false,
        "start_time_in_millis": snapshot.start_ms,
        "end_time_in_millis": snapshot.end_ms,
        "failures": failures,
        "shards": {"total": snapshot.shards, "failed": failed, "successful": snapshot.shards - failed},
    });
    described.extend(fields.as_object().unwrap().clone());
    if let Some(metadata) = &snapshot.metadata {
        described.insert("metadata".to_owned(), metadata.clone());
    }
    Value::Object(described)
}
