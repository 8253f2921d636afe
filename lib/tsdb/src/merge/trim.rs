//! What of a chunk is not to be in the result: deleted samples, and those out of its time range.

use super::cursor::{AnyCursor, Cursor};
use super::error::MergeError;
use crate::chunk::histogram::{Appended, Codec, HistogramAppender};
use crate::chunk::xor::XorAppender;
use crate::chunk::{AppendError, Encoding, Value};
use crate::histogram::{CounterResetHint, NativeHistogram};
use crate::segment::SeriesChunk;

/// Takes out of the chunks of a series what is deleted, and what is out of range.
///
/// A chunk of which nothing is left is dropped, one of which all is left passes as it is, and only another one is
/// written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trim {
    mint: i64,
    maxt: i64,
    /// Ascending, without overlaps; both ends belong to them.
    deleted: Vec<(i64, i64)>,
}

impl Trim {
    /// Keeps what is in `mint` to `maxt` (both included; the end of a block's meta is not) and in none of the
    /// ranges `deleted`, which may be in any order and overlap.
    pub fn new(mint: i64, maxt: i64, mut deleted: Vec<(i64, i64)>) -> Self {
        deleted.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(deleted.len());
        for (start, end) in deleted.into_iter().filter(|(start, end)| start <= end) {
            match joined.last_mut() {
                Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        Self {
            mint,
            maxt,
            deleted: joined,
        }
    }

    /// What is left of a chunk.
    ///
    /// # Errors
    ///
    /// If a chunk of which a part is left cannot be read, or holds aggregates.
    pub fn apply(&self, chunk: SeriesChunk) -> Result<Option<SeriesChunk>, MergeError> {
        if chunk.maxt < self.mint || chunk.mint > self.maxt || self.covers(chunk.mint, chunk.maxt) {
            return Ok(None);
        }
        let touched = self
            .overlapping(chunk.mint)
            .is_some_and(|(start, _)| start <= chunk.maxt);
        if chunk.mint >= self.mint && chunk.maxt <= self.maxt && !touched {
            return Ok(Some(chunk));
        }
        self.rewrite(&chunk)
    }

    /// The first deleted range that ends at `t` or later.
    fn overlapping(&self, t: i64) -> Option<(i64, i64)> {
        let behind = self.deleted.partition_point(|&(_, end)| end < t);
        self.deleted.get(behind).copied()
    }

    fn covers(&self, mint: i64, maxt: i64) -> bool {
        self.overlapping(mint)
            .is_some_and(|(start, end)| start <= mint && end >= maxt)
    }

    fn keeps(&self, t: i64) -> bool {
        (self.mint..=self.maxt).contains(&t) && !self.covers(t, t)
    }

    fn rewrite(&self, chunk: &SeriesChunk) -> Result<Option<SeriesChunk>, MergeError> {
        let (mint, maxt) = (chunk.mint, chunk.maxt);
        let mut samples = AnyCursor::open(chunk)?;
        let mut rest: Option<Rest> = None;
        loop {
            match samples.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(rest.map(Rest::finish)),
                Err(source) => return Err(MergeError::Chunk { mint, maxt, source }),
            }
            let t = samples.t();
            if !self.keeps(t) {
                continue;
            }
            let error = |source| MergeError::Append { t, source };
            let Some(rest) = &mut rest else {
                rest = Some(Rest::begin(t, samples.value()).map_err(error)?);
                continue;
            };
            if !rest.push(t, samples.value()).map_err(error)? {
                return Err(MergeError::Inconsistent { mint, maxt });
            }
        }
    }
}

/// What is left of a chunk: one chunk again, however many samples it has.
#[derive(Debug)]
struct Rest {
    mint: i64,
    maxt: i64,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Xor(XorAppender),
    Histogram(HistogramAppender<i64>),
    FloatHistogram(HistogramAppender<f64>),
}

impl Rest {
    fn begin(t: i64, value: Value) -> Result<Self, AppendError> {
        let samples = match value {
            Value::Float(value) => {
                let mut chunk = XorAppender::new();
                chunk.append(t, value)?;
                Samples::Xor(chunk)
            }
            Value::Histogram(histogram) => Samples::Histogram(HistogramAppender::begin(t, &histogram)?),
            Value::FloatHistogram(histogram) => {
                Samples::FloatHistogram(HistogramAppender::begin(t, &histogram)?)
            }
        };
        Ok(Self {
            mint: t,
            maxt: t,
            samples,
        })
    }

    /// False if the sample cannot follow those before it in one chunk.
    fn push(&mut self, t: i64, value: Value) -> Result<bool, AppendError> {
        self.maxt = t;
        match (&mut self.samples, value) {
            (Samples::Xor(chunk), Value::Float(value)) => chunk.append(t, value).map(|()| true),
            (Samples::Histogram(chunk), Value::Histogram(mut value)) => push_histogram(chunk, t, &mut value),
            (Samples::FloatHistogram(chunk), Value::FloatHistogram(mut value)) => {
                push_histogram(chunk, t, &mut value)
            }
            _ => Ok(false),
        }
    }

    fn finish(self) -> SeriesChunk {
        let (encoding, data) = match self.samples {
            Samples::Xor(chunk) => (Encoding::Xor, chunk.finish()),
            Samples::Histogram(chunk) => (Encoding::Histogram, chunk.finish()),
            Samples::FloatHistogram(chunk) => (Encoding::FloatHistogram, chunk.finish()),
        };
        SeriesChunk::encode(self.mint, self.maxt, encoding, &data)
    }
}

fn push_histogram<B: Codec>(
    chunk: &mut HistogramAppender<B>,
    t: i64,
    histogram: &mut NativeHistogram<B>,
) -> Result<bool, AppendError> {
    // Readers do not say that a stale histogram came out of a chunk of gauges.
    if chunk.flag() == CounterResetHint::Gauge {
        histogram.hint = CounterResetHint::Gauge;
    }
    Ok(!matches!(chunk.append(t, histogram)?, Appended::NewChunk(_)))
}

#[cfg(test)]
mod tests;
