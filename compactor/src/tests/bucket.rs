//! The course of things: what is in the bucket after a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt, ErrorKind, MemoryBucket, Operation};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::meta::{BlockMeta, DeletionMark};

use super::fixture::{Fixture, START_MS, counters};
use crate::execute::mark_for_deletion;
use crate::plan::{Action, HOUR_MS, RESOLUTION_1H_MS, RESOLUTION_5M_MS, RetentionPolicy};
use crate::quarantine::Work;

async fn two_hours(fixture: &Fixture, count: i64) {
    for n in 0..count {
        fixture
            .put(&counters(n as u64 + 1, n * 2, n * 2 + 2, 7).build().unwrap())
            .await;
    }
}

fn ranges(blocks: &[Arc<BlockMeta>]) -> Vec<(i64, i64, i64)> {
    let hours = |ms: i64| (ms - START_MS) / HOUR_MS;
    let range = |meta: &Arc<BlockMeta>| (meta.resolution_ms(), hours(meta.min_time), hours(meta.max_time));
    blocks.iter().map(range).collect()
}

#[tokio::test]
async fn four_blocks_become_one_and_are_deleted_after_the_delay() {
    let fixture = Fixture::new();
    two_hours(&fixture, 5).await;
    let before = fixture.samples().await;
    fixture.iterate().await.unwrap();
    assert_eq!(ranges(&fixture.blocks().await), [(0, 0, 8), (0, 8, 10)]);
    assert_eq!(fixture.samples().await, before);
    assert_eq!(fixture.view().await.marks.deletion.len(), 4);
    assert!(fixture.metric("thanos_compact_group_compactions_total{resolution=\"0\"} 1"));
    assert!(fixture.metric("thanos_compact_halted 0"));
    fixture.now_ms.fetch_add(48 * HOUR_MS + 1_000, Ordering::SeqCst);
    fixture.iterate().await.unwrap();
    assert_eq!(fixture.view().await.listing.len(), 2, "the sources are gone");
    assert_eq!(fixture.samples().await, before);
    assert!(fixture.metric("thanos_compact_blocks_cleaned_total 4"));
}

#[tokio::test]
async fn a_second_iteration_finds_nothing_to_do() {
    let fixture = Fixture::new();
    two_hours(&fixture, 5).await;
    fixture.iterate().await.unwrap();
    let faulty = FaultBucket::new(Arc::clone(&fixture.bucket));
    let again = Fixture::on(Arc::new(faulty.clone()));
    again.iterate().await.unwrap();
    assert_eq!(faulty.count(Operation::Upload), 0);
    assert_eq!(faulty.count(Operation::Delete), 0);
}

async fn eight_hours(fixture: &Fixture, count: i64) {
    for n in 0..count {
        fixture
            .put(&counters(n as u64 + 1, n * 8, n * 8 + 8, 3).build().unwrap())
            .await;
    }
}

/// The bytes of index and first segment of the block of a resolution.
async fn bytes_of(fixture: &Fixture, resolution_ms: i64) -> (Bytes, Bytes) {
    let blocks = fixture.blocks().await;
    let meta = blocks
        .iter()
        .find(|meta| meta.resolution_ms() == resolution_ms)
        .unwrap();
    let read = |file: &str| format!("{}/{file}", meta.ulid);
    let index = fixture.bucket.get_all(&read("index"), 1 << 30).await.unwrap();
    (
        index,
        fixture
            .bucket
            .get_all(&read("chunks/000001"), 1 << 30)
            .await
            .unwrap(),
    )
}

#[tokio::test]
async fn downsampling_in_the_same_pass_gives_the_bytes_of_a_pass_of_its_own() {
    let (fused, mut separate) = (Fixture::new(), Fixture::new());
    for fixture in [&fused, &separate] {
        eight_hours(fixture, 7).await;
    }
    fused.iterate().await.unwrap();
    assert_eq!(
        ranges(&fused.blocks().await),
        [(0, 0, 48), (0, 48, 56), (RESOLUTION_5M_MS, 0, 48)]
    );
    separate.config.policy.downsamples = false;
    separate.iterate().await.unwrap();
    assert_eq!(ranges(&separate.blocks().await), [(0, 0, 48), (0, 48, 56)]);
    separate.config.policy.downsamples = true;
    separate.iterate().await.unwrap();
    assert_eq!(ranges(&separate.blocks().await), ranges(&fused.blocks().await));
    for resolution_ms in [0, RESOLUTION_5M_MS] {
        assert!(bytes_of(&fused, resolution_ms).await == bytes_of(&separate, resolution_ms).await);
    }
}

#[tokio::test]
async fn two_weeks_reach_one_hour_in_one_iteration() {
    let fixture = Fixture::new();
    for n in 0..8 {
        let block = counters(n as u64 + 1, n * 48, n * 48 + 48, 2);
        fixture.put(&block.build().unwrap()).await;
    }
    fixture.iterate().await.unwrap();
    assert_eq!(
        ranges(&fixture.blocks().await),
        [
            (0, 0, 336),
            (0, 336, 384),
            (RESOLUTION_5M_MS, 0, 336),
            (RESOLUTION_5M_MS, 336, 384),
            (RESOLUTION_1H_MS, 0, 336)
        ]
    );
}

#[tokio::test]
async fn a_crash_between_upload_and_marks_is_mended_by_garbage_collection() {
    let fixture = Fixture::new();
    two_hours(&fixture, 5).await;
    let sources = fixture.blocks().await;
    fixture.iterate().await.unwrap();
    for source in &sources[..4] {
        let mark = format!("{}/{}", source.ulid, DeletionMark::FILE_NAME);
        fixture.bucket.delete(&mark).await.unwrap();
    }
    fixture.iterate().await.unwrap();
    assert_eq!(ranges(&fixture.blocks().await), [(0, 0, 8), (0, 8, 10)]);
    assert_eq!(fixture.view().await.marks.deletion.len(), 4);
    let mark = fixture.view().await.marks.deletion[&sources[0].ulid].clone();
    assert_eq!(mark.details, "outdated block");
}

#[tokio::test]
async fn raw_data_is_kept_until_its_aggregate_is_there() {
    let mut fixture = Fixture::new();
    fixture.put(&counters(1, 0, 48, 2).build().unwrap()).await;
    fixture.config.policy.retention = RetentionPolicy {
        raw_ms: 48 * HOUR_MS,
        ..RetentionPolicy::default()
    };
    let compactor = fixture.compactor();
    compactor.retain().await.unwrap();
    assert!(fixture.view().await.marks.deletion.is_empty());
    assert!(fixture.metric("sabre_compact_retention_waiting_blocks 1"));
    let plan = compactor.plan().await.unwrap();
    assert!(plan.iter().any(|action| matches!(action, Action::Wait(_))));
    fixture.iterate().await.unwrap();
    assert_eq!(ranges(&fixture.blocks().await), [(RESOLUTION_5M_MS, 0, 48)]);
    let marks = fixture.view().await.marks.deletion;
    assert_eq!(
        marks.values().next().unwrap().details,
        "block exceeding retention of 48h0m0s"
    );
}

/// Seven blocks of 8 h past their retention: six of them make up 48 h.
async fn a_week_late() -> (Fixture, Vec<BlockId>) {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention = RetentionPolicy {
        raw_ms: 48 * HOUR_MS,
        ..RetentionPolicy::default()
    };
    let mut ids = Vec::new();
    for n in 0..7 {
        let block = counters(n as u64 + 1, n * 8, n * 8 + 8, 1).build().unwrap();
        ids.push(fixture.put(&block).await);
    }
    (fixture, ids)
}

#[tokio::test]
async fn a_broken_block_and_its_neighbours_wait_for_their_aggregate() {
    let (fixture, ids) = a_week_late().await;
    let compactor = fixture.compactor();
    compactor.set_apart(ids[2], Work::Compaction, "its index is broken".to_owned());
    let waits = async || {
        let plan = compactor.plan().await.unwrap();
        plan.iter()
            .filter(|action| matches!(action, Action::Wait(_)))
            .count()
    };
    assert_eq!(waits().await, ids.len());
    compactor.retain().await.unwrap();
    assert!(fixture.view().await.marks.deletion.is_empty());
    // Whether it is about to be tried again makes no difference.
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    assert_eq!(waits().await, ids.len());
}

#[tokio::test]
async fn blocks_that_overlap_wait_for_their_aggregate() {
    let (fixture, ids) = a_week_late().await;
    let twin = fixture.put(&counters(9, 8, 16, 1).build().unwrap()).await;
    fixture.compactor().retain().await.unwrap();
    assert!(fixture.view().await.marks.deletion.is_empty());
    let all = format!("sabre_compact_retention_waiting_blocks {}", ids.len() + 1);
    assert!(fixture.metric(&all), "{twin}");
}

/// What cannot be deleted stops nothing else.
#[tokio::test]
async fn blocks_that_cannot_be_deleted_do_not_stop_compaction() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let fixture = Fixture::on(Arc::new(faulty.clone()));
    two_hours(&fixture, 5).await;
    let marked = fixture.put(&counters(90, 100, 102, 1).build().unwrap()).await;
    let compactor = fixture.compactor();
    mark_for_deletion(&compactor.context, marked, "not wanted", START_MS)
        .await
        .unwrap();
    faulty.add(Rule::next(Operation::Delete, Fault::Error(ErrorKind::AccessDenied)).times(usize::MAX));
    compactor.prepare().await.unwrap();
    let error = compactor.iterate().await.unwrap_err().to_string();
    assert!(error.contains(&marked.to_string()), "{error}");
    let blocks = ranges(&fixture.blocks().await);
    assert!(blocks.contains(&(0, 0, 8)), "{blocks:?}");
}

#[tokio::test]
async fn planning_writes_nothing() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let fixture = Fixture::on(Arc::new(faulty.clone()));
    two_hours(&fixture, 5).await;
    let written = faulty.count(Operation::Upload);
    let actions = fixture.compactor().plan().await.unwrap();
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Compact { .. }))
    );
    assert_eq!(
        (faulty.count(Operation::Upload), faulty.count(Operation::Delete)),
        (written, 0)
    );
}

#[tokio::test]
async fn uploads_given_up_are_deleted_and_broken_metas_kept() {
    let memory = Arc::new(MemoryBucket::new("b"));
    memory.set_now_ms(START_MS + 400 * HOUR_MS);
    let fixture = Fixture::on(memory);
    let blocks: Vec<_> = (1..=3).map(|n| counters(n, 0, 2, 1).build().unwrap()).collect();
    for block in &blocks {
        fixture.put(block).await;
    }
    let meta = |n: usize| format!("{}/meta.json", blocks[n].meta.ulid);
    fixture.bucket.delete(&meta(0)).await.unwrap();
    fixture
        .bucket
        .put(&meta(1), Bytes::from_static(b"{ \"ulid\": "))
        .await
        .unwrap();
    fixture.now_ms.fetch_add(47 * HOUR_MS, Ordering::SeqCst);
    assert!(fixture.iterate().await.is_err(), "the broken one is trouble");
    assert_eq!(fixture.view().await.listing.len(), 3, "not old enough");
    fixture.now_ms.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(fixture.iterate().await.is_err(), "the broken one is trouble");
    let view = fixture.view().await;
    assert!(view.listing.get(blocks[0].meta.ulid).is_none());
    assert!(
        view.listing.get(blocks[1].meta.ulid).is_some(),
        "its data may be all there"
    );
    assert!(fixture.metric("thanos_compact_aborted_partial_uploads_deletion_attempts_total 1"));
}

#[tokio::test]
async fn hashes_are_those_of_the_files() {
    use sha2::{Digest, Sha256};
    let mut fixture = Fixture::new();
    fixture.config.hashes = true;
    two_hours(&fixture, 5).await;
    fixture.iterate().await.unwrap();
    let blocks = fixture.blocks().await;
    let meta = blocks.iter().find(|meta| meta.compaction.level == 2).unwrap();
    let files = &meta.thanos.as_ref().unwrap().files;
    assert_eq!(
        files
            .iter()
            .map(|file| file.rel_path.as_str())
            .collect::<Vec<_>>(),
        ["chunks/000001", "index", "meta.json"]
    );
    for file in &files[..2] {
        let key = format!("{}/{}", meta.ulid, file.rel_path);
        let bytes = fixture.bucket.get_all(&key, 1 << 30).await.unwrap();
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(file.hash.as_ref().unwrap().value, hash);
        assert_eq!(file.size_bytes, bytes.len() as i64);
    }
}
