//! Encoded chunks as a source of samples, downsampled ones included.

use std::sync::Arc;

use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};
use sabre_tsdb::chunk::histogram::HistogramIter;
use sabre_tsdb::chunk::xor;
use sabre_tsdb::histogram::FloatHistogram;
use sabre_tsdb::stale::is_stale;

use super::{SampleBuffer, SampleSource, SourceError};
use crate::histogram;

/// A chunk of a series.
#[derive(Clone, Debug)]
pub struct RawChunk {
    /// Time of the first sample in milliseconds.
    pub mint: i64,
    /// Time of the last sample in milliseconds.
    pub maxt: i64,
    /// How the data is encoded.
    pub encoding: Encoding,
    /// The data, as in [`sabre_tsdb::chunk`].
    pub data: Arc<[u8]>,
}

/// Which of the aggregates of downsampled chunks stands for the samples. Chunks that are not downsampled stand for
/// themselves, whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AggregateChoice {
    /// The mean of a window.
    #[default]
    Average,
    /// The number of samples of a window.
    Count,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// The counter, resets added up.
    Counter,
}

/// Decodes chunks that come in the order of time; where they overlap, the earlier one counts.
#[derive(Debug)]
pub struct ChunkSource<I> {
    chunks: I,
    choice: AggregateChoice,
    last_t: Option<i64>,
    counter: Counter,
    scratch: SampleBuffer,
}

/// A counter whose resets are added up, over chunks.
#[derive(Debug, Default)]
struct Counter {
    total: f64,
    last: Option<(i64, f64)>,
}

impl AggregateChoice {
    /// The aggregate that a function wants of downsampled series, by the name in the hints of its selector.
    pub fn for_function(func: &str) -> AggregateChoice {
        match func {
            "min" => AggregateChoice::Min,
            "max" => AggregateChoice::Max,
            "count" => AggregateChoice::Count,
            "increase" | "rate" | "irate" | "resets" | "xincrease" | "xrate" => AggregateChoice::Counter,
            func if func.starts_with("min_") => AggregateChoice::Min,
            func if func.starts_with("max_") => AggregateChoice::Max,
            func if func.starts_with("count_") => AggregateChoice::Count,
            func if func.starts_with("sum_") => AggregateChoice::Sum,
            _ => AggregateChoice::Average,
        }
    }

    /// The parts of a downsampled chunk that are needed for it.
    pub fn aggregates(self) -> &'static [Aggregate] {
        match self {
            AggregateChoice::Average => &[Aggregate::Count, Aggregate::Sum],
            AggregateChoice::Count => &[Aggregate::Count],
            AggregateChoice::Sum => &[Aggregate::Sum],
            AggregateChoice::Min => &[Aggregate::Min],
            AggregateChoice::Max => &[Aggregate::Max],
            AggregateChoice::Counter => &[Aggregate::Counter],
        }
    }
}

impl<I: Iterator<Item = Result<RawChunk, SourceError>>> ChunkSource<I> {
    /// Decodes raw chunks; of downsampled ones the mean.
    pub fn new(chunks: I) -> ChunkSource<I> {
        ChunkSource::with_choice(chunks, AggregateChoice::Average)
    }

    /// Decodes chunks, taking one aggregate of those that are downsampled. With [`AggregateChoice::Counter`] resets are
    /// added up over all chunks, raw ones too, and NaN is left out.
    pub fn with_choice(chunks: I, choice: AggregateChoice) -> ChunkSource<I> {
        ChunkSource {
            chunks,
            choice,
            last_t: None,
            counter: Counter::default(),
            scratch: SampleBuffer::default(),
        }
    }

    fn decode(&mut self, chunk: &RawChunk, buffer: &mut SampleBuffer) -> Result<(), SourceError> {
        let counts = self.choice == AggregateChoice::Counter;
        if chunk.encoding == Encoding::Xor && !counts && self.last_t.is_none_or(|last| chunk.mint > last) {
            return xor::decode(&chunk.data, &mut buffer.timestamps, &mut buffer.values)
                .map_err(SourceError::from_error);
        }
        self.scratch.clear();
        match chunk.encoding {
            Encoding::Aggregate => decode_aggregate(&chunk.data, self.choice, &mut self.scratch)?,
            encoding => decode_plain(encoding, &chunk.data, &mut self.scratch)?,
        }
        let SampleBuffer {
            timestamps,
            values,
            histograms,
        } = &mut self.scratch;
        for (t, value) in timestamps.iter().zip(&*values) {
            if counts {
                if let Some(total) = self.counter.push(*t, *value) {
                    buffer.push(*t, total);
                }
            } else if self.last_t.is_none_or(|last| *t > last) {
                buffer.push(*t, *value);
            }
        }
        let last_t = self.last_t;
        buffer.histograms.extend(
            histograms
                .drain(..)
                .filter(|(t, _)| last_t.is_none_or(|last| *t > last)),
        );
        Ok(())
    }
}

impl<I: Iterator<Item = Result<RawChunk, SourceError>>> SampleSource for ChunkSource<I> {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        let Some(chunk) = self.chunks.next() else {
            return Ok(false);
        };
        self.decode(&chunk?, buffer)?;
        let newest = buffer.timestamps.last().copied();
        let newest = newest.max(buffer.histograms.last().map(|(t, _)| *t));
        self.last_t = self.last_t.max(newest);
        Ok(true)
    }
}

impl Counter {
    /// Takes a sample and returns the total, unless there is none for it.
    fn push(&mut self, t: i64, value: f64) -> Option<f64> {
        if value.is_nan() {
            return None;
        }
        match self.last {
            None => self.total = value,
            Some((last_t, last)) if t > last_t => {
                self.total += if value >= last { value - last } else { value };
            }
            // The true last value of the chunk, with which the next one is compared.
            Some((last_t, _)) if t == last_t => {
                self.last = Some((t, value));
                return None;
            }
            Some(_) => return None,
        }
        self.last = Some((t, value));
        Some(self.total)
    }
}

fn decode_plain(encoding: Encoding, data: &[u8], buffer: &mut SampleBuffer) -> Result<(), SourceError> {
    match encoding {
        Encoding::Xor => {
            xor::decode(data, &mut buffer.timestamps, &mut buffer.values).map_err(SourceError::from_error)
        }
        Encoding::Histogram => {
            for sample in HistogramIter::<i64>::new(data).map_err(SourceError::from_error)? {
                let (t, histogram) = sample.map_err(SourceError::from_error)?;
                buffer.histograms.push((t, Arc::new(histogram.to_float())));
            }
            Ok(())
        }
        Encoding::FloatHistogram => {
            for sample in HistogramIter::<f64>::new(data).map_err(SourceError::from_error)? {
                let (t, histogram) = sample.map_err(SourceError::from_error)?;
                buffer.histograms.push((t, Arc::new(histogram)));
            }
            Ok(())
        }
        Encoding::Aggregate => Err(SourceError::new("an aggregate chunk within another")),
    }
}

fn decode_aggregate(
    data: &[u8],
    choice: AggregateChoice,
    buffer: &mut SampleBuffer,
) -> Result<(), SourceError> {
    let chunk = AggregateChunk::parse(data).map_err(SourceError::from_error)?;
    let part = |aggregate, buffer: &mut SampleBuffer| {
        let Some(part) = chunk.get(aggregate) else {
            return Err(SourceError::new(format!(
                "no valid chunk found: a downsampled chunk has no {aggregate:?}"
            )));
        };
        decode_plain(part.encoding, part.data, buffer)
    };
    match choice.aggregates() {
        [single] => part(*single, buffer),
        _ => {
            let mut counts = SampleBuffer::default();
            part(Aggregate::Count, &mut counts)?;
            part(Aggregate::Sum, buffer)?;
            average(buffer, &counts)
        }
    }
}

/// Makes means of sums.
fn average(sums: &mut SampleBuffer, counts: &SampleBuffer) -> Result<(), SourceError> {
    let unequal = || SourceError::new("counts and sums of a downsampled chunk have different times");
    if !sums.histograms.is_empty() {
        let times = sums.histograms.iter().map(|(t, _)| t);
        if !times.eq(&counts.timestamps) {
            return Err(unequal());
        }
        for ((_, sum), count) in sums.histograms.iter_mut().zip(&counts.values) {
            let mut mean = FloatHistogram::clone(sum);
            if !is_stale(mean.sum) {
                histogram::divide(&mut mean, *count);
            }
            *sum = Arc::new(mean);
        }
        return Ok(());
    }
    if sums.timestamps != counts.timestamps {
        return Err(unequal());
    }
    for (sum, count) in sums.values.iter_mut().zip(&counts.values) {
        *sum /= count;
    }
    Ok(())
}
