//! Raw histograms into windows.

use sabre_tsdb::Corruption;
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::histogram::{HistogramIter, HistogramSample};
use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram};
use sabre_tsdb::segment::SeriesChunk;

use crate::batching::{Batching, Measured};
use crate::histogram::MixedBuckets;
use crate::histogram_chunk::HistogramChunk;
use crate::histogram_windows::HistogramWindows;
use crate::{DownsampleError, Resolution};

/// Downsamples a run of chunks of histograms, with integer counts or float counts.
#[derive(Debug)]
pub(crate) struct Histograms {
    batching: Batching,
    /// Whether histograms are only counted.
    learning: bool,
    /// The coarsest schema of each batch, as far as it is known: it has to be when the batch begins.
    known: Vec<i32>,
    /// The coarsest schema of each batch that was seen.
    pub(crate) seen: Vec<i32>,
    /// Whether every batch was brought to its coarsest schema.
    pub(crate) schemas_right: bool,
    batch: Option<Batch>,
    /// Histograms in the window that is open.
    open: u64,
    /// Chunks that are whole.
    pub(crate) done: Vec<SeriesChunk>,
    /// The first thing that went wrong with histograms themselves.
    pub(crate) failure: Option<DownsampleError>,
    /// Whether each histogram is made and added by itself, and how many were not.
    #[cfg(test)]
    one_by_one: (bool, u64),
}

/// What decides where a sample goes.
#[derive(Debug, Clone, Copy)]
struct Seen {
    t: i64,
    is_stale: bool,
    /// Of the sum; that of a stale marker is.
    is_nan: bool,
    hint: CounterResetHint,
    schema: i32,
}

impl Seen {
    #[inline]
    fn of(sample: HistogramSample<'_>) -> Self {
        Self {
            t: sample.t(),
            is_stale: sample.is_stale(),
            is_nan: sample.sum().is_nan(),
            hint: sample.hint(),
            schema: sample.layout().schema,
        }
    }
}

/// A batch that has a histogram.
#[derive(Debug)]
struct Batch {
    windows: HistogramWindows,
    chunk: HistogramChunk,
    /// Whether its first histogram is a gauge.
    gauge: bool,
    coarsest: i32,
    window_end: i64,
    last_t: i64,
}

impl Histograms {
    /// Cuts batches of `size` histograms, whose coarsest schemas are `known`, or else that of the first; or only
    /// counts them, to learn what the size has to be.
    pub(crate) fn new(resolution: Resolution, size: u64, known: Vec<i32>, learning: bool) -> Self {
        Self {
            batching: Batching::new(resolution, size),
            learning,
            known,
            seen: Vec::new(),
            schemas_right: true,
            batch: None,
            open: 0,
            done: Vec::new(),
            failure: None,
            #[cfg(test)]
            one_by_one: (false, 0),
        }
    }

    /// Takes the next chunk. Samples that go back in time, or before 1970, and stale markers are left out.
    pub(crate) fn push(&mut self, encoding: Encoding, data: &[u8]) -> Result<(), Corruption> {
        match encoding {
            Encoding::FloatHistogram => self.push_floats(data),
            _ => self.push_integers(data),
        }
    }

    fn push_floats(&mut self, data: &[u8]) -> Result<(), Corruption> {
        let (mut last_t, mut float) = (0, FloatHistogram::default());
        let mut samples = HistogramIter::<f64>::new(data)?;
        while let Some(t) = samples.next_into(&mut float)? {
            let seen = Seen {
                t,
                is_stale: float.is_stale(),
                is_nan: float.sum.is_nan(),
                hint: float.hint,
                schema: float.layout.schema,
            };
            if self.enter(&seen, &mut last_t) {
                self.add(t, &mut float, false);
            }
        }
        Ok(())
    }

    fn push_integers(&mut self, data: &[u8]) -> Result<(), Corruption> {
        let (mut last_t, mut float) = (0, FloatHistogram::default());
        let mut samples = HistogramIter::<i64>::new(data)?;
        while let Some(sample) = samples.advance()? {
            let seen = Seen::of(sample);
            if self.stays(&seen, last_t) && self.add_integers(sample) {
                last_t = seen.t;
                self.note(&seen);
                continue;
            }
            self.settle(sample.deltas_before());
            if self.enter(&seen, &mut last_t) && !self.add_integers(sample) {
                sample.to_float_into(&mut float);
                self.add(seen.t, &mut float, true);
            }
        }
        if let Some(last) = samples.last_read() {
            self.settle(last.deltas());
        }
        Ok(())
    }

    /// Ends the last batch.
    pub(crate) fn finish(&mut self) -> Measured {
        let measured = self.batching.finish(self.open);
        self.close();
        measured
    }

    /// Whether a sample is one of the window that is open.
    #[inline]
    fn stays(&self, seen: &Seen, last_t: i64) -> bool {
        let in_window = |batch: &Batch| seen.t <= batch.window_end;
        seen.t >= last_t && !seen.is_nan && self.batch.as_ref().is_some_and(in_window)
    }

    /// Comes to a sample; true if it is to be added to the window, which is open then.
    fn enter(&mut self, seen: &Seen, last_t: &mut i64) -> bool {
        let t = seen.t;
        if t < *last_t || seen.is_stale {
            return false;
        }
        *last_t = t;
        if self.batching.window(t, self.open) {
            self.close();
        }
        self.batching.last_t = t;
        if self.learning || seen.is_nan {
            self.batching.keep(1);
            return false;
        }
        self.turn(seen);
        self.note(seen);
        true
    }

    /// Counts a sample that is in the window.
    #[inline]
    fn note(&mut self, seen: &Seen) {
        self.batching.last_t = seen.t;
        if let Some(batch) = &mut self.batch {
            self.open += 1;
            batch.last_t = seen.t;
            batch.coarsest = batch.coarsest.min(seen.schema);
        }
    }

    /// Adds a histogram to the window as integers, its buckets later; false if that cannot be.
    #[inline]
    fn add_integers(&mut self, sample: HistogramSample<'_>) -> bool {
        #[cfg(test)]
        if self.one_by_one.0 {
            return false;
        }
        let is_added = match (&mut self.batch, &self.failure) {
            (Some(batch), None) => batch.windows.add_integers(sample),
            _ => false,
        };
        #[cfg(test)]
        {
            self.one_by_one.1 += u64::from(is_added);
        }
        is_added
    }

    /// Brings the buckets up to date; `last` is the last sample that was added.
    fn settle(&mut self, last: (impl Iterator<Item = i64>, impl Iterator<Item = i64>)) {
        if let Some(batch) = &mut self.batch {
            batch.windows.settle(last);
        }
    }

    /// Adds a histogram to the window. What `histogram` holds afterwards is of no use but for its memory.
    fn add(&mut self, t: i64, histogram: &mut FloatHistogram, is_integral: bool) {
        if let Some(batch) = &mut self.batch
            && self.failure.is_none()
            && let Err(MixedBuckets) = batch.windows.add(histogram, is_integral)
        {
            self.failure = Some(DownsampleError::MixedBuckets { t });
        }
    }

    /// Opens the window of a sample, if it is not in the one that is open.
    fn turn(&mut self, seen: &Seen) {
        match &mut self.batch {
            Some(batch) if seen.t <= batch.window_end => {}
            Some(_) => {
                self.write(None);
                self.batching.keep(self.open);
                self.open = 0;
                if let Some(batch) = &mut self.batch {
                    batch.window_end = self.batching.window_end();
                    batch.windows.open();
                }
            }
            None => {
                let schema = self.known.get(self.seen.len()).copied();
                self.batch = Some(Batch {
                    windows: HistogramWindows::new(schema.unwrap_or(seen.schema)),
                    chunk: HistogramChunk::default(),
                    gauge: seen.hint == CounterResetHint::Gauge,
                    coarsest: seen.schema,
                    window_end: self.batching.window_end(),
                    last_t: seen.t,
                });
            }
        }
    }

    /// Ends the batch, the window that is open with it.
    fn close(&mut self) {
        let last_t = self.batch.as_ref().map(|batch| batch.last_t);
        self.write(last_t);
        self.open = 0;
        if let Some(batch) = self.batch.take() {
            self.seen.push(batch.coarsest);
            self.schemas_right &= batch.coarsest == batch.windows.schema();
            self.done.extend(batch.chunk.finish());
        }
    }

    /// Writes the window that is open; the last one of a batch does not reach beyond its last sample.
    fn write(&mut self, last_t: Option<i64>) {
        let (Some(batch), None) = (&mut self.batch, &self.failure) else {
            return;
        };
        let t = last_t.map_or(batch.window_end, |last_t| batch.window_end.min(last_t));
        let count = batch.windows.count;
        let Some((counter, sum)) = batch.windows.parts() else {
            return;
        };
        if batch.gauge {
            counter.hint = CounterResetHint::Gauge;
        }
        let chunk = &mut batch.chunk;
        let written = chunk
            .push_counter(t, counter)
            .and_then(|()| chunk.push_sum(t, sum))
            .and_then(|()| chunk.push_count(t, count as f64));
        if let Err(source) = written {
            self.failure = Some(DownsampleError::Append { t, source });
        }
    }
}

#[cfg(test)]
mod tests;
