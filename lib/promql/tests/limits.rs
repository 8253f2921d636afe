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
use sabre_promql::histogram::{FloatHistogram, Layout, Span};
use sabre_promql::parser::MAX_DEPTH;
use sabre_promql::source::{
    MemorySamples, MemoryStorage, Queryable, SampleBuffer, SelectHints, SeriesItem, SeriesSet, SourceError,
};
use sabre_promql::value::{SampleValue, Value};
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

/// So many counters and so many native histograms, whose sums depend on the order of the summands.
fn uneven(series: u32) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    for number in 0..series {
        let third = f64::from(number) / 3.0;
        let (mut counter, mut histogram) = (SampleBuffer::default(), SampleBuffer::default());
        for sample in 0..20_u32 {
            let t = i64::from(sample) * 15_000;
            let value = f64::from(sample) * (third + 0.1);
            counter.push(t, value);
            let of = native(f64::from(sample + 1) * (third + 0.1));
            histogram.histograms.push((t, Arc::new(of)));
        }
        for (name, samples) in [("c_total", counter), ("h", histogram)] {
            let labels = [("__name__", name.to_owned()), ("n", format!("{number:04}"))];
            let labels = Labels::from_pairs(labels).unwrap();
            storage.insert(labels, MemorySamples::Decoded(Arc::new(samples)));
        }
    }
    storage
}

/// A histogram with so much in each of two buckets.
fn native(value: f64) -> FloatHistogram {
    let layout = Layout {
        positive_spans: vec![Span { offset: 0, length: 2 }],
        ..Layout::default()
    };
    FloatHistogram {
        layout: Arc::new(layout),
        count: 2.0 * value,
        sum: 3.0 * value,
        positive: vec![value, value],
        ..FloatHistogram::default()
    }
}

/// Threads share batches of at most 65,536 places each: with 401 steps, 2,100 series are 7 batches of two threads, and
/// 2 of seven.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let storage = uneven(2100);
    let run = |query: &str, threads: usize| {
        let options = EvalOptions {
            threads,
            ..EvalOptions::default()
        };
        let result = query_range(&storage, query, 0, 6_000_000, 15_000, &options).unwrap();
        let Value::Matrix(series) = &result.value else {
            panic!("a matrix")
        };
        assert!(!series.is_empty(), "{query}");
        // Shortest texts of floats tell all bits apart but those of NaN.
        format!("{:?}", result.value)
    };
    for query in [
        "sum(rate(c_total[1m]) / 3)",
        "stddev(c_total / 7)",
        "topk(3, c_total % 7)",
        "sum(rate(h[1m]))",
        "histogram_quantile(0.9, avg(h))",
    ] {
        let one = run(query, 1);
        assert!(one == run(query, 2) && one == run(query, 7), "{query}");
    }
}

#[test]
fn a_label_that_would_be_huge_is_refused_before_it_is_made() {
    let mut storage = MemoryStorage::new();
    let mut samples = SampleBuffer::default();
    samples.push(0, 1.0);
    let labels = [("__name__", "x".to_owned()), ("long", "v".repeat(1 << 16))];
    let samples = MemorySamples::Decoded(Arc::new(samples));
    storage.insert(Labels::from_pairs(labels).unwrap(), samples);
    let budget = ByteBudget::new(4 << 20);
    let options = EvalOptions {
        budget: &budget,
        ..EvalOptions::default()
    };
    let wide = "$1".repeat(1000);
    let replaced = format!("label_replace(x, \"new\", \"{wide}\", \"long\", \"(.*)\")");
    let joined = format!("label_join(x, \"new\", \"-\"{})", ",\"long\"".repeat(1000));
    for query in [&replaced, &joined] {
        let error = query_instant(&storage, query, 0, &options).unwrap_err();
        let QueryError::Budget(over) = error else {
            panic!("{error}")
        };
        assert!(over.wanted > 1000 << 16, "{over:?}");
        assert_eq!(budget.used(), 0);
    }
    let query = "label_join(label_replace(x, \"a\", \"$1\", \"long\", \"(.*)\"), \"b\", \"\", \"a\")";
    query_instant(&storage, query, 0, &options).unwrap();
    assert_eq!(budget.used(), 0);
}

/// Each of them is small, and compiled once; together they would hold gigabytes.
#[test]
fn expressions_of_label_replace_are_bounded_together() {
    let one = |n: usize| {
        format!(
            "label_replace(x_total, \"l{n}\", \"\", \"n\", \"\\\\pL{{{}}}\")",
            n % 9 + 1
        )
    };
    let many = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("({})", one(n))).collect();
        all.join(" or ")
    };
    let run = |count: usize| query_instant(&storage(1), &many(count), 0, &EvalOptions::default());
    run(10).unwrap();
    let error = run(300).unwrap_err();
    assert!(error.to_string().contains("use fewer or simpler ones"), "{error}");
}

/// A function that renames late keeps the name while it can still be asked for.
#[test]
fn names_that_go_at_the_end_can_be_used_until_then() {
    let storage = storage(2);
    let run = |query: &str, delayed_name_removal: bool| {
        let options = EvalOptions {
            delayed_name_removal,
            ..EvalOptions::default()
        };
        let result = query_instant(&storage, query, 600_000, &options)?;
        let Value::Vector(samples) = result.value else {
            panic!("a vector")
        };
        let texts = samples.iter().map(|sample| match &sample.value {
            SampleValue::Float(value) => format!("{} {value}", sample.labels),
            SampleValue::Histogram(_) => panic!("a float"),
        });
        Ok::<_, QueryError>(texts.collect::<Vec<_>>())
    };
    // Groups by name: at once there is none left.
    let query = "count(sum by (__name__) (rate({__name__=~\"[xy]_total\",n=\"1\"}[5m])))";
    assert_eq!(run(query, true).unwrap(), ["{} 2"]);
    assert!(run(query, false).is_err());
    // What is to go goes also from groups that have it.
    let query = "topk(5, sum by (__name__, n) (x_total{n=\"1\"} * 2))";
    assert_eq!(run(query, true).unwrap(), ["{n=\"1\"} 80"]);
    // Two metrics without their names are one series twice, now or at the end.
    let both = "rate({__name__=~\"[xy]_total\",n=\"1\"}[5m])";
    for delayed in [false, true] {
        let error = run(both, delayed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vector cannot contain metrics with the same labelset"
        );
    }
    // A name that was set anew stays.
    let renamed =
        "label_replace(rate(x_total{n=\"1\"}[5m]), \"__name__\", \"rate:$1\", \"__name__\", \"(.+)\")";
    let (late, early) = (run(renamed, true).unwrap(), run(renamed, false).unwrap());
    assert!(late[0].starts_with("{__name__=\"rate:x_total\""), "{late:?}");
    assert!(early[0].starts_with("{all=\"1\""), "{early:?}");
    for query in ["-x_total", "x_total * 2", "x_total > bool 1", "abs(x_total)"] {
        let plain = run(query, true).unwrap();
        assert_eq!(plain, run(query, false).unwrap(), "{query}");
        assert!(!plain[0].contains("x_total"), "{query}: {plain:?}");
    }
}
