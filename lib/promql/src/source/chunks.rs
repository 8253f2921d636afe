//! Encoded chunks as a source of samples, downsampled ones included.

use std::sync::Arc;

use sabre_tsdb::Corruption;
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};
use sabre_tsdb::chunk::histogram::HistogramIter;
use sabre_tsdb::chunk::xor;
use sabre_tsdb::histogram::FloatHistogram;
use sabre_tsdb::stale::is_stale;

use super::{AggregateChoice, HistogramMeans, SampleBuffer, SampleSource, SourceError};
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

/// A chunk as it is stored, or a part of a downsampled one.
pub type EncodedPart<'c> = (Encoding, &'c [u8]);

/// A chunk wherever it is held.
pub trait StoredChunk {
    /// Time of the first sample in milliseconds.
    fn mint(&self) -> i64;

    /// The samples, unless the chunk is downsampled.
    ///
    /// # Errors
    ///
    /// If the chunk is of an unknown kind.
    fn plain(&self) -> Result<Option<EncodedPart<'_>>, SourceError>;

    /// An aggregate of a downsampled chunk, if it has it.
    ///
    /// # Errors
    ///
    /// If the chunk is damaged or of an unknown kind.
    fn aggregate(&self, aggregate: Aggregate) -> Result<Option<EncodedPart<'_>>, SourceError>;
}

/// Decodes chunks that come in the order of time; where they overlap, the earlier one counts.
#[derive(Debug)]
pub struct ChunkSource<I> {
    chunks: I,
    choice: AggregateChoice,
    means: HistogramMeans,
    last_t: Option<i64>,
    counter: Counter,
    /// For the counts of a downsampled chunk.
    counts: SampleBuffer,
}

/// A counter whose resets are added up, over chunks.
#[derive(Debug, Default)]
struct Counter {
    total: f64,
    last: Option<(i64, f64)>,
}

impl StoredChunk for RawChunk {
    fn mint(&self) -> i64 {
        self.mint
    }

    fn plain(&self) -> Result<Option<EncodedPart<'_>>, SourceError> {
        Ok((self.encoding != Encoding::Aggregate).then_some((self.encoding, &*self.data)))
    }

    fn aggregate(&self, aggregate: Aggregate) -> Result<Option<EncodedPart<'_>>, SourceError> {
        if self.encoding != Encoding::Aggregate {
            return Ok(None);
        }
        let chunk = AggregateChunk::parse(&self.data).map_err(SourceError::from_error)?;
        Ok(chunk.get(aggregate).map(|part| (part.encoding, part.data)))
    }
}

impl<C: StoredChunk, I: Iterator<Item = Result<C, SourceError>>> ChunkSource<I> {
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
            means: HistogramMeans::True,
            last_t: None,
            counter: Counter::default(),
            counts: SampleBuffer::default(),
        }
    }

    /// Says how means of native histograms are made.
    #[must_use]
    pub fn with_means(self, means: HistogramMeans) -> ChunkSource<I> {
        ChunkSource { means, ..self }
    }

    /// The chunks that are still to come, for a caller that knows which of them nobody looks at.
    pub fn chunks_mut(&mut self) -> &mut I {
        &mut self.chunks
    }

    /// Appends the samples of a chunk; of overlapping chunks the earlier one counts.
    fn decode(&mut self, chunk: &C, buffer: &mut SampleBuffer) -> Result<(), SourceError> {
        let (floats, histograms) = (buffer.timestamps.len(), buffer.histograms.len());
        self.decode_all(chunk, buffer)?;
        if self.choice == AggregateChoice::Counter {
            self.counter.fold(buffer, floats);
        } else if let Some(last) = self.last_t {
            skip_floats(buffer, floats, last);
        }
        if let Some(last) = self.last_t
            && buffer.histograms.get(histograms).is_some_and(|(t, _)| *t <= last)
        {
            let new = buffer.histograms.split_off(histograms);
            buffer
                .histograms
                .extend(new.into_iter().filter(|(t, _)| *t > last));
        }
        Ok(())
    }

    fn decode_all(&mut self, chunk: &C, buffer: &mut SampleBuffer) -> Result<(), SourceError> {
        if let [single] = self.choice.aggregates() {
            let part = match chunk.aggregate(*single)? {
                Some(part) => Some(part),
                None => chunk.plain()?,
            };
            return decode_part(part.ok_or_else(|| missing(*single))?, buffer);
        }
        if let Some(part) = chunk.plain()? {
            return decode_part(part, buffer);
        }
        let part = |aggregate| {
            chunk
                .aggregate(aggregate)
                .and_then(|part| part.ok_or_else(|| missing(aggregate)))
        };
        let (floats, histograms) = (buffer.timestamps.len(), buffer.histograms.len());
        self.counts.clear();
        decode_part(part(Aggregate::Count)?, &mut self.counts)?;
        decode_part(part(Aggregate::Sum)?, buffer)?;
        let sums = Sums {
            buffer,
            floats,
            histograms,
        };
        average(sums, &self.counts, self.means)
    }
}

impl<C: StoredChunk, I: Iterator<Item = Result<C, SourceError>>> SampleSource for ChunkSource<I> {
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
    /// Makes totals of the floats from `from` on, and takes out those for which there is none.
    fn fold(&mut self, buffer: &mut SampleBuffer, from: usize) {
        let new = (
            buffer.timestamps.get_mut(from..).unwrap_or_default(),
            buffer.values.get_mut(from..).unwrap_or_default(),
        );
        let mut kept = 0;
        // Mostly there is one for each.
        for (t, value) in new.0.iter().zip(new.1.iter_mut()) {
            let Some(total) = self.push(*t, *value) else { break };
            *value = total;
            kept += 1;
        }
        for at in kept + 1..new.0.len().min(new.1.len()) {
            let (Some(&t), Some(&value)) = (new.0.get(at), new.1.get(at)) else {
                break;
            };
            let Some(total) = self.push(t, value) else {
                continue;
            };
            if let (Some(to_t), Some(to_value)) = (new.0.get_mut(kept), new.1.get_mut(kept)) {
                (*to_t, *to_value) = (t, total);
            }
            kept += 1;
        }
        buffer.timestamps.truncate(from + kept);
        buffer.values.truncate(from + kept);
    }

    /// Takes a sample and returns the total, unless there is none for it.
    #[inline]
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

/// Takes out the floats from `from` on that are not after `last`.
fn skip_floats(buffer: &mut SampleBuffer, from: usize, last: i64) {
    let new = buffer.timestamps.get(from..).unwrap_or_default();
    let overlap = new.iter().take_while(|t| **t <= last).count();
    if overlap > 0 {
        buffer.timestamps.drain(from..from + overlap);
        buffer.values.drain(from..from + overlap);
    }
}

fn missing(aggregate: Aggregate) -> SourceError {
    SourceError::new(format!(
        "no valid chunk found: a downsampled chunk has no {aggregate:?}"
    ))
}

fn decode_part((encoding, data): EncodedPart<'_>, buffer: &mut SampleBuffer) -> Result<(), SourceError> {
    match encoding {
        Encoding::Xor => {
            xor::decode(data, &mut buffer.timestamps, &mut buffer.values).map_err(SourceError::from_error)
        }
        Encoding::Histogram => {
            let mut samples = HistogramIter::<i64>::new(data).map_err(SourceError::from_error)?;
            samples.share_layout(buffer.layout.get_or_insert_default());
            decode_histograms(buffer, |histogram| samples.next_float_into(histogram))
        }
        Encoding::FloatHistogram => {
            let mut samples = HistogramIter::<f64>::new(data).map_err(SourceError::from_error)?;
            samples.share_layout(buffer.layout.get_or_insert_default());
            decode_histograms(buffer, |histogram| samples.next_into(histogram))
        }
        Encoding::Aggregate => Err(SourceError::new("an aggregate chunk within another")),
    }
}

/// Appends histograms as long as there are any.
fn decode_histograms(
    buffer: &mut SampleBuffer,
    mut next_into: impl FnMut(&mut FloatHistogram) -> Result<Option<i64>, Corruption>,
) -> Result<(), SourceError> {
    loop {
        let mut histogram = buffer.spare_histogram();
        // Nobody else holds it, so nothing is copied.
        match next_into(Arc::make_mut(&mut histogram)).map_err(SourceError::from_error)? {
            Some(t) => buffer.histograms.push((t, histogram)),
            None => {
                buffer.spare.push(histogram);
                return Ok(());
            }
        }
    }
}

/// Sums in a buffer that has samples before them.
struct Sums<'b> {
    buffer: &'b mut SampleBuffer,
    /// Where they begin.
    floats: usize,
    histograms: usize,
}

/// Makes means of sums.
fn average(sums: Sums<'_>, counts: &SampleBuffer, means: HistogramMeans) -> Result<(), SourceError> {
    let unequal = || SourceError::new("counts and sums of a downsampled chunk have different times");
    let buffer = sums.buffer;
    let histograms = buffer.histograms.get_mut(sums.histograms..).unwrap_or_default();
    if !histograms.is_empty() {
        if !histograms.iter().map(|(t, _)| t).eq(&counts.timestamps) {
            return Err(unequal());
        }
        let mut carry = Vec::new();
        for ((_, sum), count) in histograms.iter_mut().zip(&counts.values) {
            if is_stale(sum.sum) {
                continue;
            }
            match means {
                HistogramMeans::True => histogram::divide(Arc::make_mut(sum), *count),
                HistogramMeans::AsThanos => divide_as_thanos(Arc::make_mut(sum), *count, &mut carry),
            }
        }
        return Ok(());
    }
    if buffer.timestamps.get(sums.floats..).unwrap_or_default() != counts.timestamps {
        return Err(unequal());
    }
    let values = buffer.values.get_mut(sums.floats..).unwrap_or_default();
    for (sum, count) in values.iter_mut().zip(&counts.values) {
        *sum /= count;
    }
    Ok(())
}

/// Divides a histogram as Thanos does: its decoder goes on from what the division left in its buckets, so each bucket is
/// off by what the division changed in the bits of the one before.
fn divide_as_thanos(h: &mut FloatHistogram, count: f64, carry: &mut Vec<u64>) {
    carry.resize(h.positive.len() + h.negative.len(), 0);
    let buckets = h.positive.iter_mut().chain(&mut h.negative);
    let mut encoded = Vec::with_capacity(carry.len());
    for (bucket, carried) in buckets.zip(carry.iter()) {
        encoded.push(bucket.to_bits());
        *bucket = f64::from_bits(bucket.to_bits() ^ carried);
    }
    histogram::divide(h, count);
    let buckets = h.positive.iter().chain(&h.negative);
    for ((bucket, encoded), carried) in buckets.zip(encoded).zip(carry) {
        *carried = bucket.to_bits() ^ encoded;
    }
}
