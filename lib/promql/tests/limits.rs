//! What a query may take, what it asks of its source, and what it says when something is missing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what goes wrong fails the test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sabre_model::{Labels, Matcher};
use sabre_promql::annotation::Severity;
use sabre_promql::budget::ByteBudget;
use sabre_promql::parser::MAX_DEPTH;
use sabre_promql::source::{
    MemorySamples, MemoryStorage, Queryable, SampleBuffer, SelectHints, SeriesItem, SeriesSet, SourceError,
};
use sabre_promql::{EvalOptions, QueryError, query_instant, query_range};

fn storage(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    for number in 0..series {
        let mut samples = SampleBuffer::default();
        for t in 0..200 {
            samples.push(t * 15_000, (t * number as i64) as f64);
        }
        for name in ["x_total", "y_total"] {
            let labels = [
                ("__name__", name.to_owned()),
                ("n", number.to_string()),
                ("all", "1".to_owned()),
            ];
            let samples = MemorySamples::Decoded(Arc::new(samples.clone()));
            storage.insert(Labels::from_pairs(labels).unwrap(), samples);
        }
    }
    storage
}

/// Passes selections on, counts them, and remembers their hints.
struct Watched {
    inner: MemoryStorage,
    selections: AtomicUsize,
    hints: parking::Hints,
}

mod parking {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use sabre_promql::source::SelectHints;

    /// A list that can be added to from behind a shared reference.
    pub(crate) struct Hints(Sender<SelectHints>, Receiver<SelectHints>);

    impl Hints {
        pub(crate) fn new() -> Hints {
            let (sender, receiver) = channel();
            Hints(sender, receiver)
        }

        pub(crate) fn sender(&self) -> Sender<SelectHints> {
            self.0.clone()
        }

        pub(crate) fn all(&self) -> Vec<SelectHints> {
            self.1.try_iter().collect()
        }
    }
}

struct Shared<'w> {
    watched: &'w MemoryStorage,
    selections: &'w AtomicUsize,
    hints: std::sync::mpsc::Sender<SelectHints>,
}

impl Watched {
    fn new(inner: MemoryStorage) -> Watched {
        Watched {
            inner,
            selections: AtomicUsize::new(0),
            hints: parking::Hints::new(),
        }
    }

    fn source(&self) -> Shared<'_> {
        Shared {
            watched: &self.inner,
            selections: &self.selections,
            hints: self.hints.sender(),
        }
    }
}

impl Queryable for Shared<'_> {
    fn select<'q>(&'q self, matchers: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError> {
        self.selections.fetch_add(1, Ordering::Relaxed);
        self.hints.send(hints.clone()).unwrap();
        self.watched.select(matchers, hints)
    }
}

/// Warns, then fails.
struct Broken;

impl Queryable for Broken {
    fn select<'q>(&'q self, _: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError> {
        let warning = Ok(SeriesItem::Warning("store a did not answer".to_owned()));
        let error = Err(SourceError::new("store b is gone"));
        let fails = hints.func == "sum";
        Ok(Box::new([warning, error].into_iter().take(if fails {
            2
        } else {
            1
        })))
    }
}

#[test]
fn the_deepest_queries_that_are_read_are_evaluated() {
    let storage = storage(2);
    let depth = MAX_DEPTH - 3;
    let around = |open: &str, close: &str| format!("{}x_total{}", open.repeat(depth), close.repeat(depth));
    let queries = [
        around("(", ")"),
        around("-", ""),
        around("abs(", ")"),
        around("sum without () (", ")"),
        around("label_join(", ",\"a\",\"b\",\"c\")"),
        around("", " + 1"),
        around("", " or x_total"),
        around("", " * on (n) group_left x_total"),
    ];
    for query in queries {
        let answer = query_range(&storage, &query, 0, 60_000, 15_000, &EvalOptions::default());
        answer.unwrap_or_else(|error| panic!("{}…: {error}", &query[..20.min(query.len())]));
    }
}

#[test]
fn memory_that_does_not_fit_is_refused_with_the_numbers() {
    let storage = storage(50);
    let budget = ByteBudget::new(20_000);
    let options = EvalOptions {
        budget: &budget,
        ..EvalOptions::default()
    };
    let run = |query: &str| query_range(&storage, query, 0, 2_985_000, 15_000, &options);
    let error = run("x_total + on (n) y_total").unwrap_err();
    let QueryError::Budget(over) = &error else {
        panic!("{error}")
    };
    assert_eq!(over.limit, 20_000);
    assert!(over.used + over.wanted > 20_000, "{over:?}");
    assert!(error.to_string().contains("of 20000 are in use"), "{error}");
    assert_eq!(budget.used(), 0, "all is given back");
    // A result that is only passed on counts too.
    let error = run("x_total").unwrap_err();
    assert!(matches!(error, QueryError::Budget(_)), "{error}");
    // The same series fit where they are only summed up.
    run("sum(rate(x_total[5m]))").unwrap();
    assert_eq!(budget.used(), 0);
}

/// A few bytes of text can ask for trillions of steps: they are counted before a row of them is made.
#[test]
fn the_steps_of_a_subquery_are_refused_before_there_is_a_row_of_them() {
    let storage = storage(1);
    let budget = ByteBudget::new(64 << 20);
    let options = EvalOptions {
        budget: &budget,
        ..EvalOptions::default()
    };
    for query in [
        "count_over_time(vector(1)[100y:1ms])",
        "vector(1)[100y:1ms]",
        "sum_over_time(hour()[100y:1ms])",
        "max_over_time(absent(nothing)[1y:100ms])",
        "max_over_time(x_total[100y:1ms])",
        "sum(max_over_time((x_total * 2)[100y:1ms]))",
        "max_over_time(max_over_time(vector(1)[1d:1ms])[100y:1ms])",
    ] {
        let error = query_instant(&storage, query, 2_985_000, &options).unwrap_err();
        assert!(matches!(error, QueryError::Budget(_)), "{query}: {error}");
        assert_eq!(budget.used(), 0, "{query}: all is given back");
    }
    query_instant(&storage, "count_over_time(vector(1)[1h:1s])", 2_985_000, &options).unwrap();
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_sum_holds_its_groups_and_not_its_series() {
    let peak = |series: usize, threads: usize| {
        let budget = ByteBudget::unlimited();
        let options = EvalOptions {
            budget: &budget,
            threads,
            ..EvalOptions::default()
        };
        query_range(
            &storage(series),
            "sum by (all) (rate(x_total[5m]))",
            0,
            2_985_000,
            15_000,
            &options,
        )
        .unwrap();
        budget.peak()
    };
    assert_eq!(peak(10, 1), peak(400, 1));
    // Threads work on a batch of rows.
    assert!(peak(400, 2) < 3_000_000, "{}", peak(400, 2));
}

#[test]
fn equal_parts_of_a_query_are_evaluated_once() {
    let watched = Watched::new(storage(3));
    let count = |query: &str| {
        watched.selections.store(0, Ordering::Relaxed);
        query_range(
            &watched.source(),
            query,
            0,
            60_000,
            15_000,
            &EvalOptions::default(),
        )
        .unwrap();
        watched.selections.load(Ordering::Relaxed)
    };
    assert_eq!(count("x_total / x_total"), 1);
    assert_eq!(count("sum(rate(x_total[5m])) / sum(rate(x_total[5m]))"), 1);
    assert_eq!(count("x_total / on (n) y_total"), 2);
    // Another time is another selection.
    assert_eq!(count("x_total - x_total offset 1m"), 2);
    assert_eq!(count("x_total and x_total @ 30"), 2);
}

#[test]
fn the_source_is_told_what_is_needed() {
    let watched = Watched::new(storage(1));
    let run = |query: &str| {
        query_range(
            &watched.source(),
            query,
            600_000,
            660_000,
            15_000,
            &EvalOptions::default(),
        )
        .unwrap();
        watched.hints.all()
    };
    let [instant] = run("sum by (n) (x_total)").try_into().unwrap();
    assert_eq!((instant.start_ms, instant.end_ms), (300_001, 660_000));
    assert_eq!(
        (instant.step_ms, instant.range_ms, instant.func),
        (15_000, 0, "sum")
    );
    assert_eq!((instant.by, instant.grouping), (true, vec!["n".to_owned()]));
    let [range] = run("sum(rate(x_total[1m] offset 30s))").try_into().unwrap();
    assert_eq!((range.start_ms, range.end_ms), (510_001, 630_000));
    assert_eq!((range.range_ms, range.func, range.by), (60_000, "rate", false));
    let [fixed] = run("x_total @ 100").try_into().unwrap();
    assert_eq!(
        (fixed.start_ms, fixed.end_ms, fixed.func),
        (-199_999, 100_000, "")
    );
    let [inner] = run("max_over_time((x_total + 1)[2m:30s])").try_into().unwrap();
    assert_eq!(
        (inner.start_ms, inner.end_ms, inner.step_ms, inner.func),
        (180_001, 660_000, 30_000, "")
    );
}

#[test]
fn a_query_that_nobody_waits_for_stops() {
    let cancelled = AtomicBool::new(true);
    let options = EvalOptions {
        cancelled: Some(&cancelled),
        ..EvalOptions::default()
    };
    let error = query_instant(&storage(1), "x_total", 0, &options).unwrap_err();
    assert!(matches!(error, QueryError::Cancelled), "{error}");
}

#[test]
fn warnings_of_the_source_come_with_the_result_and_errors_instead_of_it() {
    let result = query_instant(&Broken, "x", 0, &EvalOptions::default()).unwrap();
    assert_eq!(
        result.annotations.texts(Severity::Warning, "x"),
        ["store a did not answer"]
    );
    let error = query_instant(&Broken, "sum(x)", 0, &EvalOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "expanding series: store b is gone");
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let storage = storage(1);
    let run = |query: &str, start, end, step| {
        let error = query_range(&storage, query, start, end, step, &EvalOptions::default()).unwrap_err();
        error.to_string()
    };
    assert_eq!(run("x", 10, 5, 1), "end timestamp must not be before start time");
    assert!(run("x", 0, 5, 0).starts_with("zero or negative query resolution step"));
    assert_eq!(
        run("x[5m]", 0, 5, 1),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let storage = storage(150);
    let run = |query: &str, threads: usize| {
        let options = EvalOptions {
            threads,
            ..EvalOptions::default()
        };
        let result = query_range(&storage, query, 0, 2_985_000, 47_000, &options).unwrap();
        format!("{:?}", result.value)
    };
    for query in [
        "sum(rate(x_total[3m]) / 3)",
        "avg(x_total / 7)",
        "stddev(x_total / 7)",
        "topk(3, x_total % 7)",
    ] {
        let one = run(query, 1);
        assert!(one == run(query, 2) && one == run(query, 7), "{query}");
    }
}
