//! Indexes that would be too large: the block that makes them so is marked, and the others go on.

use sabre_tsdb::meta::NoCompactReason;

use super::bad_input::{AROUND_THE_SECOND, levels};
use super::fixture::{Fixture, counters};
use crate::plan::BlockInfo;

#[tokio::test]
async fn the_largest_block_is_marked_before_an_index_passes_the_limit_and_the_others_are_compacted() {
    let mut fixture = Fixture::new();
    let mut ids = Vec::new();
    for n in 0..10 {
        let series = if n == 1 { 300 } else { 5 };
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, series);
        ids.push(fixture.put(&block.build().unwrap()).await);
    }
    let before = fixture.samples().await;
    let view = fixture.view().await;
    let sizes = BlockInfo::all(&view).into_iter();
    let largest = sizes.map(|block| block.index_bytes).max().unwrap();
    // 85 % of it are planned for: less than the largest and the three beside it have.
    fixture.config.policy.max_index_bytes = largest * 100 / 85;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    compactor.iterate().await.unwrap();
    let marks = fixture.view().await.marks.no_compact;
    let marks: Vec<_> = marks.iter().map(|(block, mark)| (*block, &mark.reason)).collect();
    assert_eq!(marks, [(ids[1], &NoCompactReason::IndexSizeExceeding)]);
    assert_eq!(levels(&fixture).await, AROUND_THE_SECOND);
    let view = fixture.view().await;
    for block in BlockInfo::all(&view) {
        assert!(block.index_bytes <= fixture.config.policy.max_index_bytes);
    }
    assert_eq!(fixture.samples().await, before);
    assert!(fixture.metric("thanos_compact_halted 0"));
}
