use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sabre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Layout, Span};

use super::side::{buckets, normalised};
use super::*;

fn histogram(schema: i32, zero_threshold: f64, positive: &[(i64, f64)]) -> FloatHistogram {
    let (positive_spans, counts) = normalised(positive.iter().copied());
    FloatHistogram {
        layout: Arc::new(Layout {
            schema,
            zero_threshold,
            positive_spans,
            ..Layout::default()
        }),
        count: counts.iter().sum(),
        positive: counts,
        ..FloatHistogram::default()
    }
}

fn custom(bounds: &[f64], positive: &[(i64, f64)]) -> FloatHistogram {
    let mut custom = histogram(CUSTOM_BUCKETS_SCHEMA, 0.0, positive);
    let layout = Layout {
        custom_bounds: bounds.to_vec(),
        ..Layout::clone(&custom.layout)
    };
    custom.layout = Arc::new(layout);
    custom
}

fn positive(histogram: &FloatHistogram) -> Vec<(i64, f64)> {
    buckets(&histogram.layout.positive_spans, &histogram.positive).collect()
}

fn sum(one: &FloatHistogram, other: &FloatHistogram) -> FloatHistogram {
    let mut sum = one.clone();
    add(&mut sum, other, Sign::Plus).unwrap();
    sum
}

fn difference(one: &FloatHistogram, other: &FloatHistogram) -> FloatHistogram {
    let mut difference = one.clone();
    add(&mut difference, other, Sign::Minus).unwrap();
    difference
}

#[test]
fn hints_that_differ_become_unknown_and_gauge_wins() {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    let joined = |one, other| {
        let with = |hint| FloatHistogram {
            hint,
            ..FloatHistogram::default()
        };
        sum(&with(one), &with(other)).hint
    };
    assert_eq!(joined(NotCounterReset, NotCounterReset), NotCounterReset);
    assert_eq!(joined(CounterReset, CounterReset), CounterReset);
    assert_eq!(joined(NotCounterReset, Unknown), Unknown);
    assert_eq!(joined(Gauge, CounterReset), Gauge);
    assert_eq!(joined(Unknown, Gauge), Gauge);
}

#[test]
fn the_finer_schema_is_reduced() {
    let coarse = histogram(0, 0.0, &[(1, 1.0)]);
    let fine = histogram(1, 0.0, &[(1, 2.0), (2, 3.0), (3, 4.0)]);
    for result in [sum(&coarse, &fine), sum(&fine, &coarse)] {
        assert_eq!(result.layout.schema, 0);
        assert_eq!(positive(&result), [(1, 6.0), (2, 4.0)]);
        assert_eq!(result.count, 10.0);
    }
}

#[test]
fn a_bucket_that_is_taken_away_is_negative_even_if_empty() {
    let result = difference(
        &histogram(0, 0.0, &[(5, 1.0)]),
        &histogram(0, 0.0, &[(3, 0.0), (5, 1.0)]),
    );
    assert_eq!(result.positive[0].to_bits(), (-0.0f64).to_bits());
    assert_eq!(positive(&result), [(3, 0.0), (5, 0.0)]);
}

/// Of schema 0, bucket 0 reaches from 0.5 to 1 and bucket −1 from 0.25 to 0.5.
#[test]
fn a_zero_bucket_grows_to_the_end_of_a_bucket_that_it_would_cut() {
    let narrow = FloatHistogram {
        zero_count: 1.0,
        ..histogram(0, 0.25, &[(0, 2.0), (1, 4.0)])
    };
    let wide = FloatHistogram {
        zero_count: 8.0,
        ..histogram(0, 0.75, &[(1, 16.0)])
    };
    for result in [sum(&narrow, &wide), sum(&wide, &narrow)] {
        assert_eq!((result.zero_count, result.layout.zero_threshold), (11.0, 1.0));
        assert_eq!(positive(&result), [(1, 20.0)]);
    }
    assert_eq!(narrow.zero_count, 1.0);
}

#[test]
fn a_zero_bucket_takes_an_empty_bucket_in_part() {
    let narrow = histogram(0, 0.25, &[(0, 0.0), (1, 4.0)]);
    let wide = histogram(0, 0.75, &[(1, 16.0)]);
    let result = sum(&narrow, &wide);
    assert_eq!(result.layout.zero_threshold, 0.75);
    assert_eq!(positive(&result), [(1, 20.0)]);
}

#[test]
fn a_negative_bucket_that_is_cut_makes_the_positive_side_be_looked_at_again() {
    let mut narrow = histogram(0, 0.25, &[(0, 2.0), (1, 4.0)]);
    let layout = Layout {
        negative_spans: vec![Span { offset: 1, length: 1 }],
        ..Layout::clone(&narrow.layout)
    };
    (narrow.layout, narrow.negative) = (Arc::new(layout), vec![32.0]);
    let wide = histogram(0, 1.5, &[(3, 16.0)]);
    let result = sum(&narrow, &wide);
    assert_eq!((result.zero_count, result.layout.zero_threshold), (38.0, 2.0));
    assert_eq!((positive(&result), result.negative), (vec![(3, 16.0)], vec![]));
}

#[test]
fn buckets_of_the_other_within_the_zero_bucket_are_left_out() {
    let one = histogram(0, 1.0, &[(1, 1.0)]);
    let other = histogram(0, 1.0, &[(0, 9.0), (1, 2.0)]);
    assert_eq!(positive(&sum(&one, &other)), [(1, 3.0)]);
}

#[test]
fn custom_bounds_are_brought_to_those_in_common() {
    let one = custom(&[1.0, 2.0, 4.0], &[(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0)]);
    let other = custom(&[1.0, 4.0, 5.0], &[(0, 16.0), (2, 32.0)]);
    let result = sum(&one, &other);
    assert_eq!(result.layout.custom_bounds, [1.0, 4.0]);
    assert_eq!(positive(&result), [(0, 17.0), (1, 6.0), (2, 40.0)]);
    let gone = difference(&one, &custom(&[4.0], &[(0, 7.0)]));
    assert_eq!(
        (gone.layout.custom_bounds.as_slice(), positive(&gone)),
        (&[4.0][..], vec![(1, 8.0)])
    );
    assert_eq!(positive(&sum(&one, &one))[3], (3, 16.0));
}

#[test]
fn custom_and_exponential_buckets_do_not_mix() {
    let mut one = custom(&[1.0], &[(0, 1.0)]);
    let other = histogram(0, 0.0, &[(0, 1.0)]);
    assert_eq!(add(&mut one, &other, Sign::Plus), Err(MixedBuckets));
    assert_eq!(one, custom(&[1.0], &[(0, 1.0)]), "left as it was");
}

#[test]
fn resets_are_found_by_each_of_the_rules() {
    let base = FloatHistogram {
        zero_count: 2.0,
        count: 12.0,
        ..histogram(0, 0.25, &[(1, 4.0), (2, 6.0)])
    };
    let with = |change: &dyn Fn(&mut FloatHistogram)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    let layout = |change: &dyn Fn(&mut Layout)| {
        with(&|histogram| {
            let mut layout = Layout::clone(&histogram.layout);
            change(&mut layout);
            histogram.layout = Arc::new(layout);
        })
    };
    assert!(!is_reset(&base, &base));
    let resets = [
        ("count", with(&|h| h.count = 11.0)),
        ("zero count", with(&|h| h.zero_count = 1.0)),
        ("a bucket", with(&|h| h.positive[1] = 5.0)),
        ("hint", with(&|h| h.hint = CounterResetHint::CounterReset)),
        ("finer schema", layout(&|l| l.schema = 1)),
        ("narrower zero bucket", layout(&|l| l.zero_threshold = 0.125)),
        (
            "a zero bucket that cuts a bucket",
            layout(&|l| l.zero_threshold = 1.5),
        ),
        (
            "a bucket that is gone",
            FloatHistogram {
                count: 12.0,
                zero_count: 2.0,
                ..histogram(0, 0.25, &[(1, 12.0)])
            },
        ),
        (
            "custom",
            FloatHistogram {
                count: 12.0,
                ..custom(&[1.0], &[(0, 12.0)])
            },
        ),
    ];
    for (what, changed) in resets {
        assert!(is_reset(&changed, &base), "{what}");
    }
    let no_resets = [
        (
            "hint",
            with(&|h| (h.hint, h.count) = (CounterResetHint::NotCounterReset, 0.0)),
        ),
        ("more", with(&|h| (h.positive[0], h.count) = (9.0, 17.0))),
        (
            "coarser",
            FloatHistogram {
                count: 12.0,
                zero_count: 2.0,
                ..histogram(-1, 0.25, &[(1, 10.0)])
            },
        ),
        (
            "wider zero bucket",
            FloatHistogram {
                count: 12.0,
                zero_count: 6.0,
                ..histogram(0, 2.0, &[(2, 6.0)])
            },
        ),
    ];
    for (what, changed) in no_resets {
        assert!(!is_reset(&changed, &base), "{what}");
    }
}

#[test]
fn resets_of_custom_buckets_are_found_between_bounds_in_common() {
    let before = custom(&[1.0, 2.0, 4.0], &[(0, 1.0), (1, 2.0), (2, 3.0)]);
    assert!(!is_reset(&custom(&[1.0, 4.0], &[(0, 1.0), (1, 5.0)]), &before));
    assert!(is_reset(
        &custom(&[1.0, 4.0], &[(0, 1.0), (1, 4.0), (2, 9.0)]),
        &before
    ));
    assert!(is_reset(
        &custom(&[1.0, 2.0, 4.0], &[(0, 1.0), (1, 1.0), (2, 9.0)]),
        &before
    ));
    assert!(!is_reset(&custom(&[9.0], &[(0, 6.0)]), &before));
}

/// Histograms of any schema with whole counts, so that sums are exact.
fn any_histogram() -> impl Strategy<Value = FloatHistogram> {
    let counts = proptest::collection::btree_map(-20i64..20, 0u32..50, 0..12);
    (-2i32..4, prop_oneof![Just(0.0), 0.0..4.0f64], counts, 0u32..9).prop_map(
        |(schema, threshold, counts, zero_count)| {
            let counts: Vec<(i64, f64)> = counts
                .into_iter()
                .map(|(index, count)| (index, f64::from(count)))
                .collect();
            let mut made = histogram(schema, threshold, &counts);
            made.zero_count = f64::from(zero_count);
            made.count += made.zero_count;
            made
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_lost_by_adding_to_a_wider_zero_bucket(mut one in any_histogram(), other in any_histogram()) {
        // Buckets within the zero bucket of the other are left out, so there are none.
        let layout = Layout { zero_threshold: 0.0, ..Layout::clone(&one.layout) };
        one.layout = Arc::new(layout);
        let other = FloatHistogram {
            layout: Arc::new(Layout { zero_threshold: 0.0, ..Layout::clone(&other.layout) }),
            ..other
        };
        let result = sum(&one, &other);
        prop_assert_eq!(result.count, one.count + other.count);
        let held = result.positive.iter().sum::<f64>() + result.zero_count;
        prop_assert_eq!(held, result.count);
        prop_assert_eq!(result.layout.schema, one.layout.schema.min(other.layout.schema));
        let back = difference(&result, &other);
        let expected: BTreeMap<i64, f64> = positive(&reduced(&one, result.layout.schema)).into_iter().collect();
        for (index, count) in positive(&back) {
            prop_assert_eq!(count, expected.get(&index).copied().unwrap_or_default());
        }
    }

    #[test]
    fn spans_stay_ascending_and_have_all_buckets(one in any_histogram(), other in any_histogram()) {
        for result in [sum(&one, &other), difference(&one, &other)] {
            prop_assert!(positive(&result).is_sorted_by(|one, other| one.0 < other.0));
            let announced: u32 = result.layout.positive_spans.iter().map(|span| span.length).sum();
            prop_assert_eq!(announced as usize, result.positive.len());
            prop_assert!(result.layout.zero_threshold >= one.layout.zero_threshold);
            prop_assert!(result.layout.zero_threshold >= other.layout.zero_threshold);
        }
    }

    #[test]
    fn a_histogram_that_grew_is_no_reset(one in any_histogram(), grown in any_histogram()) {
        let grown = FloatHistogram {
            layout: Arc::new(Layout {
                schema: one.layout.schema,
                zero_threshold: one.layout.zero_threshold,
                ..Layout::clone(&grown.layout)
            }),
            ..grown
        };
        let sum = sum(&one, &grown);
        prop_assert!(!is_reset(&sum, &one));
        prop_assert_eq!(is_reset(&one, &sum), sum.count > one.count || positive(&sum).iter().zip(positive(&one)).any(|(sum, one)| sum.1 > one.1));
    }
}
