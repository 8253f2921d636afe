//! Labels that are longer than all that a stream reckons with.

use std::sync::Arc;

use sabre_model::MatchKind;
use sabre_objstore::MemoryBucket;
use sabre_runtime::budget::Budget;
use tonic::Code;

use crate::common::{TestBlock, TestStore, chunk, request, start_with};

/// A store of two blocks in which a short series comes before and behind one with such a label. Two more have the same
/// value, as short as it is long.
async fn store(value_bytes: usize, budget_bytes: u64) -> TestStore {
    let bucket = Arc::new(MemoryBucket::new("test"));
    for number in [1, 2] {
        let mut block = TestBlock::new(number, 0, 1000, &[("block", &number.to_string())]);
        for value in ["a".to_owned(), "b".repeat(value_bytes), "c".to_owned()] {
            let labels = [("again", "x"), ("own", &value), ("own_again", &value), ("x", "x")];
            block = block.with(&labels, &[chunk(0, 999, &[7; 20])]);
        }
        block.put(&*bucket).await;
    }
    start_with(bucket, Budget::new(budget_bytes, "--sabre.memory-budget"), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_a_megabyte_is_answered_where_there_is_memory() {
    let store = store(1 << 20, 256 << 20).await;
    // What is known of it from the first time is of no help to the second.
    for _ in 0..2 {
        let answer = store
            .series(request(&[(MatchKind::Re, "own", ".+")]))
            .await
            .unwrap();
        let lens: Vec<usize> = answer
            .series
            .iter()
            .map(|(labels, _)| labels.get("own").unwrap().len())
            .collect();
        assert_eq!(lens, [1, 1 << 20, 1, 1, 1 << 20, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_too_long_for_the_budget_fails_its_request_alone() {
    let store = store(4 << 20, 24 << 20).await;
    let status = store
        .series(request(&[(MatchKind::Re, "own", ".+")]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let message = status.message();
    assert!(
        message.contains("bytes of labels") && message.contains("--sabre.memory-budget"),
        "{message}"
    );
    let answer = store
        .series(request(&[(MatchKind::Eq, "own", "c")]))
        .await
        .unwrap();
    assert_eq!(answer.series.len(), 2);
}
