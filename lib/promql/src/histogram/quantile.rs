//! Quantiles, fractions and the variance of what a histogram observed.

use super::{Bucket, FloatHistogram, buckets};
use crate::float::kahan_add;

/// A value computed from a histogram, and whether observations of NaN have a part in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Observed {
    pub(crate) value: f64,
    pub(crate) nan: NanEffect,
}

/// What observations of NaN did to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    None,
    /// The result is higher than without, or they are left out of it.
    Skewed,
    /// The result is NaN.
    Result,
}

fn plain(value: f64) -> Observed {
    Observed {
        value,
        nan: NanEffect::None,
    }
}

/// The value below which a share of `q` of the observations lies.
pub(crate) fn quantile(q: f64, h: &FloatHistogram) -> Observed {
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    if h.count == 0.0 || q.is_nan() {
        return plain(f64::NAN);
    }
    let mut all = buckets(h);
    let forward = h.sum.is_nan() || q < 0.5;
    let rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    if !forward {
        all.reverse();
    }
    let mut found = empty_bucket();
    let mut count = 0.0;
    let mut rest = all.iter();
    for bucket in rest.by_ref() {
        // The last bucket looked at counts, even if it is empty.
        found = *bucket;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    if let Some(edge) = adjust_edges(h, &mut found) {
        return plain(edge);
    }
    // Rounding may have added up to more.
    if count > h.count {
        count = h.count;
    }
    if count < rank {
        return match h.sum.is_nan() {
            true => Observed {
                value: f64::NAN,
                nan: NanEffect::Result,
            },
            false => plain(found.upper),
        };
    }
    let rank = if forward {
        rank - (count - found.count)
    } else {
        count - rank
    };
    let mut nan = NanEffect::None;
    if h.sum.is_nan() {
        let total = rest.fold(count, |sum, bucket| sum + bucket.count);
        if total < h.count {
            nan = NanEffect::Skewed;
        }
    }
    Observed {
        value: interpolate(h, &found, rank / found.count),
        nan,
    }
}

fn empty_bucket() -> Bucket {
    Bucket {
        lower: 0.0,
        upper: 0.0,
        count: 0.0,
        lower_inclusive: false,
        upper_inclusive: false,
    }
}

/// Whether the histogram has no buckets on one side only: then that side is taken to end at zero.
fn one_sided(h: &FloatHistogram) -> (bool, bool) {
    let only_positive = h.negative.is_empty() && !h.positive.is_empty();
    let only_negative = h.positive.is_empty() && !h.negative.is_empty();
    (only_positive, only_negative)
}

/// Sets the bounds that interpolation uses; returns the result where there is nothing to interpolate.
fn adjust_edges(h: &FloatHistogram, bucket: &mut Bucket) -> Option<f64> {
    if h.layout.has_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        clip_zero_bucket(h, bucket);
    }
    None
}

fn clip_zero_bucket(h: &FloatHistogram, bucket: &mut Bucket) {
    match one_sided(h) {
        (true, _) => bucket.lower = 0.0,
        (_, true) => bucket.upper = 0.0,
        _ => {}
    }
}

fn interpolate(h: &FloatHistogram, bucket: &Bucket, fraction: f64) -> f64 {
    if h.layout.has_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    // Exponential buckets have equal widths on a logarithmic scale.
    let (log_lower, log_upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        return (log_lower + (log_upper - log_lower) * fraction).exp2();
    }
    -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
}

/// The share of the observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, h: &FloatHistogram) -> Observed {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return plain(f64::NAN);
    }
    if lower >= upper {
        return plain(0.0);
    }
    let all = buckets(h);
    let mut rank = 0.0;
    let mut ranks: [Option<f64>; 2] = [None, None];
    for bucket in &all {
        let mut bucket = *bucket;
        let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if zero {
            clip_zero_bucket(h, &mut bucket);
        }
        let linear = h.layout.has_custom_buckets() || zero;
        for (found, value) in ranks.iter_mut().zip([lower, upper]) {
            if found.is_none() {
                *found = rank_within(&bucket, value, rank, linear);
            }
        }
        if ranks.iter().all(Option::is_some) {
            break;
        }
        rank += bucket.count;
    }
    let mut nan = NanEffect::None;
    let mut count = h.count;
    if h.sum.is_nan() {
        count = all.iter().fold(0.0, |sum, bucket| sum + bucket.count);
        if count < h.count {
            nan = NanEffect::Skewed;
        }
    }
    let [lower_rank, upper_rank] =
        ranks.map(|rank| rank.map_or(count, |rank| if rank > count { count } else { rank }));
    Observed {
        value: (upper_rank - lower_rank) / h.count,
        nan,
    }
}

/// How many observations lie below `value`, if it is in or below the bucket; `rank` are those below the bucket.
fn rank_within(bucket: &Bucket, value: f64, rank: f64, linear: bool) -> Option<f64> {
    if bucket.lower >= value {
        return Some(rank);
    }
    if !(bucket.lower < value && bucket.upper > value) {
        return None;
    }
    if linear {
        if bucket.lower == f64::NEG_INFINITY {
            return Some(bucket.count);
        }
        return Some(rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower));
    }
    let (log_lower, log_upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let log_value = value.abs().log2();
    let fraction = if value > 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - ((log_value - log_upper) / (log_lower - log_upper))
    };
    Some(rank + bucket.count * fraction)
}

/// The variance of the observations, each taken to lie in the middle of its bucket.
pub(crate) fn variance(h: &FloatHistogram) -> f64 {
    let mean = h.sum / h.count;
    let (mut variance, mut lost) = (0.0, 0.0);
    for bucket in buckets(h) {
        if bucket.count == 0.0 {
            continue;
        }
        let middle = if h.layout.has_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else if bucket.upper < 0.0 {
            -(bucket.upper * bucket.lower).sqrt()
        } else {
            (bucket.upper * bucket.lower).sqrt()
        };
        let delta = middle - mean;
        (variance, lost) = kahan_add(bucket.count * delta * delta, variance, lost);
    }
    (variance + lost) / h.count
}
