//! Marks that are there and cannot be understood: an iteration comes to its end all the same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt};
use sabre_testkit::blocks::BlockBuilder;
use sabre_tsdb::index::IndexWriteError;
use sabre_tsdb::meta::{BlockMeta, DeletionMark, NoCompactMark, NoCompactReason};

use super::bad_input::{AROUND_THE_SECOND, levels, out_of_order, ten_blocks};
use super::fixture::{Fixture, START_MS, counters};
use crate::compactor::Compactor;
use crate::error::PassError;
use crate::merge::JobError;
use crate::plan::{BlockInfo, HOUR_MS, groups, plan_group};
use crate::quarantine::Work;

/// What half a write leaves behind.
const HALF_A_MARK: &[u8] = b"{\"id\": ";

/// An iteration, which must end: one that goes in circles would not.
async fn iterate(compactor: &Compactor) -> Result<(), PassError> {
    let patience = Duration::from_secs(300);
    let ended = tokio::time::timeout(patience, compactor.iterate()).await;
    ended.expect("the iteration goes in circles")
}

/// Iterates, and sees that blocks are left alone for a mark that nobody understands: so many.
async fn leaves_alone_for(fixture: &Fixture, compactor: &Compactor, file: &str, blocks: usize) {
    let outcome = iterate(compactor).await;
    assert!(matches!(outcome, Err(PassError::Trouble(_))), "{outcome:?}");
    let text = outcome.unwrap_err().to_string();
    let why = format!("{file} is there and cannot be understood");
    assert!(text.contains(&why), "{text}");
    let left_alone = format!("sabre_compact_quarantined_blocks{{work=\"compaction\"}} {blocks}");
    assert!(fixture.metric(&left_alone));
    assert!(fixture.metric("thanos_compact_halted 1"));
}

async fn break_mark(fixture: &Fixture, block: BlockId, file: &str) {
    let key = format!("{block}/{file}");
    let broken = Bytes::from_static(HALF_A_MARK);
    fixture.bucket.put(&key, broken).await.unwrap();
}

#[tokio::test]
async fn a_broken_block_whose_no_compact_mark_cannot_be_understood_is_left_alone() {
    let mut fixture = Fixture::new();
    fixture.config.marks_out_of_order = true;
    let ids = ten_blocks(&fixture).await;
    sabre_block::delete_block(&*fixture.bucket, ids[1]).await.unwrap();
    let broken = fixture.put(&out_of_order(70)).await;
    break_mark(&fixture, broken, NoCompactMark::FILE_NAME).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    leaves_alone_for(&fixture, &compactor, NoCompactMark::FILE_NAME, 1).await;
    assert_eq!(levels(&fixture).await, AROUND_THE_SECOND);
    let key = format!("{broken}/{}", NoCompactMark::FILE_NAME);
    assert_eq!(
        &fixture.bucket.get_all(&key, 100).await.unwrap()[..],
        HALF_A_MARK,
        "a mark is never overwritten"
    );
    // It is removed, and the block gets a mark that says why.
    fixture.bucket.delete(&key).await.unwrap();
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    iterate(&compactor).await.unwrap();
    assert!(fixture.view().await.marks.no_compact.contains_key(&broken));
    assert!(fixture.metric("thanos_compact_halted 0"));
}

#[tokio::test]
async fn the_largest_source_of_a_result_that_is_too_large_is_left_alone_when_it_cannot_be_marked() {
    for is_broken in [false, true] {
        let fixture = Fixture::new();
        ten_blocks(&fixture).await;
        let compactor = fixture.compactor();
        let view = compactor.sync().await.unwrap();
        let group = groups(&BlockInfo::all(&view), false).remove(0);
        let planned = plan_group(
            &group,
            &compactor.restraint(&view).not_compacted,
            &compactor.config.policy,
        );
        let plan = planned.compaction.unwrap();
        let largest = plan
            .sources
            .iter()
            .max_by_key(|source| source.index_bytes)
            .unwrap()
            .id();
        if is_broken {
            break_mark(&fixture, largest, NoCompactMark::FILE_NAME).await;
        }
        let error = JobError::Index(IndexWriteError::TooLarge {
            what: "index",
            max_bytes: 1,
        });
        let step = compactor.handle_failure(&view, &group, &plan, error).await;
        assert_eq!(format!("{step:?}"), "Again");
        let view = compactor.sync().await.unwrap();
        assert!(
            compactor.restraint(&view).not_compacted.contains(&largest),
            "it is got on with"
        );
        assert_eq!(compactor.avoided(Work::Compaction).contains(&largest), is_broken);
        let mark = view.marks.no_compact.get(&largest).map(|mark| &mark.reason);
        assert_eq!(mark == Some(&NoCompactReason::IndexSizeExceeding), !is_broken);
    }
}

#[tokio::test]
async fn an_empty_block_whose_deletion_mark_cannot_be_understood_is_left_alone() {
    let fixture = Fixture::new();
    let mut empty = Vec::new();
    for n in 0..4 {
        let range = START_MS + n * 2 * HOUR_MS..START_MS + (n + 1) * 2 * HOUR_MS;
        let block = BlockBuilder::new(START_MS as u64 + n as u64)
            .ext_labels(&[("cluster", "eu1")])
            .time_range(range);
        empty.push(fixture.put(&block.build().unwrap()).await);
    }
    fixture.put(&counters(9, 8, 10, 1).build().unwrap()).await;
    for block in &empty[..2] {
        break_mark(&fixture, *block, DeletionMark::FILE_NAME).await;
    }
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    leaves_alone_for(&fixture, &compactor, DeletionMark::FILE_NAME, 2).await;
    assert_eq!(levels(&fixture).await, [(0, 2, 1), (2, 4, 1), (8, 10, 1)]);
}

/// What an operator decided is no trouble any more.
#[tokio::test]
async fn a_broken_block_that_is_marked_halts_nothing() {
    for file in [NoCompactMark::FILE_NAME, DeletionMark::FILE_NAME] {
        let fixture = Fixture::new();
        let ids = ten_blocks(&fixture).await;
        let index = format!("{}/index", ids[1]);
        fixture
            .bucket
            .put(&index, Bytes::from_static(b"nothing"))
            .await
            .unwrap();
        let compactor = fixture.compactor();
        compactor.prepare().await.unwrap();
        iterate(&compactor).await.unwrap_err();
        assert!(fixture.metric("thanos_compact_halted 1"));
        let now_s = fixture.now_ms.load(Ordering::SeqCst) / 1000;
        let (no_compact, deletion) = (
            NoCompactMark {
                id: ids[1],
                details: "cannot be read".to_owned(),
                no_compact_time_s: now_s,
                reason: NoCompactReason::Manual,
            },
            DeletionMark {
                id: ids[1],
                details: "cannot be read".to_owned(),
                deletion_time_s: now_s,
            },
        );
        let text = match file {
            NoCompactMark::FILE_NAME => no_compact.to_json(),
            _ => deletion.to_json(),
        };
        let key = format!("{}/{file}", ids[1]);
        fixture.bucket.put(&key, Bytes::from(text)).await.unwrap();
        iterate(&compactor).await.unwrap();
        assert!(fixture.metric("thanos_compact_halted 0"), "{file}");
        assert!(fixture.metric("sabre_compact_quarantined_blocks{work=\"compaction\"} 0"));
        // It goes back to what it was when the mark is taken away.
        fixture.bucket.delete(&key).await.unwrap();
        iterate(&compactor).await.unwrap_err();
        assert!(fixture.metric("thanos_compact_halted 1"), "{file}");
    }
}

#[tokio::test]
async fn a_block_that_ends_before_it_begins_is_no_trouble_when_it_is_marked() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    let key = format!("{}/meta.json", ids[1]);
    let text = fixture.bucket.get_all(&key, 1 << 20).await.unwrap();
    let mut meta = BlockMeta::parse(&text).unwrap();
    (meta.min_time, meta.max_time) = (meta.max_time, meta.min_time);
    fixture
        .bucket
        .put(&key, Bytes::from(meta.to_json()))
        .await
        .unwrap();
    let mark = NoCompactMark {
        id: ids[1],
        details: "its time is wrong".to_owned(),
        no_compact_time_s: 1,
        reason: NoCompactReason::Manual,
    };
    let key = format!("{}/{}", ids[1], NoCompactMark::FILE_NAME);
    fixture
        .bucket
        .put(&key, Bytes::from(mark.to_json()))
        .await
        .unwrap();
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    iterate(&compactor).await.unwrap();
    assert!(fixture.metric("thanos_compact_halted 0"));
}
