//! Histograms whose bounds are given one by one.

use std::collections::BTreeMap;

use sabre_tsdb::histogram::{FloatHistogram, Layout};
use std::sync::Arc;

use super::side::{buckets, normalised};

/// The bounds that both have; both ascend.
pub(super) fn common_bounds(one: &[f64], other: &[f64]) -> Vec<f64> {
    let mut other = other.iter().copied().peekable();
    let mut common = Vec::new();
    for &bound in one {
        while other.next_if(|&candidate| candidate < bound).is_some() {}
        common.extend(other.next_if(|&candidate| candidate == bound));
    }
    common
}

/// Adds counts of buckets with bounds `bounds` to buckets with other ones: to the first that reaches as far.
fn add_mapped(
    counts: &mut BTreeMap<i64, f64>,
    target: &[f64],
    bounds: &[f64],
    from: impl Iterator<Item = (i64, f64)>,
    sign: f64,
) {
    for (index, count) in from {
        let bound = usize::try_from(index).ok().and_then(|index| bounds.get(index));
        let upper = bound.copied().unwrap_or(f64::INFINITY);
        let place = target.partition_point(|&bound| bound < upper);
        *counts.entry(place as i64).or_default() += count * sign;
    }
}

/// Adds `other` to `histogram` in the bounds that both have. Buckets that come out empty are left out.
pub(super) fn add_in_common(histogram: &mut FloatHistogram, other: &FloatHistogram, sign: f64) {
    let (layout, other_layout) = (&histogram.layout, &other.layout);
    let target = common_bounds(&layout.custom_bounds, &other_layout.custom_bounds);
    let mut counts = BTreeMap::new();
    let own = buckets(&layout.positive_spans, &histogram.positive);
    add_mapped(&mut counts, &target, &layout.custom_bounds, own, 1.0);
    let others = buckets(&other_layout.positive_spans, &other.positive);
    add_mapped(&mut counts, &target, &other_layout.custom_bounds, others, sign);
    let kept = counts.into_iter().filter(|&(_, count)| count != 0.0);
    let (positive_spans, positive) = normalised(kept);
    let layout = Layout {
        positive_spans,
        custom_bounds: target,
        ..Layout::clone(layout)
    };
    histogram.positive = positive;
    histogram.layout = Arc::new(layout);
}

/// The counts of `histogram` between bounds that are some of its own, and beyond the last.
pub(super) fn counts_between(histogram: &FloatHistogram, bounds: &[f64]) -> Vec<f64> {
    let layout = &histogram.layout;
    let mut counts = BTreeMap::new();
    let own = buckets(&layout.positive_spans, &histogram.positive);
    add_mapped(&mut counts, bounds, &layout.custom_bounds, own, 1.0);
    let count = |place| counts.get(&place).copied().unwrap_or_default();
    (0..=bounds.len() as i64).map(count).collect()
}
