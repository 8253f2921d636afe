use std::sync::Arc;

use proptest::prelude::*;
use sabre_tsdb::chunk::{Sample, Value, encode_stream};
use sabre_tsdb::histogram::{Histogram, Layout, Span};
use sabre_tsdb::stale::STALE_NAN;

use super::*;

/// What may happen from one sample to the next.
#[derive(Debug, Clone)]
struct Step {
    /// Since the sample before.
    pause_ms: i64,
    layout: usize,
    kind: u8,
    /// How much is observed.
    scale: u32,
    grown: [u64; 6],
    sum: f64,
}

fn layouts() -> Vec<Arc<Layout>> {
    let span = |offset, length| Span { offset, length };
    let layout = |schema, zero_threshold, positive: &[Span], negative: &[Span]| {
        Arc::new(Layout {
            schema,
            zero_threshold,
            positive_spans: positive.to_vec(),
            negative_spans: negative.to_vec(),
            custom_bounds: Vec::new(),
        })
    };
    vec![
        layout(1, 0.001, &[span(0, 2), span(1, 2)], &[span(0, 2)]),
        layout(1, 0.001, &[span(0, 2), span(1, 2)], &[span(0, 2)]),
        layout(1, 0.001, &[span(-1, 2), span(1, 2)], &[span(0, 2)]),
        layout(0, 0.001, &[span(0, 4)], &[]),
        // The first buckets lie within the zero bucket.
        layout(1, 2.0, &[span(0, 4)], &[span(0, 2)]),
        layout(1, 0.0, &[], &[]),
    ]
}

/// Samples of integer histograms: counters that rise, and whatever else may come.
fn samples(steps: &[Step]) -> Vec<Sample> {
    let layouts = layouts();
    let (mut t, mut counts, mut layout) = (7_000, [0i64; 6], 0);
    let mut samples = Vec::new();
    for step in steps {
        t += step.pause_ms;
        let mut hint = CounterResetHint::Unknown;
        let mut sum = step.sum;
        match step.kind {
            0 => layout = step.layout,
            1 => counts = [0; 6],
            2 => counts = step.grown.map(|count| (count << 40).cast_signed()),
            3 => hint = CounterResetHint::Gauge,
            4 => sum = STALE_NAN,
            5 => sum = f64::NAN,
            6 => counts = step.grown.map(|count| (count << 60).cast_signed()),
            _ => {}
        }
        for (count, grown) in counts.iter_mut().zip(step.grown) {
            *count = count.wrapping_add((grown << step.scale).cast_signed());
        }
        let layout = &layouts[layout];
        let side = |spans: &[Span], counts: &[i64]| {
            let buckets: u32 = spans.iter().map(|span| span.length).sum();
            let mut before = 0i64;
            let mut deltas = Vec::new();
            for count in &counts[..buckets as usize] {
                deltas.push(count.wrapping_sub(before));
                before = *count;
            }
            deltas
        };
        let histogram = Histogram {
            hint,
            layout: Arc::clone(layout),
            count: counts
                .iter()
                .fold(0i64, |all, count| all.wrapping_add(*count))
                .cast_unsigned(),
            zero_count: counts[5].cast_unsigned(),
            sum,
            positive: side(&layout.positive_spans, &counts),
            negative: side(&layout.negative_spans, &counts[3..]),
        };
        let value = match sum.to_bits() == STALE_NAN.to_bits() {
            true => Histogram::stale(),
            false => histogram,
        };
        let value = Value::Histogram(Box::new(value));
        samples.push(Sample { t, value });
    }
    samples
}

/// The result in words, to the bit; and how many histograms were added as integers.
fn downsampled(samples: &[Sample], one_by_one: bool, size: u64, schemas: &[i32]) -> (String, u64) {
    let mut histograms = Histograms::new(Resolution::FiveMinutes, size, schemas.to_vec(), false);
    histograms.one_by_one.0 = one_by_one;
    for chunk in encode_stream(samples.to_vec()).unwrap() {
        histograms.push(chunk.encoding, &chunk.data).unwrap();
    }
    let measured = histograms.finish();
    let Histograms {
        done,
        seen,
        schemas_right,
        failure,
        one_by_one,
        ..
    } = histograms;
    (
        format!("{measured:?} {done:?} {seen:?} {schemas_right} {failure:?}"),
        one_by_one.1,
    )
}

fn step() -> impl Strategy<Value = Step> {
    (
        prop_oneof![30 => 15_000i64..16_000, 1 => 0i64..900_000, 1 => Just(-20_000)],
        0usize..6,
        prop_oneof![40 => Just(100u8), 8 => 0u8..7],
        prop_oneof![20 => Just(0u32), 1 => 0u32..50],
        proptest::array::uniform6(0u64..9),
        -1e3..1e3,
    )
        .prop_map(|(pause_ms, layout, kind, scale, grown, sum)| Step {
            pause_ms,
            layout,
            kind,
            scale,
            grown,
            sum,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn histograms_added_as_they_are_decoded_come_to_the_same_as_one_by_one(
        steps in proptest::collection::vec(step(), 1..300),
        size in 1u64..200,
        schemas in proptest::collection::vec(0i32..2, 0..4),
    ) {
        let samples = samples(&steps);
        let (as_decoded, _) = downsampled(&samples, false, size, &schemas);
        let (one_by_one, none) = downsampled(&samples, true, size, &schemas);
        prop_assert_eq!(as_decoded, one_by_one);
        prop_assert_eq!(none, 0);
    }
}

fn rising(count: usize) -> Vec<Step> {
    let step = Step {
        pause_ms: 15_000,
        layout: 0,
        kind: 100,
        scale: 0,
        grown: [1, 2, 3, 0, 5, 6],
        sum: 0.1,
    };
    vec![step; count]
}

#[test]
fn all_histograms_but_the_first_of_a_chunk_and_of_a_batch_are_added_as_they_are_decoded() {
    let samples = samples(&rising(480));
    let chunks = encode_stream(samples.clone()).unwrap().len() as u64;
    let (as_decoded, added) = downsampled(&samples, false, 200, &[]);
    let batches = 480 / 200;
    assert_eq!(added, 480 - chunks - batches);
    assert_eq!(as_decoded, downsampled(&samples, true, 200, &[]).0);
}

#[test]
fn what_differs_is_added_by_itself_and_the_rest_as_before() {
    let mut steps = rising(240);
    for (at, kind) in [(50, 5), (60, 4), (70, 2), (80, 1), (150, 3)] {
        steps[at].kind = kind;
    }
    let samples = samples(&steps);
    let (as_decoded, added) = downsampled(&samples, false, 100, &[]);
    assert!((200..235).contains(&added), "{added}");
    assert_eq!(as_decoded, downsampled(&samples, true, 100, &[]).0);
}
