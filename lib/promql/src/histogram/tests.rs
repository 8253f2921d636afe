use std::sync::Arc;

use super::buckets::bound;
use super::*;

fn histogram(schema: i32, threshold: f64, zero_count: f64, offset: i32, positive: &[f64]) -> FloatHistogram {
    FloatHistogram {
        count: positive.iter().sum::<f64>() + zero_count,
        zero_count,
        positive: positive.to_vec(),
        layout: Arc::new(Layout {
            schema,
            zero_threshold: threshold,
            positive_spans: vec![Span {
                offset,
                length: positive.len() as u32,
            }],
            ..Layout::default()
        }),
        ..FloatHistogram::default()
    }
}

#[test]
fn bounds_are_powers_of_two_and_roots_between_them() {
    assert_eq!(bound(0, 0, &[]), 1.0);
    assert_eq!(bound(3, 0, &[]), 8.0);
    assert_eq!(bound(-2, 0, &[]), 0.25);
    assert_eq!(bound(2, -1, &[]), 16.0);
    assert_eq!(bound(1, 2, &[]), 2f64.powf(0.25));
    // Prometheus' table has the root of a half rounded down.
    assert_eq!(bound(-1, 1, &[]), 0.707_106_781_186_547_5);
    assert_eq!(bound(1024, 0, &[]), f64::MAX);
    assert_eq!(bound(1025, 0, &[]), f64::INFINITY);
    assert_eq!(bound(-1074, 0, &[]), f64::from_bits(1));
    assert_eq!(bound(-1, CUSTOM, &[1.0, 2.0]), f64::NEG_INFINITY);
    assert_eq!(bound(1, CUSTOM, &[1.0, 2.0]), 2.0);
    assert_eq!(bound(2, CUSTOM, &[1.0, 2.0]), f64::INFINITY);
}

const CUSTOM: i32 = sabre_tsdb::histogram::CUSTOM_BUCKETS_SCHEMA;

#[test]
fn the_finer_operand_is_made_as_coarse_as_the_other() {
    let mut sum = histogram(0, 0.0, 0.0, 0, &[1.0, 2.0]);
    add(&mut sum, &histogram(1, 0.0, 0.0, 1, &[1.0, 1.0, 5.0])).unwrap();
    assert_eq!(sum.layout.schema, 0);
    // (1,1.41] and (1.41,2] go to (1,2], and (2,2.83] to (2,4].
    assert_eq!(sum.positive, [1.0, 4.0, 5.0]);
}

#[test]
fn buckets_within_the_wider_zero_bucket_are_counted_there() {
    let mut sum = histogram(0, 0.1, 1.0, -1, &[2.0, 3.0]);
    add(&mut sum, &histogram(0, 0.5, 1.0, 0, &[4.0])).unwrap();
    assert_eq!((sum.layout.zero_threshold, sum.zero_count), (0.5, 4.0));
    assert_eq!(sum.positive, [7.0]);
    assert_eq!(sum.layout.positive_spans, [Span { offset: 0, length: 1 }]);
}

#[test]
fn a_threshold_within_a_filled_bucket_grows_to_its_end() {
    let mut sum = histogram(0, 0.0, 0.0, 0, &[2.0]);
    add(&mut sum, &histogram(0, 0.6, 1.0, 1, &[4.0])).unwrap();
    // The bucket (0.5,1] holds 2.
    assert_eq!((sum.layout.zero_threshold, sum.zero_count), (1.0, 3.0));
    assert_eq!(sum.positive, [4.0]);
}

#[test]
fn empty_buckets_go_and_touching_spans_join() {
    let mut h = histogram(0, 0.0, 0.0, 2, &[0.0, 1.0, 0.0, 0.0, 2.0, 3.0]);
    compact(&mut h);
    let spans = [Span { offset: 3, length: 1 }, Span { offset: 2, length: 2 }];
    assert_eq!(h.layout.positive_spans, spans);
    assert_eq!(h.positive, [1.0, 2.0, 3.0]);
}

#[test]
fn a_reset_is_a_bucket_that_shrank_or_went() {
    let before = histogram(0, 0.0, 0.0, 0, &[1.0, 2.0]);
    assert!(!is_reset(&histogram(0, 0.0, 0.0, 0, &[1.0, 3.0]), &before));
    assert!(is_reset(&histogram(0, 0.0, 0.0, 0, &[3.0, 1.0]), &before));
    assert!(is_reset(&histogram(0, 0.0, 0.0, 1, &[9.0]), &before));
    assert!(is_reset(&histogram(1, 0.0, 0.0, 0, &[9.0, 9.0, 9.0]), &before));
    // A coarser schema is no reset.
    assert!(!is_reset(&histogram(-1, 0.0, 0.0, 0, &[1.0, 2.0]), &before));
}

#[test]
fn exponential_and_custom_buckets_do_not_add_up() {
    let mut exponential = histogram(0, 0.0, 0.0, 0, &[1.0]);
    assert!(add(&mut exponential, &histogram(CUSTOM, 0.0, 0.0, 0, &[1.0])).is_err());
}

#[test]
fn histograms_are_shown_as_prometheus_shows_them() {
    let h = histogram(0, 0.25, 1.0, 1, &[2.0, 0.0, 3.0]);
    assert_eq!(to_text(&h), "{count:6, sum:0, [-0.25,0.25]:1, (1,2]:2, (4,8]:3}");
}

/// Histograms with spans and counts by a number, some of them empty, of a few kinds.
fn numbered(number: u64) -> FloatHistogram {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) % limit
    };
    let custom = below(8) == 0;
    let mut spans = || {
        let count = below(4);
        let spans = (0..count).map(|i| Span {
            offset: below(4) as i32 - if i == 0 && !custom { 2 } else { 0 },
            length: below(4) as u32,
        });
        spans.collect::<Vec<_>>()
    };
    let (positive_spans, negative_spans) = (spans(), if custom { Vec::new() } else { spans() });
    let mut counts = |spans: &[Span]| {
        let length: u32 = spans.iter().map(|span| span.length).sum();
        let counts = (0..length).map(|_| below(3) as f64 * 0.1);
        counts.collect::<Vec<_>>()
    };
    let (positive, negative) = (counts(&positive_spans), counts(&negative_spans));
    FloatHistogram {
        hint: [CounterResetHint::Unknown, CounterResetHint::Gauge][below(2) as usize],
        count: below(100) as f64 * 0.1,
        zero_count: if custom { 0.0 } else { below(3) as f64 },
        sum: below(100) as f64 * 0.1,
        positive,
        negative,
        layout: Arc::new(Layout {
            schema: if custom {
                CUSTOM
            } else {
                [3, 3, 3, 2][below(4) as usize]
            },
            zero_threshold: [0.0, 0.001, 0.001, 1.2][below(4) as usize] * f64::from(u8::from(!custom)),
            positive_spans,
            negative_spans,
            custom_bounds: if custom { vec![1.0, 2.0, 5.0] } else { Vec::new() },
        }),
    }
}

#[test]
fn dense_sums_have_the_bits_of_sums_one_by_one() {
    let mut dense_ones = 0;
    for number in 0..4000u64 {
        let first = numbered(number * 5);
        let Some(mut dense) = DenseSum::of(&first) else {
            continue;
        };
        let mut sum = first;
        for other in (1..5).map(|i| numbered(number * 5 + i)) {
            if dense.add(&other) {
                add(&mut sum, &other).unwrap();
                dense_ones += 1;
            }
        }
        compact(&mut sum);
        let found = dense.to_histogram();
        assert!(equal(&found, &sum), "{number}: {found:?} instead of {sum:?}");
        assert_eq!(found.hint, sum.hint, "{number}");
    }
    assert!(dense_ones > 1000, "{dense_ones}");
}

#[test]
fn what_is_far_apart_has_no_dense_sum() {
    let near = histogram(3, 0.0, 0.0, 0, &[1.0]);
    let mut dense = DenseSum::of(&near).unwrap();
    assert!(!dense.add(&histogram(3, 0.0, 0.0, 1024, &[1.0])));
    assert!(dense.add(&histogram(3, 0.0, 0.0, 1023, &[1.0])));
    assert!(!dense.add(&histogram(2, 0.0, 0.0, 0, &[1.0])), "another schema");
    assert_eq!(dense.to_histogram().positive, [1.0, 1.0]);
    let mut broken = near.clone();
    Arc::make_mut(&mut broken.layout).positive_spans[0].length = u32::MAX;
    assert!(DenseSum::of(&broken).is_none() && !dense.add(&broken));
}

#[test]
fn a_compactor_compacts_what_it_knows_and_what_it_does_not() {
    let mut compactor = Compactor::default();
    for number in 0..500 {
        let h = numbered(number);
        for round in 0..30u64 {
            let mut h = h.clone();
            // Few enough ways to be empty that some come again.
            for (i, count) in h.positive.iter_mut().chain(&mut h.negative).enumerate() {
                *count = if (round % 20) >> i & 1 == 1 { 0.0 } else { 0.5 };
            }
            let mut expected = h.clone();
            compact(&mut expected);
            compactor.compact(&mut h);
            assert!(
                equal(&h, &expected),
                "{number} {round}: {h:?} instead of {expected:?}"
            );
        }
    }
}
