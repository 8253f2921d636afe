//! Bounds of buckets, and all buckets of a histogram in the order of what they hold.

use std::sync::LazyLock;

use super::side::indexed;
use super::{FloatHistogram, MAX_SCHEMA};

/// A bucket and its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// How many observations.
    pub count: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
}

/// 2 to the power of n/256 for n from 0 to 255, with the rounding of Prometheus' table: each finer schema puts between
/// two bounds of the coarser one the lower of them times the root of its own.
static FRACTIONS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut bounds = vec![1.0, 2.0 * (1.0 / 2f64.sqrt())];
    let mut root = 2f64.sqrt();
    while bounds.len() < 256 {
        root = root.sqrt();
        bounds = bounds.iter().flat_map(|bound| [*bound, bound * root]).collect();
    }
    bounds
});

/// 2 to the power of `exponent`, zero or infinite where that is out of range.
fn power_of_two(exponent: i64) -> f64 {
    // powi is exact for powers of two; what is beyond its range is zero or infinite all the same.
    2f64.powi(exponent.clamp(-1100, 1100) as i32)
}

/// The upper bound of the bucket `index` of the positive side.
pub(crate) fn bound(index: i64, schema: i32, custom_bounds: &[f64]) -> f64 {
    if !super::is_exponential(schema) {
        return match usize::try_from(index) {
            Ok(index) => custom_bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        };
    }
    let (exponent, fraction) = if schema <= 0 {
        (index.saturating_mul(1 << -schema), 0)
    } else {
        let fraction = index & ((1 << schema) - 1);
        (index >> schema, fraction << (MAX_SCHEMA - schema))
    };
    if fraction == 0 && exponent == 1024 {
        // The last bucket of finite numbers ends with the greatest of them; ±Inf have one of their own behind it.
        return f64::MAX;
    }
    let fraction = usize::try_from(fraction).ok().and_then(|at| FRACTIONS.get(at));
    scaled(fraction.copied().unwrap_or(1.0), exponent)
}

/// `fraction · 2^exponent`, also where the power alone would be out of range.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    if exponent < -1000 {
        return fraction * power_of_two(-1000) * power_of_two(exponent.saturating_add(1000));
    }
    fraction * power_of_two(exponent)
}

/// All buckets from the lowest to the highest, the zero bucket among them if it holds anything. Where the zero bucket
/// reaches into others, these begin at its edge.
pub fn buckets(h: &FloatHistogram) -> Vec<Bucket> {
    let layout = &*h.layout;
    let custom = layout.has_custom_buckets();
    let threshold = layout.zero_threshold;
    let mut out: Vec<Bucket> = Vec::with_capacity(h.positive.len() + h.negative.len() + 1);
    for (index, count) in indexed(&layout.negative_spans, &h.negative) {
        let far = bound(index, layout.schema, &[]);
        let near = bound(index.saturating_sub(1), layout.schema, &[]);
        out.push(bucket(-far, -near, count, threshold));
    }
    out.reverse();
    if h.zero_count > 0.0 && !custom {
        out.push(Bucket {
            lower: -threshold,
            upper: threshold,
            count: h.zero_count,
            lower_inclusive: true,
            upper_inclusive: true,
        });
    }
    for (index, count) in indexed(&layout.positive_spans, &h.positive) {
        let upper = bound(index, layout.schema, &layout.custom_bounds);
        let lower = bound(index.saturating_sub(1), layout.schema, &layout.custom_bounds);
        let mut bucket = bucket(lower, upper, count, threshold);
        if custom {
            bucket.lower_inclusive = index == 0;
            bucket.upper_inclusive = true;
        }
        out.push(bucket);
    }
    out
}

fn bucket(mut lower: f64, mut upper: f64, count: f64, threshold: f64) -> Bucket {
    let (lower_inclusive, upper_inclusive) = (lower < 0.0, upper > 0.0);
    if upper < 0.0 && upper > -threshold {
        upper = -threshold;
    } else if lower > 0.0 && lower < threshold {
        lower = threshold;
    }
    Bucket {
        lower,
        upper,
        count,
        lower_inclusive,
        upper_inclusive,
    }
}
