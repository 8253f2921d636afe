//! Removes empty buckets.

use std::sync::Arc;

use sabre_tsdb::histogram::bucket_count;

use super::side::{indexed, into_spans};
use super::{FloatHistogram, Layout, Span};

/// Remembers how layouts were compacted: from step to step the same buckets of a series are empty, as a rule.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    known: Vec<Compacted>,
    /// The one that gives way next.
    oldest: usize,
}

/// A layout, the buckets in it that were not empty, and what is left.
#[derive(Debug)]
struct Compacted {
    from: Arc<Layout>,
    filled: (Filled, Filled),
    to: Arc<Layout>,
}

/// The number of buckets of a side, and a bit for each that is not empty.
type Filled = (usize, u128);

const MAX_KNOWN: usize = 16;

impl Compactor {
    /// As [`compact`].
    pub(crate) fn compact(&mut self, h: &mut FloatHistogram) {
        let (Some(positive), Some(negative)) = (filled(&h.positive), filled(&h.negative)) else {
            compact(h);
            return;
        };
        let filled = (positive, negative);
        let known = self
            .known
            .iter()
            .find(|known| known.filled == filled && Arc::ptr_eq(&known.from, &h.layout));
        if let Some(known) = known {
            h.positive.retain(|count| *count != 0.0);
            h.negative.retain(|count| *count != 0.0);
            h.layout = Arc::clone(&known.to);
            return;
        }
        let has_all = |counts: &[f64], spans: &[Span]| bucket_count(spans) == counts.len() as u64;
        let is_whole =
            has_all(&h.positive, &h.layout.positive_spans) && has_all(&h.negative, &h.layout.negative_spans);
        let from = Arc::clone(&h.layout);
        compact(h);
        // A side without empty buckets stays as it is, even if its spans have none.
        if is_whole {
            self.remember(Compacted {
                from,
                filled,
                to: Arc::clone(&h.layout),
            });
        }
    }

    fn remember(&mut self, compacted: Compacted) {
        if let Some(place) = self.known.get_mut(self.oldest) {
            *place = compacted;
        } else {
            self.known.push(compacted);
        }
        self.oldest = (self.oldest + 1) % MAX_KNOWN;
    }
}

/// Which counts are not zero; `None` if there are too many to say.
fn filled(counts: &[f64]) -> Option<Filled> {
    if counts.len() > 128 {
        return None;
    }
    let mut bits = 0;
    for count in counts {
        bits = bits << 1 | u128::from(*count != 0.0);
    }
    Some((counts.len(), bits))
}

/// Removes empty buckets, and joins spans that touch.
pub(crate) fn compact(h: &mut FloatHistogram) {
    if let Some((spans, counts)) = compacted(&h.layout.positive_spans, &h.positive) {
        Arc::make_mut(&mut h.layout).positive_spans = spans;
        h.positive = counts;
    }
    if let Some((spans, counts)) = compacted(&h.layout.negative_spans, &h.negative) {
        Arc::make_mut(&mut h.layout).negative_spans = spans;
        h.negative = counts;
    }
}

/// The compact form of one side; `None` if it has that already.
fn compacted(spans: &[Span], counts: &[f64]) -> Option<(Vec<Span>, Vec<f64>)> {
    let is_tidy = |(at, span): (usize, &Span)| span.length > 0 && (at == 0 || span.offset > 0);
    if spans.iter().enumerate().all(is_tidy) && counts.iter().all(|count| *count != 0.0) {
        return None;
    }
    let filled: Vec<(i64, f64)> = indexed(spans, counts)
        .filter(|(_, count)| *count != 0.0)
        .collect();
    Some(into_spans(&filled))
}
