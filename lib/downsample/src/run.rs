//! A run of chunks of one kind.

use sabre_tsdb::chunk::{ChunkError, Encoding};
use sabre_tsdb::segment::SeriesChunk;

use crate::aggregates::aggregate;
use crate::batching::Batching;
use crate::floats::Floats;
use crate::histograms::Histograms;
use crate::{DownsampleError, Resolution};

/// What the chunks of a run hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Floats,
    /// With integer counts and with float counts.
    Histograms,
    FloatAggregates,
    HistogramAggregates,
}

/// What is known, or thought, of a run before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Samples of a batch of raw chunks, or chunks of a batch of aggregate chunks.
    size: u64,
    /// The coarsest schema of each batch.
    schemas: Vec<i32>,
    mint: i64,
    maxt: i64,
    samples: u64,
    chunks: u64,
}

impl Plan {
    pub(crate) fn starting(mint: i64) -> Self {
        Self {
            mint,
            maxt: mint,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, chunk: &SeriesChunk, samples: u16) {
        self.maxt = chunk.maxt;
        self.samples = self.samples.saturating_add(samples.into());
        self.chunks = self.chunks.saturating_add(1);
    }

    /// Sets the size of batches from what was added.
    pub(crate) fn sized(mut self, target: Resolution, kind: Kind) -> Self {
        self.size = match kind {
            Kind::Floats | Kind::Histograms => Batching::size_for(target, self.mint, self.maxt, self.samples),
            Kind::FloatAggregates | Kind::HistogramAggregates => {
                let count = target.chunk_count(self.mint, self.maxt, self.samples);
                (self.chunks / count).max(1)
            }
        };
        self
    }
}

/// What a run was.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What it should be read with.
    pub(crate) learned: Plan,
    /// Whether it was read with that.
    pub(crate) right: bool,
    /// What makes the run useless, if it was read right.
    pub(crate) failure: Option<DownsampleError>,
}

/// Downsamples a run.
#[derive(Debug)]
pub(crate) struct Run {
    kind: Kind,
    target: Resolution,
    /// Whether nothing is known, and chunks are only counted.
    learning: bool,
    size: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Floats(Box<Floats>),
    Histograms(Box<Histograms>),
    Aggregates(Box<Aggregates>),
}

/// Aggregate chunks, gathered into batches.
#[derive(Debug, Default)]
struct Aggregates {
    seen: Plan,
    gathered: Vec<SeriesChunk>,
    gathered_bytes: usize,
    done: Vec<SeriesChunk>,
    failure: Option<DownsampleError>,
}

impl Run {
    /// Starts a run; without a plan nothing is made of it, it is only learned.
    pub(crate) fn new(target: Resolution, kind: Kind, plan: Option<Plan>) -> Self {
        let learning = plan.is_none();
        let plan = plan.unwrap_or_default();
        // One batch without end: its windows are dropped below.
        let size = if learning { u64::MAX } else { plan.size };
        let body = match kind {
            Kind::Floats => Body::Floats(Box::new(Floats::new(target, size, learning))),
            Kind::Histograms => {
                Body::Histograms(Box::new(Histograms::new(target, size, plan.schemas, learning)))
            }
            Kind::FloatAggregates | Kind::HistogramAggregates => Body::Aggregates(Box::default()),
        };
        Self {
            kind,
            target,
            learning,
            size,
            body,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn push(&mut self, chunk: &SeriesChunk) -> Result<(), DownsampleError> {
        let corrupt = |source: ChunkError| DownsampleError::Chunk {
            mint: chunk.mint,
            maxt: chunk.maxt,
            source,
        };
        match &mut self.body {
            Body::Floats(floats) => floats.push(chunk.data()).map_err(|error| corrupt(error.into())),
            Body::Histograms(histograms) => {
                let encoding = chunk.encoding().unwrap_or(Encoding::Histogram);
                histograms
                    .push(encoding, chunk.data())
                    .map_err(|error| corrupt(error.into()))
            }
            Body::Aggregates(aggregates) => {
                let samples = chunk.num_samples().map_err(corrupt)?;
                aggregates.push(chunk, samples);
                if self.learning {
                    aggregates.forget();
                } else if aggregates.gathered.len() as u64 >= self.size {
                    aggregates.close(self.target);
                }
                Ok(())
            }
        }
    }

    /// The chunks that are whole.
    pub(crate) fn take_done(&mut self) -> Vec<SeriesChunk> {
        std::mem::take(match &mut self.body {
            Body::Floats(floats) => &mut floats.done,
            Body::Histograms(histograms) => &mut histograms.done,
            Body::Aggregates(aggregates) => &mut aggregates.done,
        })
    }

    pub(crate) fn held_bytes(&self) -> usize {
        match &self.body {
            Body::Floats(_) | Body::Histograms(_) => 0,
            Body::Aggregates(aggregates) => aggregates.gathered_bytes,
        }
    }

    pub(crate) fn finish(&mut self) -> Outcome {
        match &mut self.body {
            Body::Floats(floats) => {
                let measured = floats.finish();
                let failure = floats.failure.take();
                Outcome {
                    learned: Plan {
                        size: measured.size,
                        ..Plan::default()
                    },
                    right: measured.as_made && !self.learning,
                    failure: failure.map(|(t, source)| DownsampleError::Append { t, source }),
                }
            }
            Body::Histograms(histograms) => {
                let measured = histograms.finish();
                let schemas = match measured.as_made && !self.learning {
                    true => std::mem::take(&mut histograms.seen),
                    // They are those of other batches.
                    false => Vec::new(),
                };
                Outcome {
                    learned: Plan {
                        size: measured.size,
                        schemas,
                        ..Plan::default()
                    },
                    right: measured.as_made && histograms.schemas_right && !self.learning,
                    failure: histograms.failure.take(),
                }
            }
            Body::Aggregates(aggregates) => {
                if !self.learning {
                    aggregates.close(self.target);
                }
                let learned = std::mem::take(&mut aggregates.seen).sized(self.target, self.kind);
                Outcome {
                    right: learned.size == self.size,
                    learned,
                    failure: aggregates.failure.take(),
                }
            }
        }
    }
}

impl Aggregates {
    fn push(&mut self, chunk: &SeriesChunk, samples: u16) {
        if self.seen.chunks == 0 {
            self.seen = Plan::starting(chunk.mint);
        }
        self.seen.add(chunk, samples);
        self.gathered_bytes = self.gathered_bytes.saturating_add(chunk.len_bytes());
        self.gathered.push(chunk.clone());
    }

    fn forget(&mut self) {
        self.gathered.clear();
        self.gathered_bytes = 0;
    }

    fn close(&mut self, target: Resolution) {
        match aggregate(&self.gathered, target) {
            Ok(chunk) => self.done.extend(chunk),
            Err(error) => self.failure = self.failure.take().or(Some(error)),
        }
        self.forget();
    }
}
