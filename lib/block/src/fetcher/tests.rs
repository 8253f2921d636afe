//! What a sync sees, what it costs, and what it survives.

mod at_once;
mod failures;
mod fixture;
mod incomplete;
mod requests;

use sabre_objstore::Bucket;
use sabre_tsdb::meta::DeletionMark;

use self::fixture::{DAY_MS, Fixture, id};
use super::*;
use crate::filter::State;

#[tokio::test]
async fn a_view_has_whole_blocks_sorted_and_partial_ones_apart() {
    let fixture = Fixture::new();
    for n in [3, 1, 2] {
        fixture.add_block(id(n)).await;
    }
    fixture.put(id(4), "chunks/000001", "x").await;
    for foreign in ["debug/metas/x.json", "README", "thanos/meta.json"] {
        fixture.bucket.put(foreign, "x".into()).await.unwrap();
    }
    let view = fixture.sync().await;
    assert_eq!(fixture::ids(&view), [id(1), id(2), id(3)]);
    assert_eq!(view.listing.len(), 4);
    assert_eq!(view.partial.keys().copied().collect::<Vec<_>>(), [id(4)]);
    let partial = &view.partial[&id(4)];
    assert_eq!(partial.reason, PartialReason::NoMeta);
    assert_eq!(partial.newest_modified_ms, Some(fixture::WRITTEN_MS));
    assert!(view.is_complete());
    assert!(view.meta(id(2)).is_some());
    assert!(view.meta(id(4)).is_none());
}

#[tokio::test]
async fn a_broken_or_unknown_meta_makes_a_block_partial() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    for (n, text) in [
        (2, "{"),
        (3, r#"{"version":2}"#),
        (4, r#"{"version":1,"thanos":{"version":7}}"#),
    ] {
        fixture.add_block(id(n)).await;
        fixture.put(id(n), "meta.json", text).await;
    }
    let view = fixture.sync().await;
    assert_eq!(fixture::ids(&view), [id(1)]);
    for (n, why) in [(2, "EOF"), (3, "version 2"), (4, "version 7")] {
        let partial = &view.partial[&id(n)];
        let PartialReason::CorruptMeta(reason) = &partial.reason else {
            panic!("{partial:?}")
        };
        assert!(reason.contains(why), "{reason}");
        assert_eq!(partial.state(), State::CorruptedMeta);
    }
    assert!(view.is_complete(), "the view knows all that can be known");
}

#[tokio::test]
async fn the_directory_says_which_block_it_is() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    let meta = BlockMeta {
        ulid: id(7),
        ..BlockMeta::default()
    };
    fixture.put_bytes(id(1), "meta.json", meta.to_json()).await;
    let view = fixture.sync().await;
    assert_eq!(fixture::ids(&view), [id(1)]);
}

#[tokio::test]
async fn filters_decide_which_blocks_count() {
    let mut fixture = Fixture::new();
    fixture.filters = FilterChain {
        ignore_deletion_marks_delay_ms: Some(DAY_MS),
        consistency_delay_ms: DAY_MS,
        ..FilterChain::default()
    };
    for n in [1, 2, 3] {
        fixture.add_block(id(n)).await;
    }
    fixture
        .mark(id(1), fixture::NOW_MS / 1000 - 2 * DAY_MS / 1000)
        .await;
    fixture.mark(id(2), fixture::NOW_MS / 1000).await;
    let fresh = BlockId::from_parts(fixture::NOW_MS as u64, [0; 10]);
    fixture.add_block(fresh).await;
    let view = fixture.sync().await;
    assert_eq!(fixture::ids(&view), [id(2), id(3)]);
    assert_eq!(view.dropped[&id(1)], State::MarkedForDeletion);
    assert_eq!(view.dropped[&fresh], State::TooFresh);
    assert_eq!(view.marks.deletion.len(), 2);
}

#[tokio::test]
async fn metrics_have_thanos_names_and_every_state_from_the_start() {
    let registry = sabre_runtime::metrics::Registry::new();
    let mut fixture = Fixture::new();
    fixture.metrics = FetcherMetrics::register(&registry);
    let page = registry.classic();
    for state in State::ALL {
        let line = format!("thanos_blocks_meta_synced{{state=\"{}\"}} 0\n", state.as_str());
        assert!(page.contains(&line), "{line}");
    }
    assert!(page.contains("thanos_blocks_meta_modified{modified=\"replica-label-removed\"} 0\n"));
    fixture.add_block(id(1)).await;
    fixture.add_block(id(2)).await;
    fixture.put(id(2), "meta.json", "{").await;
    fixture.put(id(3), "index", "x").await;
    fixture.sync().await;
    let page = registry.classic();
    for line in [
        "thanos_blocks_meta_synced{state=\"loaded\"} 1\n",
        "thanos_blocks_meta_synced{state=\"corrupted-meta-json\"} 1\n",
        "thanos_blocks_meta_synced{state=\"no-meta-json\"} 1\n",
        "thanos_blocks_meta_synced{state=\"failed\"} 0\n",
        "thanos_blocks_meta_syncs_total 1\n",
        "thanos_blocks_meta_base_syncs_total 1\n",
        "thanos_blocks_meta_sync_failures_total 0\n",
        "thanos_blocks_meta_base_cache_busts_total 0\n",
        "thanos_blocks_meta_sync_duration_seconds_count 1\n",
        "thanos_blocks_meta_sync_duration_seconds_bucket{le=\"1000.0\"} 1\n",
    ] {
        let classic = line.replace("1000.0", "1000");
        assert!(page.contains(line) || page.contains(&classic), "{line} in {page}");
    }
}

#[tokio::test]
async fn the_concurrent_strategy_sees_the_same() {
    let mut fixture = Fixture::new();
    for n in [1, 2] {
        fixture.add_block(id(n)).await;
    }
    fixture.put(id(3), "index", "x").await;
    fixture.mark(id(1), 5).await;
    let recursive = fixture.sync().await;
    fixture.options.strategy = DiscoveryStrategy::Concurrent;
    let concurrent = fixture.sync().await;
    assert_eq!(concurrent.metas, recursive.metas);
    assert_eq!(concurrent.marks, recursive.marks);
    assert_eq!(concurrent.partial.keys().collect::<Vec<_>>(), [&id(3)]);
    let partial = &concurrent.partial[&id(3)];
    assert_eq!(partial.newest_modified_ms, None);
    assert_eq!(
        partial.age_from_ms(id(3)),
        id(3).time_ms(),
        "the id tells when nothing else does"
    );
}

#[tokio::test]
async fn other_marks_are_read_when_asked_for() {
    let mut fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture
        .put(
            id(1),
            "no-compact-mark.json",
            r#"{"version":1,"no_compact_time":3,"reason":"manual"}"#,
        )
        .await;
    fixture
        .put(
            id(1),
            "no-downsample-mark.json",
            r#"{"version":1,"no_downsample_time":3}"#,
        )
        .await;
    assert_eq!(fixture.sync().await.marks, Marks::default());
    fixture.options.marks = MarkKind::ALL.to_vec();
    let marks = fixture.sync().await.marks;
    assert_eq!(marks.no_compact[&id(1)].no_compact_time_s, 3);
    assert_eq!(marks.no_downsample[&id(1)].no_downsample_time_s, 3);
}

#[test]
fn strategies_are_called_as_in_thanos() {
    assert_eq!(
        DiscoveryStrategy::parse("concurrent"),
        Some(DiscoveryStrategy::Concurrent)
    );
    assert_eq!(
        DiscoveryStrategy::parse("recursive"),
        Some(DiscoveryStrategy::Recursive)
    );
    assert_eq!(DiscoveryStrategy::parse("other"), None);
}

fn mark(block: BlockId, deletion_time_s: i64) -> DeletionMark {
    DeletionMark {
        id: block,
        details: String::new(),
        deletion_time_s,
    }
}
