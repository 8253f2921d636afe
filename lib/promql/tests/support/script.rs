//! Runs scripts that load series and say what queries give.
//!
//! ```text
//! # a comment
//! load 1m
//!   requests_total{job="a"}  0+10x4 _ stale 7
//!   sizes                    {{schema:0 count:3 sum:5 buckets:[1 2]}}x2
//!
//! eval 4m  sum(requests_total)
//!   {}  40
//!
//! eval range 0 2m 1m  requests_total > 5
//!   requests_total{job="a"}  _ 10 20
//!
//! fail 1m  rate(requests_total)
//!   expected type range vector
//! ```
//!
//! `a+bxn` is a, then n times b more; `axn` is a and n times the same; `_` is nothing. `eval ordered` looks at the order.
//! `warn` and `info` lines before the results say what the remarks contain; without them there are none. `clear` forgets
//! all series.

use std::collections::BTreeMap;
use std::sync::Arc;

use sabre_model::{Labels, duration};
use sabre_promql::annotation::Severity;
use sabre_promql::histogram::{CounterResetHint, FloatHistogram, Layout, Span, to_text};
use sabre_promql::source::{MemorySamples, MemoryStorage, SampleBuffer};
use sabre_promql::value::{QueryResult, SampleValue, Value};
use sabre_promql::{EvalOptions, ParseOptions, parse_selector, query_instant, query_range};
use sabre_tsdb::stale::STALE_NAN;

/// Times are milliseconds since the start of the script, which is 1970.
type Ms = i64;

/// One value of a series.
#[derive(Clone, Debug)]
enum Point {
    Nothing,
    Float(f64),
    Histogram(FloatHistogram),
}

/// Runs a script; returns its queries.
pub(crate) fn run(name: &str, text: &str) -> Vec<String> {
    let mut storage = MemoryStorage::new();
    let mut queries = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let line = without_comment(line);
        if line.trim().is_empty() {
            continue;
        }
        let at = format!("{name}:{}", number + 1);
        let mut body = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(' ') || line.trim().is_empty())
        {
            let line = without_comment(line).trim();
            if !line.is_empty() {
                body.push(line);
            }
        }
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match command {
            "clear" => storage = MemoryStorage::new(),
            "load" => {
                let step = time(rest, &at);
                body.iter().for_each(|line| load(&mut storage, line, step, &at));
            }
            "eval" | "fail" => queries.push(evaluate(&storage, command, rest.trim(), &body, &at)),
            other => panic!("{at}: unknown command {other}"),
        }
    }
    queries
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        ""
    } else {
        line
    }
}

fn time(text: &str, at: &str) -> Ms {
    duration::parse_model(text.trim()).unwrap_or_else(|error| panic!("{at}: {error}"))
}

/// Splits at white space that is not within braces or quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut depth, mut quoted) = (0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 && !quoted {
            words.push(String::new());
        } else {
            words.last_mut().unwrap().push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn labels(text: &str, at: &str) -> Labels {
    if text == "{}" {
        return Labels::default();
    }
    let matchers = parse_selector(text).unwrap_or_else(|error| panic!("{at}: {text}: {error}"));
    Labels::from_pairs(matchers.iter().map(|matcher| (matcher.name(), matcher.value()))).unwrap()
}

fn load(storage: &mut MemoryStorage, line: &str, step: Ms, at: &str) {
    let words = words(line);
    let mut samples = SampleBuffer::default();
    let points = words[1..].iter().flat_map(|word| points(word, at));
    for (t, point) in (0..).step_by(step as usize).zip(points) {
        match point {
            Point::Nothing => {}
            Point::Float(value) => samples.push(t, value),
            Point::Histogram(histogram) => samples.histograms.push((t, Arc::new(histogram))),
        }
    }
    storage.insert(labels(&words[0], at), MemorySamples::Decoded(Arc::new(samples)));
}

/// The values that a word stands for.
fn points(word: &str, at: &str) -> Vec<Point> {
    let (what, times) = match word.rsplit_once('x') {
        Some((what, times)) if times.chars().all(|c| c.is_ascii_digit()) && !times.is_empty() => {
            (what, times.parse().unwrap())
        }
        _ => (word, 0),
    };
    if what == "_" {
        return vec![Point::Nothing; 1.max(times)];
    }
    if let Some(inner) = what.strip_prefix("{{") {
        return vec![Point::Histogram(histogram(inner.trim_end_matches("}}"), at)); times + 1];
    }
    // The sign of the slope is the one behind a digit.
    let slope = what
        .char_indices()
        .skip(1)
        .find(|(i, c)| matches!(c, '+' | '-') && what.as_bytes()[i - 1].is_ascii_digit());
    let (first, slope) = match slope {
        Some((i, _)) if times > 0 => (number(&what[..i], at), number(&what[i..], at)),
        _ => (number(what, at), 0.0),
    };
    let mut value = first;
    let mut points = Vec::new();
    for _ in 0..=times {
        points.push(Point::Float(value));
        value += slope;
    }
    points
}

fn number(text: &str, at: &str) -> f64 {
    match text {
        "stale" => STALE_NAN,
        text => text
            .parse()
            .unwrap_or_else(|_| panic!("{at}: {text} is no number")),
    }
}

fn histogram(text: &str, at: &str) -> FloatHistogram {
    let mut h = FloatHistogram::default();
    let mut layout = Layout::default();
    let (mut offset, mut negative_offset) = (0, 0);
    for word in words(text) {
        let (key, value) = word.split_once(':').unwrap_or_else(|| panic!("{at}: {word}"));
        let list = || -> Vec<f64> {
            value
                .trim_matches(['[', ']'])
                .split_whitespace()
                .map(|v| number(v, at))
                .collect()
        };
        match key {
            "schema" => layout.schema = value.parse().unwrap(),
            "count" => h.count = number(value, at),
            "sum" => h.sum = number(value, at),
            "zero" => h.zero_count = number(value, at),
            "threshold" => layout.zero_threshold = number(value, at),
            "bounds" => layout.custom_bounds = list(),
            "offset" => offset = value.parse().unwrap(),
            "negative_offset" => negative_offset = value.parse().unwrap(),
            "buckets" => h.positive = list(),
            "negative" => h.negative = list(),
            "hint" => {
                h.hint = match value {
                    "gauge" => CounterResetHint::Gauge,
                    "reset" => CounterResetHint::CounterReset,
                    "not_reset" => CounterResetHint::NotCounterReset,
                    other => panic!("{at}: hint {other}"),
                }
            }
            other => panic!("{at}: histograms have no {other}"),
        }
    }
    let spans = |counts: &[f64], offset: i32| match counts.len() {
        0 => Vec::new(),
        length => vec![Span {
            offset,
            length: length as u32,
        }],
    };
    layout.positive_spans = spans(&h.positive, offset);
    layout.negative_spans = spans(&h.negative, negative_offset);
    h.layout = Arc::new(layout);
    h
}

/// Runs a query and checks what it gives; returns the query.
fn evaluate(storage: &MemoryStorage, command: &str, rest: &str, body: &[&str], at: &str) -> String {
    let options = EvalOptions {
        parse: ParseOptions::all(),
        ..EvalOptions::default()
    };
    let (ordered, rest) = match rest.strip_prefix("ordered ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest),
    };
    let (result, query) = match rest.strip_prefix("range ") {
        Some(rest) => {
            let mut words = rest.splitn(4, ' ');
            let mut next = || time(words.next().unwrap(), at);
            let (start, end, step) = (next(), next(), next());
            let query = words.next().unwrap().trim();
            (query_range(storage, query, start, end, step, &options), query)
        }
        None => {
            let (t, query) = rest.split_once(' ').unwrap_or_else(|| panic!("{at}: no query"));
            (
                query_instant(storage, query.trim(), time(t, at), &options),
                query.trim(),
            )
        }
    };
    if command == "fail" {
        let error = match result {
            Ok(result) => panic!("{at}: {query} gives {:?}", result.value),
            Err(error) => error.to_string(),
        };
        assert!(
            body.iter().all(|text| error.contains(text)),
            "{at}: {query}: {error}"
        );
        return query.to_owned();
    }
    let result = result.unwrap_or_else(|error| panic!("{at}: {query}: {error}"));
    let remarks = |line: &&&str| line.starts_with("warn ") || line.starts_with("info ");
    check_remarks(
        &result,
        query,
        &body.iter().filter(remarks).copied().collect::<Vec<_>>(),
        at,
    );
    let expected: Vec<&str> = body.iter().filter(|line| !remarks(line)).copied().collect();
    check_value(&result.value, &expected, ordered, &format!("{at}: {query}"));
    query.to_owned()
}

fn check_remarks(result: &QueryResult, query: &str, expected: &[&str], at: &str) {
    for (severity, word) in [(Severity::Warning, "warn "), (Severity::Info, "info ")] {
        let found = result.annotations.texts(severity, query);
        let wanted: Vec<&str> = expected
            .iter()
            .filter_map(|line| line.strip_prefix(word))
            .collect();
        assert_eq!(found.len(), wanted.len(), "{at}: {query}: {found:?}");
        for text in wanted {
            assert!(
                found.iter().any(|remark| remark.contains(text)),
                "{at}: {query}: {found:?}"
            );
        }
    }
}

/// What a place of a result holds, as text where it is a histogram.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Float(f64),
    Histogram(String),
}

fn same(a: &Shown, b: &Shown) -> bool {
    match (a, b) {
        (Shown::Nothing, Shown::Nothing) => true,
        (Shown::Float(a), Shown::Float(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Shown::Histogram(a), Shown::Histogram(b)) => a == b,
        _ => false,
    }
}

fn shown(histogram: &FloatHistogram) -> Shown {
    let hint = match histogram.hint {
        CounterResetHint::Gauge => " gauge",
        CounterResetHint::CounterReset => " reset",
        CounterResetHint::NotCounterReset => " not reset",
        CounterResetHint::Unknown => "",
    };
    Shown::Histogram(to_text(histogram) + hint)
}

fn check_value(value: &Value, expected: &[&str], ordered: bool, at: &str) {
    let wanted: Vec<(Labels, Vec<Shown>)> = expected.iter().map(|line| expectation(line, at)).collect();
    let mut found: Vec<(Labels, Vec<Shown>)> = match value {
        Value::Scalar { value, .. } => vec![(Labels::default(), vec![Shown::Float(*value)])],
        Value::String { value, .. } => {
            assert_eq!(expected, [value.as_str()], "{at}");
            return;
        }
        Value::Vector(samples) => {
            let samples = samples.iter().map(|sample| match &sample.value {
                SampleValue::Float(value) => (sample.labels.clone(), vec![Shown::Float(*value)]),
                SampleValue::Histogram(h) => (sample.labels.clone(), vec![shown(h)]),
            });
            samples.collect()
        }
        Value::Matrix(series) => {
            let times = series.iter().flat_map(|series| {
                let floats = series.floats.iter().map(|(t, _)| *t);
                floats.chain(series.histograms.iter().map(|(t, _)| *t))
            });
            let mut times: Vec<Ms> = times.collect();
            times.sort_unstable();
            times.dedup();
            let series = series.iter().map(|series| {
                let mut places: BTreeMap<Ms, Shown> = times.iter().map(|t| (*t, Shown::Nothing)).collect();
                places.extend(series.floats.iter().map(|(t, value)| (*t, Shown::Float(*value))));
                places.extend(series.histograms.iter().map(|(t, h)| (*t, shown(h))));
                (series.labels.clone(), places.into_values().collect())
            });
            series.collect()
        }
    };
    let mut wanted = wanted;
    if !ordered {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
    }
    assert_eq!(found.len(), wanted.len(), "{at}: {found:?}");
    for ((labels, found), (wanted_labels, wanted)) in found.iter().zip(&wanted) {
        assert_eq!(labels, wanted_labels, "{at}");
        let equal = found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| same(a, b));
        assert!(equal, "{at}: {labels}: {found:?} instead of {wanted:?}");
    }
}

fn expectation(line: &str, at: &str) -> (Labels, Vec<Shown>) {
    let words = words(line);
    let is_number = words[0].parse::<f64>().is_ok();
    let (labels, values) = if is_number {
        (Labels::default(), &words[..])
    } else {
        (labels(&words[0], at), &words[1..])
    };
    let values = values
        .iter()
        .flat_map(|word| points(word, at))
        .map(|point| match point {
            Point::Nothing => Shown::Nothing,
            Point::Float(value) => Shown::Float(value),
            Point::Histogram(h) => shown(&h),
        });
    (labels, values.collect())
}
