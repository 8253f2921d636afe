//! Which histogram begins a new chunk, and with which flag: a test for each rule.

use super::*;

fn base() -> Histogram {
    counts(layout(&[span(0, 2)]), 5, 20, &[4, 6])
}

fn gauge() -> FloatHistogram {
    hinted(Gauge, counts(layout(&[span(0, 2)]), 5.0, 20.0, &[4.0, 6.0]))
}

#[test]
fn the_first_flag_follows_the_hint() {
    for (hint, flag) in [
        (Unknown, Unknown),
        (NotCounterReset, Unknown),
        (CounterReset, CounterReset),
        (Gauge, Gauge),
    ] {
        assert_eq!(chunk(&[hinted(hint, base())]).flag(), flag);
    }
}

#[test]
fn no_gauge_behind_gauges_begins_a_chunk_whose_flag_depends_on_the_kind() {
    let after_gauge = NotCounterReset;
    assert_eq!(
        verdict(&[hinted(Gauge, base())], &base()),
        Appended::NewChunk(after_gauge)
    );
    assert_eq!(
        verdict(&[gauge()], &hinted(Unknown, gauge())),
        Appended::NewChunk(Unknown)
    );
    assert_eq!(
        verdict(&[gauge()], &FloatHistogram::stale()),
        Appended::NewChunk(Unknown)
    );
    let reset = hinted(CounterReset, gauge());
    assert_eq!(
        verdict(&[gauge()], &reset),
        Appended::NewChunk(Unknown),
        "before its own hint counts"
    );
}

#[test]
fn a_reset_by_hint_begins_a_chunk() {
    let reset = Appended::NewChunk(CounterReset);
    assert_eq!(verdict(&[base()], &hinted(CounterReset, base())), reset);
    assert_eq!(
        verdict(&[base()], &hinted(CounterReset, Histogram::stale())),
        reset
    );
}

#[test]
fn only_stale_histograms_follow_a_stale_one() {
    assert_eq!(verdict(&[base()], &Histogram::stale()), Appended::Extended);
    assert_eq!(
        verdict(&[base(), Histogram::stale()], &Histogram::stale()),
        Appended::Extended
    );
    assert_eq!(
        verdict(&[base(), Histogram::stale()], &base()),
        Appended::NewChunk(Unknown)
    );
    let smaller = Histogram { count: 1, ..base() };
    assert_eq!(
        verdict(&[base(), Histogram::stale()], &smaller),
        Appended::NewChunk(Unknown),
        "no reset"
    );
}

#[test]
fn a_count_that_fell_is_a_reset() {
    assert_eq!(
        verdict(&[base()], &Histogram { count: 19, ..base() }),
        Appended::NewChunk(CounterReset)
    );
    let coarser = counts(
        Layout {
            schema: -1,
            ..layout(&[span(0, 2)])
        },
        5,
        19,
        &[4, 6],
    );
    assert_eq!(
        verdict(&[base()], &coarser),
        Appended::NewChunk(CounterReset),
        "before the schema counts"
    );
}

#[test]
fn another_schema_or_zero_threshold_begins_a_chunk() {
    let finer = counts(
        Layout {
            schema: 1,
            ..layout(&[span(0, 2)])
        },
        5,
        20,
        &[4, 6],
    );
    let wider = counts(
        Layout {
            zero_threshold: 0.5,
            ..layout(&[span(0, 2)])
        },
        4,
        20,
        &[4, 6],
    );
    assert_eq!(verdict(&[base()], &finer), Appended::NewChunk(Unknown));
    assert_eq!(
        verdict(&[base()], &wider),
        Appended::NewChunk(Unknown),
        "before the zero count counts"
    );
}

fn custom(bounds: &[f64], positive: &[i64]) -> Histogram {
    let layout = Layout {
        schema: CUSTOM_BUCKETS_SCHEMA,
        positive_spans: vec![span(0, positive.len() as u32)],
        custom_bounds: bounds.to_vec(),
        ..Layout::default()
    };
    counts(layout, 0, positive.iter().sum::<i64>() as u64, positive)
}

#[test]
fn other_custom_bounds_are_a_reset() {
    let chunk = [custom(&[1.0, 2.0], &[1, 1])];
    assert_eq!(
        verdict(&chunk, &custom(&[1.0, 3.0], &[1, 1])),
        Appended::NewChunk(CounterReset)
    );
    assert_eq!(
        verdict(&chunk, &custom(&[1.0, 2.0], &[1, 2, 1])),
        Appended::Recoded
    );
    let gauges = [hinted(Gauge, custom(&[1.0, 2.0], &[1, 1]))];
    let other = hinted(Gauge, custom(&[1.0], &[1]));
    assert_eq!(verdict(&gauges, &other), Appended::NewChunk(Gauge));
}

#[test]
fn a_zero_count_that_fell_is_a_reset() {
    assert_eq!(
        verdict(
            &[base()],
            &Histogram {
                zero_count: 4,
                ..base()
            }
        ),
        Appended::NewChunk(CounterReset)
    );
}

#[test]
fn a_bucket_that_fell_is_a_reset() {
    let fell = counts(layout(&[span(0, 2)]), 5, 25, &[9, 5]);
    assert_eq!(verdict(&[base()], &fell), Appended::NewChunk(CounterReset));
    let wider = counts(layout(&[span(-1, 3)]), 5, 25, &[1, 9, 5]);
    assert_eq!(verdict(&[base()], &wider), Appended::NewChunk(CounterReset));
}

#[test]
fn the_negative_side_counts_as_well() {
    let with_negative = |negative: &[i64]| {
        let layout = Layout {
            negative_spans: vec![span(0, 2)],
            ..layout(&[span(0, 2)])
        };
        Histogram {
            negative: i64::from_absolute(negative.to_vec()),
            ..counts(layout, 5, 20, &[4, 6])
        }
    };
    let before = [with_negative(&[1, 1])];
    assert_eq!(verdict(&before, &with_negative(&[1, 2])), Appended::Extended);
    assert_eq!(
        verdict(&before, &with_negative(&[2, 0])),
        Appended::NewChunk(CounterReset)
    );
    assert_eq!(
        verdict(&before, &base()),
        Appended::NewChunk(CounterReset),
        "both are missing"
    );
    assert_eq!(verdict(&[base()], &with_negative(&[0, 0])), Appended::Recoded);
}

#[test]
fn a_bucket_that_went_missing_is_a_reset_unless_it_was_zero() {
    let without = counts(layout(&[span(0, 1)]), 5, 20, &[8]);
    assert_eq!(verdict(&[base()], &without), Appended::NewChunk(CounterReset));
    let zero = counts(layout(&[span(0, 2)]), 5, 20, &[4, 0]);
    assert_eq!(verdict(&[zero], &without), Appended::Extended);
}

#[test]
fn a_histogram_that_only_lacks_buckets_gets_them() {
    let zero = counts(layout(&[span(0, 2)]), 5, 20, &[4, 0]);
    let mut chunk = chunk(&[zero]);
    let mut without = counts(layout(&[span(0, 1)]), 5, 20, &[8]);
    assert_eq!(chunk.append(1, &mut without), Ok(Appended::Extended));
    assert_eq!(
        (without.positive.as_slice(), &without.layout.positive_spans[..]),
        ([8, -8].as_slice(), &[span(0, 2)][..])
    );
    let samples = decode::<i64>(&chunk.finish());
    assert_eq!(samples[1].1.positive, [8, -8]);
}

/// The spans of a histogram are kept as they are, touching and empty ones too.
#[test]
fn added_buckets_bring_the_spans_of_the_histogram_if_it_lacks_none() {
    let odd = [span(0, 1), span(0, 2), span(4, 0), span(1, 1)];
    let mut wider = counts(layout(&odd), 5, 20, &[4, 6, 0, 0]);
    let mut chunk = chunk(&[base()]);
    assert_eq!(chunk.append(1, &mut wider), Ok(Appended::Recoded));
    assert_eq!(wider.layout.positive_spans, odd);
    let samples = decode::<i64>(&chunk.finish());
    assert_eq!(samples[0].1.layout.positive_spans, odd);
    assert_eq!(samples[0].1.positive, [4, 2, -6, 0]);
}

#[test]
fn added_and_missing_buckets_bring_the_normalised_union() {
    let zero = counts(layout(&[span(0, 1), span(0, 1)]), 5, 20, &[4, 0]);
    let mut other = counts(layout(&[span(0, 1), span(1, 1)]), 5, 20, &[4, 1]);
    let mut chunk = chunk(&[zero]);
    assert_eq!(chunk.append(1, &mut other), Ok(Appended::Recoded));
    assert_eq!(other.layout.positive_spans, [span(0, 3)]);
}

/// For counters each side is taken by itself, for gauges both go the same way.
#[test]
fn gauges_take_the_union_of_both_sides_if_one_lacks_a_bucket() {
    let touching = [span(0, 1), span(0, 1), span(0, 1)];
    let layouts = |positive: &[Span], negative: &[Span]| Layout {
        negative_spans: negative.to_vec(),
        ..layout(positive)
    };
    let histogram = |layout: Layout, positive: &[f64], negative: &[f64]| FloatHistogram {
        negative: negative.to_vec(),
        ..counts(layout, 0.0, 9.0, positive)
    };
    let before = histogram(layouts(&[span(0, 2)], &[span(0, 2)]), &[1.0, 1.0], &[1.0, 0.0]);
    let after = histogram(layouts(&touching, &[span(0, 1)]), &[2.0, 2.0, 2.0], &[2.0]);
    for (hint, spans) in [(Unknown, &touching[..]), (Gauge, &[span(0, 3)][..])] {
        let mut after = hinted(hint, after.clone());
        let mut chunk = chunk(&[hinted(hint, before.clone())]);
        assert_eq!(chunk.append(1, &mut after), Ok(Appended::Recoded));
        assert_eq!(after.layout.positive_spans, spans, "{hint:?}");
        assert_eq!(after.layout.negative_spans, [span(0, 2)], "{hint:?}");
    }
}

#[test]
fn gauges_may_fall() {
    let smaller = hinted(Gauge, counts(layout(&[span(0, 2)]), 0.0, 1.0, &[0.5, 0.0]));
    assert_eq!(verdict(&[gauge()], &smaller), Appended::Extended);
    let without = hinted(Gauge, counts(layout(&[span(1, 1)]), 0.0, 1.0, &[0.5]));
    assert_eq!(
        verdict(&[gauge()], &without),
        Appended::Extended,
        "a bucket that was not zero goes missing"
    );
}

#[test]
fn gauges_begin_a_chunk_of_their_own() {
    let new = Appended::NewChunk(Gauge);
    assert_eq!(verdict(&[hinted(Unknown, gauge())], &gauge()), new);
    let stale = hinted(Gauge, FloatHistogram::stale());
    assert_eq!(verdict(&[gauge()], &stale), Appended::Extended);
    assert_eq!(verdict(&[gauge(), stale], &gauge()), new);
    let finer = hinted(
        Gauge,
        counts(
            Layout {
                schema: 1,
                ..layout(&[])
            },
            5.0,
            20.0,
            &[],
        ),
    );
    assert_eq!(verdict(&[gauge()], &finer), new);
}

#[test]
fn a_nan_count_has_not_fallen() {
    let nan = FloatHistogram {
        count: f64::NAN,
        ..float(&[span(0, 1)], &[f64::NAN])
    };
    assert_eq!(verdict(&[float(&[span(0, 1)], &[1.0])], &nan), Appended::Extended);
    assert_eq!(verdict(&[nan], &float(&[span(0, 1)], &[1.0])), Appended::Extended);
}

#[test]
fn a_recoded_chunk_keeps_flag_and_count() {
    let mut chunk = HistogramAppender::begin_with_flag(CounterReset, 0, &base()).unwrap();
    let mut wider = counts(layout(&[span(-1, 3)]), 5, 20, &[0, 4, 6]);
    assert_eq!(chunk.append(1, &mut wider), Ok(Appended::Recoded));
    assert_eq!((chunk.flag(), chunk.num_samples()), (CounterReset, 2));
    assert_eq!(chunk.append(2, &mut base()), Ok(Appended::Extended));
    assert_eq!(decode::<i64>(&chunk.finish()).len(), 3);
}

#[test]
fn the_flag_behind_a_chunk_is_that_of_the_comparison() {
    let flag = |before: &[Histogram], next: Histogram| chunk(before).flag_behind(&next).unwrap();
    assert_eq!(flag(&[base()], base()), NotCounterReset);
    assert_eq!(flag(&[base()], Histogram { count: 1, ..base() }), CounterReset);
    assert_eq!(flag(&[base(), Histogram::stale()], base()), Unknown);
    assert_eq!(flag(&[base()], hinted(Gauge, base())), Gauge);
    assert_eq!(
        flag(&[hinted(Gauge, base())], hinted(CounterReset, base())),
        CounterReset
    );
    let flag = |before: &[FloatHistogram], next: FloatHistogram| chunk(before).flag_behind(&next).unwrap();
    let base = || float(&[span(0, 1)], &[1.0]);
    assert_eq!(flag(&[base()], base()), NotCounterReset);
    assert_eq!(
        flag(&[base(), FloatHistogram::stale()], base()),
        NotCounterReset,
        "floats know no unknown"
    );
    assert_eq!(flag(&[gauge()], base()), NotCounterReset);
    assert_eq!(
        flag(&[base()], FloatHistogram { count: 0.5, ..base() }),
        CounterReset
    );
}

#[test]
fn buckets_that_do_not_match_the_spans_are_refused() {
    let broken = Histogram {
        positive: vec![1],
        ..base()
    };
    let error = AppendError::BucketCount {
        announced: 2,
        present: 1,
    };
    assert_eq!(HistogramAppender::begin(0, &broken).unwrap_err(), error);
    let mut chunk = chunk(&[base()]);
    assert_eq!(chunk.append(1, &mut broken.clone()), Err(error));
    let mut back = counts(layout(&[span(0, 1), span(-1, 1)]), 5, 20, &[4, 6]);
    assert_eq!(chunk.append(1, &mut back), Err(AppendError::Spans));
    assert_eq!(chunk.num_samples(), 1, "the chunk goes on without them");
    assert_eq!(
        AppendError::Spans.to_string(),
        "histogram spans are not ascending, or are beyond bucket 1073741824"
    );
}
