//! Blocks that disappear while they are read.

use std::sync::Arc;

use super::support::{
    BUDGET_FLAG, LATER_MS, Log, NOW_MS, Store, assert_says, block, everything, of_cluster, two_blocks,
};
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_proto::thanos::series_response;
use sabre_runtime::budget::Budget;
use sabre_testkit::blocks::{Block, BlockBuilder};

async fn delete(memory: &MemoryBucket, block: &Block) {
    for (file, _) in &block.files {
        memory
            .delete(&format!("{}/{file}", block.meta.ulid))
            .await
            .unwrap();
    }
}

/// Before anything of it was read.
#[tokio::test]
async fn before_it_is_read_it_is_left_out_or_named_and_the_next_request_is_answered() {
    let log = Log::keep();
    let (memory, bad, _) = two_blocks().await;
    let store = Store::start(&memory).await;
    let id = bad.meta.ulid.to_string();
    delete(&memory, &bad).await;
    let good = store.series(of_cluster("good")).await.unwrap();
    match store.series(everything()).await {
        Ok(answer) => {
            assert_eq!(answer.series, good.series);
            assert!(answer.warnings[0].contains(&id), "{:?}", answer.warnings);
        }
        Err(status) => assert_says("deleted before", &status, &[&id, "chunks/000001"]),
    }
    log.assert_has("deleted before", &[&id, "vanished"]);
    assert_eq!(store.series(everything()).await.unwrap().series, good.series);
    let outcome = store.gateway.sync(LATER_MS).await.unwrap();
    assert_eq!((outcome.served, outcome.failed), (1, 0));
}

/// The first frames are out when the objects go.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_an_answer_it_does_not_end_as_if_it_were_whole() {
    let memory = Arc::new(MemoryBucket::new("test"));
    let mut builder = BlockBuilder::new(1).ext_labels(&[("cluster", "bad")]);
    for n in 0..300 {
        let chunk = |at: i64| sabre_tsdb::chunk::EncodedChunk {
            mint: at * 10,
            maxt: at * 10 + 9,
            encoding: sabre_tsdb::chunk::Encoding::Xor,
            num_samples: 1,
            data: vec![7; 4000],
        };
        let labels = sabre_model::Labels::from_pairs([("a", format!("{n:03}"))]).unwrap();
        builder = builder.chunks(labels, (0..40).map(chunk).collect());
    }
    let large = builder.build().unwrap();
    large.put_into(&*memory).await.unwrap();
    block(2, "good").put_into(&*memory).await.unwrap();
    // As little as one request takes: it cannot read far ahead.
    let store = Store::with(&memory, Budget::new(16 << 20, BUDGET_FLAG), |_| {}).await;
    store.gateway.sync(NOW_MS).await.unwrap();

    let mut messages = store
        .client()
        .series(sabre_proto::thanos::SeriesRequest {
            matchers: vec![super::support::matcher(sabre_model::MatchKind::Re, "a", ".*")],
            ..everything()
        })
        .await
        .unwrap()
        .into_inner();
    assert!(messages.message().await.unwrap().is_some());
    delete(&memory, &large).await;
    let mut said = String::new();
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                if let Some(series_response::Result::Warning(warning)) = message.result {
                    said = warning;
                }
            }
            Ok(None) => break,
            Err(status) => {
                status.message().clone_into(&mut said);
                break;
            }
        }
    }
    let id = large.meta.ulid.to_string();
    assert!(
        said.contains(&id) && said.contains("chunks/000001"),
        "the answer ended as if it were whole: {said:?}"
    );
    assert_eq!(store.series(everything()).await.unwrap().series.len(), 3);
}
