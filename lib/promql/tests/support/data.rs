//! Random series: counters, gauges, histograms of all kinds, with gaps, resets, NaN and markers of their end.

use std::sync::Arc;

use sabre_model::Labels;
use sabre_promql::histogram::{CounterResetHint, FloatHistogram, Layout, Span};
use sabre_promql::source::{MemorySamples, MemoryStorage, SampleBuffer};
use sabre_tsdb::stale::STALE_NAN;

use super::random::Random;

/// Milliseconds since 1970 at which the data starts: a time that minutes divide.
pub(crate) const START_MS: i64 = 1_700_000_040_000;

/// How long the data lasts.
pub(crate) const LENGTH_MS: i64 = 20 * 60_000;

/// Series with a target, and what is known of it.
pub(crate) const METRICS_WITH_TARGETS: &[&str] = &["i_total", "i_total", "i_total", "target_info", "m"];

pub(crate) const METRICS: &[&str] = &[
    "m", "m", "c_total", "c_total", "h", "hc", "b_bucket", "mix", "odd", "nope",
];

/// Makes a storage with some series of each kind.
pub(crate) fn storage(random: &mut Random) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    for a in ["x", "y", "z"] {
        for b in ["x", "y"] {
            let mut add = |name: &str, le: &str, kind: Kind, random: &mut Random| {
                if random.once_in(5) {
                    return;
                }
                let mut labels = vec![("__name__", name), ("a", a), ("b", b), ("le", le)];
                labels.retain(|(name, value)| !value.is_empty() && (*name != "b" || b != "y" || a != "z"));
                let samples = samples(kind, random);
                let labels = Labels::from_pairs(labels).unwrap();
                storage.insert(labels, MemorySamples::Decoded(Arc::new(samples)));
            };
            add("m", "", Kind::Gauge, random);
            add("c_total", "", Kind::Counter, random);
            add("h", "", Kind::Exponential, random);
            add("hc", "", Kind::Custom, random);
            add("mix", "", Kind::Mixed, random);
            add("odd", "", Kind::Odd, random);
            for le in ["0.5", "1", "2.5", "+Inf"] {
                add("b_bucket", le, Kind::Counter, random);
            }
        }
    }
    add_targets(&mut storage, random);
    storage
}

/// Series of a few targets, and info series that come and go.
fn add_targets(storage: &mut MemoryStorage, random: &mut Random) {
    for instance in ["x", "y"] {
        for job in ["x", "y", ""] {
            for name in ["i_total", "i_total", "target_info", "target_info", "build_info"] {
                if random.once_in(3) {
                    continue;
                }
                let mut labels = vec![
                    ("__name__", name),
                    ("a", random.pick(&["x", "y", "", ""])),
                    ("b", random.pick(&["x", "", ""])),
                    ("instance", instance),
                    ("job", job),
                ];
                labels.retain(|(_, value)| !value.is_empty());
                let kind = if name == "i_total" && !random.once_in(20) {
                    Kind::Counter
                } else {
                    random.pick(&[Kind::Gauge, Kind::Gauge, Kind::Gauge, Kind::Gauge, Kind::Mixed])
                };
                let samples = samples(kind, random);
                let labels = Labels::from_pairs(labels).unwrap();
                storage.insert(labels, MemorySamples::Decoded(Arc::new(samples)));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Gauge,
    Counter,
    Exponential,
    Custom,
    Mixed,
    Odd,
}

fn samples(kind: Kind, random: &mut Random) -> SampleBuffer {
    let mut samples = SampleBuffer::default();
    let interval = random.pick(&[15_000, 15_000, 30_000, 60_000]);
    let jitter = random.pick(&[0, 0, 7]);
    let mut t = START_MS + random.below(15) as i64 * 1000;
    let mut value = random.below(100) as f64;
    let mut histogram = first_histogram(kind, random);
    let hint = random.pick(&[
        CounterResetHint::Unknown,
        CounterResetHint::Unknown,
        CounterResetHint::Gauge,
        CounterResetHint::NotCounterReset,
    ]);
    while t < START_MS + LENGTH_MS {
        let at = t + jitter * random.below(5) as i64;
        t += interval;
        if random.once_in(30) {
            t += 6 * 60_000 * random.below(2) as i64;
            continue;
        }
        if random.once_in(40) {
            samples.push(at, STALE_NAN);
            continue;
        }
        let as_float = kind == Kind::Mixed && random.once_in(2);
        match kind {
            Kind::Gauge => {
                value += random.below(20) as f64 - 9.5;
                samples.push(at, value);
            }
            Kind::Counter => {
                value += random.below(30) as f64;
                if random.once_in(12) {
                    value = random.below(4) as f64;
                }
                samples.push(at, value);
            }
            Kind::Odd => {
                let odd = random.pick(&[
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    0.0,
                    -0.0,
                    1e308,
                    -1e308,
                    1e-300,
                ]);
                samples.push(at, odd);
            }
            Kind::Mixed if as_float => samples.push(at, random.below(9) as f64),
            _ => {
                if random.once_in(10) {
                    histogram = first_histogram(kind, random);
                }
                grow(&mut histogram, random);
                histogram.hint = hint;
                if random.once_in(20) {
                    histogram.hint = CounterResetHint::CounterReset;
                }
                samples.histograms.push((at, Arc::new(histogram.clone())));
            }
        }
    }
    samples
}

fn first_histogram(kind: Kind, random: &mut Random) -> FloatHistogram {
    let custom = kind == Kind::Custom || (kind == Kind::Mixed && random.once_in(3));
    let mut layout = Layout::default();
    let spans = |random: &mut Random, first: i32| {
        let mut spans = vec![Span {
            offset: first,
            length: 1 + random.below(3) as u32,
        }];
        if random.once_in(2) {
            spans.push(Span {
                offset: 1 + random.below(2) as i32,
                length: 1 + random.below(2) as u32,
            });
        }
        spans
    };
    if custom {
        layout.schema = -53;
        layout.custom_bounds = random.pick(&[
            vec![0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 30.0],
            vec![0.5, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0],
        ]);
        layout.positive_spans = spans(random, 0);
    } else {
        layout.schema = random.pick(&[0, 0, 1, 2]);
        layout.zero_threshold = random.pick(&[0.0, 0.001, 0.001, 0.5]);
        let first = random.below(4) as i32 - 1;
        layout.positive_spans = spans(random, first);
        if random.once_in(2) {
            layout.negative_spans = spans(random, 0);
        }
    }
    let count = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum();
    let mut histogram = FloatHistogram {
        positive: vec![0.0; count(&layout.positive_spans)],
        negative: vec![0.0; count(&layout.negative_spans)],
        layout: Arc::new(layout),
        ..FloatHistogram::default()
    };
    grow(&mut histogram, random);
    histogram
}

fn grow(histogram: &mut FloatHistogram, random: &mut Random) {
    for bucket in histogram.positive.iter_mut().chain(&mut histogram.negative) {
        *bucket += random.below(4) as f64;
    }
    if histogram.layout.schema != -53 {
        histogram.zero_count += random.below(2) as f64;
    }
    histogram.count =
        histogram.positive.iter().chain(&histogram.negative).sum::<f64>() + histogram.zero_count;
    histogram.sum += random.below(50) as f64 - 5.0;
}
