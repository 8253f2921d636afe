//! Sums of many histograms of a kind: a place for every bucket between the first and the last one.
//!
//! Buckets of most series of a metric lie in the same small range, but hardly ever are the same ones empty. Where every
//! bucket of the range has a place, adding is adding counts, whatever the spans are. Each count is added up in the order
//! in which the histograms come, as in [`super::add`]: the bits are the same.

use std::sync::Arc;

use super::add::combine_hints;
use super::buckets::bound;
use super::side::into_spans;
use super::{CounterResetHint, FloatHistogram, Layout, Span, is_exponential};

/// The widest range of buckets of a side.
const MAX_WIDTH: usize = 1024;

/// The sum of histograms with the same schema, zero threshold and custom bounds.
#[derive(Clone, Debug)]
pub(crate) struct DenseSum {
    hint: CounterResetHint,
    /// That of the first one.
    layout: Arc<Layout>,
    count: f64,
    zero_count: f64,
    sum: f64,
    positive: Side,
    negative: Side,
}

/// The buckets of a side.
#[derive(Clone, Debug, Default)]
struct Side {
    /// The index of the first one.
    start: i64,
    counts: Vec<f64>,
}

/// Where the buckets of some spans begin and end.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: i64,
    end: i64,
}

impl Extent {
    /// Of spans in ascending order that announce as many buckets as there are, no more than a side can have.
    fn of(spans: &[Span], counts: &[f64]) -> Option<Extent> {
        let start = i64::from(spans.first().map_or(0, |span| span.offset));
        let (mut end, mut announced) = (start, 0u64);
        for (i, span) in spans.iter().enumerate() {
            if i > 0 {
                end += i64::from(u32::try_from(span.offset).ok()?);
            }
            end += i64::from(span.length);
            announced += u64::from(span.length);
        }
        let is_narrow = end - start <= MAX_WIDTH as i64;
        (is_narrow && announced == counts.len() as u64).then_some(Extent { start, end })
    }
}

impl Side {
    /// Makes room for an extent; false if the side would become too wide.
    fn widen(&mut self, to: Extent) -> bool {
        if to.start == to.end {
            return true;
        }
        if self.counts.is_empty() {
            self.start = to.start;
        }
        let end = self.start + self.counts.len() as i64;
        if self.start <= to.start && to.end <= end {
            return true;
        }
        let (start, end) = (self.start.min(to.start), end.max(to.end));
        let width = match usize::try_from(end - start) {
            Ok(width) if width <= MAX_WIDTH => width,
            _ => return false,
        };
        let before = usize::try_from(self.start - start).unwrap_or_default();
        self.counts.splice(0..0, std::iter::repeat_n(0.0, before));
        self.counts.resize(width, 0.0);
        self.start = start;
        true
    }

    /// Adds buckets that there is room for.
    fn add(&mut self, spans: &[Span], counts: &[f64]) {
        let mut rest = counts;
        let mut index = 0i64;
        for span in spans {
            index += i64::from(span.offset);
            let length = span.length as usize;
            let (of_span, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let at = usize::try_from(index - self.start).unwrap_or(usize::MAX);
            let places = self.counts.get_mut(at..).unwrap_or_default();
            for (place, count) in places.iter_mut().zip(of_span) {
                *place += count;
            }
            index += i64::from(span.length);
            rest = behind;
        }
    }

    fn to_spans(&self) -> (Vec<Span>, Vec<f64>) {
        let all = (self.start..).zip(self.counts.iter().copied());
        let filled: Vec<(i64, f64)> = all.filter(|(_, count)| *count != 0.0).collect();
        into_spans(&filled)
    }
}

impl DenseSum {
    /// The sum of one; `None` if its buckets are too many, or not what they should be.
    pub(crate) fn of(h: &FloatHistogram) -> Option<DenseSum> {
        if !h.layout.has_custom_buckets() && !is_exponential(h.layout.schema) {
            return None;
        }
        let mut sum = DenseSum {
            hint: h.hint,
            layout: Arc::clone(&h.layout),
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum,
            positive: Side::default(),
            negative: Side::default(),
        };
        sum.add_sides(h).then_some(sum)
    }

    /// Adds another one; false, and nothing is added, if it is not of the same kind.
    pub(crate) fn add(&mut self, other: &FloatHistogram) -> bool {
        if !self.is_of_kind(&other.layout) || !self.add_sides(other) {
            return false;
        }
        combine_hints(&mut self.hint, other.hint);
        self.count += other.count;
        self.sum += other.sum;
        if !self.layout.has_custom_buckets() {
            self.zero_count += other.zero_count;
        }
        true
    }

    fn is_of_kind(&self, other: &Arc<Layout>) -> bool {
        if Arc::ptr_eq(&self.layout, other) {
            return !reaches_into_zero_bucket(other);
        }
        let own = &*self.layout;
        own.schema == other.schema
            && own.zero_threshold == other.zero_threshold
            && own.custom_bounds == other.custom_bounds
            && !reaches_into_zero_bucket(other)
    }

    fn add_sides(&mut self, h: &FloatHistogram) -> bool {
        let layout = &*h.layout;
        let positive = Extent::of(&layout.positive_spans, &h.positive);
        let negative = Extent::of(&layout.negative_spans, &h.negative);
        let (Some(positive), Some(negative)) = (positive, negative) else {
            return false;
        };
        if !self.positive.widen(positive) || !self.negative.widen(negative) {
            return false;
        }
        self.positive.add(&layout.positive_spans, &h.positive);
        self.negative.add(&layout.negative_spans, &h.negative);
        true
    }

    /// The sum without empty buckets.
    pub(crate) fn to_histogram(&self) -> FloatHistogram {
        let (positive_spans, positive) = self.positive.to_spans();
        let (negative_spans, negative) = self.negative.to_spans();
        let is_that_of_first =
            self.layout.positive_spans == positive_spans && self.layout.negative_spans == negative_spans;
        let layout = if is_that_of_first {
            Arc::clone(&self.layout)
        } else {
            Arc::new(Layout {
                schema: self.layout.schema,
                zero_threshold: self.layout.zero_threshold,
                positive_spans,
                negative_spans,
                custom_bounds: self.layout.custom_bounds.clone(),
            })
        };
        FloatHistogram {
            hint: self.hint,
            layout,
            count: self.count,
            zero_count: self.zero_count,
            sum: self.sum,
            positive,
            negative,
        }
    }

    /// The memory that the sum takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<DenseSum>() + (self.positive.counts.capacity() + self.negative.counts.capacity()) * 8
    }
}

/// Whether buckets may lie within the zero bucket: in a sum those do not count.
fn reaches_into_zero_bucket(layout: &Layout) -> bool {
    is_exponential(layout.schema)
        && [&layout.positive_spans, &layout.negative_spans]
            .into_iter()
            .filter_map(|spans| spans.first())
            .any(|span| begins_within(i64::from(span.offset), layout))
}

/// Whether the bucket `index` of an exponential schema ends at the zero threshold or before it.
fn begins_within(index: i64, layout: &Layout) -> bool {
    let schema = layout.schema;
    // The bound is at least this power of two, the threshold below the next one after its exponent.
    let exponent = if schema > 0 {
        index >> schema
    } else {
        index << -schema
    };
    let biased = (layout.zero_threshold.to_bits() >> 52 & 0x7ff).max(1);
    if exponent > biased.cast_signed() - 1023 {
        return false;
    }
    bound(index, schema, &[]) <= layout.zero_threshold
}
