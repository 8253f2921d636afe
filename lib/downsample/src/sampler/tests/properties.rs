//! What holds for any series.

use super::floats::{increase, increase_of_counter};
use super::*;

const HALF_HOUR_MS: i64 = 30 * MINUTE_MS;

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(15_000i64),
        4 => 14_000..16_000i64,
        1 => 1..HALF_HOUR_MS,
    ]
}

/// A counter with resets, gaps, stale markers and NaN.
fn counter() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let change = prop_oneof![
        10 => (0u32..1000).prop_map(Some),
        1 => Just(None),
    ];
    let oddity = prop_oneof![
        20 => Just(None),
        1 => Just(Some(STALE_NAN)),
        1 => Just(Some(f64::NAN)),
    ];
    proptest::collection::vec((steps(), change, oddity), 0..700).prop_map(|samples| {
        let (mut t, mut value) = (1_767_225_600_000, 0.0);
        samples
            .into_iter()
            .map(|(step, change, oddity)| {
                t += step;
                value = change.map_or(0.0, |change| value + f64::from(change) / 8.0);
                (t, oddity.unwrap_or(value))
            })
            .collect()
    })
}

/// Values of all sizes, with their signs; some of them stay for a while.
fn gauge() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let values = prop_oneof![
        5 => -1e6..1e6f64,
        1 => -1e300..1e300f64,
        1 => proptest::sample::select(vec![0.0, 0.1, 0.3, -0.7, 1e9 / 3.0]),
        1 => Just(STALE_NAN),
    ];
    let run = prop_oneof![4 => 1usize..2, 1 => 1usize..60];
    proptest::collection::vec((steps(), values, run), 0..200).prop_map(|runs| {
        let mut t = 1_767_225_600_000;
        let mut samples = Vec::new();
        for (step, value, run) in runs {
            for _ in 0..run {
                t += if run > 1 { step.max(MINUTE_MS) } else { step };
                samples.push((t, value));
            }
        }
        samples
    })
}

fn numbers(samples: &[(i64, f64)]) -> Vec<(i64, f64)> {
    samples
        .iter()
        .copied()
        .filter(|(_, value)| !value.is_nan())
        .collect()
}

fn all(chunks: &[SeriesChunk], aggregate: Aggregate) -> Vec<(i64, f64)> {
    chunks
        .iter()
        .flat_map(|chunk| floats_of(chunk, aggregate))
        .collect()
}

fn total(samples: &[(i64, f64)]) -> f64 {
    samples.iter().map(|(_, value)| value).sum()
}

/// A float as an integer that counts in units in the last place.
fn place(value: f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    if bits < 0 { i64::MIN - bits } else { bits }
}

/// How far the average of `count` samples may lie outside of their least and greatest.
///
/// The format has no averages: readers divide the sum by the count, and the sum must have the bytes that Thanos writes,
/// which adds one sample after the other without compensation. Each of `count - 1` additions and the division errs by
/// half a unit in the last place of what it makes, so the error grows with the number of samples: relative to the
/// greatest of them it is `count` times half the distance from 1 to the next float. That is less than four units in the
/// last place for up to five samples, and no more can be promised of longer windows.
fn most_error(count: f64, min: f64, max: f64) -> f64 {
    count * (f64::EPSILON / 2.0) * min.abs().max(max.abs()) * (1.0 + 1e-9)
}

/// The average of each window of a series that is always `value`.
fn averages_of_constant(value: f64, step_ms: i64, samples: i64) -> Vec<(f64, f64)> {
    let begin = 1_767_225_600_000;
    let samples: Vec<(i64, f64)> = (0..samples).map(|n| (begin + n * step_ms, value)).collect();
    let hours = hour(&five(&float_series(&samples)));
    let (count, sum) = (all(&hours, Aggregate::Count), all(&hours, Aggregate::Sum));
    count
        .iter()
        .zip(&sum)
        .map(|(count, sum)| (count.1, sum.1 / count.1))
        .collect()
}

#[test]
fn the_average_of_a_long_window_errs_by_more_than_four_units_and_no_more_than_its_length_allows() {
    let mut most = 0;
    for value in [0.1, 0.3, -0.7, 1e9 / 3.0, 1.1e-300] {
        for (count, average) in averages_of_constant(value, 1_000, 3 * 3_600) {
            most = most.max((place(average) - place(value)).abs());
            let error = most_error(count, value, value);
            assert!(
                (average - value).abs() <= error,
                "{average} of {count} times {value}"
            );
        }
    }
    assert!(most > 4, "{most}: then the bound of short windows holds for all");
}

#[test]
fn the_average_of_a_short_window_errs_by_four_units_at_most() {
    for value in [0.1, 0.3, -0.7, 1e9 / 3.0, 1.1e-300] {
        for samples in 1..=5 {
            for (_, average) in averages_of_constant(value, 60_000, samples) {
                assert!(
                    (place(average) - place(value)).abs() <= 4,
                    "{average} of {samples} times {value}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn counts_add_up_and_counters_grow_as_much(samples in counter()) {
        let chunks = float_series(&samples);
        let numbers = numbers(&samples);
        let fives = five(&chunks);
        for made in [&fives, &hour(&fives)] {
            prop_assert_eq!(total(&all(made, Aggregate::Count)), numbers.len() as f64);
            prop_assert_eq!(total(&all(made, Aggregate::Sum)), total(&numbers));
            let grown = increase_of_counter(all(made, Aggregate::Counter).into_iter());
            prop_assert_eq!(grown, increase(numbers.iter().copied()));
            prop_assert!(made.is_sorted_by(|one, other| one.maxt < other.mint));
        }
    }

    #[test]
    fn averages_lie_between_min_and_max(samples in gauge()) {
        let numbers = numbers(&samples);
        let fives = five(&float_series(&samples));
        let size: f64 = numbers.iter().map(|(_, value)| value.abs()).sum();
        for made in [&fives, &hour(&fives)] {
            prop_assert!((total(&all(made, Aggregate::Sum)) - total(&numbers)).abs() <= 1e-12 * size);
            let (count, sum) = (all(made, Aggregate::Count), all(made, Aggregate::Sum));
            let (min, max) = (all(made, Aggregate::Min), all(made, Aggregate::Max));
            let least = numbers.iter().map(|(_, value)| *value).fold(f64::MAX, f64::min);
            prop_assert_eq!(min.iter().map(|(_, value)| *value).fold(f64::MAX, f64::min), least);
            for (((count, sum), min), max) in count.iter().zip(&sum).zip(&min).zip(&max) {
                prop_assert!(count.0 == sum.0 && sum.0 == min.0 && min.0 == max.0);
                let average = sum.1 / count.1;
                if count.1 <= 5.0 {
                    prop_assert!(place(average) >= place(min.1) - 4, "{average} < {}", min.1);
                    prop_assert!(place(average) <= place(max.1) + 4, "{average} > {}", max.1);
                }
                let error = most_error(count.1, min.1, max.1);
                prop_assert!(average >= min.1 - error, "{average} < {} - {error}", min.1);
                prop_assert!(average <= max.1 + error, "{average} > {} + {error}", max.1);
            }
        }
    }

    /// However a series lies in chunks, and whoever holds them, the result is the same.
    #[test]
    fn chunks_given_one_by_one_give_the_same(samples in counter()) {
        let chunks = float_series(&samples);
        let mut sampler = Downsampler::new(Resolution::FiveMinutes);
        let made = loop {
            chunks.iter().try_for_each(|chunk| sampler.push(chunk)).unwrap();
            match sampler.finish().unwrap() {
                Attempt::Done(made) => break made,
                Attempt::Again(next) => sampler = next,
            }
        };
        prop_assert_eq!(made, five(&chunks));
    }

    #[test]
    fn a_flipped_bit_never_panics(samples in counter(), at in any::<proptest::sample::Index>(), byte in 0u8..8) {
        let mut series = Vec::new();
        for chunk in float_series(&samples).iter().chain(&five(&float_series(&samples))) {
            for (part, data) in (0u8..).zip(chunk.data().chunks(255)) {
                series.extend([if part == 0 { byte } else { 0 }, data.len() as u8]);
                series.extend(data);
            }
        }
        if !series.is_empty() {
            let bit = at.index(series.len() * 8);
            series[bit / 8] ^= 1 << (bit % 8);
        }
        crate::fuzz::raw_series(&series);
        crate::fuzz::aggregate_series(&series);
    }

    #[test]
    fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzz::raw_series(&data);
        crate::fuzz::aggregate_series(&data);
    }
}

/// A histogram series: the schema changes now and then, buckets come and go, and it begins anew.
fn histograms() -> impl Strategy<Value = Vec<(i64, FloatHistogram)>> {
    let layout = (-1i32..3, 0usize..3, -2i32..3);
    let growth = proptest::collection::vec(0u8..4, 4);
    let sample = (
        steps(),
        growth,
        proptest::option::weighted(0.03, layout),
        any::<u8>(),
    );
    proptest::collection::vec(sample, 0..300).prop_map(|samples| {
        let mut t = 1_767_225_600_000;
        let (mut schema, mut width, mut first) = (0, 2, 0);
        let mut counts = vec![0.0; 2];
        let mut histograms = Vec::new();
        for (step, growth, layout, dice) in samples {
            t += step;
            if let Some((new_schema, new_width, new_first)) = layout {
                (schema, width, first) = (new_schema, new_width + 1, new_first);
                counts = vec![0.0; width];
            }
            if dice < 4 {
                counts.fill(0.0);
            }
            for (count, more) in counts.iter_mut().zip(growth) {
                *count += f64::from(more);
            }
            let layout = Layout {
                schema,
                positive_spans: vec![Span {
                    offset: first,
                    length: width as u32,
                }],
                ..Layout::default()
            };
            let histogram = FloatHistogram {
                layout: Arc::new(layout),
                count: counts.iter().sum(),
                sum: if dice == 255 { STALE_NAN } else { f64::from(dice) },
                positive: counts.clone(),
                ..FloatHistogram::default()
            };
            histograms.push((
                t,
                if dice == 255 {
                    FloatHistogram::stale()
                } else {
                    histogram
                },
            ));
        }
        histograms
    })
}

proptest! {
    /// The sum of a window loses nothing, whatever schemas come together, unless its chunk had to begin anew.
    #[test]
    fn histograms_add_up(histograms in histograms()) {
        let chunks = framed(histograms.iter().map(|(t, histogram)| Sample {
            t: *t,
            value: Value::FloatHistogram(Box::new(histogram.clone())),
        }));
        let kept: Vec<&FloatHistogram> =
            histograms.iter().map(|(_, histogram)| histogram).filter(|histogram| !histogram.is_stale()).collect();
        let fives = five(&chunks);
        for made in [&fives, &hour(&fives)] {
            prop_assert_eq!(total(&all(made, Aggregate::Count)), kept.len() as f64);
            let sums = made.iter().flat_map(|chunk| histograms_of(chunk, Aggregate::Sum));
            let (mut count, mut buckets) = (0.0, 0.0);
            for (_, sum) in sums {
                count += sum.count;
                buckets += sum.positive.iter().sum::<f64>();
            }
            let truth: f64 = kept.iter().map(|histogram| histogram.count).sum();
            prop_assert_eq!((count, buckets), (truth, truth));
        }
    }
}
