//! The rules for histograms, and what they lose, one by one.

use super::*;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

/// Schema, zero threshold, first bucket and counts.
fn float_histogram(schema: i32, zero_threshold: f64, first: i32, counts: &[f64]) -> FloatHistogram {
    FloatHistogram {
        layout: Arc::new(Layout {
            schema,
            zero_threshold,
            positive_spans: vec![span(first, counts.len() as u32)],
            ..Layout::default()
        }),
        count: counts.iter().sum(),
        sum: 1.0,
        positive: counts.to_vec(),
        ..FloatHistogram::default()
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
    let mut histogram = float_histogram(CUSTOM_BUCKETS_SCHEMA, 0.0, 0, counts);
    let layout = Layout {
        custom_bounds: bounds.to_vec(),
        ..Layout::clone(&histogram.layout)
    };
    histogram.layout = Arc::new(layout);
    histogram
}

fn series(histograms: impl IntoIterator<Item = (i64, FloatHistogram)>) -> Vec<SeriesChunk> {
    framed(histograms.into_iter().map(|(t, histogram)| Sample {
        t,
        value: Value::FloatHistogram(Box::new(histogram)),
    }))
}

/// Times and total counts.
fn counts(chunk: &SeriesChunk, aggregate: Aggregate) -> Vec<(i64, f64)> {
    let histograms = histograms_of(chunk, aggregate);
    histograms
        .into_iter()
        .map(|(t, histogram)| (t, histogram.count))
        .collect()
}

const WINDOW_MS: i64 = 300_000;

#[test]
fn histograms_have_count_sum_and_counter_without_raw_values() {
    let histograms = [(10, [1.0, 2.0]), (20, [2.0, 2.0]), (WINDOW_MS + 5, [1.0, 1.0])];
    let made = five(&series(
        histograms.map(|(t, counts)| (t, float_histogram(0, 0.0, 1, &counts))),
    ));
    let [chunk] = made.as_slice() else {
        panic!("{} chunks", made.len())
    };
    let ends = [299_999, WINDOW_MS + 5];
    assert_eq!((chunk.mint, chunk.maxt), (ends[0], ends[1]));
    assert_eq!(
        floats_of(chunk, Aggregate::Count),
        [(ends[0], 2.0), (ends[1], 1.0)]
    );
    assert_eq!(counts(chunk, Aggregate::Sum), [(ends[0], 7.0), (ends[1], 2.0)]);
    assert_eq!(
        counts(chunk, Aggregate::Counter),
        [(ends[0], 4.0), (ends[1], 6.0)]
    );
    assert_eq!(part(chunk, Aggregate::Min), []);
    assert_eq!(part(chunk, Aggregate::Max), []);
    let sum = &histograms_of(chunk, Aggregate::Sum)[0].1;
    assert_eq!(
        (sum.hint, sum.positive.as_slice()),
        (CounterResetHint::Gauge, &[3.0, 4.0][..])
    );
}

#[test]
fn a_counter_chunk_says_that_it_goes_on_and_a_gauge_that_it_is_one() {
    let flag = |histogram: FloatHistogram| {
        let made = five(&series([(10, histogram)]));
        let parsed = AggregateChunk::parse(made[0].data()).unwrap();
        let flag = |aggregate| parsed.get(aggregate).unwrap().data[2] >> 6;
        (flag(Aggregate::Counter), flag(Aggregate::Sum))
    };
    let counter = float_histogram(0, 0.0, 1, &[1.0]);
    let gauge = FloatHistogram {
        hint: CounterResetHint::Gauge,
        ..counter.clone()
    };
    assert_eq!(flag(counter), (0b01, 0b11));
    assert_eq!(flag(gauge), (0b11, 0b11));
}

#[test]
fn integer_counts_become_float_counts() {
    let histogram = Histogram {
        layout: Arc::new(Layout {
            positive_spans: vec![span(0, 2)],
            ..Layout::default()
        }),
        count: 5,
        positive: vec![2, 1],
        sum: 9.0,
        ..Histogram::default()
    };
    let made = five(&framed([Sample {
        t: 10,
        value: Value::Histogram(Box::new(histogram)),
    }]));
    let (_, counter) = &histograms_of(&made[0], Aggregate::Counter)[0];
    assert_eq!(
        (counter.count, counter.positive.as_slice()),
        (5.0, &[2.0, 3.0][..])
    );
}

#[test]
fn a_histogram_whose_sum_is_nan_is_left_out() {
    let nan = FloatHistogram {
        sum: f64::NAN,
        ..float_histogram(0, 0.0, 1, &[9.0])
    };
    let made = five(&series([(10, float_histogram(0, 0.0, 1, &[1.0])), (20, nan)]));
    assert_eq!(floats_of(&made[0], Aggregate::Count), [(10, 1.0)]);
}

/// Loss: of a batch that gets coarser on the way, all is brought to the coarsest schema.
#[test]
fn all_histograms_of_a_batch_get_its_coarsest_schema() {
    let fine = float_histogram(1, 0.0, 1, &[1.0, 2.0]);
    let coarse = float_histogram(0, 0.0, 1, &[4.0]);
    let made = five(&series([(10, fine), (WINDOW_MS, coarse)]));
    let sums = histograms_of(&made[0], Aggregate::Sum);
    assert_eq!(
        (sums[0].1.layout.schema, sums[0].1.positive.as_slice()),
        (0, &[3.0][..])
    );
    assert_eq!(
        (sums[1].1.layout.schema, sums[1].1.positive.as_slice()),
        (0, &[4.0][..])
    );
}

/// Loss: the first histogram of a chunk whose schema is finer than the batch's counts as a reset.
#[test]
fn a_schema_finer_than_the_coarsest_counts_as_a_reset() {
    let coarse = float_histogram(0, 0.0, 1, &[4.0]);
    let fine = float_histogram(1, 0.0, 1, &[2.0, 3.0]);
    let made = five(&series([(10, coarse), (20, fine)]));
    assert_eq!(counts(&made[0], Aggregate::Counter), [(20, 9.0)]);
}

/// Loss: reducing drops the hint, that of a gauge too. The fall from 5 to 3 is then a reset.
#[test]
fn a_reduced_gauge_is_no_gauge_any_more() {
    let gauge = |histogram| FloatHistogram {
        hint: CounterResetHint::Gauge,
        ..histogram
    };
    let fine = |counts: &[f64]| gauge(float_histogram(1, 0.0, 1, counts));
    let coarse = gauge(float_histogram(0, 0.0, 1, &[3.0]));
    let kept = five(&series([(10, fine(&[5.0])), (20, fine(&[3.0]))]));
    assert_eq!(counts(&kept[0], Aggregate::Counter), [(20, 3.0)]);
    let lost = five(&series([
        (10, fine(&[5.0])),
        (20, fine(&[3.0])),
        (WINDOW_MS, coarse),
    ]));
    assert_eq!(counts(&lost[0], Aggregate::Counter)[0], (299_999, 8.0));
}

/// Loss: a zero bucket that grows within a batch makes the counter begin anew.
#[test]
fn windows_before_a_zero_bucket_grew_are_lost_from_the_counter() {
    let narrow = float_histogram(0, 0.001, 1, &[1.0]);
    let wide = float_histogram(0, 0.5, 1, &[2.0]);
    let made = five(&series([(10, narrow), (WINDOW_MS, wide)]));
    assert_eq!(
        floats_of(&made[0], Aggregate::Count),
        [(299_999, 1.0), (300_000, 1.0)]
    );
    assert_eq!(counts(&made[0], Aggregate::Counter), [(300_000, 2.0)]);
    assert_eq!(counts(&made[0], Aggregate::Sum), [(300_000, 2.0)]);
}

/// Loss: so do bounds that have to be brought together.
#[test]
fn windows_before_bounds_were_reconciled_are_lost_from_the_counter() {
    let before = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]);
    let after = custom(&[1.0, 3.0], &[2.0, 4.0]);
    let made = five(&series([(10, before), (WINDOW_MS, after)]));
    assert_eq!(floats_of(&made[0], Aggregate::Count).len(), 2);
    let counter = histograms_of(&made[0], Aggregate::Counter);
    assert_eq!(counter.len(), 1);
    assert_eq!(counter[0].1.layout.custom_bounds, [1.0, 3.0]);
    assert_eq!(counter[0].1.positive, [2.0, 4.0]);
}

/// Loss: and a gauge that turns up in a batch of counters.
#[test]
fn windows_before_a_gauge_among_counters_are_lost_from_the_counter() {
    let counter = float_histogram(0, 0.0, 1, &[3.0]);
    let gauge = FloatHistogram {
        hint: CounterResetHint::Gauge,
        ..float_histogram(0, 0.0, 1, &[1.0])
    };
    let made = five(&series([(10, counter), (WINDOW_MS, gauge)]));
    assert_eq!(floats_of(&made[0], Aggregate::Count).len(), 2);
    assert_eq!(counts(&made[0], Aggregate::Counter), [(300_000, 1.0)]);
    assert_eq!(counts(&made[0], Aggregate::Sum).len(), 2);
}

/// No loss: buckets that come later make the chunk wider.
#[test]
fn windows_before_new_buckets_are_kept() {
    let before = float_histogram(0, 0.0, 1, &[1.0]);
    let after = float_histogram(0, 0.0, 0, &[5.0, 1.0, 2.0]);
    let made = five(&series([(10, before), (WINDOW_MS, after)]));
    let counter = histograms_of(&made[0], Aggregate::Counter);
    assert_eq!(counter[0].1.positive, [0.0, 1.0, 0.0]);
    assert_eq!(counter[1].1.positive, [5.0, 1.0, 2.0]);
}

#[test]
fn custom_and_exponential_buckets_in_a_batch_are_an_error_of_the_block() {
    for order in [[0, 1], [1, 0]] {
        let histograms = [custom(&[1.0], &[1.0]), float_histogram(0, 0.0, 1, &[1.0])];
        let times = order.into_iter().zip([10, 20]);
        let chunks = series(times.map(|(which, t)| (t, histograms[which].clone())));
        let error = downsample_series(&chunks, Resolution::FiveMinutes).unwrap_err();
        assert!(matches!(error, DownsampleError::MixedBuckets { .. }), "{error}");
    }
}

/// Loss: the counter of a chunk in which there was a reset ends higher than the next one starts, which is then
/// taken for another reset.
#[test]
fn a_reset_within_a_chunk_is_counted_again_between_chunks_an_hour_later() {
    let histograms = |chunk: i64, counts: [f64; 3]| {
        let at = |i: i64| (chunk * 100 + i) * MINUTE_MS;
        let times = (0..).map(at).zip(counts);
        series(times.map(|(t, count)| (t, float_histogram(0, 0.0, 1, &[count]))))
    };
    // Up to 10, then from zero to 4 and on to 6: grown by 16 in all.
    let mut fives = five(&histograms(0, [8.0, 10.0, 4.0]));
    fives.extend(five(&histograms(1, [5.0, 6.0, 6.0])));
    assert_eq!(counts(&fives[0], Aggregate::Counter), [(120_000, 14.0)]);
    assert_eq!(counts(&fives[1], Aggregate::Counter), [(6_120_000, 6.0)]);
    let hours = hour(&fives);
    let counter: Vec<_> = hours
        .iter()
        .flat_map(|chunk| counts(chunk, Aggregate::Counter))
        .collect();
    assert_eq!(
        counter,
        [(3_599_999, 14.0), (6_120_000, 20.0)],
        "6 more counted as a reset, not 2"
    );
}

/// Loss: only the first histogram of a chunk can be found to be a reset an hour later.
#[test]
fn a_fall_within_a_chunk_of_counters_is_no_reset_an_hour_later() {
    let fives = five(&series([
        (10, float_histogram(0, 0.0, 1, &[5.0])),
        (WINDOW_MS, float_histogram(0, 0.0, 1, &[6.0])),
    ]));
    let hours = hour(&fives);
    assert_eq!(counts(&hours[0], Aggregate::Counter), [(300_000, 6.0)]);
    assert_eq!(counts(&hours[0], Aggregate::Sum), [(300_000, 11.0)]);
    assert_eq!(floats_of(&hours[0], Aggregate::Count), [(300_000, 2.0)]);
}
