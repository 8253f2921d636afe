//! What is shown and counted is what the loop does.

use std::collections::BTreeSet;

use sabre_model::BlockId;
use sabre_objstore::Bucket;
use sabre_testkit::blocks::BlockBuilder;
use sabre_tsdb::stale::STALE_NAN;

use super::fixture::{Fixture, START_MS, counters};
use crate::plan::{Action, BlockInfo, HOUR_MS, RESOLUTION_5M_MS, RetentionPolicy};
use crate::quarantine::Work;

async fn ten_blocks(fixture: &Fixture) -> Vec<BlockId> {
    let mut ids = Vec::new();
    for n in 0..10 {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 2);
        ids.push(fixture.put(&block.build().unwrap()).await);
    }
    ids
}

/// The sources of the planned compactions that have no made-up block among them.
fn planned(actions: &[Action]) -> BTreeSet<Vec<BlockId>> {
    let plans = actions.iter().filter_map(|action| match action {
        Action::Compact { plan, .. } => Some(plan),
        _ => None,
    });
    plans
        .map(|plan| plan.sources.iter().map(BlockInfo::id).collect())
        .collect()
}

/// The sources of what was compacted.
async fn done(fixture: &Fixture) -> BTreeSet<Vec<BlockId>> {
    let blocks = fixture.blocks().await;
    let made = blocks.iter().filter(|meta| meta.compaction.level > 1);
    made.map(|meta| meta.compaction.sources.clone()).collect()
}

#[tokio::test]
async fn a_plan_goes_around_a_block_without_a_segment_as_the_loop_does() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    fixture
        .bucket
        .delete(&format!("{}/chunks/000001", ids[1]))
        .await
        .unwrap();
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let actions = compactor.plan().await.unwrap();
    let named = |action: &&Action| matches!(action, Action::LeaveUnclear { block, why, .. } if *block == ids[1] && why.contains("chunks/000001"));
    assert_eq!(actions.iter().filter(named).count(), 1);
    compactor.refresh_todo().await.unwrap();
    assert!(fixture.metric("thanos_compact_todo_compactions 2"));
    assert!(fixture.metric("thanos_compact_todo_compaction_blocks 6"));
    let error = compactor.iterate().await.unwrap_err().to_string();
    assert!(
        error.contains("chunks/000001 is missing"),
        "a missing segment is trouble: {error}"
    );
    let expected = BTreeSet::from([ids[2..4].to_vec(), ids[4..8].to_vec()]);
    assert_eq!(planned(&actions), expected);
    assert_eq!(done(&fixture).await, expected);
}

#[tokio::test]
async fn a_plan_heeds_what_the_process_found_broken_by_the_work_it_is_kept_out_of() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    compactor.set_apart(ids[1], Work::Downsampling, "no such histogram".to_owned());
    compactor.set_apart(ids[4], Work::Compaction, "index: broken".to_owned());
    let actions = compactor.plan().await.unwrap();
    let expected = BTreeSet::from([ids[..4].to_vec(), ids[5..8].to_vec()]);
    assert_eq!(planned(&actions), expected);
    compactor.iterate().await.unwrap_err();
    assert_eq!(done(&fixture).await, expected);
}

/// A block of 48 h whose series all ended before it.
fn stale_alone() -> sabre_testkit::blocks::Block {
    let range = START_MS..START_MS + 48 * HOUR_MS;
    let samples = (0..3).map(|n| (START_MS + n * HOUR_MS, STALE_NAN));
    BlockBuilder::new(START_MS as u64)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(range)
        .floats(&[("__name__", "gone")], samples)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_block_of_stale_markers_alone_has_nothing_to_downsample_and_is_no_trouble() {
    let fixture = Fixture::new();
    let block = fixture.put(&stale_alone()).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let due = |actions: &[Action]| {
        let due = actions
            .iter()
            .filter(|action| matches!(action, Action::Downsample(_)));
        due.count()
    };
    assert_eq!(due(&compactor.plan().await.unwrap()), 1);
    for _ in 0..3 {
        compactor.iterate().await.unwrap();
    }
    assert!(
        fixture.metric("thanos_compact_downsample_total{resolution=\"0\"} 1"),
        "once is enough"
    );
    assert!(fixture.metric("thanos_compact_halted 0"));
    assert_eq!(due(&compactor.plan().await.unwrap()), 0);
    compactor.refresh_todo().await.unwrap();
    assert!(fixture.metric("thanos_compact_todo_downsample_blocks 0"));
    let blocks = fixture.blocks().await;
    assert_eq!((blocks.len(), blocks[0].ulid), (1, block));
}

#[tokio::test]
async fn a_block_of_stale_markers_alone_does_not_outlive_its_retention() {
    let mut fixture = Fixture::new();
    fixture.config.policy.retention = RetentionPolicy {
        raw_ms: 48 * HOUR_MS,
        ..RetentionPolicy::default()
    };
    let stale = fixture.put(&stale_alone()).await;
    let whole = counters(2, 0, 48, 1).ext_labels(&[("cluster", "us1")]);
    fixture.put(&whole.build().unwrap()).await;
    fixture.iterate().await.unwrap();
    assert!(fixture.view().await.marks.deletion.contains_key(&stale));
    let left = fixture.blocks().await;
    assert_eq!((left.len(), left[0].resolution_ms()), (1, RESOLUTION_5M_MS));
}
