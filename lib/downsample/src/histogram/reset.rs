//! Whether a histogram began to count anew.

use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram, Span};

use super::bounds::upper_bound;
use super::custom::{common_bounds, counts_between};
use super::side::{buckets, coarser};
use super::zero::grown_zero_bucket;

/// Whether `histogram` began to count anew after `previous`.
pub(crate) fn is_reset(histogram: &FloatHistogram, previous: &FloatHistogram) -> bool {
    match histogram.hint {
        CounterResetHint::CounterReset => return true,
        CounterResetHint::NotCounterReset => return false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => {}
    }
    if histogram.count < previous.count {
        return true;
    }
    let (layout, before) = (&histogram.layout, &previous.layout);
    match (layout.has_custom_buckets(), before.has_custom_buckets()) {
        (true, false) => return true,
        (true, true) if layout.custom_bounds != before.custom_bounds => {
            let bounds = common_bounds(&layout.custom_bounds, &before.custom_bounds);
            let now = counts_between(histogram, &bounds);
            return now
                .iter()
                .zip(counts_between(previous, &bounds))
                .any(|(now, before)| *now < before);
        }
        _ => {}
    }
    if layout.schema > before.schema || layout.zero_threshold < before.zero_threshold {
        return true;
    }
    let (zero_count, threshold) = grown_zero_bucket(previous, layout.zero_threshold);
    if threshold != layout.zero_threshold || zero_count > histogram.zero_count {
        return true;
    }
    let by = before.schema.saturating_sub(layout.schema).max(0).unsigned_abs();
    let side = |spans: (&[Span], &[Span]), counts: (&[f64], &[f64])| {
        let custom = layout.has_custom_buckets();
        let within = |index| !custom && upper_bound(index, layout.schema) <= threshold;
        let previous = coarser(spans.0, counts.0, by).skip_while(|&(index, _)| within(index));
        any_fell(previous, buckets(spans.1, counts.1))
    };
    side(
        (&before.positive_spans, &layout.positive_spans),
        (&previous.positive, &histogram.positive),
    ) || side(
        (&before.negative_spans, &layout.negative_spans),
        (&previous.negative, &histogram.negative),
    )
}

/// Whether some bucket holds less than before.
fn any_fell(previous: impl Iterator<Item = (i64, f64)>, now: impl Iterator<Item = (i64, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, before) in previous {
        while now.next_if(|&(candidate, _)| candidate < index).is_some() {}
        let count = now.next_if(|&(candidate, _)| candidate == index);
        match count {
            Some((_, count)) if count < before => return true,
            None if before != 0.0 => return true,
            _ => {}
        }
    }
    false
}
