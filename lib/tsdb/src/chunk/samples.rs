//! Samples of any kind, and how a stream of them becomes chunks.

use super::histogram::{Appended, Codec, HistogramAppender, HistogramIter};
use super::xor::{XorAppender, XorIter};
use super::{AppendError, ChunkError, Encoding, SAMPLES_PER_CHUNK};
use crate::error::Corruption;
use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram};

/// What a sample holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A histogram with integer counts.
    Histogram(Box<Histogram>),
    /// A histogram with float counts.
    FloatHistogram(Box<FloatHistogram>),
}

impl Value {
    /// The encoding of chunks that hold it.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Float(_) => Encoding::Xor,
            Self::Histogram(_) => Encoding::Histogram,
            Self::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }
}

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub t: i64,
    /// What was there.
    pub value: Value,
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// Timestamp of the first sample.
    pub mint: i64,
    /// Timestamp of the last sample.
    pub maxt: i64,
    /// How `data` is encoded.
    pub encoding: Encoding,
    /// Number of samples.
    pub num_samples: u16,
    /// The data, without what surrounds it in a segment file.
    pub data: Vec<u8>,
}

/// Decodes all samples of a chunk.
///
/// # Errors
///
/// If the data is broken, or the chunk is one of aggregates, which are chunks themselves.
pub fn decode_samples(encoding: Encoding, data: &[u8]) -> Result<Vec<Sample>, ChunkError> {
    match encoding {
        Encoding::Xor => {
            let samples = XorIter::new(data)?.map(|sample| {
                let (t, value) = sample?;
                Ok(Sample {
                    t,
                    value: Value::Float(value),
                })
            });
            samples.collect()
        }
        Encoding::Histogram => decode_histograms(data, Value::Histogram),
        Encoding::FloatHistogram => decode_histograms(data, Value::FloatHistogram),
        Encoding::Aggregate => Err(ChunkError::Aggregate),
    }
}

fn decode_histograms<B: Codec>(
    data: &[u8],
    value: impl Fn(Box<NativeHistogram<B>>) -> Value,
) -> Result<Vec<Sample>, ChunkError> {
    let samples = HistogramIter::<B>::new(data)?.map(|sample: Result<_, Corruption>| {
        let (t, histogram) = sample?;
        Ok(Sample {
            t,
            value: value(Box::new(histogram)),
        })
    });
    samples.collect()
}

/// Encodes samples in the order of time into chunks, cut where Prometheus and Thanos cut them when merging.
///
/// A new chunk begins where the kind of sample changes, behind 120 samples, and where a histogram cannot go
/// on in the chunk before.
///
/// # Errors
///
/// If spans and buckets of a histogram do not go together.
pub fn encode_stream(samples: impl IntoIterator<Item = Sample>) -> Result<Vec<EncodedChunk>, AppendError> {
    let mut encoder = ChunkEncoder::new();
    let mut chunks = Vec::new();
    for sample in samples {
        chunks.extend(encoder.push(sample)?);
    }
    chunks.extend(encoder.finish());
    Ok(chunks)
}

/// [`encode_stream`] step by step: takes samples, gives chunks.
#[derive(Debug, Default)]
pub struct ChunkEncoder {
    open: Option<OpenChunk>,
    /// Memory for the next chunk of floats.
    spare: Vec<u8>,
    /// Memory for the histogram that is appended.
    histogram: Histogram,
    float_histogram: FloatHistogram,
}

#[derive(Debug)]
struct OpenChunk {
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

/// What a sample meant for the open chunk.
enum Pushed {
    Appended,
    /// It is in this new chunk instead.
    Next(Samples),
}

impl ChunkEncoder {
    /// Starts without a chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample, and returns the chunk before it if the sample began a new one.
    ///
    /// # Errors
    ///
    /// If spans and buckets of a histogram do not go together; the sample is dropped then.
    pub fn push(&mut self, sample: Sample) -> Result<Option<EncodedChunk>, AppendError> {
        let t = sample.t;
        let pushed = match &mut self.open {
            Some(open) if open.samples.num_samples() < SAMPLES_PER_CHUNK => {
                open.samples.push(sample, &mut self.spare)?
            }
            _ => Pushed::Next(Samples::begin(sample, &mut self.spare)?),
        };
        Ok(self.pushed(t, pushed))
    }

    /// Notes what became of a sample, and ends the chunk if it is in the next one.
    fn pushed(&mut self, t: i64, pushed: Pushed) -> Option<EncodedChunk> {
        let samples = match pushed {
            Pushed::Appended => {
                if let Some(open) = &mut self.open {
                    open.maxt = t;
                }
                return None;
            }
            Pushed::Next(samples) => samples,
        };
        let full = self.open.replace(OpenChunk {
            mint: t,
            maxt: t,
            samples,
        });
        full.map(OpenChunk::finish)
    }

    /// [`push`](Self::push) for a number.
    ///
    /// # Errors
    ///
    /// None in practice: chunks are never full here.
    #[inline]
    pub fn push_float(&mut self, t: i64, value: f64) -> Result<Option<EncodedChunk>, AppendError> {
        if let Some(open) = &mut self.open
            && let Samples::Xor(chunk) = &mut open.samples
            && chunk.num_samples() < SAMPLES_PER_CHUNK
        {
            chunk.append(t, value)?;
            open.maxt = t;
            return Ok(None);
        }
        let value = Value::Float(value);
        self.push(Sample { t, value })
    }

    /// Appends the numbers that `next` gives to the open chunk. False if there is room for more, but `next` had none; true if
    /// the next one has to begin a chunk, and was not asked for.
    #[inline]
    pub(crate) fn fill_floats(&mut self, mut next: impl FnMut() -> Option<(i64, f64)>) -> bool {
        let Some(open) = &mut self.open else { return true };
        let Samples::Xor(chunk) = &mut open.samples else {
            return true;
        };
        while chunk.num_samples() < SAMPLES_PER_CHUNK {
            let Some((t, value)) = next() else { return false };
            // A chunk with so few samples takes any.
            if chunk.append(t, value).is_ok() {
                open.maxt = t;
            }
        }
        true
    }

    /// [`push`](Self::push) for a histogram with integer counts; what is known of its relation to the one before is `hint`.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn push_histogram(
        &mut self,
        t: i64,
        histogram: &Histogram,
        hint: CounterResetHint,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        if let Some(open) = &mut self.open
            && let Samples::Histogram(chunk) = &mut open.samples
            && chunk.num_samples() < SAMPLES_PER_CHUNK
        {
            let copy = &mut self.histogram;
            copy.copy_from(histogram);
            copy.hint = hint;
            let pushed = push_histogram(chunk, t, copy, Samples::Histogram)?;
            return Ok(self.pushed(t, pushed));
        }
        let histogram = Histogram {
            hint,
            ..histogram.clone()
        };
        let value = Value::Histogram(Box::new(histogram));
        self.push(Sample { t, value })
    }

    /// [`push_histogram`](Self::push_histogram) for one with float counts.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn push_float_histogram(
        &mut self,
        t: i64,
        histogram: &FloatHistogram,
        hint: CounterResetHint,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        if let Some(open) = &mut self.open
            && let Samples::FloatHistogram(chunk) = &mut open.samples
            && chunk.num_samples() < SAMPLES_PER_CHUNK
        {
            let copy = &mut self.float_histogram;
            copy.copy_from(histogram);
            copy.hint = hint;
            let pushed = push_histogram(chunk, t, copy, Samples::FloatHistogram)?;
            return Ok(self.pushed(t, pushed));
        }
        let histogram = FloatHistogram {
            hint,
            ..histogram.clone()
        };
        let value = Value::FloatHistogram(Box::new(histogram));
        self.push(Sample { t, value })
    }

    /// Takes the memory of data that is not needed any more, for the next chunk of floats.
    pub fn reuse(&mut self, data: Vec<u8>) {
        if data.capacity() > self.spare.capacity() {
            self.spare = data;
        }
    }

    /// Ends the last chunk, if there is one.
    pub fn finish(self) -> Option<EncodedChunk> {
        self.open.map(OpenChunk::finish)
    }
}

impl OpenChunk {
    fn finish(self) -> EncodedChunk {
        let (encoding, num_samples) = (self.samples.encoding(), self.samples.num_samples());
        let data = match self.samples {
            Samples::Xor(chunk) => chunk.finish(),
            Samples::Histogram(chunk) => chunk.finish(),
            Samples::FloatHistogram(chunk) => chunk.finish(),
        };
        EncodedChunk {
            mint: self.mint,
            maxt: self.maxt,
            encoding,
            num_samples,
            data,
        }
    }
}

impl Samples {
    /// Begins a chunk, one of floats in the memory of `spare`.
    fn begin(sample: Sample, spare: &mut Vec<u8>) -> Result<Self, AppendError> {
        let t = sample.t;
        Ok(match sample.value {
            Value::Float(value) => {
                let mut chunk = XorAppender::with_buffer(std::mem::take(spare));
                chunk.append(t, value)?;
                Self::Xor(chunk)
            }
            Value::Histogram(histogram) => Self::Histogram(HistogramAppender::begin(t, &histogram)?),
            Value::FloatHistogram(histogram) => {
                Self::FloatHistogram(HistogramAppender::begin(t, &histogram)?)
            }
        })
    }

    fn push(&mut self, sample: Sample, spare: &mut Vec<u8>) -> Result<Pushed, AppendError> {
        let t = sample.t;
        match (self, sample.value) {
            (Self::Xor(chunk), Value::Float(value)) => {
                chunk.append(t, value)?;
                Ok(Pushed::Appended)
            }
            (Self::Histogram(chunk), Value::Histogram(mut histogram)) => {
                push_histogram(chunk, t, &mut histogram, Self::Histogram)
            }
            (Self::FloatHistogram(chunk), Value::FloatHistogram(mut histogram)) => {
                push_histogram(chunk, t, &mut histogram, Self::FloatHistogram)
            }
            (_, value) => Self::begin(Sample { t, value }, spare).map(Pushed::Next),
        }
    }

    fn encoding(&self) -> Encoding {
        match self {
            Self::Xor(_) => Encoding::Xor,
            Self::Histogram(_) => Encoding::Histogram,
            Self::FloatHistogram(_) => Encoding::FloatHistogram,
        }
    }

    fn num_samples(&self) -> u16 {
        match self {
            Self::Xor(chunk) => chunk.num_samples(),
            Self::Histogram(chunk) => chunk.num_samples(),
            Self::FloatHistogram(chunk) => chunk.num_samples(),
        }
    }
}

fn push_histogram<B: Codec>(
    chunk: &mut HistogramAppender<B>,
    t: i64,
    histogram: &mut NativeHistogram<B>,
    samples: impl Fn(HistogramAppender<B>) -> Samples,
) -> Result<Pushed, AppendError> {
    match chunk.append(t, histogram)? {
        Appended::Extended | Appended::Recoded => Ok(Pushed::Appended),
        Appended::NewChunk(flag) => {
            HistogramAppender::begin_with_flag(flag, t, histogram).map(|chunk| Pushed::Next(samples(chunk)))
        }
    }
}
