//! Callers that stop reading: what an answer is charged goes back, whether they come back or not.

use futures::{StreamExt as _, stream};
use sabre_promql::value::{RangeSeries, Value};
use sabre_proto::{
    raw_body::frame_channel,
    thanos::{AggrChunk, Chunk, QueryRangeRequest, QueryRequest, query_server::Query},
};
use tonic::Request;

use super::{
    super::{series::send, unread::Messages},
    *,
};
use crate::{
    evaluate::{
        Answer, Charged, NamesAnswer, QueryRequest as Asked, SeriesAnswer, SeriesRequest, Statistics,
    },
    source::SeriesItem,
    watched::MAX_PAUSE,
};

const CHARGED_BYTES: u64 = 3 << 20;

/// Answers every query with a hundred series that are charged to a budget.
#[derive(Debug)]
struct Told(Budget);

#[async_trait::async_trait]
impl Queries for Told {
    async fn query(&self, _: &Asked) -> Result<Answer, QueryFailure> {
        let series = |number: usize| RangeSeries {
            labels: Labels::from_pairs([("n", number.to_string())]).unwrap(),
            floats: vec![(1000, 1.0)],
            histograms: Vec::new(),
        };
        Ok(Answer {
            value: Value::Matrix((0..100).map(series).collect()),
            warnings: Vec::new(),
            infos: Vec::new(),
            statistics: Statistics {
                charged: Charged::of_budget(&self.0, CHARGED_BYTES),
                ..Statistics::default()
            },
        })
    }

    async fn series(&self, _: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        Ok(SeriesAnswer::default())
    }

    async fn label_names(&self, _: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        Ok(NamesAnswer::default())
    }

    async fn label_values(&self, _: &str, _: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        Ok(NamesAnswer::default())
    }
}

fn services(budget: &Budget) -> Services {
    let (pool, registry) = (Pool::new(), Registry::new());
    let fanout = Fanout::new(pool.clone(), FanoutOptions::default(), &registry);
    let queries = Arc::new(Told(budget.clone()));
    let options = ServiceOptions::default();
    Services::new(fanout, queries, pool, budget.clone(), options, limits())
}

/// Reads some of an answer, then nothing for long.
async fn is_given_up<M>(mut messages: Messages<M>, budget: &Budget) {
    for _ in 0..5 {
        assert!(messages.next().await.unwrap().is_ok());
        tokio::time::sleep(MAX_PAUSE * 3 / 4).await;
        assert!(budget.usage().used_bytes >= CHARGED_BYTES, "it is read on");
    }
    tokio::time::sleep(MAX_PAUSE * 2).await;
    assert_eq!(budget.usage().used_bytes, 0);
    let status = messages.next().await.unwrap().map(drop).unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("was read for 120 s"), "{status}");
    assert!(messages.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_query_api_that_nobody_reads_are_given_up() {
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let services = services(&budget);
    let instant = services.query(Request::new(QueryRequest::default())).await;
    is_given_up(instant.unwrap().into_inner(), &budget).await;
    let range = services.query_range(Request::new(QueryRangeRequest::default()));
    is_given_up(range.await.unwrap().into_inner(), &budget).await;
}

#[tokio::test(start_paused = true)]
async fn series_that_nobody_reads_are_given_up_with_the_calls_to_peers() {
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let charge = budget.try_reserve(CHARGED_BYTES).unwrap();
    let series = |number: usize| {
        let raw = Some(Chunk {
            data: vec![0; 300_000].into(),
            ..Chunk::default()
        });
        let labels = Labels::from_pairs([("n", format!("{number:04}"))]).unwrap();
        let chunk = AggrChunk {
            raw,
            ..AggrChunk::default()
        };
        Ok(SeriesItem::Series(labels, vec![chunk]))
    };
    let items = stream::iter(0..1000).map(series).map(move |item| {
        let _held = &charge;
        item
    });
    let (sender, mut receiver) = frame_channel(2);
    let sending = tokio::spawn(send(items.boxed(), sender, 1, Arc::default()));
    for _ in 0..5 {
        assert!(receiver.recv().await.unwrap().is_ok());
        tokio::time::sleep(MAX_PAUSE * 3 / 4).await;
        assert_eq!(budget.usage().used_bytes, CHARGED_BYTES, "it is read on");
    }
    tokio::time::sleep(MAX_PAUSE * 2).await;
    sending.await.unwrap();
    assert_eq!(budget.usage().used_bytes, 0);
    // What was on its way still comes, and then the reason.
    let mut left = 0;
    let status = loop {
        match receiver.recv().await.unwrap() {
            Ok(_) => left += 1,
            Err(status) => break status,
        }
    };
    assert_eq!((left, status.code()), (2, Code::DeadlineExceeded));
}
