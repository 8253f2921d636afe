//! Random queries over random series: the engine and the slow evaluator give the same bits.
//!
//! `SABRE_PROMQL_CASES` says how many; a failure names the seed, which alone makes the case again
//! (`SABRE_PROMQL_SEED`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

mod reference;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use reference::{Cell, Histogram, Labels, Reference, Row};
use sabre_promql::ast::Expr;
use sabre_promql::function::{Function, ValueType};
use sabre_promql::source::MemoryStorage;
use sabre_promql::value::{InstantSample, SampleValue, Value};
use sabre_promql::{EvalOptions, ParseOptions, QueryError, parse, query_instant, query_range};
use support::data;
use support::generate::{Generator, Vocabulary};
use support::random::Random;

const LOOKBACK_MS: i64 = 300_000;

/// Values by labels and time.
type Answer = BTreeMap<(Labels, i64), Cell>;

/// Every twentieth case is about the targets of series.
fn vocabulary(seed: u64) -> Vocabulary {
    use Function::{Abs, Increase, Info, LabelReplace, LastOverTime, MaxOverTime, Rate};
    let about_targets = seed % 20 == 7;
    let functions = if about_targets {
        &[
            Info,
            Info,
            Info,
            Info,
            Abs,
            Increase,
            LabelReplace,
            LastOverTime,
            MaxOverTime,
            Rate,
        ]
    } else {
        Function::ALL
    };
    let functions = functions.iter().copied();
    Vocabulary {
        metrics: if about_targets {
            data::METRICS_WITH_TARGETS
        } else {
            data::METRICS
        },
        labels: &["a", "b", "le"],
        values: &["x", "y", "", "x|y", ".+"],
        times: (data::START_MS, data::START_MS + data::LENGTH_MS),
        ranges_s: &[30, 60, 120, 300, 400],
        functions: functions
            .filter(|function| function.signature().returns == ValueType::Vector)
            .collect(),
    }
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn same_cell(a: &Cell, b: &Cell) -> bool {
    let all = |a: &BTreeMap<i64, f64>, b: &BTreeMap<i64, f64>| {
        a.len() == b.len() && a.iter().zip(b).all(|((i, x), (j, y))| i == j && same(*x, *y))
    };
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => same(*a, *b),
        (Cell::Histogram(a), Cell::Histogram(b)) => {
            (a.schema, a.hint, &a.custom) == (b.schema, b.hint, &b.custom)
                && same(a.threshold, b.threshold)
                && same(a.count, b.count)
                && same(a.sum, b.sum)
                && same(a.zero, b.zero)
                && all(&a.positive, &b.positive)
                && all(&a.negative, &b.negative)
        }
        _ => false,
    }
}

fn options(threads: usize) -> EvalOptions<'static> {
    EvalOptions {
        parse: ParseOptions::all(),
        lookback_ms: LOOKBACK_MS,
        threads,
        ..EvalOptions::default()
    }
}

/// The answer at one time.
fn instant(storage: &MemoryStorage, query: &str, t: i64) -> Result<Answer, QueryError> {
    let samples = match query_instant(storage, query, t, &options(1))?.value {
        Value::Vector(samples) => samples,
        Value::Scalar { t, value } => vec![InstantSample {
            labels: sabre_model::Labels::default(),
            t,
            value: SampleValue::Float(value),
        }],
        other => panic!("a vector or a scalar, not {other:?}"),
    };
    let mut answer = Answer::new();
    for sample in samples {
        let cell = match sample.value {
            SampleValue::Float(value) => Cell::Float(value),
            SampleValue::Histogram(h) => Cell::Histogram(Histogram::of(&h)),
        };
        let before = answer.insert((sample.labels.to_map(), sample.t), cell);
        assert!(before.is_none(), "{query}: {} twice", sample.labels);
    }
    Ok(answer)
}

/// Why the rules refuse a query: each is a part of what the engine says.
const REASONS: &[&str] = &[
    reference::SAME_LABELSET,
    "many-to-many matching not allowed",
    "multiple matches for labels",
    "Ratio value is NaN",
    "Parameter value is NaN",
    "overflows int64",
    "underflows int64",
    "histograms",
    "factor. Expected: 0 < ",
    "found duplicate series for info metric",
    "conflicting label: ",
    "this should be an info metric, with float samples",
    "modifier can only be used with",
];

/// Errors of both sides, and those among them for reasons that differ.
static ERRORS: AtomicU64 = AtomicU64::new(0);
static OTHER_REASONS: AtomicU64 = AtomicU64::new(0);

/// Both answers are the same to the bit, or both are errors of the evaluation. Their reasons are the same too, but where
/// several parts of a query are wrong and the sides come upon another one first: that is rare, and counted.
fn agree(at: &str, found: Result<Answer, QueryError>, wanted: &Result<Answer, String>) {
    let (found, wanted) = match (found, wanted) {
        (Ok(found), Ok(wanted)) => (found, wanted),
        (Err(QueryError::Evaluation(text)), Err(reason)) => {
            let known = REASONS.iter().any(|reason| text.contains(reason));
            assert!(known, "{at}: {text} against {reason}");
            ERRORS.fetch_add(1, Ordering::Relaxed);
            if !text.contains(reason.as_str()) {
                OTHER_REASONS.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        (found, wanted) => panic!("{at}: {:?} against {:?}", found.err(), wanted.as_ref().err()),
    };
    let missing = wanted.keys().find(|key| !found.contains_key(key));
    assert!(missing.is_none(), "{at}: no {missing:?}");
    for (key, cell) in &found {
        let wanted = wanted
            .get(key)
            .unwrap_or_else(|| panic!("{at}: {key:?} too many"));
        assert!(
            same_cell(cell, wanted),
            "{at}: {key:?}: {cell:?} against {wanted:?}"
        );
    }
}

fn engine(
    storage: &MemoryStorage,
    query: &str,
    times: &[i64],
    step: i64,
    threads: usize,
) -> Result<Answer, QueryError> {
    let (start, end) = (times[0], times[times.len() - 1]);
    let result = query_range(storage, query, start, end, step, &options(threads))?;
    let Value::Matrix(series) = result.value else {
        panic!("a matrix")
    };
    let mut answer = Answer::new();
    for series in series {
        let labels = series.labels.to_map();
        for (t, value) in series.floats {
            answer.insert((labels.clone(), t), Cell::Float(value));
        }
        for (t, h) in series.histograms {
            answer.insert((labels.clone(), t), Cell::Histogram(Histogram::of(&h)));
        }
    }
    Ok(answer)
}

fn expected(reference: &Reference<'_>, expr: &Expr, times: &[i64]) -> Result<Answer, String> {
    let mut answer = Answer::new();
    let mut add = |labels: &Labels, cells: Vec<Option<Cell>>| {
        for (t, cell) in times.iter().zip(cells) {
            if let Some(cell) = cell {
                answer.insert((labels.clone(), *t), cell);
            }
        }
    };
    if expr.value_type() == ValueType::Scalar {
        let values = reference.scalar(expr, times)?;
        add(
            &Labels::new(),
            values.into_iter().map(|value| Some(Cell::Float(value))).collect(),
        );
        return Ok(answer);
    }
    for Row { labels, cells } in reference.vector(expr, times)? {
        add(&labels, cells);
    }
    Ok(answer)
}

/// Runs one case, and says whether it had an answer that is not empty.
fn check(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let storage = data::storage(&mut random);
    let depth = 1 + random.below(3);
    let query = Generator {
        random: &mut random,
        vocabulary: vocabulary(seed),
    }
    .query(depth)
    .to_string();
    let step = random.pick(&[15_000, 60_000, 47_000]);
    let start = data::START_MS + random.below(1200) as i64 * 1000;
    let times: Vec<i64> = (0..=random.below(8) as i64).map(|i| start + i * step).collect();
    let mut expr = parse(&query, ParseOptions::all()).unwrap();
    unwrap_arguments(&mut expr);
    let reference = Reference {
        storage: &storage,
        lookback: LOOKBACK_MS,
        query: (times[0], times[times.len() - 1]),
    };
    let at = || {
        format!(
            "seed {seed}: {query} from {start} by {step}, {} steps",
            times.len()
        )
    };
    let wanted = expected(&reference, &expr, &times);
    for threads in [1, 2, 7] {
        // Threads are not what most cases are about.
        if threads > 1 && !seed.is_multiple_of(50) {
            continue;
        }
        agree(&at(), engine(&storage, &query, &times, step, threads), &wanted);
    }
    // An instant query keeps the order of a sort, which then decides among equals in `topk` and in what order a sum is
    // added up; the rules say nothing of order.
    if seed.is_multiple_of(3) && !query.contains("sort") {
        let once = Reference {
            query: (start, start),
            ..reference
        };
        let wanted = expected(&once, &expr, &times[..1]);
        agree(
            &format!("instant, {}", at()),
            instant(&storage, &query, start),
            &wanted,
        );
    }
    wanted.is_ok_and(|wanted| !wanted.is_empty())
}

/// Parentheses around arguments say nothing.
fn unwrap_arguments(expr: &mut Expr) {
    let unwrap = |expr: &mut Expr| {
        while let Expr::Paren(paren) = expr {
            *expr = paren.expr.clone();
        }
        unwrap_arguments(expr);
    };
    match expr {
        Expr::Aggregate(e) => {
            unwrap(&mut e.expr);
            e.param.iter_mut().for_each(unwrap);
        }
        Expr::Call(e) => e.args.iter_mut().for_each(unwrap),
        Expr::Binary(e) => {
            unwrap_arguments(&mut e.lhs);
            unwrap_arguments(&mut e.rhs);
        }
        Expr::Subquery(e) => unwrap_arguments(&mut e.expr),
        Expr::Paren(e) => unwrap_arguments(&mut e.expr),
        Expr::Unary(e) => unwrap_arguments(&mut e.expr),
        _ => {}
    }
}

#[test]
fn the_engine_agrees_with_the_slow_evaluator_to_the_bit() {
    if let Ok(seed) = std::env::var("SABRE_PROMQL_SEED") {
        check(seed.parse().unwrap());
        return;
    }
    let cases: u64 = std::env::var("SABRE_PROMQL_CASES").map_or(3000, |cases| cases.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let filled: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..cases)
                        .step_by(threads as usize)
                        .filter(|seed| check(*seed))
                        .count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let (errors, others) = (
        ERRORS.load(Ordering::Relaxed),
        OTHER_REASONS.load(Ordering::Relaxed),
    );
    eprintln!("{cases} cases, {filled} with an answer; {errors} errors, {others} for another reason");
    assert!(
        others * 20 <= errors,
        "{others} of {errors} errors are for another reason"
    );
    assert!(
        filled as u64 > cases / 3,
        "{filled} of {cases} cases have an answer"
    );
}
