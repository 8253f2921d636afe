//! A real node, and what a test asks of it directly.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    job::{ACCESS_KEY, SECRET_KEY},
    process::{Process, answers_ok, free_address},
};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests");

/// Ids of documents, each of which tells its day and its number.
pub(crate) type Ids = BTreeSet<String>;

/// One running node.
pub(crate) struct Cluster {
    process: Process,
    pub(crate) address: String,
    client: reqwest::Client,
}

/// A snapshot as the repository lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) state: String,
    pub(crate) indices: Vec<String>,
    pub(crate) failed_shards: u64,
}

/// `tests/scripts/verify_signatures.py` before the cluster.
pub(crate) struct Signatures {
    process: Process,
    pub(crate) address: String,
}

impl Cluster {
    pub(crate) async fn start(
        dir: &Path,
        builds: &str,
        engine: &str,
        settings: &[String],
    ) -> Result<Cluster> {
        let address = free_address()?;
        let port = address.rsplit(':').next().context("a port")?.to_owned();
        let mut arguments = vec![
            format!("{builds}/{engine}"),
            dir.join("node").display().to_string(),
            port,
        ];
        arguments.extend_from_slice(settings);
        let mut process = Process::start(dir, engine, &format!("{SCRIPTS}/servers/start.sh"), &arguments)?;
        process
            .wait_until("ready", || answers_ok(&address, "/_cluster/health"))
            .await?;
        let cluster = Cluster {
            process,
            address,
            client: reqwest::Client::builder().no_proxy().build()?,
        };
        // Small indices, so that forty days take minutes.
        let template = json!({
            "index_patterns": ["logs-*", "restored-*", "check-*"],
            "template": {"settings": {"number_of_shards": 2, "number_of_replicas": 0}},
        });
        cluster
            .ok("PUT", "/_index_template/small", Some(&template))
            .await?;
        Ok(cluster)
    }

    /// The process of the node.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Status and answer of a call.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self
            .client
            .request(method, format!("http://{}{path}", self.address));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value))
    }

    /// The answer of a call that has to succeed.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, value) = self.call(method, path, body).await?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {value}");
        Ok(value)
    }

    /// Writes documents and makes them visible.
    pub(crate) async fn write(&self, index: &str, ids: &[String]) -> Result<()> {
        let mut lines = String::new();
        for id in ids {
            lines.push_str(&format!("{}\n", json!({"index": {"_id": id}})));
            lines.push_str(&format!(
                "{}\n",
                json!({"message": format!("the message of {id}")})
            ));
        }
        let answer = self
            .client
            .post(format!("http://{}/{index}/_bulk?refresh=true", self.address))
            .header("content-type", "application/x-ndjson")
            .body(lines)
            .send()
            .await?;
        let value: Value = serde_json::from_str(&answer.text().await?)?;
        ensure!(value["errors"] == false, "bulk to {index}: {value}");
        Ok(())
    }

    /// The ids in an index; `None` if there is no such index.
    pub(crate) async fn ids(&self, index: &str) -> Result<Option<Ids>> {
        let (status, _) = self.call("POST", &format!("/{index}/_refresh"), None).await?;
        if status == 404 {
            return Ok(None);
        }
        let path = format!("/{index}/_search?size=10000&_source=false&allow_partial_search_results=false");
        let found = self.ok("GET", &path, None).await?;
        let hits = found["hits"]["hits"].as_array().context("hits")?;
        Ok(Some(
            hits.iter()
                .filter_map(|hit| hit["_id"].as_str().map(str::to_owned))
                .collect(),
        ))
    }

    /// All indices that match, with their states (`open`, `close`).
    pub(crate) async fn indices(&self, pattern: &str) -> Result<BTreeMap<String, String>> {
        let path = format!("/_cat/indices/{pattern}?format=json&h=index,status&expand_wildcards=open,closed");
        let found = self.ok("GET", &path, None).await?;
        let rows = found.as_array().context("rows")?;
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        Ok(rows
            .iter()
            .map(|row| (text(row, "index"), text(row, "status")))
            .collect())
    }

    /// All snapshots of a repository.
    pub(crate) async fn snapshots(&self, repository: &str) -> Result<Vec<Listed>> {
        let found = self
            .ok("GET", &format!("/_snapshot/{repository}/_all"), None)
            .await?;
        let rows = found["snapshots"].as_array().context("snapshots")?;
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let mut all = Vec::new();
        for row in rows {
            let indices = row["indices"].as_array().context("indices")?;
            all.push(Listed {
                name: text(row, "snapshot"),
                uuid: text(row, "uuid"),
                state: text(row, "state"),
                indices: indices
                    .iter()
                    .filter_map(|index| index.as_str().map(str::to_owned))
                    .collect(),
                failed_shards: row["shards"]["failed"].as_u64().context("failed shards")?,
            });
        }
        Ok(all)
    }

    /// Restores one index of a snapshot under another name, reads it, and takes it away again.
    pub(crate) async fn restored_ids(&self, repository: &str, snapshot: &str, index: &str) -> Result<Ids> {
        let body = json!({
            "indices": index, "include_global_state": false, "include_aliases": false,
            "rename_pattern": "(.+)", "rename_replacement": "check-$1",
        });
        let path = format!("/_snapshot/{repository}/{snapshot}/_restore?wait_for_completion=true");
        let done = self.ok("POST", &path, Some(&body)).await?;
        ensure!(
            done["snapshot"]["shards"]["failed"] == 0,
            "restore of {snapshot}: {done}"
        );
        let target = format!("check-{index}");
        let ids = self.ids(&target).await?.context("a restored index")?;
        self.ok("DELETE", &format!("/{target}"), None).await?;
        Ok(ids)
    }
}

impl Signatures {
    /// `None`, said aloud, where there is no Python that has botocore.
    pub(crate) async fn start(dir: &Path, port: &str) -> Result<Option<Signatures>> {
        let Ok(python) = std::env::var("SABRE_TEST_BOTOCORE_PYTHON") else {
            eprintln!(
                "SKIPPED: SABRE_TEST_BOTOCORE_PYTHON is not set, requests of the forty days are not signed"
            );
            return Ok(None);
        };
        let script = format!("{SCRIPTS}/scripts/verify_signatures.py");
        let address = free_address()?;
        let arguments = [
            script,
            format!("--access-key={ACCESS_KEY}"),
            format!("--secret-key={SECRET_KEY}"),
            format!("--listen={address}"),
            format!("--forward=127.0.0.1:{port}"),
        ];
        let mut process = Process::start(dir, "signatures", &python, &arguments)?;
        process
            .wait_until("ready", || answers_ok(&address, "/__report"))
            .await?;
        Ok(Some(Signatures { process, address }))
    }

    /// The process of the verifier.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Says how many signatures botocore got too.
    ///
    /// # Errors
    /// One that it did not get.
    pub(crate) async fn finish(self) -> Result<()> {
        let text = reqwest::get(format!("http://{}/__report", self.address))
            .await?
            .text()
            .await?;
        let report: Value = serde_json::from_str(&text)?;
        ensure!(
            report["refused"] == 0 && report["verified"].as_u64() > Some(400),
            "signatures: {report:#}"
        );
        println!(
            "botocore recomputed {} signatures over the bytes that came, {} of them different: {}",
            report["verified"], report["signatures"], report["methods"]
        );
        self.process.kill();
        Ok(())
    }
}

/// VersityGW over a folder, signatures checked, with one bucket.
pub(crate) async fn start_s3(dir: &Path, binary: &str, bucket: &str) -> Result<(Process, String)> {
    let address = free_address()?;
    let root = dir.join("s3");
    std::fs::create_dir_all(root.join(bucket))?;
    let mut arguments: Vec<String> = [
        "--access",
        "AKTEST",
        "--secret",
        "SKTEST",
        "--region",
        "us-east-1",
        "--port",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend([address.clone(), "--quiet".to_owned(), "posix".to_owned()]);
    arguments.push(root.display().to_string());
    let mut process = Process::start(dir, "versitygw", binary, &arguments)?;
    process
        .wait_until("listening", || async {
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await?;
    Ok((process, address))
}
