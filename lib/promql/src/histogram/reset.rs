//! Finds out whether a counter began anew.

use super::add::widened_zero_bucket;
use super::buckets::bound;
use super::side::{coarser, indexed};
use super::{CounterResetHint, FloatHistogram, is_exponential};

/// Whether the counts began anew between `previous` and `h`.
#[inline]
pub(crate) fn is_reset(h: &FloatHistogram, previous: &FloatHistogram) -> bool {
    match h.hint {
        CounterResetHint::CounterReset => true,
        CounterResetHint::NotCounterReset => false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => has_fallen(h, previous),
    }
}

fn has_fallen(h: &FloatHistogram, previous: &FloatHistogram) -> bool {
    if h.count < previous.count {
        return true;
    }
    let (own, before) = (&*h.layout, &*previous.layout);
    if own.has_custom_buckets() {
        if !before.has_custom_buckets() {
            return true;
        }
        if own.custom_bounds != before.custom_bounds {
            return is_reset_between_bounds(h, previous);
        }
    }
    if own.schema > before.schema || own.zero_threshold < before.zero_threshold {
        return true;
    }
    let (zero_count, threshold) = widened_zero_bucket(previous, own.zero_threshold);
    if threshold != own.zero_threshold || h.zero_count < zero_count {
        return true;
    }
    [
        (
            &own.positive_spans,
            &h.positive,
            &before.positive_spans,
            &previous.positive,
        ),
        (
            &own.negative_spans,
            &h.negative,
            &before.negative_spans,
            &previous.negative,
        ),
    ]
    .into_iter()
    .any(|(own_spans, own_counts, spans, counts)| {
        let visible = |(index, _): &(i64, f64)| {
            !is_exponential(own.schema) || bound(*index, own.schema, &[]) > own.zero_threshold
        };
        let current = indexed(own_spans, own_counts).filter(visible);
        let buckets = indexed(spans, counts);
        let ascends = spans.iter().skip(1).all(|span| span.offset >= 0);
        if before.schema == own.schema && ascends {
            return any_shrank(current, buckets.filter(visible));
        }
        let before = coarser(buckets, before.schema, own.schema);
        any_shrank(current, before.into_iter().filter(visible))
    })
}

/// Whether some bucket of `before` is greater than the same one now, or filled and gone.
fn any_shrank(now: impl Iterator<Item = (i64, f64)>, before: impl Iterator<Item = (i64, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|(at, _)| *at < index).is_some() {}
        let shrank = match now.peek() {
            Some((at, left)) if *at == index => *left < count,
            _ => count != 0.0,
        };
        if shrank {
            return true;
        }
    }
    false
}

/// The same for custom bounds that differ: what lies between bounds that both have is compared.
fn is_reset_between_bounds(h: &FloatHistogram, previous: &FloatHistogram) -> bool {
    let (own, before) = (&h.layout.custom_bounds, &previous.layout.custom_bounds);
    let mut now = Cumulated::new(h);
    let mut then = Cumulated::new(previous);
    let common = own.iter().copied().filter(|bound| before.contains(bound));
    for upper in common.chain([f64::INFINITY]) {
        if now.up_to(upper) < then.up_to(upper) {
            return true;
        }
    }
    false
}

/// Adds up buckets from bound to bound.
struct Cumulated {
    buckets: std::iter::Peekable<std::vec::IntoIter<(f64, f64)>>,
}

impl Cumulated {
    fn new(h: &FloatHistogram) -> Cumulated {
        let layout = &*h.layout;
        let buckets: Vec<(f64, f64)> = indexed(&layout.positive_spans, &h.positive)
            .map(|(index, count)| (bound(index, layout.schema, &layout.custom_bounds), count))
            .collect();
        Cumulated {
            buckets: buckets.into_iter().peekable(),
        }
    }

    fn up_to(&mut self, upper: f64) -> f64 {
        let mut sum = 0.0;
        while let Some((_, count)) = self.buckets.next_if(|(bound, _)| *bound <= upper) {
            sum += count;
        }
        sum
    }
}
