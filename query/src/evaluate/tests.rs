use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use sabre_model::{Labels, Matcher};
use sabre_promql::value::{SampleValue, Value};
use sabre_proto::thanos::{Aggr, AggrChunk, Chunk};
use sabre_runtime::budget::Budget;
use sabre_tsdb::chunk::xor::XorAppender;
use tokio::sync::Notify;

use super::*;

mod ahead;
mod settings;
mod waiting;

use crate::source::{
    Names, SelectOptions, SelectRequest, SeriesItem, SeriesStream, SourceFailure, StoreSource,
};

/// What a store does when it is asked.
#[derive(Clone, Debug)]
enum Play {
    Items(Vec<Result<SeriesItem, SourceFailure>>),
    Fail(SourceFailure),
    /// Gives these, then nothing more, ever.
    Hang(Vec<SeriesItem>),
    /// Gives series without end.
    Endless,
}

/// A store that does as it is told, the last thing again and again.
#[derive(Debug)]
struct Scripted {
    plays: Mutex<VecDeque<Play>>,
    seen: Mutex<Vec<(SelectRequest, SelectOptions)>>,
    asked: Notify,
    /// Told when a stream goes.
    dropped: Arc<Notify>,
}

struct TellsWhenDropped(Arc<Notify>);

impl Drop for TellsWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Scripted {
    fn new(plays: impl IntoIterator<Item = Play>) -> Arc<Scripted> {
        Arc::new(Scripted {
            plays: Mutex::new(plays.into_iter().collect()),
            seen: Mutex::default(),
            asked: Notify::new(),
            dropped: Arc::default(),
        })
    }

    fn next_play(&self) -> Play {
        let mut plays = self.plays.lock();
        if plays.len() > 1 {
            return plays.pop_front().unwrap();
        }
        plays[0].clone()
    }
}

#[async_trait::async_trait]
impl StoreSource for Scripted {
    async fn select(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<SeriesStream, SourceFailure> {
        self.seen.lock().push((request, options));
        self.asked.notify_one();
        let guard = TellsWhenDropped(Arc::clone(&self.dropped));
        let stream = match self.next_play() {
            Play::Fail(failure) => return Err(failure),
            Play::Items(items) => futures::stream::iter(items).boxed(),
            Play::Hang(items) => futures::stream::iter(items.into_iter().map(Ok))
                .chain(futures::stream::pending())
                .boxed(),
            Play::Endless => futures::stream::iter((0..).map(|n| Ok(series(n)))).boxed(),
        };
        Ok(stream
            .map(move |item| {
                let _held = &guard;
                item
            })
            .boxed())
    }

    async fn label_names(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        self.seen.lock().push((request, options));
        Ok((
            vec!["a".into(), "b".into(), "c".into()],
            vec!["one is down".into()],
        ))
    }

    async fn label_values(
        &self,
        label: &str,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        self.seen.lock().push((request, options));
        Ok((vec![label.into()], Vec::new()))
    }
}

fn series(number: u64) -> SeriesItem {
    let name = format!("{number:020}");
    let labels = Labels::from_pairs([("__name__", "up"), ("n", name.as_str())]).unwrap();
    let mut appender = XorAppender::new();
    for t in 0..100 {
        appender.append(t * 15_000, number as f64).unwrap();
    }
    let chunk = AggrChunk {
        min_time: 0,
        max_time: 99 * 15_000,
        raw: Some(Chunk {
            data: appender.finish().into(),
            ..Chunk::default()
        }),
        ..AggrChunk::default()
    };
    SeriesItem::Series(labels, vec![chunk])
}

fn items(count: u64) -> Play {
    Play::Items((0..count).map(|n| Ok(series(n))).collect())
}

fn engine(source: &Arc<Scripted>, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig {
        replica_labels: vec!["replica".to_owned()],
        ..EngineConfig::default()
    };
    change(&mut config);
    Engine::new(Arc::<Scripted>::clone(source), config)
}

fn instant(expression: &str) -> QueryRequest {
    QueryRequest {
        expression: expression.to_owned(),
        times: QueryTimes::Instant { time_ms: 600_000 },
        lookback_delta_ms: None,
        max_source_resolution: None,
        limit: 0,
        wants_times: true,
        context: RequestContext {
            dedup: true,
            ..RequestContext::default()
        },
    }
}

fn range(expression: &str) -> QueryRequest {
    QueryRequest {
        times: QueryTimes::Range {
            start_ms: 600_000,
            end_ms: 900_000,
            step_ms: 60_000,
        },
        ..instant(expression)
    }
}

#[tokio::test]
async fn a_query_is_answered_with_what_it_cost() {
    let source = Scripted::new([items(3)]);
    let answer = engine(&source, |_| {}).query(&instant("sum(up)")).await.unwrap();
    let Value::Vector(samples) = &answer.value else {
        panic!("{:?}", answer.value)
    };
    assert_eq!(samples[0].value, SampleValue::Float(3.0));
    let statistics = &answer.statistics;
    assert_eq!(
        (statistics.selects, statistics.series, statistics.samples),
        (1, 3, 300)
    );
    assert!(statistics.chunk_bytes > 0 && statistics.peak_bytes > 0 && statistics.decode_us > 0);
}

#[tokio::test]
async fn stores_are_told_what_a_selector_needs() {
    let source = Scripted::new([items(1)]);
    let engine = engine(&source, |_| {});
    let mut request = range("sum by (job) (max_over_time(up[2m] offset 1m))");
    request.max_source_resolution = Some(Resolution::Ms(300_000));
    request.context.metadata = vec![("thanos-tenant".into(), "t".into())];
    engine.query(&request).await.unwrap();
    let (select, options) = source.seen.lock().pop().unwrap();
    assert_eq!((select.mint, select.maxt), (420_001, 840_000));
    assert_eq!((select.max_resolution_ms, select.skip_chunks), (300_000, false));
    assert_eq!(select.aggregates, [Aggr::Max as i32]);
    let hints = select.hints.unwrap();
    assert_eq!(
        (hints.step_millis, hints.func.unwrap().name.as_str()),
        (60_000, "max_over_time")
    );
    assert_eq!(hints.range.unwrap().millis, 120_000);
    assert_eq!(options.without_replica_labels, ["replica"]);
    assert_eq!(options.metadata, request.context.metadata);
    // A rate of two minutes cannot be made of windows of five.
    request.expression = "rate(up[2m])".into();
    request.context.dedup = false;
    engine.query(&request).await.unwrap();
    let (select, options) = source.seen.lock().pop().unwrap();
    assert_eq!(
        (select.max_resolution_ms, select.aggregates),
        (60_000, vec![Aggr::Counter as i32])
    );
    assert!(options.without_replica_labels.is_empty() && options.partial_response);
}

#[tokio::test]
async fn a_tenant_sees_its_own_series_whatever_it_asks_for() {
    let source = Scripted::new([items(1)]);
    let engine = engine(&source, |config| {
        config.enforced_tenant_label = Some("team".into());
    });
    let mut request = instant(r#"up{team=~"a|b", job="x"}"#);
    let failure = engine.query(&request).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadData);
    request.context.tenant = Some("mine".into());
    engine.query(&request).await.unwrap();
    let (select, _) = source.seen.lock().pop().unwrap();
    let texts: Vec<String> = select.matchers.iter().map(Matcher::to_string).collect();
    assert_eq!(texts, [r#"job="x""#, r#"__name__="up""#, r#"team="mine""#]);
    let names = engine
        .label_names(&names_request(Vec::new(), &request.context))
        .await
        .unwrap();
    assert_eq!(names.values.len(), 3);
    let (select, _) = source.seen.lock().pop().unwrap();
    assert_eq!(select.matchers, [Matcher::equal("team", "mine")]);
}

#[tokio::test]
async fn what_stores_warn_of_is_told() {
    let warning = Ok(SeriesItem::Warning("store a: connection refused".into()));
    let source = Scripted::new([Play::Items(vec![warning, Ok(series(1))])]);
    let answer = engine(&source, |_| {})
        .query(&instant("rate(up[5m])"))
        .await
        .unwrap();
    assert_eq!(answer.warnings, ["store a: connection refused"]);
    assert_eq!(answer.infos.len(), 1, "{:?}", answer.infos);
    assert!(answer.infos[0].contains("might not be a counter") && answer.infos[0].ends_with("(1:6)"));
}

#[tokio::test]
async fn failures_have_the_types_of_prometheus() {
    let store = || SourceFailure::Store("store a: damaged".into());
    let late = Play::Items(vec![Ok(series(1)), Err(store())]);
    for (play, request, kind, text) in [
        (
            Play::Fail(store()),
            instant("up"),
            FailureKind::Internal,
            "expanding series: store a: damaged",
        ),
        (
            Play::Fail(store()),
            range("up"),
            FailureKind::Execution,
            "expanding series: store a: damaged",
        ),
        (
            late.clone(),
            range("up"),
            FailureKind::Execution,
            "expanding series: store a: damaged",
        ),
        (
            late,
            instant("sum(up)"),
            FailureKind::Internal,
            "expanding series: store a: damaged",
        ),
        (
            Play::Fail(SourceFailure::Limit("too many".into())),
            instant("up"),
            FailureKind::Execution,
            "expanding series: too many",
        ),
        (
            Play::Fail(SourceFailure::Timeout("too slow".into())),
            range("up"),
            FailureKind::Timeout,
            "expanding series: too slow",
        ),
        (
            items(1),
            instant("sum("),
            FailureKind::BadData,
            "1:5: parse error: unclosed left parenthesis",
        ),
        (
            items(1),
            range("up[5m]"),
            FailureKind::BadData,
            "invalid expression type \"range vector\" for range query",
        ),
        (
            items(2),
            instant("up + on () up"),
            FailureKind::Execution,
            "found duplicate series for the match group {}",
        ),
    ] {
        let source = Scripted::new([play]);
        let failure = engine(&source, |_| {}).query(&request).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.starts_with(text), "{failure}");
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends_and_gives_its_place_back() {
    let source = Scripted::new([Play::Hang(vec![series(1)]), items(1)]);
    let engine = engine(&source, |config| config.max_concurrent = 1);
    let mut request = instant("up");
    request.context.timeout = Some(Duration::from_millis(30));
    let failure = engine.query(&request).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Timeout, "query timed out in expression evaluation")
    );
    source.dropped.notified().await;
    engine.query(&instant("up")).await.unwrap();
}

#[tokio::test]
async fn those_that_find_no_place_wait_for_one() {
    let source = Scripted::new([Play::Hang(Vec::new())]);
    let engine = Arc::new(engine(&source, |config| config.max_concurrent = 1));
    let first = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.query(&instant("up")).await }
    });
    source.asked.notified().await;
    assert_eq!(engine.in_flight(), (1, 1));
    let mut request = instant("up");
    request.context.timeout = Some(Duration::from_millis(10));
    let failure = engine.query(&request).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Timeout, "query timed out in query queue")
    );
    first.abort();
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_ends_its_calls() {
    for play in [Play::Hang(vec![series(1)]), Play::Endless] {
        let source = Scripted::new([play]);
        let engine = Arc::new(engine(&source, |_| {}));
        let waiting = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.query(&range("sum(up)")).await }
        });
        source.asked.notified().await;
        waiting.abort();
        source.dropped.notified().await;
        while engine.in_flight().0 > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn memory_is_refused_by_name_and_given_back() {
    let source = Scripted::new([Play::Endless]);
    let budget = Budget::new(1 << 30, "--limit.all");
    let engine = engine(&source, |config| {
        config.budget = budget.clone();
        config.query_bytes = 4 << 20;
        config.query_bytes_flag = "--limit.one".to_owned();
    });
    let failure = engine.query(&range("up")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Execution);
    assert!(failure.message.contains("of 4194304 are in use"), "{failure}");
    assert!(failure.message.ends_with("or raise --limit.one"), "{failure}");
    source.dropped.notified().await;
    let matchers = vec![Matcher::equal("__name__", "up")];
    let failure = engine
        .series(&names_request(matchers, &RequestContext::default()))
        .await
        .unwrap_err();
    assert!(failure.message.ends_with("or raise --limit.one"), "{failure}");
    while budget.usage().used_bytes > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_is_charged_until_it_goes() {
    let source = Scripted::new([items(300)]);
    let budget = Budget::new(1 << 30, "--limit.all");
    let engine = engine(&source, |config| config.budget = budget.clone());
    let answer = engine.query(&range("up")).await.unwrap();
    let bytes = answer.statistics.charged.bytes();
    assert!(bytes > 300 * 6 * 16, "{bytes}");
    assert!(budget.usage().used_bytes >= bytes);
    drop(answer);
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn an_answer_is_cut_at_the_limit() {
    let source = Scripted::new([items(5)]);
    let engine = engine(&source, |_| {});
    for mut request in [instant("up"), range("up")] {
        request.limit = 2;
        let answer = engine.query(&request).await.unwrap();
        let count = match &answer.value {
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (count, answer.warnings),
            (2, vec!["results truncated due to limit".to_owned()])
        );
    }
    let mut names = names_request(Vec::new(), &RequestContext::default());
    names.limit = 2;
    let answer = engine.label_names(&names).await.unwrap();
    assert_eq!(answer.values, ["a", "b"]);
    assert_eq!(answer.warnings, ["one is down", "results truncated due to limit"]);
    assert_eq!(source.seen.lock().pop().unwrap().0.limit, 3);
}

fn names_request(matchers: Vec<Matcher>, context: &RequestContext) -> SeriesRequest {
    SeriesRequest {
        matchers: if matchers.is_empty() {
            Vec::new()
        } else {
            vec![matchers]
        },
        start_ms: 0,
        end_ms: 1000,
        limit: 0,
        context: context.clone(),
    }
}

#[tokio::test]
async fn series_of_several_sets_are_one_list() {
    let warned = Play::Items(vec![
        Ok(series(2)),
        Ok(SeriesItem::Warning("w".into())),
        Ok(series(4)),
    ]);
    let source = Scripted::new([items(3), warned]);
    let engine = engine(&source, |_| {});
    let mut request = names_request(vec![Matcher::equal("a", "b")], &RequestContext::default());
    request.matchers.push(vec![Matcher::equal("c", "d")]);
    let answer = engine.series(&request).await.unwrap();
    let numbers: Vec<&str> = answer
        .series
        .iter()
        .map(|labels| &labels.get("n").unwrap()[19..])
        .collect();
    assert_eq!(
        (numbers, answer.warnings),
        (vec!["0", "1", "2", "4"], vec!["w".to_owned()])
    );
    assert!(source.seen.lock().iter().all(|(select, _)| select.skip_chunks));
    request.matchers.clear();
    assert_eq!(
        engine.series(&request).await.unwrap_err().kind,
        FailureKind::BadData
    );
}
