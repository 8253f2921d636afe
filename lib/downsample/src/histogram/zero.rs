//! Zero buckets of different widths.

use sabre_tsdb::histogram::{FloatHistogram, Layout};
use std::sync::Arc;

use super::bounds::upper_bound;
use super::side::{buckets, normalised};

/// The count of the zero bucket of `histogram` were it `threshold` wide, and how wide it has to be then: a bucket
/// that the threshold would cut in two is taken whole if it holds anything.
pub(super) fn grown_zero_bucket(histogram: &FloatHistogram, mut threshold: f64) -> (f64, f64) {
    let layout = &histogram.layout;
    if threshold == layout.zero_threshold {
        return (histogram.zero_count, threshold);
    }
    loop {
        let mut count = histogram.zero_count;
        for (index, bucket) in buckets(&layout.positive_spans, &histogram.positive) {
            if upper_bound(index.saturating_sub(1), layout.schema) >= threshold {
                break;
            }
            count += bucket;
            let upper = upper_bound(index, layout.schema);
            if upper > threshold {
                if bucket != 0.0 {
                    threshold = upper;
                }
                break;
            }
        }
        let mut wider = None;
        for (index, bucket) in buckets(&layout.negative_spans, &histogram.negative) {
            if upper_bound(index.saturating_sub(1), layout.schema) >= threshold {
                break;
            }
            count += bucket;
            let outer = upper_bound(index, layout.schema);
            if outer > threshold {
                wider = (bucket != 0.0).then_some(outer);
                break;
            }
        }
        match wider {
            // The positive side has to be looked at again. Bounds are finite in number, so this ends.
            Some(outer) => threshold = outer,
            None => return (count, threshold),
        }
    }
}

/// Makes the zero buckets of `histogram` and `other` equally wide, and returns the zero count of `other` then,
/// which itself is left as it is.
pub(super) fn reconcile(histogram: &mut FloatHistogram, other: &FloatHistogram) -> f64 {
    let (mut other_count, mut other_threshold) = (other.zero_count, other.layout.zero_threshold);
    while histogram.layout.zero_threshold != other_threshold {
        let own = histogram.layout.zero_threshold;
        if own > other_threshold {
            (other_count, other_threshold) = grown_zero_bucket(other, own);
        } else if other_threshold > own {
            let (count, threshold) = grown_zero_bucket(histogram, other_threshold);
            histogram.zero_count = count;
            widen(histogram, threshold);
        } else {
            // One of them is NaN: no order to be had.
            break;
        }
    }
    other_count
}

/// Sets the threshold, takes out the buckets within, and with them all others that are empty.
fn widen(histogram: &mut FloatHistogram, threshold: f64) {
    let layout = &histogram.layout;
    let beyond = |&(index, count): &(i64, f64)| {
        count != 0.0 && upper_bound(index.saturating_sub(1), layout.schema) >= threshold
    };
    let side = |spans, counts| normalised(buckets(spans, counts).filter(beyond));
    let (positive_spans, positive) = side(&layout.positive_spans, histogram.positive.as_slice());
    let (negative_spans, negative) = side(&layout.negative_spans, histogram.negative.as_slice());
    let layout = Layout {
        zero_threshold: threshold,
        positive_spans,
        negative_spans,
        ..Layout::clone(layout)
    };
    (histogram.positive, histogram.negative) = (positive, negative);
    histogram.layout = Arc::new(layout);
}
