//! The blocks as JSON, over HTTP, of a store that was started by its flags.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step fails the test"
)]

use std::{path::Path, time::Duration};

use sabre_objstore::{Bucket, config::from_yaml};
use sabre_runtime::{
    flags::{App, groups},
    metrics::Registry,
};
use sabre_testkit::blocks::BlockBuilder;
use sabre_tsdb::meta::{BlockMeta, DeletionMark};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Starts a store on free ports; it runs until the guard is dropped.
async fn start(data_dir: &Path, objstore: &str, more: &[&str]) -> (String, DropGuard) {
    let app = App::new("sabre", "test", "")
        .global(groups::global())
        .command(sabre_store::flags::command());
    let (data_dir, objstore) = (
        format!("--data-dir={}", data_dir.display()),
        format!("--objstore.config={objstore}"),
    );
    let ports = ["--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0"];
    let arguments = [["sabre", "store", &data_dir, &objstore].as_slice(), &ports, more].concat();
    let flags = app.parse(arguments).map_err(|error| error.text).unwrap().flags;
    let (stop, (sender, listening)) = (CancellationToken::new(), oneshot::channel());
    let its_stop = stop.clone();
    tokio::spawn(async move {
        let outcome = sabre_store::run::run(&flags, Registry::new(), its_stop, Some(sender)).await;
        outcome.unwrap();
    });
    let address = format!("http://{}", listening.await.unwrap().http);
    while !get(&address, "/-/ready").await.status().is_success() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (address, stop.drop_guard())
}

async fn get(address: &str, path: &str) -> reqwest::Response {
    reqwest::get(format!("{address}{path}")).await.unwrap()
}

async fn put(bucket: &dyn Bucket, number: u64) -> BlockMeta {
    let block = BlockBuilder::new(number)
        .ext_labels(&[("cluster", "eu")])
        .floats(&[("__name__", "up")], [(0, 1.0), (15_000, 2.0)])
        .build()
        .unwrap();
    block.put_into(bucket).await.unwrap();
    block.meta
}

fn shown(metas: &[&BlockMeta]) -> Value {
    metas
        .iter()
        .map(|meta| serde_json::from_slice::<Value>(&meta.to_json()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_finds_the_blocks_that_are_served_and_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let objstore = format!(
        "{{type: FILESYSTEM, config: {{directory: {}}}}}",
        dir.path().join("bucket").display()
    );
    let bucket = from_yaml(&objstore, "test").unwrap();
    let (served, marked) = (put(&*bucket, 1).await, put(&*bucket, 2).await);
    let mark = DeletionMark {
        id: marked.ulid,
        details: String::new(),
        deletion_time_s: 1,
    };
    let key = format!("{}/deletion-mark.json", marked.ulid);
    bucket.put(&key, mark.to_json().into()).await.unwrap();

    let data_dir = dir.path().join("data");
    let (address, stop) = start(&data_dir, &objstore, &["--bucket-web-label=cluster"]).await;
    for (path, blocks) in [
        ("/api/v1/blocks?view=loaded", shown(&[&served])),
        ("/api/v1/blocks?view=global", shown(&[&served, &marked])),
        ("/api/v1/blocks", shown(&[&served, &marked])),
    ] {
        let response = get(&address, path).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        let mut answer: Value = response.json().await.unwrap();
        assert_eq!(answer["data"]["blocks"].take(), blocks, "{path}");
        let refreshed = answer["data"]["refreshedAt"].take();
        assert!(refreshed.as_str().unwrap().starts_with("20"), "{refreshed}");
        let rest = json!({"label": "cluster", "blocks": null, "refreshedAt": null, "err": null});
        assert_eq!(answer, json!({"status": "success", "data": rest}));
    }
    let metrics = get(&address, "/metrics").await.text().await.unwrap();
    let counted = "http_inflight_requests{handler=\"blocks\",method=\"get\"}";
    assert!(metrics.contains(counted), "{metrics}");
    drop(stop);
    let (address, _stop) = start(&data_dir, &objstore, &["--web.disable"]).await;
    assert_eq!(get(&address, "/api/v1/blocks").await.status(), 404);
}
