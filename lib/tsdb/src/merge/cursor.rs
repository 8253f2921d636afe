//! The samples of a chunk, one at a time.

use bytes::Bytes;

use super::error::MergeError;
use crate::chunk::histogram::{Codec, SharedHistogramIter};
use crate::chunk::xor::{XorIter, decode};
use crate::chunk::{AppendError, ChunkEncoder, ChunkError, EncodedChunk, Encoding, Value};
use crate::error::Corruption;
use crate::histogram::{CounterResetHint, NativeHistogram};
use crate::segment::SeriesChunk;

/// A place in a list of samples; before the first one at the beginning.
pub(super) trait Cursor {
    /// Moves on to the next sample; false behind the last.
    fn advance(&mut self) -> Result<bool, ChunkError>;

    /// Time of the sample.
    fn t(&self) -> i64;

    /// Value of the sample.
    fn value(&self) -> Value;

    /// Encodes the sample. What a histogram says of the one before holds only if that came from this list too:
    /// with `changed` it did not.
    fn push_to(&self, encoder: &mut ChunkEncoder, changed: bool)
    -> Result<Option<EncodedChunk>, AppendError>;

    /// Number of bytes that are held, but for constants.
    fn held_bytes(&self) -> usize;

    /// Samples that are decoded already, from the one on at which it is; `None` if the list is not of floats.
    fn decoded(&self) -> Option<Decoded<'_>> {
        None
    }

    /// Moves on by so many of the samples that are decoded.
    fn pass(&mut self, _samples: usize) {}

    /// Moves on to the first sample at `t` or later, which may be the present one; false if there is none.
    fn seek(&mut self, t: i64) -> Result<bool, ChunkError> {
        while self.t() < t {
            if !self.advance()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Samples that are decoded, as many values as timestamps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoded<'a> {
    pub(super) timestamps: &'a [i64],
    pub(super) values: &'a [f64],
}

/// What is known of a histogram's relation to the one before it, if that came from another list.
fn forgotten(hint: CounterResetHint) -> CounterResetHint {
    match hint {
        CounterResetHint::Gauge => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}

/// Floats. Only the first sample is decoded until the second is asked for, then all are at once.
#[derive(Debug)]
pub(super) struct FloatCursor {
    data: Bytes,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// Number of samples passed, with the present one.
    passed: usize,
    t: i64,
    value: f64,
}

impl FloatCursor {
    pub(super) fn new(data: Bytes) -> Self {
        Self {
            data,
            timestamps: Vec::new(),
            values: Vec::new(),
            passed: 0,
            t: 0,
            value: 0.0,
        }
    }

    /// Value of the sample.
    #[inline]
    pub(super) fn float(&self) -> f64 {
        self.value
    }

    #[cold]
    fn first(&mut self) -> Result<bool, ChunkError> {
        let Some(sample) = XorIter::new(&self.data)?.next() else {
            return Ok(false);
        };
        (self.t, self.value) = sample?;
        self.passed = 1;
        Ok(true)
    }

    /// Goes on behind the samples decoded: decodes all of them, or forgets them at the end.
    #[cold]
    fn turn(&mut self) -> Result<bool, ChunkError> {
        if self.passed == 0 {
            return self.first();
        }
        if self.data.is_empty() || !self.timestamps.is_empty() {
            *self = Self {
                t: self.t,
                passed: self.passed,
                ..Self::new(Bytes::new())
            };
            return Ok(false);
        }
        decode(&self.data, &mut self.timestamps, &mut self.values)?;
        Ok(self.step())
    }

    #[inline]
    fn step(&mut self) -> bool {
        let sample = (self.timestamps.get(self.passed), self.values.get(self.passed));
        let (Some(&t), Some(&value)) = sample else {
            return false;
        };
        (self.t, self.value) = (t, value);
        self.passed += 1;
        true
    }
}

impl Cursor for FloatCursor {
    #[inline]
    fn advance(&mut self) -> Result<bool, ChunkError> {
        if self.step() { Ok(true) } else { self.turn() }
    }

    #[inline]
    fn t(&self) -> i64 {
        self.t
    }

    #[inline]
    fn value(&self) -> Value {
        Value::Float(self.value)
    }

    #[inline]
    fn push_to(&self, encoder: &mut ChunkEncoder, _: bool) -> Result<Option<EncodedChunk>, AppendError> {
        encoder.push_float(self.t, self.value)
    }

    #[inline]
    fn decoded(&self) -> Option<Decoded<'_>> {
        let present = self.passed.checked_sub(1)?;
        Some(Decoded {
            timestamps: self.timestamps.get(present..)?,
            values: self.values.get(present..)?,
        })
    }

    #[inline]
    fn pass(&mut self, samples: usize) {
        let present = (self.passed + samples).saturating_sub(1);
        if let (Some(&t), Some(&value)) = (self.timestamps.get(present), self.values.get(present)) {
            (self.t, self.value) = (t, value);
            self.passed = present + 1;
        }
    }

    fn held_bytes(&self) -> usize {
        let decoded_bytes = size_of_val(self.timestamps.as_slice()) + size_of_val(self.values.as_slice());
        self.data.len() + decoded_bytes
    }
}

/// Native histograms.
#[derive(Debug)]
pub(super) struct HistogramCursor<B: Codec> {
    samples: SharedHistogramIter<B>,
    t: i64,
    histogram: NativeHistogram<B>,
}

impl<B: Codec> HistogramCursor<B> {
    pub(super) fn new(data: Bytes) -> Result<Self, Corruption> {
        Ok(Self {
            samples: SharedHistogramIter::new(data)?,
            t: 0,
            histogram: NativeHistogram::default(),
        })
    }
}

impl Cursor for HistogramCursor<i64> {
    fn advance(&mut self) -> Result<bool, ChunkError> {
        let t = self.samples.next_into(&mut self.histogram)?;
        self.t = t.unwrap_or(self.t);
        Ok(t.is_some())
    }

    fn t(&self) -> i64 {
        self.t
    }

    fn value(&self) -> Value {
        Value::Histogram(Box::new(self.histogram.clone()))
    }

    fn push_to(
        &self,
        encoder: &mut ChunkEncoder,
        changed: bool,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        let hint = self.histogram.hint;
        let hint = if changed { forgotten(hint) } else { hint };
        encoder.push_histogram(self.t, &self.histogram, hint)
    }

    fn held_bytes(&self) -> usize {
        self.samples.len_bytes()
    }
}

impl Cursor for HistogramCursor<f64> {
    fn advance(&mut self) -> Result<bool, ChunkError> {
        let t = self.samples.next_into(&mut self.histogram)?;
        self.t = t.unwrap_or(self.t);
        Ok(t.is_some())
    }

    fn t(&self) -> i64 {
        self.t
    }

    fn value(&self) -> Value {
        Value::FloatHistogram(Box::new(self.histogram.clone()))
    }

    fn push_to(
        &self,
        encoder: &mut ChunkEncoder,
        changed: bool,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        let hint = self.histogram.hint;
        let hint = if changed { forgotten(hint) } else { hint };
        encoder.push_float_histogram(self.t, &self.histogram, hint)
    }

    fn held_bytes(&self) -> usize {
        self.samples.len_bytes()
    }
}

/// Samples of any kind. Boxed, since heaps move it about.
#[derive(Debug)]
pub(super) enum AnyCursor {
    Float(Box<FloatCursor>),
    Histogram(Box<HistogramCursor<i64>>),
    FloatHistogram(Box<HistogramCursor<f64>>),
}

impl AnyCursor {
    /// Starts before the first sample of a chunk.
    pub(super) fn open(chunk: &SeriesChunk) -> Result<Self, MergeError> {
        let (mint, maxt) = (chunk.mint, chunk.maxt);
        Self::of(chunk).map_err(|source| match source {
            ChunkError::Aggregate => MergeError::Aggregates { mint, maxt },
            source => MergeError::Chunk { mint, maxt, source },
        })
    }

    fn of(chunk: &SeriesChunk) -> Result<Self, ChunkError> {
        let data = chunk.shared_data();
        Ok(match chunk.encoding()? {
            Encoding::Xor => Self::Float(Box::new(FloatCursor::new(data))),
            Encoding::Histogram => Self::Histogram(Box::new(HistogramCursor::new(data)?)),
            Encoding::FloatHistogram => Self::FloatHistogram(Box::new(HistogramCursor::new(data)?)),
            Encoding::Aggregate => return Err(ChunkError::Aggregate),
        })
    }
}

impl Cursor for AnyCursor {
    #[inline]
    fn advance(&mut self) -> Result<bool, ChunkError> {
        match self {
            Self::Float(cursor) => cursor.advance(),
            Self::Histogram(cursor) => cursor.advance(),
            Self::FloatHistogram(cursor) => cursor.advance(),
        }
    }

    #[inline]
    fn t(&self) -> i64 {
        match self {
            Self::Float(cursor) => cursor.t(),
            Self::Histogram(cursor) => cursor.t(),
            Self::FloatHistogram(cursor) => cursor.t(),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Float(cursor) => cursor.value(),
            Self::Histogram(cursor) => cursor.value(),
            Self::FloatHistogram(cursor) => cursor.value(),
        }
    }
    #[inline]
    fn push_to(
        &self,
        encoder: &mut ChunkEncoder,
        changed: bool,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        match self {
            Self::Float(cursor) => cursor.push_to(encoder, changed),
            Self::Histogram(cursor) => cursor.push_to(encoder, changed),
            Self::FloatHistogram(cursor) => cursor.push_to(encoder, changed),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Float(cursor) => cursor.held_bytes(),
            Self::Histogram(cursor) => cursor.held_bytes(),
            Self::FloatHistogram(cursor) => cursor.held_bytes(),
        }
    }
}
