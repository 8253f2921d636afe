//! Random histograms, and random bytes.

use std::collections::BTreeMap;

use super::*;
use crate::chunk::{ChunkEncoder, EncodedChunk, Sample, Value, decode_samples, encode_stream};
use crate::histogram::bucket_indexes;
use crate::stale::STALE_NAN;

fn spans() -> impl Strategy<Value = Vec<Span>> {
    proptest::collection::vec((0i32..4, 0u32..4), 0..4).prop_map(|parts| {
        let shift = |i, offset| if i == 0 { offset - 3 } else { offset };
        parts
            .into_iter()
            .enumerate()
            .map(|(i, (offset, length))| span(shift(i, offset), length))
            .collect()
    })
}

/// Few enough layouts that histograms often share one.
fn any_layout() -> impl Strategy<Value = Layout> {
    let schemas = proptest::sample::select(vec![0, 0, 0, 0, 3, CUSTOM_BUCKETS_SCHEMA]);
    let thresholds = proptest::sample::select(vec![0.0, 2f64.powi(-128), 0.001]);
    let bounds = proptest::sample::select(vec![vec![1.0, 2.5], vec![1.0 / 3.0]]);
    (schemas, thresholds, spans(), spans(), bounds).prop_map(
        |(schema, zero_threshold, positive_spans, negative_spans, custom_bounds)| Layout {
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            custom_bounds: if schema == CUSTOM_BUCKETS_SCHEMA {
                custom_bounds
            } else {
                Vec::new()
            },
        },
    )
}

fn hint() -> impl Strategy<Value = CounterResetHint> {
    proptest::sample::select(vec![
        Unknown,
        Unknown,
        NotCounterReset,
        NotCounterReset,
        CounterReset,
        Gauge,
    ])
}

/// How a histogram follows the one before.
#[derive(Debug, Clone)]
enum Step {
    Grow(Vec<u8>),
    Fresh(Layout, Vec<u8>),
    Stale,
}

fn step() -> impl Strategy<Value = (Step, CounterResetHint, f64)> {
    let counts = || proptest::collection::vec(0u8..5, 30);
    let sums = prop_oneof![any::<f64>(), Just(f64::NAN), (0i32..50).prop_map(f64::from)];
    let steps = prop_oneof![
        6 => counts().prop_map(Step::Grow),
        2 => (any_layout(), counts()).prop_map(|(layout, counts)| Step::Fresh(layout, counts)),
        1 => Just(Step::Stale),
    ];
    (steps, hint(), sums)
}

/// The histograms that steps lead to; grown ones have at least the counts of the one before.
fn histograms() -> impl Strategy<Value = Vec<(i64, Histogram)>> {
    let start = (any_layout(), -1000i64..1000);
    (start, proptest::collection::vec(step(), 1..40)).prop_map(|((layout, start), steps)| {
        let mut histogram = blank(layout);
        let follow = |(i, (step, hint, sum)): (usize, (Step, CounterResetHint, f64))| {
            let t = start + i as i64 * STEP_MS + i64::from(i % 7 == 3);
            let value = match step {
                Step::Stale => Histogram {
                    hint,
                    ..Histogram::stale()
                },
                Step::Grow(counts) => grow(&mut histogram, &counts, hint, sum),
                Step::Fresh(layout, counts) => {
                    histogram = blank(layout);
                    grow(&mut histogram, &counts, hint, sum)
                }
            };
            (t, value)
        };
        steps.into_iter().enumerate().map(follow).collect()
    })
}

fn blank(layout: Layout) -> Histogram {
    let buckets = |spans: &[Span]| vec![0; bucket_indexes(spans).count()];
    Histogram {
        positive: buckets(&layout.positive_spans),
        negative: buckets(&layout.negative_spans),
        layout: Arc::new(layout),
        ..Histogram::default()
    }
}

fn grow(histogram: &mut Histogram, counts: &[u8], hint: CounterResetHint, sum: f64) -> Histogram {
    let mut more = counts.iter().map(|&count| i64::from(count));
    for side in [&mut histogram.positive, &mut histogram.negative] {
        let absolute = i64::absolute(side.iter().copied())
            .zip(&mut more)
            .map(|(old, new)| old + new);
        *side = i64::from_absolute(absolute.collect());
    }
    histogram.count += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
    histogram.zero_count += u64::from(counts[29]);
    (histogram.hint, histogram.sum) = (hint, sum);
    histogram.clone()
}

/// Everything of a histogram that a chunk keeps, however it is laid out: buckets of zero do not count.
fn essence<B: Bucket>(histogram: &NativeHistogram<B>) -> String {
    let side = |spans: &[Span], buckets: &[B]| -> BTreeMap<i64, String> {
        let counts = bucket_indexes(spans).zip(B::absolute(buckets.iter().copied()));
        let counts = counts.filter(|&(_, count)| count != B::default());
        counts
            .map(|(index, count)| (index, format!("{count:?}")))
            .collect()
    };
    if histogram.is_stale() {
        return "stale".into();
    }
    let layout = &histogram.layout;
    format!(
        "{} {} {:?} {:?} {:?} {:x} {:?} {:?}",
        layout.schema,
        layout.zero_threshold,
        layout.custom_bounds,
        histogram.count,
        histogram.zero_count,
        histogram.sum.to_bits(),
        side(&layout.positive_spans, &histogram.positive),
        side(&layout.negative_spans, &histogram.negative),
    )
}

fn value_essence(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("float {:x}", value.to_bits()),
        Value::Histogram(histogram) => format!("int {}", essence(histogram)),
        Value::FloatHistogram(histogram) => format!("float histogram {}", essence(histogram)),
    }
}

fn samples_of(chunks: &[EncodedChunk]) -> Vec<Sample> {
    let decoded = chunks.iter().map(|chunk| {
        let samples = decode_samples(chunk.encoding, &chunk.data).unwrap();
        assert_eq!(samples.len(), usize::from(chunk.num_samples));
        assert!(samples.len() <= 120);
        assert_eq!(
            (samples[0].t, samples[samples.len() - 1].t),
            (chunk.mint, chunk.maxt)
        );
        assert_eq!(num_samples(chunk.encoding, &chunk.data), Ok(chunk.num_samples));
        samples
    });
    decoded.collect::<Vec<_>>().concat()
}

/// Kinds of samples in turn: 0 float, 1 integer, 2 float histogram.
fn mixed(histograms: &[(i64, Histogram)], kinds: &[u8]) -> Vec<Sample> {
    let pick = |((t, histogram), kind): (&(i64, Histogram), &u8)| {
        let value = match kind {
            0 => Value::Float(histogram.sum),
            1 => Value::Histogram(Box::new(histogram.clone())),
            _ => Value::FloatHistogram(Box::new(histogram.to_float())),
        };
        Sample { t: *t, value }
    };
    histograms.iter().zip(kinds.iter().cycle()).map(pick).collect()
}

proptest! {
    #[test]
    fn streams_round_trip(histograms in histograms(), kinds in proptest::collection::vec(0u8..3, 1..10)) {
        let kinds: Vec<u8> = kinds.iter().flat_map(|&kind| [kind; 5]).collect();
        let samples = mixed(&histograms, &kinds);
        let decoded = samples_of(&encode_stream(samples.clone()).unwrap());
        prop_assert_eq!(decoded.len(), samples.len());
        for (got, expected) in decoded.iter().zip(&samples) {
            prop_assert_eq!(got.t, expected.t);
            prop_assert_eq!(value_essence(&got.value), value_essence(&expected.value));
        }
    }

    /// Nothing is recoded the second time, and nothing else changes.
    #[test]
    fn decoded_chunks_encode_to_the_same_bytes(histograms in histograms(), float: bool) {
        for chunk in encode_stream(mixed(&histograms, &[1 + u8::from(float)])).unwrap() {
            let again = match chunk.encoding {
                Encoding::Histogram => recode::<i64>(&chunk.data),
                _ => recode::<f64>(&chunk.data),
            };
            prop_assert_eq!(again, chunk.data);
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(
        histograms in histograms(),
        float: bool,
        at in any::<proptest::sample::Index>(),
    ) {
        for chunk in encode_stream(mixed(&histograms, &[1 + u8::from(float)])).unwrap() {
            let mut data = chunk.data;
            let bit = at.index(data.len() * 8);
            data[bit / 8] ^= 1 << (bit % 8);
            match chunk.encoding {
                Encoding::Histogram => crate::fuzz::histogram_chunk(&data),
                _ => crate::fuzz::float_histogram_chunk(&data),
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200), count in 0u8..5) {
        crate::fuzz::histogram_chunk(&data);
        crate::fuzz::float_histogram_chunk(&data);
        let data = [&[0, count, 0, 0][..], &data].concat();
        crate::fuzz::histogram_chunk(&data);
        crate::fuzz::float_histogram_chunk(&data);
        crate::fuzz::aggregate_chunk(&data);
    }

    #[test]
    fn a_chunk_that_is_cut_off_is_refused(histograms in histograms(), at in any::<proptest::sample::Index>()) {
        for chunk in encode_stream(mixed(&histograms, &[1])).unwrap() {
            let data = &chunk.data[..at.index(chunk.data.len())];
            prop_assert!(decode_samples(chunk.encoding, data).is_err());
        }
    }
}

fn recode<B: Codec>(data: &[u8]) -> Vec<u8> {
    let samples = HistogramIter::<B>::new(data).unwrap();
    let flag = samples.flag();
    let mut chunk: Option<HistogramAppender<B>> = None;
    for sample in samples {
        let (t, mut histogram) = sample.unwrap();
        if flag == Gauge {
            histogram.hint = Gauge;
        }
        match &mut chunk {
            None => chunk = Some(HistogramAppender::begin_with_flag(flag, t, &histogram).unwrap()),
            Some(chunk) => assert_eq!(chunk.append(t, &mut histogram), Ok(Appended::Extended)),
        }
    }
    chunk.unwrap().finish()
}

#[test]
fn a_chunk_ends_behind_120_samples_or_where_the_kind_changes() {
    let floats = (0..250).map(|t| Sample {
        t,
        value: Value::Float(t as f64),
    });
    let last = Sample {
        t: 250,
        value: Value::FloatHistogram(Box::default()),
    };
    let stale = Sample {
        t: 251,
        value: Value::Float(STALE_NAN),
    };
    let chunks = encode_stream(floats.chain([last, stale])).unwrap();
    let shape: Vec<_> = chunks
        .iter()
        .map(|c| (c.encoding, c.mint, c.maxt, c.num_samples))
        .collect();
    let expected = [
        (Encoding::Xor, 0, 119, 120),
        (Encoding::Xor, 120, 239, 120),
        (Encoding::Xor, 240, 249, 10),
        (Encoding::FloatHistogram, 250, 250, 1),
        (Encoding::Xor, 251, 251, 1),
    ];
    assert_eq!(shape, expected);
}

#[test]
fn a_reset_closes_the_chunk_and_the_count_starts_anew() {
    let histogram = |t: i64, count: u64| Sample {
        t,
        value: Value::Histogram(Box::new(Histogram {
            count,
            ..Histogram::default()
        })),
    };
    let samples = (0..100)
        .map(|t| histogram(t, 5))
        .chain((100..300).map(|t| histogram(t, 1)));
    let chunks = encode_stream(samples).unwrap();
    let shape: Vec<_> = chunks
        .iter()
        .map(|c| (c.num_samples, header_flag(&c.data).unwrap()))
        .collect();
    assert_eq!(shape, [(100, Unknown), (120, CounterReset), (80, Unknown)]);
}

#[test]
fn a_histogram_that_is_refused_leaves_the_chunk_as_it_was() {
    let mut encoder = ChunkEncoder::new();
    let broken = Histogram {
        positive: vec![1],
        ..Histogram::default()
    };
    encoder
        .push(Sample {
            t: 1,
            value: Value::Histogram(Box::default()),
        })
        .unwrap();
    assert!(
        encoder
            .push(Sample {
                t: 2,
                value: Value::Histogram(Box::new(broken))
            })
            .is_err()
    );
    assert_eq!(
        encoder.finish().map(|chunk| (chunk.maxt, chunk.num_samples)),
        Some((1, 1))
    );
    assert!(ChunkEncoder::new().finish().is_none());
}
