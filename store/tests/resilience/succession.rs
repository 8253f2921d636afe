//! Blocks that are compacted away while a request reads them.

use std::sync::Arc;

use sabre_objstore::{Bucket, ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_proto::thanos::{
    LabelNamesRequest, PartialResponseStrategy, SeriesRequest, store_client::StoreClient,
};
use sabre_testkit::{
    blocks::Block,
    fault::{Fault, FaultBucket, Rule},
};
use tonic::Code;

use crate::{
    common::{NOW_MS, TestStore, start},
    data::{SPAN_MS, block, everything, everything_or_warn, put, samples, truth},
};

const SERIES: usize = 300;

async fn remove(bucket: &MemoryBucket, block: &Block) {
    for (key, _) in bucket.objects() {
        if key.starts_with(&block.meta.ulid.to_string()) {
            bucket.delete(&key).await.unwrap();
        }
    }
}

/// A store of two blocks, beside which there now is one that was made of both.
async fn compacted() -> (Arc<MemoryBucket>, FaultBucket, TestStore, [Block; 2]) {
    let memory = Arc::new(MemoryBucket::new("test"));
    let old = [
        put(&*memory, block(1, 0, 1, SERIES)).await,
        put(&*memory, block(2, 1, 1, SERIES)).await,
    ];
    let faulty = FaultBucket::new(Arc::clone(&memory) as SharedBucket);
    let store = start(Arc::new(faulty.clone())).await;
    let mut new = block(3, 0, 2, SERIES).build().unwrap();
    new.meta.compaction.level = 2;
    new.meta.compaction.sources = old.iter().map(|block| block.meta.ulid).collect();
    for (file, content) in &mut new.files {
        if file == "meta.json" {
            *content = new.meta.to_json().into();
        }
    }
    new.put_into(&*memory).await.unwrap();
    faulty.heal();
    (memory, faulty, store, old)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_answers_within_the_same_request() {
    let (memory, _, store, old) = compacted().await;
    for block in &old {
        remove(&memory, block).await;
    }
    let answer = store.series(everything()).await.unwrap();
    assert_eq!(samples(&answer).unwrap(), truth(2, SERIES));
    assert!(answer.warnings.is_empty());
    let text = store.registry.classic();
    assert!(
        text.contains("sabre_store_blocks_gone_total{outcome=\"replaced\"} 1\n"),
        "{text}"
    );
    let mut client = StoreClient::new(store.served.channel.clone());
    let names = client
        .label_names(LabelNamesRequest {
            end: SPAN_MS,
            ..LabelNamesRequest::default()
        })
        .await;
    assert_eq!(names.unwrap().into_inner().names, ["__name__", "cluster", "pod"]);
}

/// Nobody puts other bytes under the name of a block, but a person who mends one by hand does.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_with_another_index_under_its_name_is_known_anew() {
    for is_away_between in [false, true] {
        let memory = Arc::new(MemoryBucket::new("test"));
        let old = put(&*memory, block(1, 0, 1, SERIES)).await;
        let store = start(Arc::clone(&memory) as SharedBucket).await;
        for _ in 0..2 {
            let answer = store.series(everything()).await.unwrap();
            assert!(samples(&answer).unwrap() == truth(1, SERIES));
        }
        remove(&memory, &old).await;
        if is_away_between {
            store.gateway.sync(NOW_MS).await.unwrap();
        }
        put(&*memory, block(1, 0, 1, SERIES / 3)).await;
        store.gateway.sync(NOW_MS).await.unwrap();
        let answer = store.series(everything()).await.unwrap();
        assert!(
            samples(&answer).unwrap() == truth(1, SERIES / 3),
            "{is_away_between}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_happens_no_sample_is_missing_and_none_comes_twice() {
    let mut runs = 0;
    for number in 0.. {
        let (_, faulty, store, _) = compacted().await;
        faulty.add(Rule {
            operation: Some(Operation::GetRange),
            ..Rule::nth(number, Fault::Error(ErrorKind::NotFound))
        });
        let ask = SeriesRequest {
            response_batch_size: 64,
            ..everything()
        };
        let answer = store.series(ask).await.unwrap();
        assert_eq!(samples(&answer).unwrap(), truth(2, SERIES), "request {number}");
        assert!(answer.warnings.is_empty());
        if faulty.triggered() == 0 {
            break;
        }
        runs += 1;
    }
    eprintln!("{runs} runs, a block gone at each of the requests of a query");
    assert!(runs > 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_successor_it_is_an_error_or_a_warning_as_the_caller_asks() {
    for strategy in [PartialResponseStrategy::Abort, PartialResponseStrategy::Warn] {
        let memory = Arc::new(MemoryBucket::new("test"));
        let gone = put(&*memory, block(1, 0, 1, SERIES)).await;
        put(&*memory, block(2, 1, 1, SERIES)).await;
        let store = start(Arc::clone(&memory) as SharedBucket).await;
        remove(&memory, &gone).await;
        let ask = SeriesRequest {
            partial_response_strategy: strategy.into(),
            ..everything()
        };
        let answer = store.series(ask).await;
        let name = gone.meta.ulid.to_string();
        if strategy == PartialResponseStrategy::Abort {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::Aborted);
            assert!(status.message().contains(&name), "{status}");
        } else {
            let answer = answer.unwrap();
            assert_eq!(answer.warnings.len(), 1);
            assert!(answer.warnings[0].contains(&name), "{:?}", answer.warnings);
            let mut rest = truth(2, SERIES);
            for series in rest.values_mut() {
                *series = series.split_off(&SPAN_MS);
            }
            assert_eq!(samples(&answer).unwrap(), rest);
        }
        let after = store.series(everything()).await.unwrap();
        assert_eq!(after.series.len(), SERIES, "it is served no longer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_stays_gone_does_not_keep_a_request_for_ever() {
    let (_, faulty, store, _) = compacted().await;
    faulty.add(Rule::next(Operation::GetRange, Fault::Error(ErrorKind::NotFound)).times(1000));
    let answer = store.series(everything_or_warn()).await.unwrap();
    assert!(answer.series.is_empty());
    assert!(!answer.warnings.is_empty());

    let (_, faulty, store, _) = compacted().await;
    faulty.add(Rule::next(Operation::GetRange, Fault::Error(ErrorKind::NotFound)).times(1000));
    let status = store.series(everything()).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unknown | Code::Aborted), "{status}");
    faulty.heal();
    // What failed is tried again after a while; a request counts it from the time of the machine.
    store.gateway.sync(4_102_444_800_000).await.unwrap();
    assert_eq!(
        samples(&store.series(everything()).await.unwrap()).unwrap(),
        truth(2, SERIES)
    );
}
