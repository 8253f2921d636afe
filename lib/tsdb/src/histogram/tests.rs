use super::*;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

#[test]
fn spans_after_the_first_count_from_the_end_of_the_one_before() {
    let spans = [span(-2, 2), span(1, 1), span(0, 2)];
    assert_eq!(bucket_indexes(&spans).collect::<Vec<_>>(), [-2, -1, 1, 2, 3]);
    assert_eq!(bucket_count(&spans), 5);
}

#[test]
fn buckets_of_integer_histograms_are_differences() {
    assert_eq!(
        i64::absolute([1, 2, -3].into_iter()).collect::<Vec<_>>(),
        [1, 3, 0]
    );
    assert_eq!(i64::from_absolute(vec![1, 3, 0]), [1, 2, -3]);
}

#[test]
fn a_stale_histogram_has_only_its_sum() {
    let stale = Histogram::stale();
    assert!(stale.is_stale() && stale.to_float().is_stale());
    assert_eq!((stale.count, stale.layout.positive_spans.len()), (0, 0));
    assert!(!Histogram::default().is_stale());
}

#[test]
fn custom_buckets_lose_zero_bucket_and_negative_side_as_floats() {
    let layout = Layout {
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.5,
        positive_spans: vec![span(0, 2)],
        negative_spans: vec![span(0, 1)],
        custom_bounds: vec![1.0],
    };
    let histogram = Histogram {
        hint: CounterResetHint::Gauge,
        layout: Arc::new(layout),
        count: 7,
        zero_count: 3,
        sum: 1.5,
        positive: vec![1, 2],
        negative: vec![1],
    };
    let float = histogram.to_float();
    assert_eq!(
        (float.count, float.zero_count, float.layout.zero_threshold),
        (7.0, 0.0, 0.0)
    );
    assert_eq!(
        (float.positive.as_slice(), float.negative.len()),
        ([1.0, 3.0].as_slice(), 0)
    );
    assert_eq!(float.hint, CounterResetHint::Gauge);
    assert!(float.layout.negative_spans.is_empty());
}

#[test]
fn exponential_buckets_keep_everything_as_floats() {
    let layout = Layout {
        zero_threshold: 0.5,
        negative_spans: vec![span(0, 2)],
        ..Layout::default()
    };
    let histogram = Histogram {
        layout: Arc::new(layout),
        zero_count: 3,
        negative: vec![2, -1],
        ..Histogram::default()
    };
    let float = FloatHistogram::from(&histogram);
    assert_eq!(
        (float.zero_count, float.negative.as_slice()),
        (3.0, [2.0, 1.0].as_slice())
    );
    assert!(Arc::ptr_eq(&float.layout, &histogram.layout));
}
