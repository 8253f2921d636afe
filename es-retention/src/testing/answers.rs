//! Answers on indices, templates and the cluster.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Answer, FakeIndex, World, error};
use crate::cluster::transport::{Method, Request};

const STATE_INDEX: &str = "sabre-es-retention";

fn missing(name: &str) -> Answer {
    error(
        404,
        "index_not_found_exception",
        &format!("no such index [{name}]"),
    )
}

impl World {
    pub(super) fn answer_rest(
        &mut self,
        request: &Request,
        path: &[&str],
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Answer {
        use Method::{Delete, Get, Post, Put};
        let known: &[&str] = match (request.method, path) {
            (Get, ["_cat", ..]) => &["format", "bytes", "h", "expand_wildcards"],
            (Get, ["_cluster", "settings"]) => &["include_defaults", "flat_settings"],
            (Get, [_]) => &["expand_wildcards"],
            (Get, [_, "_stats", _]) => &["level"],
            _ => &[],
        };
        self.check_query(request, query, known);
        let all = query
            .get("expand_wildcards")
            .is_some_and(|states| states == "all");
        if all && self.version() < (7, 7) {
            self.sin(format!("expand_wildcards=all before 7.7: {request}"));
        }
        match (request.method, path) {
            (Get, []) => (200, self.main_page()),
            (Get, ["_cat", "indices", pattern]) => (200, self.cat_indices(pattern)),
            (Get, ["_cat", "allocation"]) => {
                (200, json!([{"node": "a", "disk.percent": "12"}, {"node": null}]))
            }
            (Get, ["_cluster", "health"]) => (200, self.health()),
            (Get, ["_cluster", "health", name]) => match self.indices.contains_key(*name) {
                true => (200, self.health()),
                false => (408, json!({"status": "red", "timed_out": true})),
            },
            (Get, ["_cluster", "settings"]) => (
                200,
                json!({"persistent": {}, "transient": {}, "defaults": {"cluster.max_shards_per_node": "1000"}}),
            ),
            (Get, ["_alias", alias]) => self.alias(alias),
            (Get, ["_data_stream", name]) => self.data_stream(name),
            (Get, ["_template"]) => (200, self.legacy_templates()),
            (Post, ["_index_template", "_simulate_index", _]) => self.simulate(),
            (Put, [STATE_INDEX, kind, id]) => self.put_record(kind, id, body),
            (Get, [STATE_INDEX, _, id]) => match self.records.get(*id) {
                Some(record) => (200, json!({"_id": id, "found": true, "_source": record})),
                None if self.indices.contains_key(STATE_INDEX) => (404, json!({"_id": id, "found": false})),
                None => missing(STATE_INDEX),
            },
            (Delete, [STATE_INDEX, _, id]) => match self.records.remove(*id) {
                Some(_) => (200, json!({"result": "deleted"})),
                None => (404, json!({"result": "not_found"})),
            },
            (Get, [expression]) => self.get_index(expression),
            (Post, [name, "_refresh"]) if self.indices.get(*name).is_some_and(|index| index.red) => {
                self.sin(format!(
                    "{name} is refreshed without primaries, which takes a minute"
                ));
                error(503, "unavailable_shards_exception", "primary shard is not active")
            }
            (Post, [name, "_refresh"]) => match self.indices.get_mut(*name) {
                Some(index) => {
                    index.refresh();
                    (
                        200,
                        json!({"_shards": {"total": 1, "successful": 1, "failed": 0}}),
                    )
                }
                None => missing(name),
            },
            (Get, [name, "_stats", "docs"]) => self.stats(name),
            (Get, [name, "_count"]) => match self.indices.get(*name) {
                Some(index) => {
                    let count: usize = index.shards.iter().map(|shard| shard.docs.len()).sum();
                    (200, json!({"count": count}))
                }
                None => missing(name),
            },
            (Put, [name, "_block", "write"]) if self.version() >= (7, 9) => self.block(name, true),
            (Put, [name, "_settings"]) => {
                let block = body
                    .get("index.blocks.write")
                    .expect("only this setting is changed");
                self.block(name, block == &Value::Bool(true))
            }
            (Put, [name]) => self.create(name, body),
            (Delete, [name]) => self.delete(name),
            _ => {
                self.sin(format!("nobody knows {request}"));
                error(405, "unknown", "no handler found")
            }
        }
    }

    fn main_page(&self) -> Value {
        let mut version = json!({"number": self.number, "build_type": "tar"});
        if let Some(distribution) = self.distribution {
            version["distribution"] = distribution.into();
        }
        json!({"name": "a", "cluster_name": "fake", "version": version, "tagline": "x"})
    }

    fn matching<'a>(&'a self, expression: &'a str) -> impl Iterator<Item = (&'a String, &'a FakeIndex)> {
        self.indices
            .iter()
            .filter(move |(name, _)| match expression.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => *name == expression,
            })
    }

    fn cat_indices(&self, pattern: &str) -> Value {
        let rows = self.matching(pattern).map(|(name, index)| {
            let docs: usize = index.shards.iter().map(|shard| shard.docs.len()).sum();
            if index.closed {
                return json!({"index": name, "status": "close", "health": null, "docs.count": null, "store.size": null});
            }
            json!({"index": name, "status": "open", "health": "green", "docs.count": docs.to_string(), "store.size": "1000"})
        });
        Value::Array(rows.collect())
    }

    fn health(&self) -> Value {
        let shards: usize = self.indices.values().map(|index| index.shards.len() * 2).sum();
        json!({"status": "green", "number_of_data_nodes": 3, "active_shards": shards, "initializing_shards": 0, "unassigned_shards": 0})
    }

    fn get_index(&mut self, expression: &str) -> Answer {
        if expression.starts_with('_') {
            return error(400, "invalid_index_name_exception", "must not start with '_'");
        }
        let found: Map<String, Value> = self
            .matching(expression)
            .map(|(name, index)| (name.clone(), describe(name, index)))
            .collect();
        if found.is_empty() && !expression.ends_with('*') {
            return missing(expression);
        }
        (200, Value::Object(found))
    }

    fn alias(&self, alias: &str) -> Answer {
        let found: Map<String, Value> = self
            .indices
            .iter()
            .filter(|(_, index)| index.aliases.contains_key(alias))
            .map(|(name, _)| (name.clone(), json!({"aliases": {alias: {}}})))
            .collect();
        match found.is_empty() {
            true => (
                404,
                json!({"error": format!("alias [{alias}] missing"), "status": 404}),
            ),
            false => (200, Value::Object(found)),
        }
    }

    fn data_stream(&self, stream: &str) -> Answer {
        let backing: Vec<Value> = self
            .indices
            .iter()
            .filter(|(_, index)| index.data_stream.as_deref() == Some(stream))
            .map(|(name, _)| json!({"index_name": name, "index_uuid": "x"}))
            .collect();
        (
            200,
            json!({"data_streams": [{"name": stream, "indices": backing, "generation": 1}]}),
        )
    }

    fn legacy_templates(&self) -> Value {
        match &self.template {
            Some(settings) if self.version() < (7, 9) => {
                json!({"logs": {"order": 0, "index_patterns": ["logging-*"], "settings": {"index": settings}}})
            }
            _ => json!({}),
        }
    }

    fn simulate(&mut self) -> Answer {
        if self.version() < (7, 9) {
            return (400, json!({"error": "no handler found for uri", "status": 400}));
        }
        match &self.template {
            Some(settings) => (
                200,
                json!({"template": {"settings": {"index": settings}, "mappings": {}, "aliases": {}}, "overlapping": []}),
            ),
            None => (200, json!({})),
        }
    }

    fn put_record(&mut self, kind: &str, id: &str, body: &Value) -> Answer {
        if self.version() >= (7, 3) {
            self.sin("a record although snapshots have metadata".to_owned());
        }
        let wanted = if self.version() < (7, 0) { "doc" } else { "_doc" };
        if kind != wanted {
            self.sin(format!("type {kind} on {}", self.number));
        }
        self.records.insert(id.to_owned(), body.clone());
        (201, json!({"result": "created"}))
    }

    fn stats(&self, name: &str) -> Answer {
        let Some(index) = self.indices.get(name) else {
            return missing(name);
        };
        if index.closed {
            return error(400, "index_closed_exception", "closed");
        }
        if index.red {
            return (
                200,
                json!({"_shards": {"total": 4, "successful": 0, "failed": 0}, "indices": {}}),
            );
        }
        let shards: Map<String, Value> = index
            .shards
            .iter()
            .enumerate()
            .map(|(number, shard)| {
                let copy = |primary: bool| {
                    json!({"routing": {"primary": primary}, "docs": {"count": shard.docs.len()}, "seq_no": {"max_seq_no": shard.max_seq_no}})
                };
                (number.to_string(), json!([copy(false), copy(true)]))
            })
            .collect();
        let mut stats = json!({"shards": shards});
        if self.version() >= (7, 0) {
            stats["uuid"] = index.uuid.clone().into();
        }
        (
            200,
            json!({"_shards": {"total": 4, "successful": 4, "failed": 0}, "indices": {name: stats}}),
        )
    }

    fn block(&mut self, name: &str, on: bool) -> Answer {
        let Some(index) = self.indices.get_mut(name) else {
            return missing(name);
        };
        if on {
            index.blocks.insert("write");
        } else {
            index.blocks.remove("write");
        }
        (200, json!({"acknowledged": true, "shards_acknowledged": true}))
    }

    fn create(&mut self, name: &str, body: &Value) -> Answer {
        if self.indices.contains_key(name) {
            return error(400, "resource_already_exists_exception", "already exists");
        }
        let settings = &body["settings"]["index"];
        if let (Some(template), true) = (&self.template, name != STATE_INDEX) {
            for setting in template.as_object().unwrap().keys() {
                if settings.get(setting).is_some() {
                    self.sins
                        .push(format!("{setting} is sent over the head of a template"));
                }
            }
        }
        let shards = settings
            .get("number_of_shards")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        self.make_index(name, usize::try_from(shards).unwrap());
        (
            200,
            json!({"acknowledged": true, "shards_acknowledged": true, "index": name}),
        )
    }

    fn delete(&mut self, name: &str) -> Answer {
        if name.contains(['*', ',']) || name == "_all" {
            self.sin(format!("a pattern is deleted: {name}"));
            return error(400, "unknown", "no");
        }
        let Some(index) = self.indices.get(name).cloned() else {
            return missing(name);
        };
        if index.blocks.contains("read_only") {
            return error(
                403,
                "cluster_block_exception",
                "index read-only / allow delete (api)",
            );
        }
        let safe = self.snapshotted(name);
        let lost = index.all_docs().difference(&safe).count();
        if lost > 0 {
            self.sin(format!(
                "{name} is deleted with {lost} documents that are in no SUCCESS snapshot"
            ));
        }
        if index.aliases.values().any(|writes| *writes == Some(true)) {
            self.sin(format!("{name} is deleted, a write index"));
        }
        if self.one_at_a_time() && self.is_running() {
            self.sin(format!(
                "{name} is deleted while a snapshot runs on {}",
                self.number
            ));
        }
        self.indices.remove(name);
        (200, json!({"acknowledged": true}))
    }
}

fn describe(name: &str, index: &FakeIndex) -> Value {
    let aliases: Map<String, Value> = index
        .aliases
        .iter()
        .map(|(alias, writes)| {
            let entry = writes.map_or(json!({}), |writes| json!({"is_write_index": writes}));
            (alias.clone(), entry)
        })
        .collect();
    let blocks: Map<String, Value> = index
        .blocks
        .iter()
        .map(|block| ((*block).to_owned(), json!("true")))
        .collect();
    let mut settings = json!({
        "uuid": index.uuid,
        "creation_date": index.created_ms.to_string(),
        "number_of_shards": index.shards.len().to_string(),
        "number_of_replicas": index.replicas.to_string(),
        "provided_name": name,
    });
    if !blocks.is_empty() {
        settings["blocks"] = Value::Object(blocks);
    }
    let mut described = json!({"aliases": aliases, "mappings": {}, "settings": {"index": settings}});
    if let Some(stream) = &index.data_stream {
        described["data_stream"] = stream.clone().into();
    }
    described
}
