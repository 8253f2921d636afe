//! What flags change of a process that goes on.

use bytes::Bytes;
use sabre_objstore::Bucket as _;

use super::*;
use crate::tests::fixture::counters;

/// No test lasts that long: the first iteration is the only one.
const ONCE: &str = "--wait-interval=24h";

/// The value of a metric without labels.
async fn metric(served: &Served, name: &str) -> Option<f64> {
    let (_, page) = get(served.address, "/metrics").await;
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..6000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

/// Waits for a metric to be so much.
async fn reaches(served: &Served, name: &str, value: f64) {
    eventually(&format!("{name} {value}"), async || {
        metric(served, name).await == Some(value)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_iterations_it_cleans_at_the_interval_of_the_flag() {
    let served = Served::start_with(&[ONCE, "--compact.cleanup-interval=10ms"], |_| {}).await;
    reaches(&served, "thanos_compact_iterations_total", 1.0).await;
    let blocks = std::fs::read_dir(served.dir.path().join("bucket")).unwrap();
    let blocks = blocks.map(|entry| entry.unwrap().path());
    let block = blocks
        .filter(|path| path.join("meta.json").exists())
        .max()
        .unwrap();
    let name = block.file_name().unwrap().to_str().unwrap();
    let mark = format!("{{\"id\":\"{name}\",\"version\":1,\"deletion_time\":1}}");
    // Whole or not at all: the cleaner looks all the time.
    let bucket = FilesystemBucket::new(served.dir.path().join("bucket"));
    let key = format!("{name}/deletion-mark.json");
    bucket.put(&key, Bytes::from(mark)).await.unwrap();
    eventually("the deletion of a marked block", async || {
        !block.join("meta.json").exists()
    })
    .await;
    assert_eq!(
        metric(&served, "thanos_compact_iterations_total").await,
        Some(1.0)
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_iterations_it_counts_what_is_to_do_at_the_interval_of_the_flag() {
    let served = Served::start_with(&[ONCE, "--compact.progress-interval=10ms"], |_| {}).await;
    let todo = "thanos_compact_todo_compactions";
    reaches(&served, "thanos_compact_iterations_total", 1.0).await;
    reaches(&served, todo, 0.0).await;
    let bucket = FilesystemBucket::new(served.dir.path().join("bucket"));
    for n in 0..5_u64 {
        let hours = n as i64 * 2;
        let block = counters(900 + n, hours, hours + 2, 2).ext_labels(&[("cluster", "new")]);
        let block = block.build().unwrap();
        for (path, content) in &block.files {
            let key = format!("{}/{path}", block.meta.ulid);
            bucket.put(&key, content.clone()).await.unwrap();
        }
    }
    reaches(&served, todo, 1.0).await;
    assert_eq!(
        metric(&served, "thanos_compact_iterations_total").await,
        Some(1.0)
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pages_there_are_probes_and_metrics_still() {
    let served = Served::start_with(&[ONCE, "--web.disable"], |_| {}).await;
    for (path, code) in [
        ("/blocks", 404),
        ("/loaded", 404),
        ("/api/v1/status/compactor", 404),
        ("/-/healthy", 200),
        ("/metrics", 200),
    ] {
        assert_eq!(get(served.address, path).await.0, code, "{path}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_below_the_route_prefix() {
    let served = Served::start_with(&[ONCE, "--web.route-prefix=/compact"], |_| {}).await;
    for (path, code) in [
        ("/compact/blocks", 200),
        ("/compact/api/v1/status/compactor", 200),
        ("/blocks", 404),
        ("/api/v1/status/compactor", 404),
        ("/metrics", 200),
    ] {
        assert_eq!(get(served.address, path).await.0, code, "{path}");
    }
    served.end().await;
}
