//! Answers equal those of a store that holds everything in memory and does everything the slow way.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step fails the test"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use common::{TestBlock, TestChunk, TestStore, chunk, id, labels, matcher, request, start, start_with};
use proptest::prelude::*;
use sabre_model::{Labels, MatchKind, Matcher, shard::Shard};
use sabre_objstore::{MemoryBucket, SharedBucket};
use sabre_proto::thanos::{
    LabelNamesRequest, LabelValuesRequest, SeriesRequest, ShardInfo, store_client::StoreClient,
};
use sabre_runtime::budget::Budget;
use sabre_store::CostRule;

type Answer = BTreeMap<Labels, BTreeSet<TestChunk>>;

fn overlaid(block: &TestBlock, series: &Labels, removed: &[String]) -> Labels {
    series.overlaid(&block.external).without(removed)
}

fn matchers(request: &[sabre_proto::thanos::LabelMatcher]) -> Vec<Matcher> {
    sabre_proto::convert::matchers_from_wire(request).unwrap()
}

/// What is selected of each block: its series whose own labels pass the matchers that are not on external labels.
fn selected<'a>(
    blocks: &'a [TestBlock],
    wire: &'a [sabre_proto::thanos::LabelMatcher],
) -> impl Iterator<Item = (&'a TestBlock, &'a Labels, &'a Vec<TestChunk>)> {
    blocks.iter().flat_map(move |block| {
        let (on_external, others): (Vec<_>, Vec<_>) = matchers(wire)
            .into_iter()
            .partition(|m| block.external.get(m.name()).is_some_and(|v| !v.is_empty()));
        let fits = on_external
            .iter()
            .all(|m| m.matches(block.external.get(m.name()).unwrap_or("")));
        let picks = fits && !others.is_empty();
        block
            .series
            .iter()
            .filter(move |(lset, _)| {
                picks && others.iter().all(|m| m.matches(lset.get(m.name()).unwrap_or("")))
            })
            .map(move |(lset, chunks)| (block, lset, chunks))
    })
}

fn in_range(block: &TestBlock, chunks: &[TestChunk], mint: i64, maxt: i64) -> Vec<TestChunk> {
    let block_fits = block.mint <= maxt && mint < block.maxt;
    chunks
        .iter()
        .filter(|c| block_fits && c.mint <= maxt && c.maxt >= mint)
        .cloned()
        .collect()
}

fn expected(blocks: &[TestBlock], request: &SeriesRequest) -> Answer {
    let shard = request
        .shard_info
        .clone()
        .and_then(|s| Shard::new(s.shard_index, s.total_shards, s.by, s.labels));
    let mut answer = Answer::new();
    for (block, lset, chunks) in selected(blocks, &request.matchers) {
        let chunks = in_range(block, chunks, request.min_time, request.max_time);
        let lset = overlaid(block, lset, &request.without_replica_labels);
        if chunks.is_empty()
            || shard
                .as_ref()
                .is_some_and(|shard| !shard.holds(lset.iter(), &mut Vec::new()))
        {
            continue;
        }
        let entry = answer.entry(lset).or_default();
        if !request.skip_chunks {
            entry.extend(chunks);
        }
    }
    answer
}

async fn check(store: &TestStore, blocks: &[TestBlock], request: SeriesRequest) -> Result<(), TestCaseError> {
    let expected = expected(blocks, &request);
    let answer = store.series(request.clone()).await.unwrap();
    prop_assert_eq!(answer.disorder(), None, "{:?}", request);
    if request.response_batch_size > 1 {
        prop_assert!(
            answer
                .message_series
                .iter()
                .all(|n| *n as i64 <= request.response_batch_size)
        );
    } else {
        prop_assert!(answer.message_series.iter().all(|n| *n == 1));
    }
    let mut got = Answer::new();
    for (lset, chunks) in answer.series {
        let mut set = BTreeSet::new();
        for chunk in chunks {
            let raw = chunk.raw.unwrap();
            prop_assert_eq!(raw.hash, 0, "left to whoever compares chunks");
            let encoding = raw.r#type as u8 + 1;
            let chunk = TestChunk {
                mint: chunk.min_time,
                maxt: chunk.max_time,
                encoding,
                data: raw.data.to_vec(),
            };
            prop_assert!(set.insert(chunk), "a chunk came twice");
        }
        got.insert(lset, set);
    }
    if request.limit > 0 {
        prop_assert_eq!(got.len(), expected.len().min(request.limit as usize));
        for (lset, chunks) in got {
            prop_assert_eq!(Some(&chunks), expected.get(&lset));
        }
    } else {
        prop_assert_eq!(got, expected, "{:?}", request);
    }
    Ok(())
}

async fn check_labels(
    store: &TestStore,
    blocks: &[TestBlock],
    request: &SeriesRequest,
    label: &str,
) -> Result<(), TestCaseError> {
    let removed = &request.without_replica_labels;
    let mut names = BTreeSet::new();
    let mut values = BTreeSet::new();
    for (block, lset, chunks) in selected(blocks, &request.matchers) {
        if in_range(block, chunks, request.min_time, request.max_time).is_empty() {
            continue;
        }
        let lset = overlaid(block, lset, removed);
        names.extend(lset.iter().map(|(name, _)| name.to_owned()));
        values.extend(
            lset.get(label)
                .filter(|value| !value.is_empty())
                .map(str::to_owned),
        );
    }
    let mut client = StoreClient::new(store.served.channel.clone());
    // Where a block's matchers are all on external labels, its index-header answers: that has a test of its own.
    let consumed = blocks.iter().any(|block| {
        request
            .matchers
            .iter()
            .all(|m| block.external.get(&m.name).is_some())
    });
    if consumed {
        return Ok(());
    }
    let ask = LabelNamesRequest {
        start: request.min_time,
        end: request.max_time,
        matchers: request.matchers.clone(),
        without_replica_labels: removed.clone(),
        ..LabelNamesRequest::default()
    };
    let answer = client.label_names(ask).await.unwrap().into_inner();
    prop_assert_eq!(
        answer.names,
        names.into_iter().collect::<Vec<_>>(),
        "{:?}",
        request
    );
    let ask = LabelValuesRequest {
        label: label.to_owned(),
        start: request.min_time,
        end: request.max_time,
        matchers: request.matchers.clone(),
        without_replica_labels: removed.clone(),
        ..LabelValuesRequest::default()
    };
    let answer = client.label_values(ask).await.unwrap().into_inner();
    prop_assert_eq!(
        answer.values,
        values.into_iter().collect::<Vec<_>>(),
        "{} {:?}",
        label,
        request
    );
    Ok(())
}

/// Chunks of a series of a block that begins at `start`: one per ten instants, data that differs.
fn chunks_at(start: i64, spec: &[(u8, u8)]) -> Vec<TestChunk> {
    let of = |(n, (len, byte)): (usize, &(u8, u8))| {
        let mint = start + n as i64 * 10;
        chunk(mint, mint + 7, &vec![*byte; usize::from(*len)])
    };
    spec.iter().enumerate().map(of).collect()
}

/// Where in time the block begins, its external labels, and labels and chunks of its series.
type BlockSpec = (
    u8,
    BTreeMap<String, String>,
    Vec<(BTreeMap<String, String>, Vec<(u8, u8)>)>,
);

fn any_block() -> impl Strategy<Value = BlockSpec> {
    let name = || prop_oneof![Just("a"), Just("c"), Just("e"), Just("replica")].prop_map(str::to_owned);
    let series = proptest::collection::btree_map(name(), "[xy]", 1..4);
    let external = proptest::collection::btree_map(
        prop_oneof![Just("b"), Just("d"), Just("replica"), Just("e")].prop_map(str::to_owned),
        "[xz]",
        0..3,
    );
    let chunks = proptest::collection::vec((0u8..60, 0u8..3), 1..5);
    (
        0u8..3,
        external,
        proptest::collection::vec((series, chunks), 0..8),
    )
}

fn any_request() -> impl Strategy<Value = SeriesRequest> {
    let one = (
        0i32..4,
        "(a|c|b|e|replica)",
        "(x|y|z|\\.\\*|\\.\\+|x\\|y|\\||){0,2}",
    );
    let matchers = proptest::collection::vec(one, 1..4);
    let removed = prop_oneof![
        Just(vec![]),
        Just(vec!["replica".to_owned()]),
        Just(vec!["a".to_owned(), "d".to_owned()])
    ];
    let shard = proptest::option::of((0i64..3, any::<bool>()));
    (
        matchers,
        0i64..150,
        0i64..150,
        removed,
        shard,
        any::<bool>(),
        0i64..5,
        0i64..4,
    )
        .prop_map(
            |(matchers, mint, len, removed, shard, skip_chunks, limit, batch)| SeriesRequest {
                min_time: mint,
                max_time: mint + len,
                matchers: matchers
                    .into_iter()
                    .map(|(kind, name, value)| matcher(MatchKind::from_wire(kind).unwrap(), &name, &value))
                    .filter(|m| {
                        Matcher::new(MatchKind::from_wire(m.r#type).unwrap(), &*m.name, &*m.value).is_ok()
                    })
                    .collect(),
                without_replica_labels: removed,
                shard_info: shard.map(|(shard_index, by)| ShardInfo {
                    shard_index,
                    total_shards: 3,
                    by,
                    labels: vec!["a".to_owned()],
                }),
                skip_chunks,
                limit: limit.max(2) - 2,
                response_batch_size: batch,
                ..SeriesRequest::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn answers_equal_those_of_a_naive_store(
        blocks in proptest::collection::vec(any_block(), 1..5),
        requests in proptest::collection::vec(any_request(), 8),
    ) {
        let blocks: Vec<TestBlock> = (1u8..).zip(blocks).map(|(n, (slot, external, series))| {
            let start = i64::from(slot) * 50;
            let mut block = TestBlock::new(n, start, start + 50, &[]);
            block.id = id(n);
            block.external = Labels::from(external);
            block.segment_bytes = 400;
            block.series = series.into_iter()
                .map(|(lset, chunks)| (Labels::from(lset), chunks_at(start, &chunks))).collect();
            block
        }).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let bucket = Arc::new(MemoryBucket::new("test"));
            for block in &blocks {
                block.put(&*bucket).await;
            }
            let budget = || Budget::new(1 << 30, "--sabre.memory-budget");
            let store = start(Arc::clone(&bucket) as SharedBucket).await;
            // One that leaves out every list it can.
            let frugal = start_with(bucket as SharedBucket, budget(), |config| {
                config.cost_rule = Some(CostRule { always_below_bytes: 0, worth: 0.0, most_values_per_series: 0.0 });
            })
            .await;
            for request in requests {
                check(&frugal, &blocks, request.clone()).await?;
                check_labels(&frugal, &blocks, &request, "a").await?;
                check(&store, &blocks, request.clone()).await?;
                check_labels(&store, &blocks, &request, "a").await?;
                check_labels(&store, &blocks, &request, "replica").await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_matchers_left_label_calls_ask_the_index_headers() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let eu = TestBlock::new(1, 0, 100, &[("cluster", "eu")])
        .with(&[("__name__", "up"), ("pod", "p1")], &[chunk(0, 5, b"x")]);
    let us = TestBlock::new(2, 0, 100, &[("cluster", "us")])
        .with(&[("__name__", "up"), ("node", "n1")], &[chunk(0, 5, b"x")]);
    eu.put(&*bucket).await;
    us.put(&*bucket).await;
    let store = start(bucket as SharedBucket).await;
    let mut client = StoreClient::new(store.served.channel.clone());
    let names = LabelNamesRequest {
        end: 100,
        matchers: vec![matcher(MatchKind::Eq, "cluster", "eu")],
        ..LabelNamesRequest::default()
    };
    let answer = client.label_names(names.clone()).await.unwrap().into_inner();
    assert_eq!(answer.names, ["__name__", "cluster", "pod"]);
    let hints: sabre_proto::hintspb::LabelNamesResponseHints =
        sabre_proto::hints::unpack(&answer.hints.unwrap()).unwrap();
    assert_eq!(hints.queried_blocks.len(), 1);
    assert_eq!(hints.queried_blocks[0].id, eu.id.to_string());
    let removed = LabelNamesRequest {
        without_replica_labels: vec!["cluster".to_owned()],
        limit: 1,
        ..names
    };
    assert_eq!(
        client.label_names(removed).await.unwrap().into_inner().names,
        ["__name__"]
    );

    let values = |label: &str| LabelValuesRequest {
        label: label.to_owned(),
        end: 100,
        ..LabelValuesRequest::default()
    };
    assert_eq!(
        client
            .label_values(values("cluster"))
            .await
            .unwrap()
            .into_inner()
            .values,
        ["eu", "us"]
    );
    assert_eq!(
        client
            .label_values(values("pod"))
            .await
            .unwrap()
            .into_inner()
            .values,
        ["p1"]
    );
    assert_eq!(
        client.label_values(values("")).await.unwrap().into_inner().values,
        [""]
    );
    let gone = LabelValuesRequest {
        without_replica_labels: vec!["pod".to_owned()],
        ..values("pod")
    };
    let answer = client.label_values(gone).await.unwrap().into_inner();
    assert!(answer.values.is_empty() && answer.hints.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn matchers_that_are_all_on_external_labels_select_no_series() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    TestBlock::new(1, 0, 100, &[("cluster", "eu")])
        .with(&[("a", "1")], &[chunk(0, 5, b"x")])
        .put(&*bucket)
        .await;
    let store = start(bucket as SharedBucket).await;
    let answer = store
        .series(request(&[(MatchKind::Eq, "cluster", "eu")]))
        .await
        .unwrap();
    assert!(answer.series.is_empty());
    assert!(store.series(request(&[])).await.unwrap().series.is_empty());
    let both = request(&[
        (MatchKind::Eq, "cluster", "eu"),
        (MatchKind::Re, "__name__", ".*"),
    ]);
    assert_eq!(
        store.series(both).await.unwrap().series[0].0,
        labels(&[("a", "1"), ("cluster", "eu")])
    );
}
