//! The rules for floats, one by one.

use super::*;

/// Worked example E of the format notes.
#[test]
fn the_worked_example_is_made() {
    let made = five(&float_series(&[(60_000, 1.0), (120_000, 3.0), (400_000, 2.0)]));
    let [chunk] = made.as_slice() else {
        panic!("{} chunks", made.len())
    };
    assert_eq!((chunk.mint, chunk.maxt), (299_999, 400_000));
    assert_eq!(
        floats_of(chunk, Aggregate::Count),
        [(299_999, 2.0), (400_000, 1.0)]
    );
    assert_eq!(floats_of(chunk, Aggregate::Sum), [(299_999, 4.0), (400_000, 2.0)]);
    assert_eq!(floats_of(chunk, Aggregate::Min), [(299_999, 1.0), (400_000, 2.0)]);
    assert_eq!(floats_of(chunk, Aggregate::Max), [(299_999, 3.0), (400_000, 2.0)]);
    let counter = [(60_000, 1.0), (299_999, 3.0), (400_000, 5.0), (400_000, 2.0)];
    assert_eq!(floats_of(chunk, Aggregate::Counter), counter);
}

#[test]
fn a_single_sample_has_equal_timestamps_at_both_ends_of_its_counter() {
    let made = five(&float_series(&[(60_000, 7.0)]));
    assert_eq!(
        floats_of(&made[0], Aggregate::Counter),
        [(60_000, 7.0), (60_000, 7.0), (60_000, 7.0)]
    );
}

#[test]
fn samples_before_1970_are_lost() {
    let made = five(&float_series(&[(-5, 1.0), (3, 2.0)]));
    assert_eq!(floats_of(&made[0], Aggregate::Sum), [(3, 2.0)]);
}

#[test]
fn samples_that_go_back_in_time_within_a_chunk_are_lost() {
    let made = five(&float_series(&[(10, 1.0), (7, 4.0), (10, 2.0), (12, 3.0)]));
    assert_eq!(floats_of(&made[0], Aggregate::Count), [(12, 3.0)]);
    assert_eq!(floats_of(&made[0], Aggregate::Sum), [(12, 6.0)]);
}

#[test]
fn a_window_of_nothing_but_infinity_keeps_the_limits_it_began_with() {
    let of = |value| {
        let made = five(&float_series(&[(10, value)]));
        let one = |aggregate| floats_of(&made[0], aggregate)[0].1;
        (one(Aggregate::Min), one(Aggregate::Max))
    };
    assert_eq!(of(f64::INFINITY), (f64::MAX, f64::INFINITY));
    assert_eq!(of(f64::NEG_INFINITY), (f64::NEG_INFINITY, f64::MIN));
}

#[test]
fn the_sign_of_a_negative_zero_stays_in_the_counter_and_not_in_the_sum() {
    let made = five(&float_series(&[(10, -0.0)]));
    let bits = |aggregate: Aggregate| floats_of(&made[0], aggregate)[0].1.to_bits();
    assert_eq!(bits(Aggregate::Counter), (-0.0f64).to_bits());
    assert_eq!(bits(Aggregate::Sum), 0);
    assert_eq!(
        floats_of(&made[0], Aggregate::Counter)[1].1.to_bits(),
        (-0.0f64).to_bits()
    );
}

#[test]
fn nan_counts_for_the_size_of_batches_alone() {
    let made = five(&float_series(&[
        (10, 1.0),
        (20, f64::NAN),
        (300_010, f64::NAN),
        (600_010, 3.0),
    ]));
    assert_eq!(
        floats_of(&made[0], Aggregate::Count),
        [(299_999, 1.0), (600_010, 1.0)]
    );
    let trailing = five(&float_series(&[(10, 1.0), (300_010, f64::NAN)]));
    assert_eq!(floats_of(&trailing[0], Aggregate::Count), [(10, 1.0)]);
}

#[test]
fn stale_markers_count_for_nothing() {
    let samples = [(10, 1.0), (20, STALE_NAN), (30, 2.0)];
    let without = [(10, 1.0), (30, 2.0)];
    assert_eq!(five(&float_series(&samples)), five(&float_series(&without)));
}

/// The guess from the headers counts stale markers: here it makes the batches larger than they should be.
#[test]
fn a_wrong_guess_is_noticed() {
    let windows = 600;
    let mut samples: Vec<(i64, f64)> = (0..windows * 5).map(|i| (i * MINUTE_MS, i as f64)).collect();
    let whole = five(&float_series(&samples)).len();
    for sample in samples.iter_mut().skip(1).step_by(2) {
        sample.1 = STALE_NAN;
    }
    let stale = float_series(&samples);
    let kept: Vec<(i64, f64)> = samples.into_iter().filter(|(_, value)| !value.is_nan()).collect();
    let made = five(&stale);
    assert_eq!(made, five(&float_series(&kept)));
    assert_ne!(made.len(), whole);
    let mut sampler =
        Downsampler::planned(Resolution::FiveMinutes, guess(&stale, Resolution::FiveMinutes), 3);
    stale.iter().for_each(|chunk| sampler.push(chunk).unwrap());
    assert!(matches!(sampler.finish(), Ok(Attempt::Again(_))));
}

#[test]
fn a_reset_between_chunks_is_seen_an_hour_later() {
    // 400 windows make three chunks; the counter starts anew now and then.
    let samples: Vec<(i64, f64)> = (0..2000).map(|i| (i * MINUTE_MS, (i % 137) as f64)).collect();
    let fives = five(&float_series(&samples));
    assert!(fives.len() > 2);
    let hours = hour(&fives);
    let truth = increase(samples.iter().copied());
    let counted = |chunks: &[SeriesChunk]| {
        increase_of_counter(
            chunks
                .iter()
                .flat_map(|chunk| floats_of(chunk, Aggregate::Counter)),
        )
    };
    assert_eq!(counted(&fives), truth);
    assert_eq!(counted(&hours), truth);
}

/// How much a counter grew, resets added up.
pub(super) fn increase(samples: impl Iterator<Item = (i64, f64)>) -> f64 {
    let mut before: Option<f64> = None;
    samples.fold(0.0, |sum, (_, value)| {
        let more = match before.replace(value) {
            None => 0.0,
            Some(before) if value < before => value,
            Some(before) => value - before,
        };
        sum + more
    })
}

/// The same of the counters of aggregate chunks.
pub(super) fn increase_of_counter(samples: impl Iterator<Item = (i64, f64)>) -> f64 {
    let mut resets = CounterResets::new();
    let mut totals = samples.filter_map(|(t, value)| resets.push(t, value));
    let first = totals.next().unwrap_or_default();
    totals.last().unwrap_or(first) - first
}

#[test]
fn an_aggregate_that_is_nowhere_stays_away() {
    let made = five(&float_series(&[(10, 1.0), (20, 2.0)]));
    let mut parsed = AggregateChunk::parse(made[0].data()).unwrap();
    parsed.set(Aggregate::Min, None);
    let chunk = SeriesChunk::encode(made[0].mint, made[0].maxt, Encoding::Aggregate, &parsed.encode());
    let hours = hour(&[chunk]);
    assert_eq!((hours[0].mint, hours[0].maxt), (20, 20));
    assert_eq!(floats_of(&hours[0], Aggregate::Min), []);
    assert_eq!(floats_of(&hours[0], Aggregate::Max), [(20, 2.0)]);
}
