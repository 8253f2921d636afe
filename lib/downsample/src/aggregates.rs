//! Windows of aggregate chunks into wider ones.

use sabre_tsdb::Corruption;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};
use sabre_tsdb::chunk::histogram::HistogramIter;
use sabre_tsdb::chunk::xor::{self, XorAppender};
use sabre_tsdb::chunk::{ChunkError, Encoding};
use sabre_tsdb::histogram::FloatHistogram;
use sabre_tsdb::segment::SeriesChunk;
use sabre_tsdb::stale::is_stale;

use crate::counter_resets::CounterResets;
use crate::histogram_chunk::HistogramChunk;
use crate::histogram_windows::HistogramWindows;
use crate::{DownsampleError, Resolution};

/// The parts of one aggregate, in the order of the chunks.
type Parts<'a> = Vec<SubChunk<'a>>;

/// Whether a chunk holds the aggregates of histograms.
pub(crate) fn holds_histograms(chunk: &AggregateChunk<'_>) -> bool {
    let counter = chunk.get(Aggregate::Counter);
    counter.is_some_and(|part| matches!(part.encoding, Encoding::Histogram | Encoding::FloatHistogram))
}

/// Makes one chunk of a batch of chunks; `None` if there is nothing in them.
pub(crate) fn aggregate(
    chunks: &[SeriesChunk],
    resolution: Resolution,
) -> Result<Option<SeriesChunk>, DownsampleError> {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
        return Ok(None);
    };
    let (mint, maxt) = (first.mint, last.maxt);
    let corrupt = |error: Corruption| DownsampleError::Chunk {
        mint,
        maxt,
        source: ChunkError::Corrupt(error),
    };
    let parsed = chunks.iter().map(|chunk| AggregateChunk::parse(chunk.data()));
    let parsed = parsed.collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
    let batch = Batch {
        chunks: &parsed,
        resolution,
        mint,
        maxt,
    };
    if parsed.first().is_some_and(holds_histograms) {
        batch.histograms()
    } else {
        batch.floats()
    }
}

#[derive(Debug)]
struct Batch<'a> {
    chunks: &'a [AggregateChunk<'a>],
    resolution: Resolution,
    mint: i64,
    maxt: i64,
}

impl<'a> Batch<'a> {
    fn parts(&self, aggregate: Aggregate) -> Parts<'a> {
        self.chunks
            .iter()
            .filter_map(|chunk| chunk.get(aggregate))
            .collect()
    }

    fn corrupt(&self, error: Corruption) -> DownsampleError {
        DownsampleError::Chunk {
            mint: self.mint,
            maxt: self.maxt,
            source: ChunkError::Corrupt(error),
        }
    }

    fn mixed(&self) -> DownsampleError {
        DownsampleError::MixedAggregates {
            mint: self.mint,
            maxt: self.maxt,
        }
    }

    fn floats(&self) -> Result<Option<SeriesChunk>, DownsampleError> {
        let mut range = Range::default();
        let count = self.narrow(Aggregate::Count, &mut range, |window| window.sum)?;
        let sum = self.narrow(Aggregate::Sum, &mut range, |window| window.sum)?;
        let min = self.narrow(Aggregate::Min, &mut range, |window| window.min)?;
        let max = self.narrow(Aggregate::Max, &mut range, |window| window.max)?;
        let counter = self.counter(&mut range)?;
        let Some((mint, maxt)) = range.0 else {
            return Ok(None);
        };
        let mut chunk = AggregateChunk::default();
        let parts = [&count, &sum, &min, &max, &counter];
        for (aggregate, data) in Aggregate::ALL.into_iter().zip(parts) {
            let part = data.as_deref().map(|data| SubChunk {
                encoding: Encoding::Xor,
                data,
            });
            chunk.set(aggregate, part);
        }
        Ok(Some(SeriesChunk::encode(
            mint,
            maxt,
            Encoding::Aggregate,
            &chunk.encode(),
        )))
    }

    /// Brings one aggregate to wider windows; `None` if no chunk has it.
    fn narrow(
        &self,
        aggregate: Aggregate,
        range: &mut Range,
        value: impl Fn(&FloatSums) -> f64,
    ) -> Result<Option<Vec<u8>>, DownsampleError> {
        let samples = self.expand_floats(&self.parts(aggregate))?;
        if samples.is_empty() {
            return Ok(None);
        }
        let mut appender = XorAppender::new();
        walk(self.resolution, &samples, |t, window| {
            let mut sums = FloatSums::default();
            window.iter().for_each(|&(_, value)| sums.add(value));
            range.cover(t);
            append(&mut appender, t, value(&sums))
        })?;
        Ok(Some(appender.finish()))
    }

    /// The counter: first value, windows, and the last raw value again.
    fn counter(&self, range: &mut Range) -> Result<Option<Vec<u8>>, DownsampleError> {
        let mut resets = CounterResets::new();
        let mut samples = Vec::new();
        let mut last_t = 0;
        for part in self.parts(Aggregate::Counter) {
            if part.encoding != Encoding::Xor {
                return Err(self.mixed());
            }
            let keep = |t, value| {
                if let Some(total) = resets.push(t, value)
                    && t >= last_t
                {
                    samples.push((t, total));
                    last_t = t;
                }
            };
            xor::for_each(part.data, keep).map_err(|error| self.corrupt(error))?;
        }
        let (Some(&(first_t, first)), Some(last)) = (samples.first(), resets.last_value()) else {
            return Ok(None);
        };
        let mut appender = XorAppender::new();
        append(&mut appender, first_t, first)?;
        let mut counter: Option<(f64, f64)> = None;
        let mut end_t = first_t;
        walk(self.resolution, &samples, |t, window| {
            for &(_, value) in window {
                let total = match counter {
                    None => value,
                    Some((total, previous)) if value < previous => total + value,
                    Some((total, previous)) => total + (value - previous),
                };
                counter = Some((total, value));
            }
            range.cover(t);
            end_t = t;
            append(&mut appender, t, counter.map_or(0.0, |(total, _)| total))
        })?;
        append(&mut appender, end_t, last)?;
        Ok(Some(appender.finish()))
    }

    fn histograms(&self) -> Result<Option<SeriesChunk>, DownsampleError> {
        let mut chunk = HistogramChunk::default();
        let counters = self.expand_histograms(Aggregate::Counter)?;
        self.add_up(&counters, |t, windows| match windows.parts() {
            Some((counter, _)) => chunk.push_counter(t, counter),
            None => Ok(()),
        })?;
        let sums = self.expand_histograms(Aggregate::Sum)?;
        if sums.is_empty() {
            return Ok(None);
        }
        self.add_up(&sums, |t, windows| match windows.parts() {
            Some((_, sum)) => chunk.push_sum(t, sum),
            None => Ok(()),
        })?;
        let counts = self.expand_floats(&self.parts(Aggregate::Count))?;
        walk(self.resolution, &counts, |t, window| {
            let mut sums = FloatSums::default();
            window.iter().for_each(|&(_, value)| sums.add(value));
            chunk
                .push_count(t, sums.sum)
                .map_err(|source| DownsampleError::Append { t, source })
        })?;
        Ok(chunk.finish())
    }

    /// Adds histograms up and hands every window to `write`.
    fn add_up(
        &self,
        histograms: &[(i64, FloatHistogram)],
        mut write: impl FnMut(i64, &mut HistogramWindows) -> Result<(), sabre_tsdb::chunk::AppendError>,
    ) -> Result<(), DownsampleError> {
        let schemas = histograms.iter().map(|(_, histogram)| histogram.layout.schema);
        let mut windows = HistogramWindows::new(schemas.min().unwrap_or_default());
        let mut taken = FloatHistogram::default();
        walk(self.resolution, histograms, |t, window| {
            windows.open();
            for (at, histogram) in window {
                taken.copy_from(histogram);
                windows
                    .add(&mut taken, false)
                    .map_err(|_| DownsampleError::MixedBuckets { t: *at })?;
            }
            write(t, &mut windows).map_err(|source| DownsampleError::Append { t, source })
        })
    }

    /// All samples of floats, without stale markers and those that go back in time within a part.
    fn expand_floats(&self, parts: &[SubChunk<'_>]) -> Result<Vec<(i64, f64)>, DownsampleError> {
        let mut samples = Vec::new();
        for part in parts {
            if part.encoding != Encoding::Xor {
                return Err(self.mixed());
            }
            let mut last_t = 0;
            let keep = |t, value| {
                if t >= last_t && !is_stale(value) {
                    samples.push((t, value));
                    last_t = t;
                }
            };
            xor::for_each(part.data, keep).map_err(|error| self.corrupt(error))?;
        }
        Ok(samples)
    }

    /// All samples of histograms, without stale markers and those that go back in time within a part.
    fn expand_histograms(&self, aggregate: Aggregate) -> Result<Vec<(i64, FloatHistogram)>, DownsampleError> {
        let mut samples = Vec::new();
        for part in self.parts(aggregate) {
            if part.encoding != Encoding::FloatHistogram {
                return Err(self.mixed());
            }
            let mut last_t = 0;
            let histograms = HistogramIter::<f64>::new(part.data).map_err(|error| self.corrupt(error))?;
            for sample in histograms {
                let (t, histogram) = sample.map_err(|error| self.corrupt(error))?;
                if t >= last_t && !histogram.is_stale() {
                    samples.push((t, histogram));
                    last_t = t;
                }
            }
        }
        Ok(samples)
    }
}

/// The time of all windows written.
#[derive(Debug, Default)]
struct Range(Option<(i64, i64)>);

impl Range {
    fn cover(&mut self, t: i64) {
        let (mint, maxt) = self.0.unwrap_or((t, t));
        self.0 = Some((mint.min(t), maxt.max(t)));
    }
}

/// What the values of a window come to.
#[derive(Debug)]
struct FloatSums {
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for FloatSums {
    fn default() -> Self {
        Self {
            sum: 0.0,
            min: f64::MAX,
            max: f64::MIN,
        }
    }
}

impl FloatSums {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
    }
}

/// Cuts samples into windows, none of which ends beyond the last sample.
fn walk<V>(
    resolution: Resolution,
    samples: &[(i64, V)],
    mut window: impl FnMut(i64, &[(i64, V)]) -> Result<(), DownsampleError>,
) -> Result<(), DownsampleError> {
    let Some(&(last_t, _)) = samples.last() else {
        return Ok(());
    };
    let mut rest = samples;
    while let Some(&(t, _)) = rest.first() {
        let end = resolution.window_end(t).min(last_t);
        // The first sample always belongs to it: samples may go back in time from one chunk to the next.
        let length = rest.iter().skip(1).take_while(|(t, _)| *t <= end).count() + 1;
        let (samples, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        window(end, samples)?;
        rest = behind;
    }
    Ok(())
}

fn append(appender: &mut XorAppender, t: i64, value: f64) -> Result<(), DownsampleError> {
    appender
        .append(t, value)
        .map_err(|source| DownsampleError::Append { t, source })
}
