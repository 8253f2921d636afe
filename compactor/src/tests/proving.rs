//! Aggregates that are broken and marked no-compact: raw data does not go because of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use sabre_model::BlockId;
use sabre_objstore::{Bucket, ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::meta::{DeletionMark, NoCompactMark, NoCompactReason, NoDownsampleMark};

use super::bad_input::damaged;
use super::fixture::{Fixture, counters};
use crate::execute::mark_for_deletion;
use crate::plan::{Action, HOUR_MS, RESOLUTION_5M_MS};
use crate::quarantine::pause_ms;

/// A raw block of 48 h, past its retention, and its data of 5 minutes.
struct Pair {
    fixture: Fixture,
    memory: Arc<MemoryBucket>,
    faulty: FaultBucket,
    raw: BlockId,
    five: BlockId,
}

impl Pair {
    async fn new() -> Self {
        let memory = Arc::new(MemoryBucket::new("b"));
        let faulty = FaultBucket::new(Arc::clone(&memory) as SharedBucket);
        let mut fixture = Fixture::on(Arc::new(faulty.clone()));
        let raw = fixture.put(&counters(1, 0, 48, 1).build().unwrap()).await;
        fixture.iterate().await.unwrap();
        let blocks = fixture.blocks().await;
        assert_eq!((blocks.len(), blocks[1].resolution_ms()), (2, RESOLUTION_5M_MS));
        fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
        Self {
            memory,
            faulty,
            raw,
            five: blocks[1].ulid,
            fixture,
        }
    }

    async fn mark(&self, reason: NoCompactReason) {
        let mark = NoCompactMark {
            id: self.five,
            details: "leave it".to_owned(),
            no_compact_time_s: 1,
            reason,
        };
        let key = format!("{}/{}", self.five, NoCompactMark::FILE_NAME);
        let text = Bytes::from(mark.to_json());
        self.fixture.bucket.put(&key, text).await.unwrap();
    }

    /// Breaks the aggregate; returns what was there.
    async fn damage(&self) -> (String, Bytes) {
        let key = format!("{}/chunks/000001", self.five);
        let original = damaged(&self.fixture, &key, |bytes| bytes[40] ^= 1).await;
        (key, original)
    }

    async fn is_raw_marked(&self) -> bool {
        self.fixture.view().await.marks.deletion.contains_key(&self.raw)
    }

    fn reads(&self) -> usize {
        self.faulty.count(Operation::GetRange)
    }
}

#[tokio::test]
async fn raw_data_stays_while_its_aggregate_is_broken_and_marked_and_goes_when_it_is_mended() {
    for starts_anew in [false, true] {
        let pair = Pair::new().await;
        let (key, original) = pair.damage().await;
        pair.mark(NoCompactReason::Manual).await;
        let mut compactor = pair.fixture.compactor();
        for _ in 0..3 {
            compactor.iterate().await.unwrap();
            assert!(!pair.is_raw_marked().await);
            assert!(pair.fixture.metric("sabre_compact_retention_waiting_blocks 1"));
            assert!(
                pair.fixture.metric("thanos_compact_halted 0"),
                "the mark says what is to be done"
            );
            if starts_anew {
                compactor = pair.fixture.compactor();
            }
        }
        let view = pair.fixture.view().await;
        assert_eq!(
            view.listing.len(),
            2,
            "another one beside it would be its duplicate"
        );
        pair.fixture.bucket.put(&key, original).await.unwrap();
        pair.fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
        compactor.iterate().await.unwrap();
        assert!(pair.is_raw_marked().await);
    }
}

#[tokio::test]
async fn a_broken_aggregate_is_made_again_when_it_is_marked_for_deletion() {
    let pair = Pair::new().await;
    pair.damage().await;
    pair.mark(NoCompactReason::Manual).await;
    let compactor = pair.fixture.compactor();
    compactor.iterate().await.unwrap();
    let now_ms = pair.fixture.now_ms.load(Ordering::SeqCst);
    mark_for_deletion(&compactor.context, pair.five, "broken", now_ms)
        .await
        .unwrap();
    compactor.iterate().await.unwrap();
    assert!(!pair.is_raw_marked().await, "it is all there is");
    pair.fixture.now_ms.fetch_add(25 * HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    assert!(pair.is_raw_marked().await);
    let left = pair.fixture.blocks().await;
    assert_eq!((left.len(), left[0].resolution_ms()), (1, RESOLUTION_5M_MS));
    assert!(left[0].ulid != pair.five);
}

#[tokio::test]
async fn a_sound_aggregate_that_is_marked_is_read_once_before_raw_data_goes() {
    let pair = Pair::new().await;
    let mark = NoDownsampleMark {
        id: pair.five,
        details: String::new(),
        no_downsample_time_s: 1,
        reason: NoDownsampleMark::REASON_MANUAL.to_owned(),
    };
    let key = format!("{}/{}", pair.five, NoDownsampleMark::FILE_NAME);
    pair.fixture
        .bucket
        .put(&key, Bytes::from(mark.to_json()))
        .await
        .unwrap();
    let compactor = pair.fixture.compactor();
    // Not to be had now is neither sound nor broken.
    let denied = Rule::next(Operation::GetRange, Fault::Error(ErrorKind::AccessDenied));
    pair.faulty.add(denied.times(usize::MAX));
    compactor.retain().await.unwrap_err();
    assert!(!pair.is_raw_marked().await);
    pair.faulty.heal();
    let before = pair.reads();
    compactor.retain().await.unwrap();
    assert_eq!(pair.reads(), before, "it is left alone for a while");
    assert!(!pair.is_raw_marked().await);
    pair.fixture.now_ms.fetch_add(pause_ms(1), Ordering::SeqCst);
    let plan = compactor.plan().await.unwrap();
    let marks =
        |action: &&Action| matches!(action, Action::MarkForDeletion { block, .. } if *block == pair.raw);
    assert_eq!(
        plan.iter().filter(marks).count(),
        1,
        "what is done is in the plan"
    );
    let after = pair.reads();
    assert!(after > before);
    compactor.retain().await.unwrap();
    assert!(pair.is_raw_marked().await);
    assert_eq!(pair.reads(), after);
}

/// Such marks are written by compactors, and say nothing of faults.
#[tokio::test]
async fn an_aggregate_that_is_marked_for_its_size_is_not_read() {
    let pair = Pair::new().await;
    pair.mark(NoCompactReason::IndexSizeExceeding).await;
    let before = pair.reads();
    pair.fixture.compactor().retain().await.unwrap();
    assert!(pair.is_raw_marked().await);
    assert_eq!(pair.reads(), before);
}

/// What goes on beside the iterations may come to the same block at the same time.
#[tokio::test]
async fn two_loops_never_read_the_same_aggregate() {
    let pair = Pair::new().await;
    pair.mark(NoCompactReason::Manual).await;
    let before = pair.reads();
    pair.fixture.compactor().retain().await.unwrap();
    let alone = pair.reads() - before;
    let mark = format!("{}/{}", pair.raw, DeletionMark::FILE_NAME);
    pair.fixture.bucket.delete(&mark).await.unwrap();
    let compactor = pair.fixture.compactor();
    let before = pair.reads();
    let (one, other) = tokio::join!(compactor.retain(), compactor.retain());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert!(pair.is_raw_marked().await);
    assert_eq!(pair.reads() - before, alone);
}

/// To read it may take hours.
#[tokio::test]
async fn an_aggregate_that_is_marked_for_deletion_while_it_is_read_stands_for_nothing() {
    let pair = Pair::new().await;
    pair.mark(NoCompactReason::Manual).await;
    let mark = DeletionMark {
        id: pair.five,
        details: "not wanted".to_owned(),
        deletion_time_s: pair.fixture.now_ms.load(Ordering::SeqCst) / 1000,
    };
    let key = format!("{}/{}", pair.five, DeletionMark::FILE_NAME);
    let text = Bytes::from(mark.to_json());
    let mut compactor = pair.fixture.compactor();
    let (clock, memory, faulty) = (
        Arc::clone(&compactor.clock),
        Arc::clone(&pair.memory),
        pair.faulty.clone(),
    );
    let before = pair.reads();
    // As soon as it was read somebody marks it, before the time is asked for again.
    compactor.clock = Arc::new(move || {
        if faulty.count(Operation::GetRange) > before {
            let put = memory.put(&key, text.clone()).now_or_never();
            put.expect("memory is there at once").unwrap();
        }
        clock()
    });
    compactor.retain().await.unwrap();
    assert!(pair.reads() > before);
    assert!(!pair.is_raw_marked().await);
}
