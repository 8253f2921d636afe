//! What Thanos made of the same blocks, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sabre_model::Labels;
use sabre_objstore::FilesystemBucket;
use sabre_testkit::golden::{Golden, golden};
use sabre_tsdb::merge::OverlapRule;
use sabre_tsdb::meta::BlockMeta;

use super::fixture::Fixture;
use crate::compactor::CompactorConfig;

/// What tells blocks of two buckets apart, other than their names.
type Place = (i64, i64, Labels, i64);

/// Runs a compactor once over the raw folders and compares what is left with Thanos' bucket.
async fn compare(golden: &Golden, raw: &[&str], expected: &str, change: impl FnOnce(&mut CompactorConfig)) {
    let folders: Vec<String> = raw.iter().map(|name| format!("raw/{name}")).collect();
    let names: Vec<&str> = folders.iter().map(String::as_str).collect();
    let bucket = golden.copy(&names).unwrap();
    let mut fixture = Fixture::on(Arc::new(FilesystemBucket::new(bucket.path())));
    fixture.config.policy.delete_delay_ms = 0;
    change(&mut fixture.config);
    // A second after marks are set they are past a delay of none, which is what the command line of Thanos waited for.
    for _ in 0..3 {
        fixture.iterate().await.unwrap();
        fixture
            .now_ms
            .fetch_add(2_000, std::sync::atomic::Ordering::SeqCst);
    }
    let expected_dirs = golden.block_dirs(&format!("thanos/{expected}")).unwrap();
    let (expected, found) = (by_place(&expected_dirs), by_place(&block_dirs(bucket.path())));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "the same blocks"
    );
    for (place, expected) in &expected {
        compare_block(place, expected, &found[place]);
    }
}

fn compare_block(place: &Place, expected: &Path, found: &Path) {
    let (expected_meta, found_meta) = (meta(expected), meta(found));
    assert_eq!(found_meta.stats, expected_meta.stats, "stats of {place:?}");
    assert_eq!(found_meta.compaction.level, expected_meta.compaction.level);
    let sources = |meta: &BlockMeta| meta.compaction.sources.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(
        sources(&found_meta),
        sources(&expected_meta),
        "sources of {place:?}"
    );
    let parents = |meta: &BlockMeta| {
        let ranges = meta
            .compaction
            .parents
            .iter()
            .map(|parent| (parent.min_time, parent.max_time));
        ranges.collect::<Vec<_>>()
    };
    assert_eq!(
        parents(&found_meta),
        parents(&expected_meta),
        "parents of {place:?}"
    );
    let (found_thanos, expected_thanos) = (found_meta.thanos.unwrap(), expected_meta.thanos.unwrap());
    assert_eq!(found_thanos.source, expected_thanos.source);
    assert_eq!(found_thanos.segment_files, expected_thanos.segment_files);
    assert_eq!(found_thanos.files, expected_thanos.files);
    assert_eq!(found_thanos.index_stats, expected_thanos.index_stats);
    assert_eq!(found_thanos.extensions, expected_thanos.extensions);
    for file in files(expected) {
        let (want, have) = (
            fs::read(expected.join(&file)).unwrap(),
            fs::read(found.join(&file)).unwrap(),
        );
        let differs = want.iter().zip(&have).position(|(a, b)| a != b);
        assert!(
            want == have,
            "{file} of {place:?}: {} and {} bytes, first difference at {differs:?}",
            want.len(),
            have.len()
        );
    }
    assert_eq!(files(found), files(expected));
}

/// The index and the segments of a block.
fn files(dir: &Path) -> Vec<String> {
    let chunks = fs::read_dir(dir.join("chunks")).unwrap();
    let mut files: Vec<String> = chunks
        .map(|entry| format!("chunks/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    files.push("index".to_owned());
    files.sort();
    files
}

fn block_dirs(bucket: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(bucket).unwrap().map(|entry| entry.unwrap().path());
    dirs.filter(|dir| dir.join("meta.json").is_file()).collect()
}

fn meta(dir: &Path) -> BlockMeta {
    BlockMeta::parse(&fs::read(dir.join("meta.json")).unwrap()).unwrap()
}

fn by_place(dirs: &[PathBuf]) -> BTreeMap<Place, PathBuf> {
    let mut blocks = BTreeMap::new();
    for dir in dirs {
        let meta = meta(dir);
        let place = (
            meta.min_time,
            meta.max_time,
            meta.ext_labels(),
            meta.resolution_ms(),
        );
        assert!(
            blocks.insert(place, dir.clone()).is_none(),
            "two blocks in one place"
        );
    }
    blocks
}

const REPLICAS: &[&str] = &["raw2h-a", "raw2h-b"];

#[tokio::test(flavor = "multi_thread")]
async fn plain_compaction_equals_thanos() {
    let Some(golden) = golden() else { return };
    compare(&golden, REPLICAS, "plain", |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn penalty_deduplication_equals_thanos() {
    let Some(golden) = golden() else { return };
    compare(&golden, REPLICAS, "penalty", |config| {
        config.replica_labels = vec!["replica".to_owned()];
        config.policy.vertical = true;
        config.policy.merges_aggregates = true;
        config.rule = OverlapRule::Penalty;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_to_one_deduplication_equals_thanos() {
    let Some(golden) = golden() else { return };
    compare(&golden, REPLICAS, "chain", |config| {
        config.replica_labels = vec!["replica".to_owned()];
        config.policy.vertical = true;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_and_downsampling_of_two_weeks_equal_thanos() {
    let Some(golden) = golden() else { return };
    compare(&golden, &["raw2d"], "long", |_| {}).await;
}
