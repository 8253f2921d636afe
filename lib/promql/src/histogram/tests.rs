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
