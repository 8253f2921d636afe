//! Raw histograms into windows.

use sabre_tsdb::Corruption;
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::histogram::HistogramIter;
use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram, Histogram};
use sabre_tsdb::segment::SeriesChunk;

use crate::batching::{Batching, Measured};
use crate::histogram::MixedBuckets;
use crate::histogram_chunk::{HistogramChunk, HistogramWindows};
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
        }
    }

    /// Takes the next chunk. Samples that go back in time, or before 1970, and stale markers are left out.
    pub(crate) fn push(&mut self, encoding: Encoding, data: &[u8]) -> Result<(), Corruption> {
        let (mut last_t, mut float) = (0, FloatHistogram::default());
        if encoding == Encoding::FloatHistogram {
            let mut samples = HistogramIter::<f64>::new(data)?;
            while let Some(t) = samples.next_into(&mut float)? {
                self.sample(t, &mut float, &mut last_t);
            }
            return Ok(());
        }
        let mut samples = HistogramIter::<i64>::new(data)?;
        let mut histogram = Histogram::default();
        while let Some(t) = samples.next_into(&mut histogram)? {
            histogram.to_float_into(&mut float);
            self.sample(t, &mut float, &mut last_t);
        }
        Ok(())
    }

    /// Ends the last batch.
    pub(crate) fn finish(&mut self) -> Measured {
        let measured = self.batching.finish(self.open);
        self.close();
        measured
    }

    /// Takes a sample. What `histogram` holds afterwards is of no use but for its memory.
    fn sample(&mut self, t: i64, histogram: &mut FloatHistogram, last_t: &mut i64) {
        if t < *last_t || histogram.is_stale() {
            return;
        }
        *last_t = t;
        if self.batching.window(t, self.open) {
            self.close();
        }
        self.batching.last_t = t;
        if self.learning || histogram.sum.is_nan() {
            self.batching.keep(1);
            return;
        }
        self.turn(t, histogram);
        if let Some(batch) = &mut self.batch {
            self.open += 1;
            batch.last_t = t;
            batch.coarsest = batch.coarsest.min(histogram.layout.schema);
            if self.failure.is_none()
                && let Err(MixedBuckets) = batch.windows.add(histogram)
            {
                self.failure = Some(DownsampleError::MixedBuckets { t });
            }
        }
    }

    /// Opens the window of the sample at `t`, if it is not in the one that is open.
    fn turn(&mut self, t: i64, histogram: &FloatHistogram) {
        match &mut self.batch {
            Some(batch) if t <= batch.window_end => {}
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
                    windows: HistogramWindows::new(schema.unwrap_or(histogram.layout.schema)),
                    chunk: HistogramChunk::default(),
                    gauge: histogram.hint == CounterResetHint::Gauge,
                    coarsest: histogram.layout.schema,
                    window_end: self.batching.window_end(),
                    last_t: t,
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
        let (Some(counter), Some(sum)) = (&mut batch.windows.counter, &mut batch.windows.sum) else {
            return;
        };
        if batch.gauge {
            counter.hint = CounterResetHint::Gauge;
        }
        let chunk = &mut batch.chunk;
        let written = chunk
            .push_counter(t, counter)
            .and_then(|()| chunk.push_sum(t, sum))
            .and_then(|()| chunk.push_count(t, batch.windows.count as f64));
        if let Err(source) = written {
            self.failure = Some(DownsampleError::Append { t, source });
        }
    }
}
