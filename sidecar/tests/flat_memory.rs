//! Shipping takes the same memory whatever the block's size. Alone in its process: the memory measured is its own.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it measured, and fails by panicking"
)]

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use sabre_block::upload::HashFunc;
use sabre_model::{BlockId, Labels};
use sabre_objstore::SharedBucket;
use sabre_runtime::metrics::Registry;
use sabre_sidecar::{
    metrics::SidecarMetrics,
    shipper::{Policy, Shipper, ShipperConfig},
};
use sabre_testkit::blocks::BlockBuilder;
use tokio_util::sync::CancellationToken;

/// What a run may hold beyond what it held before, whatever it ships.
const BUDGET_BYTES: u64 = 24 << 20;

/// A block whose one segment is blown up with zeros, which take no disk.
fn block(tsdb_dir: &Path, number: u64, segment_bytes: u64) -> BlockId {
    let block = BlockBuilder::new(number)
        .floats(&[("__name__", "a")], (0..200).map(|n| (n, n as f64)))
        .build()
        .unwrap();
    let dir = block.write_to(tsdb_dir).unwrap();
    let segment = File::options()
        .write(true)
        .open(dir.join("chunks/000001"))
        .unwrap();
    segment.set_len(segment_bytes).unwrap();
    block.meta.ulid
}

/// Anonymous memory of this process.
fn held_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Ships a block and returns the most that was held meanwhile.
async fn ship(number: u64, segment_bytes: u64, hash: HashFunc) -> u64 {
    let (tsdb, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = block(tsdb.path(), number, segment_bytes);
    let yaml = format!(
        "type: FILESYSTEM\nconfig: {{directory: {}}}\n",
        store.path().display()
    );
    let bucket: SharedBucket = sabre_objstore::config::from_yaml(&yaml, "sidecar").unwrap();
    let config = ShipperConfig {
        tsdb_dir: tsdb.path().to_path_buf(),
        state_file: "thanos.shipper.json".into(),
        source: "sidecar".into(),
        policy: Policy::default(),
        skip_corrupted: true,
        upload_concurrency: 1,
        hash,
        now_ms: || 1_767_225_600_000,
    };
    let metrics = SidecarMetrics::new(&Registry::new());
    let shipper = Arc::new(Shipper::new(config, bucket, metrics));
    let labels = Labels::from_pairs([("cluster", "eu1")]).unwrap();
    let shipping = tokio::spawn(async move { shipper.sync(&labels, &CancellationToken::new()).await });
    let mut most = held_bytes();
    while !shipping.is_finished() {
        most = most.max(held_bytes());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(shipping.await.unwrap().unwrap().shipped, [id]);
    let there = fs::metadata(store.path().join(format!("{id}/chunks/000001"))).unwrap();
    assert_eq!(there.len(), segment_bytes);
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_of_half_a_gigabyte_takes_what_a_small_one_takes() {
    for (number, hash) in [(1, HashFunc::None), (3, HashFunc::Sha256)] {
        let small = ship(number, 1 << 20, hash).await;
        let large = ship(number + 1, 512 << 20, hash).await;
        println!(
            "anonymous memory while shipping 1 MiB: {} KiB, 512 MiB: {} KiB ({hash:?})",
            small >> 10,
            large >> 10
        );
        assert!(
            large < small + BUDGET_BYTES,
            "{large} bytes for a large block, {small} for a small one"
        );
    }
}
