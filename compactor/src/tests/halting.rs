//! `--debug.halt-on-error`, and what goes on after it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sabre_model::BlockId;
use sabre_objstore::MemoryBucket;
use sabre_testkit::blocks::BlockBuilder;
use sabre_tsdb::meta::BlockMeta;

use super::bad_input::{damaged, out_of_order};
use super::fixture::{Fixture, START_MS, counters};
use crate::error::PassError;
use crate::execute::mark_for_deletion;
use crate::plan::HOUR_MS;

/// A fixture with five blocks, two of which overlap, that halts.
async fn halting() -> (Fixture, crate::compactor::Compactor) {
    let memory = MemoryBucket::new("b");
    memory.set_now_ms(START_MS);
    let mut fixture = Fixture::on(Arc::new(memory));
    fixture.config.halts_on_error = true;
    for n in 0..5 {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 1);
        fixture.put(&block.build().unwrap()).await;
    }
    fixture.put(&counters(20, 2, 4, 1).build().unwrap()).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    (fixture, compactor)
}

#[tokio::test]
async fn a_halt_is_shown_until_the_process_ends() {
    let (fixture, compactor) = halting().await;
    let outcome = compactor.iterate().await;
    assert!(matches!(outcome, Err(PassError::Halt(_))), "{outcome:?}");
    assert!(fixture.metric("thanos_compact_halted 1"));
    let twin = fixture.view().await.metas.last().unwrap().ulid;
    sabre_block::delete_block(&*fixture.bucket, twin).await.unwrap();
    // What looks at the bucket beside the iterations finds no trouble any more.
    compactor.tidy().await.unwrap();
    compactor.refresh_todo().await.unwrap();
    assert!(fixture.metric("thanos_compact_halted 1"));
    assert!(fixture.metric("thanos_compact_todo_compactions 1"));
    assert!(compactor.status_json().contains("\"halted\":true"));
}

#[tokio::test]
async fn after_a_halt_nothing_is_marked_and_what_is_marked_is_deleted() {
    let (mut fixture, _) = halting().await;
    fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
    fixture.config.policy.downsamples = false;
    let compactor = fixture.compactor();
    let marked = fixture.view().await.metas[4].ulid;
    fixture.now_ms.store(START_MS + 100 * HOUR_MS, Ordering::SeqCst);
    let outcome = compactor.iterate().await;
    assert!(matches!(outcome, Err(PassError::Halt(_))), "{outcome:?}");
    mark_for_deletion(&compactor.context, marked, "not wanted", START_MS)
        .await
        .unwrap();
    compactor.tidy().await.unwrap();
    let view = fixture.view().await;
    assert!(view.marks.deletion.is_empty(), "retention stopped");
    assert!(view.listing.get(marked).is_none(), "cleaning did not");
    assert_eq!(view.listing.len(), 5);
    // A process that did not halt marks them all.
    fixture.config.halts_on_error = false;
    let compactor = fixture.compactor();
    compactor.has_passed.store(true, Ordering::SeqCst);
    compactor.tidy().await.unwrap();
    assert_eq!(fixture.view().await.marks.deletion.len(), 5);
}

#[tokio::test]
async fn a_process_marks_nothing_for_its_age_before_it_has_gone_through_all_work_once() {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
    fixture.config.policy.downsamples = false;
    fixture.put(&counters(1, 0, 2, 1).build().unwrap()).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    // Nothing is past its time yet.
    fixture.now_ms.store(START_MS + 24 * HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    fixture.now_ms.store(START_MS + 100 * HOUR_MS, Ordering::SeqCst);
    fixture.compactor().tidy().await.unwrap();
    assert!(fixture.view().await.marks.deletion.is_empty());
    compactor.tidy().await.unwrap();
    assert_eq!(fixture.view().await.marks.deletion.len(), 1);
}

#[tokio::test]
async fn a_block_that_gets_a_mark_halts_nothing() {
    let mut fixture = Fixture::new();
    fixture.config.halts_on_error = true;
    fixture.config.marks_out_of_order = true;
    for n in [0, 2, 3, 4, 5] {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 1);
        fixture.put(&block.build().unwrap()).await;
    }
    let broken = fixture.put(&out_of_order(70)).await;
    fixture.iterate().await.unwrap();
    assert!(fixture.view().await.marks.no_compact.contains_key(&broken));
    assert!(fixture.metric("thanos_compact_halted 0"));
    let levels = fixture.blocks().await;
    assert!(
        levels.iter().any(|meta| meta.compaction.level == 2),
        "the group goes on"
    );
    // Without the mark there is nothing to go on with.
    let mut other = Fixture::on(Arc::new(MemoryBucket::new("b")));
    other.config.halts_on_error = true;
    for n in [0, 2, 3, 4, 5] {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 1);
        other.put(&block.build().unwrap()).await;
    }
    other.put(&out_of_order(70)).await;
    assert!(matches!(other.iterate().await, Err(PassError::Halt(_))));
    assert!(other.metric("thanos_compact_halted 1"));
}

/// Four blocks and a newer one whose compaction fails without one of them being at fault: they hold no samples, and count
/// some.
async fn put_stuck_group(fixture: &Fixture) -> Vec<BlockId> {
    let cluster = [("cluster", "us1")];
    let mut stuck = Vec::new();
    for n in 0..4 {
        let range = START_MS + n * 2 * HOUR_MS..START_MS + (n + 1) * 2 * HOUR_MS;
        let block = BlockBuilder::new(START_MS as u64 + 50 + n as u64);
        let block = block.ext_labels(&cluster).time_range(range).build().unwrap();
        let id = fixture.put(&block).await;
        damaged(fixture, &format!("{id}/meta.json"), |bytes| {
            let mut meta = BlockMeta::parse(bytes).unwrap();
            meta.stats.num_samples = 5;
            *bytes = meta.to_json();
        })
        .await;
        stuck.push(id);
    }
    let newest = counters(60, 8, 10, 1).ext_labels(&cluster);
    fixture.put(&newest.build().unwrap()).await;
    stuck
}

#[tokio::test]
async fn the_alert_is_on_while_any_group_is_stuck_and_no_longer() {
    let (mut fixture, _) = halting().await;
    fixture.config.halts_on_error = false;
    let twin = fixture.view().await.metas.last().unwrap().ulid;
    let stuck = put_stuck_group(&fixture).await;
    let compactor = fixture.compactor();
    let trouble = async || compactor.iterate().await.err().map(|error| error.to_string());
    let why = trouble().await.unwrap();
    assert!(
        why.contains("hold no samples") && why.contains("overlap"),
        "{why}"
    );
    assert!(why.contains(&stuck[0].to_string()), "{why}");
    assert!(fixture.metric("thanos_compact_halted 1"));
    // One of the groups is mended, then the other.
    sabre_block::delete_block(&*fixture.bucket, twin).await.unwrap();
    let why = trouble().await.unwrap();
    assert!(
        why.contains("hold no samples") && !why.contains("overlap"),
        "{why}"
    );
    assert!(fixture.metric("thanos_compact_halted 1"));
    for block in stuck {
        sabre_block::delete_block(&*fixture.bucket, block).await.unwrap();
    }
    assert_eq!(trouble().await, None);
    assert!(fixture.metric("thanos_compact_halted 0"));
    fixture.put(&counters(71, 8, 10, 1).build().unwrap()).await;
    assert!(trouble().await.unwrap().contains("overlap"));
    assert!(fixture.metric("thanos_compact_halted 1"));
}
