//! Blocks that cannot be judged: they stop no other block, and nothing is compacted across the places they may fill.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt, ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::meta::{BlockMeta, DeletionMark, NoCompactMark};

use super::fixture::{Fixture, START_MS, Samples, counters};
use crate::error::PassError;
use crate::execute::mark_for_deletion;
use crate::plan::{HOUR_MS, RESOLUTION_5M_MS, RetentionPolicy};
use crate::unclear::PATIENCE_MS;

const DENIED: Fault = Fault::Error(ErrorKind::AccessDenied);

/// Ten blocks of 2 h of each of two clusters, in a bucket in which requests may fail.
struct TwoClusters {
    fixture: Fixture,
    faulty: FaultBucket,
    /// The blocks of the first.
    first: Vec<BlockId>,
    before: Samples,
}

impl TwoClusters {
    async fn new() -> Self {
        let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        // A meta that was read once is not read again.
        fixture.config.keeps_metas = false;
        let mut first = Vec::new();
        for n in 0..10_u8 {
            let block = |at: u8, cluster| {
                let hours = i64::from(n) * 2;
                let block = counters(u64::from(at), hours, hours + 2, 2).ext_labels(&[("cluster", cluster)]);
                block.build().unwrap()
            };
            first.push(fixture.put(&block(n, "eu1")).await);
            fixture.put(&block(n + 100, "us1")).await;
        }
        let before = fixture.samples().await;
        Self {
            fixture,
            faulty,
            first,
            before,
        }
    }

    /// No request for the object comes to a good end.
    fn deny(&self, block: BlockId, file: &str) {
        let rule = Rule::next(Operation::Get, DENIED).on(&format!("{block}/{file}"));
        self.faulty.add(rule.times(usize::MAX));
    }

    /// Begin, end and level of the blocks of a cluster that count, in hours.
    async fn ranges(&self, cluster: &str) -> Vec<(i64, i64, i64)> {
        let hours = |ms: i64| (ms - START_MS) / HOUR_MS;
        let blocks = self.fixture.blocks().await;
        let of_cluster = blocks
            .iter()
            .filter(|meta| meta.ext_labels().get("cluster") == Some(cluster));
        of_cluster
            .map(|meta| (hours(meta.min_time), hours(meta.max_time), meta.compaction.level))
            .collect()
    }
}

/// What is there when nothing is in the way.
const WHOLE: [(i64, i64, i64); 4] = [(0, 8, 2), (8, 16, 2), (16, 18, 1), (18, 20, 1)];
/// What is there of a cluster whose second block does not count.
const AROUND_THE_SECOND: [(i64, i64, i64); 5] = [(0, 2, 1), (4, 8, 2), (8, 16, 2), (16, 18, 1), (18, 20, 1)];

#[tokio::test]
async fn a_meta_that_cannot_be_read_stops_no_other_block() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    clusters.deny(second, "meta.json");
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let outcome = compactor.iterate().await;
    assert!(matches!(outcome, Err(PassError::Sync(_))), "{outcome:?}");
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains(&second.to_string()), "{text}");
    assert_eq!(clusters.ranges("us1").await, WHOLE);
    assert_eq!(
        clusters.ranges("eu1").await,
        AROUND_THE_SECOND,
        "nothing comes to lie across the place of the block"
    );
    assert!(fixture.metric("sabre_compact_unclear_blocks{reason=\"unreadable\"} 1"));
    assert!(
        fixture.metric("thanos_compact_halted 0"),
        "it may be read in a minute"
    );
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap_err();
    assert!(fixture.metric("thanos_compact_halted 1"), "it was not");
    clusters.faulty.heal();
    compactor.iterate().await.unwrap();
    assert_eq!(clusters.ranges("eu1").await[0], (0, 8, 3));
    assert_eq!(fixture.samples().await, clusters.before);
    assert!(fixture.metric("thanos_compact_halted 0"));
    assert!(fixture.metric("sabre_compact_unclear_blocks{reason=\"unreadable\"} 0"));
}

/// Nobody knows of which group the block is: it may be of any that has a gap.
#[tokio::test]
async fn a_gap_of_any_group_is_held_while_a_block_may_belong_there() {
    let clusters = TwoClusters::new().await;
    let (fixture, first) = (&clusters.fixture, &clusters.first);
    sabre_block::delete_block(&*fixture.bucket, first[1])
        .await
        .unwrap();
    let elsewhere = counters(200, 300, 302, 1).ext_labels(&[("cluster", "asia1")]);
    let elsewhere = fixture.put(&elsewhere.build().unwrap()).await;
    clusters.deny(elsewhere, "meta.json");
    fixture.iterate().await.unwrap_err();
    assert_eq!(clusters.ranges("eu1").await, AROUND_THE_SECOND);
    assert_eq!(
        clusters.ranges("us1").await,
        WHOLE,
        "where there is no gap there is no place"
    );
    clusters.faulty.heal();
    fixture.iterate().await.unwrap();
    assert_eq!(clusters.ranges("eu1").await[0], (0, 8, 3), "a gap like any other");
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_keeps_its_block_in_its_place() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let key = format!("{second}/{}", NoCompactMark::FILE_NAME);
    fixture.bucket.put(&key, Bytes::from_static(b"{}")).await.unwrap();
    clusters.deny(second, NoCompactMark::FILE_NAME);
    let outcome = fixture.iterate().await;
    assert!(matches!(outcome, Err(PassError::Sync(_))), "{outcome:?}");
    let mut expected = AROUND_THE_SECOND.to_vec();
    expected.insert(1, (2, 4, 1));
    assert_eq!(clusters.ranges("eu1").await, expected);
    assert_eq!(clusters.ranges("us1").await, WHOLE);
}

/// If the block that covers others is marked for deletion itself, they are all there is.
#[tokio::test]
async fn nothing_is_garbage_because_of_a_block_that_is_marked_for_deletion_or_may_be() {
    for is_denied in [false, true] {
        let clusters = TwoClusters::new().await;
        let (fixture, first) = (&clusters.fixture, &clusters.first);
        fixture.iterate().await.unwrap();
        for source in &first[..4] {
            let mark = format!("{source}/{}", DeletionMark::FILE_NAME);
            fixture.bucket.delete(&mark).await.unwrap();
        }
        let blocks = fixture.blocks().await;
        let is_result = |meta: &&Arc<BlockMeta>| meta.compaction.sources.contains(&first[0]);
        let result = blocks.iter().find(is_result).unwrap().ulid;
        let compactor = fixture.compactor();
        let now_ms = fixture.now_ms.load(Ordering::SeqCst);
        mark_for_deletion(&compactor.context, result, "not wanted", now_ms)
            .await
            .unwrap();
        if is_denied {
            clusters.deny(result, DeletionMark::FILE_NAME);
        }
        assert_eq!(fixture.iterate().await.is_err(), is_denied);
        for source in &first[..4] {
            assert!(fixture.mark_names(*source).await.is_empty(), "{source}");
        }
        clusters.faulty.heal();
        // The block goes, and what it was made of takes its place.
        fixture.now_ms.fetch_add(49 * HOUR_MS, Ordering::SeqCst);
        fixture.iterate().await.unwrap();
        assert!(fixture.view().await.listing.get(result).is_none());
        assert_eq!(fixture.samples().await, clusters.before);
    }
}

#[tokio::test]
async fn retention_leaves_blocks_whose_marks_cannot_be_read() {
    let clusters = TwoClusters::new().await;
    let TwoClusters {
        mut fixture,
        faulty,
        first,
        ..
    } = clusters;
    fixture.config.policy.downsamples = false;
    fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
    let mark = format!("{}/no-downsample-mark.json", first[9]);
    fixture
        .bucket
        .put(&mark, Bytes::from_static(b"{}"))
        .await
        .unwrap();
    faulty.add(Rule::next(Operation::Get, DENIED).on(&mark).times(usize::MAX));
    fixture.compactor().retain().await.unwrap();
    let marked = fixture.view().await.marks.deletion;
    assert_eq!(marked.len(), 19);
    assert!(!marked.contains_key(&first[9]));
}

/// Together with a block that cannot be read a short one may fill a range from which an aggregate is due. Nothing else waits
/// for it: what has its aggregate goes.
#[tokio::test]
async fn only_raw_data_without_an_aggregate_waits_while_a_block_may_belong_beside_it() {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention = RetentionPolicy {
        raw_ms: 48 * HOUR_MS,
        ..RetentionPolicy::default()
    };
    let short = fixture.put(&counters(1, 0, 8, 1).build().unwrap()).await;
    let whole = counters(3, 0, 48, 1).ext_labels(&[("cluster", "us1")]);
    let whole = fixture.put(&whole.build().unwrap()).await;
    let broken = fixture.put(&counters(2, 8, 48, 1).build().unwrap()).await;
    let meta = format!("{broken}/meta.json");
    fixture.bucket.put(&meta, Bytes::from_static(b"{")).await.unwrap();
    fixture.iterate().await.unwrap_err();
    let marked: Vec<BlockId> = fixture.view().await.marks.deletion.into_keys().collect();
    assert_eq!(marked, [whole]);
    assert!(fixture.metric("sabre_compact_retention_waiting_blocks 1"));
    // It is given up.
    sabre_block::delete_block(&*fixture.bucket, broken).await.unwrap();
    fixture.iterate().await.unwrap();
    assert!(fixture.view().await.marks.deletion.contains_key(&short));
    let made = fixture.blocks().await;
    assert_eq!(made.len(), 2);
    assert!(made.iter().all(|meta| meta.resolution_ms() == RESOLUTION_5M_MS));
}

#[tokio::test]
async fn a_broken_meta_in_the_middle_is_not_compacted_across() {
    let edits = [
        &b"not json"[..],
        b"{\"version\": 2}",
        b"{\"version\": 1, \"minTime\": \"soon\"}",
        b"",
    ];
    for edit in edits {
        let clusters = TwoClusters::new().await;
        let (fixture, second) = (&clusters.fixture, clusters.first[1]);
        let meta = format!("{second}/meta.json");
        let original = fixture.bucket.get_all(&meta, 1 << 20).await.unwrap();
        fixture.bucket.put(&meta, Bytes::from_static(edit)).await.unwrap();
        let outcome = fixture.iterate().await;
        assert!(matches!(outcome, Err(PassError::Trouble(_))), "{outcome:?}");
        let text = outcome.unwrap_err().to_string();
        assert!(
            text.contains(&second.to_string()) && text.contains("meta.json"),
            "{text}"
        );
        assert_eq!(clusters.ranges("eu1").await, AROUND_THE_SECOND);
        assert_eq!(clusters.ranges("us1").await, WHOLE);
        assert!(fixture.metric("thanos_compact_halted 1"));
        assert!(fixture.metric("sabre_compact_unclear_blocks{reason=\"broken-meta\"} 1"));
        // When it is mended nothing overlaps it.
        fixture.bucket.put(&meta, original).await.unwrap();
        fixture.iterate().await.unwrap();
        assert_eq!(clusters.ranges("eu1").await[0], (0, 8, 3));
        assert_eq!(fixture.samples().await, clusters.before);
    }
}

#[tokio::test]
async fn a_broken_meta_that_is_marked_for_deletion_holds_nothing() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let compactor = fixture.compactor();
    let now_ms = fixture.now_ms.load(Ordering::SeqCst);
    mark_for_deletion(&compactor.context, second, "cannot be mended", now_ms)
        .await
        .unwrap();
    let meta = format!("{second}/meta.json");
    fixture.bucket.put(&meta, Bytes::from_static(b"{")).await.unwrap();
    fixture.iterate().await.unwrap();
    assert_eq!(
        clusters.ranges("eu1").await,
        WHOLE,
        "across it, as an operator decided"
    );
}

#[tokio::test]
async fn a_bit_flipped_on_the_way_breaks_no_meta() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let meta = format!("{second}/meta.json");
    clusters
        .faulty
        .add(Rule::next(Operation::Get, Fault::BitFlip(0)).on(&meta));
    fixture.iterate().await.unwrap();
    assert_eq!(clusters.faulty.triggered(), 1);
    assert_eq!(clusters.ranges("eu1").await, WHOLE);
}

#[tokio::test]
async fn a_read_that_fails_once_fails_no_iteration_and_leaves_nothing_undone() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let meta = format!("{second}/meta.json");
    clusters.faulty.add(Rule::next(Operation::Get, DENIED).on(&meta));
    fixture.iterate().await.unwrap();
    assert_eq!(clusters.faulty.triggered(), 1);
    for cluster in ["eu1", "us1"] {
        let ranges = clusters.ranges(cluster).await;
        assert_eq!((ranges[0].0, ranges[0].1), (0, 8), "{ranges:?}");
    }
    assert_eq!(fixture.samples().await, clusters.before);
    assert!(fixture.metric("thanos_compact_iterations_total 1"));
}

/// Without its first block the range is not filled, and there is nothing that would make the compactor look again.
#[tokio::test]
async fn what_could_not_be_read_at_first_gets_its_turn_in_the_same_iteration() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let mut fixture = Fixture::on(Arc::new(faulty.clone()));
    fixture.config.keeps_metas = false;
    let mut ids = Vec::new();
    for n in 0..5 {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 2).build().unwrap();
        ids.push(fixture.put(&block).await);
    }
    let meta = format!("{}/meta.json", ids[0]);
    faulty.add(Rule::next(Operation::Get, DENIED).on(&meta));
    fixture.iterate().await.unwrap();
    let levels: Vec<i64> = fixture
        .blocks()
        .await
        .iter()
        .map(|meta| meta.compaction.level)
        .collect();
    assert_eq!(levels, [2, 1]);
}

#[tokio::test]
async fn a_block_that_cannot_be_read_and_is_marked_for_deletion_halts_nothing_and_goes() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let compactor = fixture.compactor();
    let now_ms = fixture.now_ms.load(Ordering::SeqCst);
    clusters.deny(second, "meta.json");
    compactor.prepare().await.unwrap();
    compactor.iterate().await.unwrap_err();
    mark_for_deletion(&compactor.context, second, "cannot be read", now_ms)
        .await
        .unwrap();
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    assert!(fixture.metric("thanos_compact_halted 0"));
    assert!(fixture.metric("sabre_compact_unclear_blocks{reason=\"unreadable\"} 0"));
    assert!(
        fixture.view().await.listing.get(second).is_some(),
        "within the delay"
    );
    let first = clusters.ranges("eu1").await[0];
    assert_eq!((first.0, first.1), (0, 8), "across it, as an operator decided");
    fixture.now_ms.fetch_add(48 * HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    assert!(fixture.view().await.listing.get(second).is_none());
}

/// A listing may be older than what is read after it.
#[tokio::test]
async fn a_block_whose_meta_is_listed_and_not_found_is_not_deleted() {
    let clusters = TwoClusters::new().await;
    let (fixture, second) = (&clusters.fixture, clusters.first[1]);
    let rule = Rule::next(Operation::Get, Fault::Error(ErrorKind::NotFound));
    let meta = format!("{second}/meta.json");
    clusters.faulty.add(rule.on(&meta).times(usize::MAX));
    // The other way to ask is not believed either.
    let rule = Rule::next(Operation::Exists, Fault::Error(ErrorKind::NotFound));
    clusters.faulty.add(rule.on(&meta).times(usize::MAX));
    fixture.now_ms.fetch_add(1000 * HOUR_MS, Ordering::SeqCst);
    fixture.iterate().await.unwrap_err();
    assert!(fixture.metric("thanos_compact_aborted_partial_uploads_deletion_attempts_total 0"));
    clusters.faulty.heal();
    fixture.iterate().await.unwrap();
    assert_eq!(fixture.samples().await, clusters.before);
}

/// What cannot be read may be the very block that would be made.
#[tokio::test]
async fn nothing_is_downsampled_again_because_the_result_cannot_be_read() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let mut fixture = Fixture::on(Arc::new(faulty.clone()));
    fixture.config.keeps_metas = false;
    fixture.put(&counters(1, 0, 48, 1).build().unwrap()).await;
    fixture.iterate().await.unwrap();
    let blocks = fixture.blocks().await;
    assert_eq!(blocks.len(), 2);
    let meta = format!("{}/meta.json", blocks[1].ulid);
    faulty.add(Rule::next(Operation::Get, DENIED).on(&meta).times(usize::MAX));
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let uploads = faulty.count(Operation::Upload);
    compactor.iterate().await.unwrap_err();
    assert_eq!(faulty.count(Operation::Upload), uploads);
    // An operator is told of it after a while, and nobody waits for ever.
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap_err();
    assert!(faulty.count(Operation::Upload) > uploads);
    faulty.heal();
    compactor.iterate().await.unwrap();
    let left: Vec<BlockId> = fixture.blocks().await.iter().map(|meta| meta.ulid).collect();
    assert_eq!(
        left,
        [blocks[0].ulid, blocks[1].ulid],
        "of two that are the same the older stays"
    );
}

/// A process without `--wait` remembers nothing of the one before it: for how long a block cannot be read is what the
/// listing tells of it.
#[tokio::test]
async fn runs_that_end_wait_for_a_block_that_is_new_and_for_no_other() {
    let memory = Arc::new(MemoryBucket::new("b"));
    let faulty = FaultBucket::new(Arc::clone(&memory) as SharedBucket);
    let mut fixture = Fixture::on(Arc::new(faulty.clone()));
    fixture.config.keeps_metas = false;
    fixture.put(&counters(1, 0, 48, 1).build().unwrap()).await;
    let start_ms = fixture.now_ms.load(Ordering::SeqCst);
    memory.set_now_ms(start_ms);
    let unread = counters(2, 0, 2, 1).ext_labels(&[("cluster", "us1")]);
    let unread = fixture.put(&unread.build().unwrap()).await;
    let meta = format!("{unread}/meta.json");
    faulty.add(Rule::next(Operation::Get, DENIED).on(&meta).times(usize::MAX));
    for (waits, after_ms, made) in [
        (false, PATIENCE_MS - 1, 0),
        // Who goes on sees it for the first time, however old it is.
        (true, PATIENCE_MS, 0),
        (false, PATIENCE_MS, 1),
    ] {
        fixture.config.waits = waits;
        fixture.now_ms.store(start_ms + after_ms, Ordering::SeqCst);
        let outcome = fixture.iterate().await;
        assert!(matches!(outcome, Err(PassError::Sync(_))), "{outcome:?}");
        let blocks = fixture.blocks().await;
        let five = blocks.iter().filter(|meta| meta.resolution_ms() != 0);
        assert_eq!(five.count(), made, "waits: {waits}, {after_ms} ms");
    }
}
