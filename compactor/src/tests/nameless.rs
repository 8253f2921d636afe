//! Blocks whose `meta.json` names no sources.

use sabre_tsdb::meta::BlockMeta;

use super::bad_input::damaged;
use super::fixture::{Fixture, counters};
use crate::plan::HOUR_MS;

/// Its aggregate names the block itself. So it is made once, and the raw data goes when it is there.
#[tokio::test]
async fn a_block_without_sources_is_downsampled_once_before_it_goes() {
    let mut fixture = Fixture::new();
    // There is an aggregate of something else.
    let other = counters(1, 0, 48, 1).ext_labels(&[("cluster", "us1")]);
    fixture.put(&other.build().unwrap()).await;
    fixture.iterate().await.unwrap();
    let nameless = fixture.put(&counters(2, 0, 48, 1).build().unwrap()).await;
    let meta = format!("{nameless}/meta.json");
    damaged(&fixture, &meta, |bytes| {
        let mut meta = BlockMeta::parse(bytes).unwrap();
        meta.compaction.sources.clear();
        *bytes = meta.to_json();
    })
    .await;
    fixture.config.policy.retention.raw_ms = 48 * HOUR_MS;
    fixture.compactor().retain().await.unwrap();
    assert!(!fixture.view().await.marks.deletion.contains_key(&nameless));
    for _ in 0..3 {
        fixture.iterate().await.unwrap();
    }
    assert!(
        fixture.metric("thanos_compact_downsample_total{resolution=\"0\"} 2"),
        "once each"
    );
    let five = fixture.blocks().await;
    assert!(
        five.iter().all(|meta| meta.resolution_ms() != 0),
        "the raw data goes"
    );
    let made = five
        .iter()
        .find(|meta| meta.ext_labels().get("cluster") == Some("eu1"));
    assert_eq!(made.unwrap().compaction.sources, [nameless]);
}
