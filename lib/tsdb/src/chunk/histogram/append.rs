//! Which histograms go on in a chunk, and which begin the next one.

use std::sync::Arc;

use super::super::{AppendError, Encoding};
use super::codec::Codec;
use super::diff::{SideDiff, check_count, check_spans, diff_side, spread, union_spans};
use super::encode::Encoder;
use super::read::HistogramIter;
use crate::bits::Field;
use crate::histogram::{CounterResetHint, Layout, NativeHistogram, Span};

/// What became of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the chunk.
    Extended,
    /// It is in the chunk, which was written again with more buckets.
    Recoded,
    /// It is not in the chunk: it has to begin a new one with this flag.
    NewChunk(CounterResetHint),
}

/// Encodes histograms into one chunk, byte for byte as Prometheus does: `HistogramAppender<i64>` or
/// `HistogramAppender<f64>`.
///
/// When enough samples are in it is for the caller to say; timestamps may be in any order.
#[derive(Debug, Clone)]
pub struct HistogramAppender<B: Codec> {
    chunk: Encoder<B>,
}

/// What the rules say of a histogram.
#[derive(Debug)]
enum Verdict {
    New(CounterResetHint),
    /// It has the chunk's buckets, or is stale.
    Append,
    /// It has to be laid out anew, and so has the chunk if this layout is not its own.
    Refit(Arc<Layout>),
}

impl<B: Codec> HistogramAppender<B> {
    /// Begins a chunk that follows no other: its flag is gauge or reset if the histogram's hint says so.
    ///
    /// # Errors
    ///
    /// If spans and buckets of the histogram do not go together.
    pub fn begin(t: i64, histogram: &NativeHistogram<B>) -> Result<Self, AppendError> {
        let flag = match histogram.hint {
            CounterResetHint::Gauge | CounterResetHint::CounterReset => histogram.hint,
            CounterResetHint::Unknown | CounterResetHint::NotCounterReset => CounterResetHint::Unknown,
        };
        Self::begin_with_flag(flag, t, histogram)
    }

    /// Begins a chunk with the flag that [`Appended::NewChunk`] gave, or that is known otherwise.
    ///
    /// # Errors
    ///
    /// If spans and buckets of the histogram do not go together.
    pub fn begin_with_flag(
        flag: CounterResetHint,
        t: i64,
        histogram: &NativeHistogram<B>,
    ) -> Result<Self, AppendError> {
        if !histogram.is_stale() {
            check_side(&histogram.layout.positive_spans, &histogram.positive)?;
            check_side(&histogram.layout.negative_spans, &histogram.negative)?;
        }
        Ok(Self {
            chunk: Encoder::start(flag, t, histogram),
        })
    }

    /// The flag of a chunk that `histogram` begins behind this one, as the head of a TSDB chooses it.
    ///
    /// # Errors
    ///
    /// If spans and buckets of the histogram do not go together.
    pub fn flag_behind(&self, histogram: &NativeHistogram<B>) -> Result<CounterResetHint, AppendError> {
        match histogram.hint {
            CounterResetHint::Gauge | CounterResetHint::CounterReset => Ok(histogram.hint),
            CounterResetHint::Unknown | CounterResetHint::NotCounterReset => {
                Ok(B::flag_behind(match self.judge(histogram)? {
                    Verdict::New(flag) => flag,
                    Verdict::Append | Verdict::Refit(_) => CounterResetHint::NotCounterReset,
                }))
            }
        }
    }

    /// Appends a histogram, `t` in milliseconds, unless it has to begin a new chunk.
    ///
    /// If it is appended, `histogram` has the chunk's layout afterwards: buckets it lacked are there with a
    /// count of zero.
    ///
    /// # Errors
    ///
    /// If spans and buckets of the histogram do not go together, or the chunk is full.
    pub fn append(&mut self, t: i64, histogram: &mut NativeHistogram<B>) -> Result<Appended, AppendError> {
        match self.judge(histogram)? {
            Verdict::New(flag) => Ok(Appended::NewChunk(flag)),
            Verdict::Append => {
                self.chunk.push(t, histogram)?;
                Ok(Appended::Extended)
            }
            Verdict::Refit(layout) => {
                refit(histogram, &layout);
                if Arc::ptr_eq(&layout, &self.chunk.layout) {
                    self.chunk.push(t, histogram)?;
                    return Ok(Appended::Extended);
                }
                self.recode(&layout)?;
                self.chunk.push(t, histogram)?;
                Ok(Appended::Recoded)
            }
        }
    }

    /// The encoding of the chunk.
    pub fn encoding(&self) -> Encoding {
        B::ENCODING
    }

    /// Number of samples so far, one at least.
    pub fn num_samples(&self) -> u16 {
        self.chunk.samples
    }

    /// The flag in the header.
    pub fn flag(&self) -> CounterResetHint {
        self.chunk.flag
    }

    /// Number of bytes the chunk would have if it ended here.
    pub fn len_bytes(&self) -> usize {
        self.chunk.len_bytes()
    }

    /// Ends the chunk and returns its data.
    pub fn finish(self) -> Vec<u8> {
        self.chunk.finish()
    }

    fn judge(&self, histogram: &NativeHistogram<B>) -> Result<Verdict, AppendError> {
        if histogram.hint == CounterResetHint::Gauge {
            self.judge_gauge(histogram)
        } else {
            self.judge_counter(histogram)
        }
    }

    /// The rules for all but gauges, in the order in which they apply.
    fn judge_counter(&self, histogram: &NativeHistogram<B>) -> Result<Verdict, AppendError> {
        let chunk = &self.chunk;
        let new = |flag| Ok(Verdict::New(flag));
        if chunk.flag == CounterResetHint::Gauge {
            return new(B::FLAG_AFTER_GAUGE);
        }
        if histogram.hint == CounterResetHint::CounterReset {
            return new(CounterResetHint::CounterReset);
        }
        if histogram.is_stale() {
            return Ok(Verdict::Append);
        }
        if chunk.last_stale {
            return new(CounterResetHint::Unknown);
        }
        if histogram.count < chunk.last.count.value() {
            return new(CounterResetHint::CounterReset);
        }
        if !same_scale(&chunk.layout, &histogram.layout) {
            return new(CounterResetHint::Unknown);
        }
        if !same_bounds(&chunk.layout, &histogram.layout)
            || histogram.zero_count < chunk.last.zero_count.value()
        {
            return new(CounterResetHint::CounterReset);
        }
        let (positive, negative) = self.diff(histogram)?;
        if positive.fell || negative.fell {
            return new(CounterResetHint::CounterReset);
        }
        let union = (positive.missing, negative.missing);
        Ok(self.fit(histogram, positive.added || negative.added, union))
    }

    /// The rules for gauges, whose counts may do as they like.
    fn judge_gauge(&self, histogram: &NativeHistogram<B>) -> Result<Verdict, AppendError> {
        let chunk = &self.chunk;
        if chunk.flag != CounterResetHint::Gauge {
            return Ok(Verdict::New(CounterResetHint::Gauge));
        }
        if histogram.is_stale() {
            return Ok(Verdict::Append);
        }
        let alike =
            same_scale(&chunk.layout, &histogram.layout) && same_bounds(&chunk.layout, &histogram.layout);
        if chunk.last_stale || !alike {
            return Ok(Verdict::New(CounterResetHint::Gauge));
        }
        let (positive, negative) = self.diff(histogram)?;
        let missing = positive.missing || negative.missing;
        Ok(self.fit(histogram, positive.added || negative.added, (missing, missing)))
    }

    fn diff(&self, histogram: &NativeHistogram<B>) -> Result<(SideDiff, SideDiff), AppendError> {
        let (old, new) = (&self.chunk.layout, &histogram.layout);
        let last = &self.chunk.last;
        let positive = diff_side(
            &old.positive_spans,
            &last.positive,
            &new.positive_spans,
            &histogram.positive,
        )?;
        let negative = diff_side(
            &old.negative_spans,
            &last.negative,
            &new.negative_spans,
            &histogram.negative,
        )?;
        Ok((positive, negative))
    }

    /// The layout for chunk and histogram together.
    ///
    /// Only with buckets `added` it is another than the chunk's: then, side by side, the spans of the
    /// histogram as they are, or the `union` of both.
    fn fit(&self, histogram: &NativeHistogram<B>, added: bool, union: (bool, bool)) -> Verdict {
        let (old, new) = (&self.chunk.layout, &histogram.layout);
        let same_spans = old.positive_spans == new.positive_spans && old.negative_spans == new.negative_spans;
        if same_spans {
            return Verdict::Append;
        }
        if !added {
            return Verdict::Refit(Arc::clone(old));
        }
        let side = |union: bool, old: &[Span], new: &[Span]| {
            if union {
                union_spans(old, new)
            } else {
                new.to_vec()
            }
        };
        Verdict::Refit(Arc::new(Layout {
            positive_spans: side(union.0, &old.positive_spans, &new.positive_spans),
            negative_spans: side(union.1, &old.negative_spans, &new.negative_spans),
            custom_bounds: old.custom_bounds.clone(),
            ..**old
        }))
    }

    /// Writes all samples again, in a layout that has more buckets.
    fn recode(&mut self, layout: &Arc<Layout>) -> Result<(), AppendError> {
        let data = self.chunk.clone().finish();
        let mut samples = HistogramIter::<B>::new(&data)?;
        let mut recoded: Option<Encoder<B>> = None;
        let mut histogram = NativeHistogram::default();
        while let Some(t) = samples.next_into(&mut histogram)? {
            refit(&mut histogram, layout);
            match &mut recoded {
                Some(chunk) => chunk.push(t, &histogram)?,
                None => recoded = Some(Encoder::start(self.chunk.flag, t, &histogram)),
            }
        }
        if let Some(mut chunk) = recoded {
            chunk.layout = Arc::clone(layout);
            self.chunk = chunk;
        }
        Ok(())
    }
}

/// Lays the buckets of `histogram` out as `layout` says, which has all of them.
fn refit<B: Codec>(histogram: &mut NativeHistogram<B>, layout: &Arc<Layout>) {
    let old = &histogram.layout;
    histogram.positive = spread(&histogram.positive, &old.positive_spans, &layout.positive_spans);
    histogram.negative = spread(&histogram.negative, &old.negative_spans, &layout.negative_spans);
    histogram.layout = Arc::clone(layout);
}

fn check_side<B>(spans: &[Span], buckets: &[B]) -> Result<(), AppendError> {
    check_count(spans, buckets.len())?;
    check_spans(spans)
}

fn same_scale(one: &Layout, other: &Layout) -> bool {
    one.schema == other.schema && one.zero_threshold == other.zero_threshold
}

fn same_bounds(one: &Layout, other: &Layout) -> bool {
    !one.has_custom_buckets() || one.custom_bounds == other.custom_bounds
}
