//! A whole series: runs of chunks of a kind, each cut into batches.

use sabre_tsdb::chunk::aggregate::AggregateChunk;
use sabre_tsdb::chunk::{ChunkError, Encoding};
use sabre_tsdb::segment::SeriesChunk;

use crate::aggregates::holds_histograms;
use crate::run::{Kind, Outcome, Plan, Run};
use crate::{DownsampleError, Resolution};

/// The most bytes of chunks that one series may give: far more than a block of 14 days has.
const MAX_OUTPUT_BYTES: usize = 256 << 20;

/// Downsamples a series whose chunks are given one after the other, and are not kept.
///
/// How the result is cut depends on the number of all samples. So the chunks are given once for it to be learned,
/// and a second time for the result; a third time if histograms became coarser on the way.
#[derive(Debug)]
pub struct Downsampler {
    target: Resolution,
    /// What is known of the runs of the series, from an earlier attempt.
    plans: Vec<Plan>,
    /// What this attempt has learned.
    learned: Vec<Plan>,
    right: bool,
    run: Option<Run>,
    last_maxt: Option<i64>,
    done: Vec<SeriesChunk>,
    done_bytes: usize,
    failure: Option<DownsampleError>,
    attempts_left: u32,
}

/// What came of giving a series to a [`Downsampler`].
#[derive(Debug)]
pub enum Attempt {
    /// The chunks of the result, in order; none if the series has no samples that count.
    Done(Vec<SeriesChunk>),
    /// All chunks have to be given once more, to this one.
    Again(Downsampler),
}

impl Downsampler {
    /// Starts to learn a series: raw chunks become windows of 5 minutes, aggregate chunks of 5 minutes windows of
    /// 1 hour.
    pub fn new(target: Resolution) -> Self {
        Self::planned(target, Vec::new(), 3)
    }

    fn planned(target: Resolution, plans: Vec<Plan>, attempts_left: u32) -> Self {
        Self {
            target,
            plans,
            learned: Vec::new(),
            right: true,
            run: None,
            last_maxt: None,
            done: Vec::new(),
            done_bytes: 0,
            failure: None,
            attempts_left,
        }
    }

    /// Takes the next chunk of the series.
    ///
    /// # Errors
    ///
    /// If it overlaps the one before, or cannot be read.
    pub fn push(&mut self, chunk: &SeriesChunk) -> Result<(), DownsampleError> {
        let (mint, maxt) = (chunk.mint, chunk.maxt);
        if let Some(other_maxt) = self.last_maxt.filter(|&last| last >= mint) {
            return Err(DownsampleError::Overlap {
                mint,
                maxt,
                other_maxt,
            });
        }
        self.last_maxt = Some(maxt);
        let kind =
            kind(self.target, chunk).map_err(|source| DownsampleError::Chunk { mint, maxt, source })?;
        match kind {
            Incoming::Of(kind) => self.push_to(kind, chunk),
            Incoming::Nothing => Ok(()),
            // A block of aggregates may hold a chunk of samples by mistake.
            Incoming::Raw => {
                for converted in downsample_series(std::slice::from_ref(chunk), Resolution::FiveMinutes)? {
                    self.last_maxt = self.last_maxt.max(Some(converted.maxt));
                    if let Incoming::Of(kind) = kind_of_aggregates(&converted)
                        .map_err(|source| DownsampleError::Chunk { mint, maxt, source })?
                    {
                        self.push_to(kind, &converted)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Ends the series.
    ///
    /// # Errors
    ///
    /// If what it holds cannot be downsampled.
    pub fn finish(mut self) -> Result<Attempt, DownsampleError> {
        self.end_run();
        if !self.right {
            if self.attempts_left == 0 {
                return Err(DownsampleError::Changed);
            }
            let next = Self::planned(self.target, self.learned, self.attempts_left - 1);
            return Ok(Attempt::Again(next));
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Attempt::Done(self.done)),
        }
    }

    /// Upper bound of the bytes that are held.
    pub fn held_bytes(&self) -> usize {
        let run_bytes = self.run.as_ref().map_or(0, Run::held_bytes);
        self.done_bytes.saturating_add(run_bytes)
    }

    fn push_to(&mut self, kind: Kind, chunk: &SeriesChunk) -> Result<(), DownsampleError> {
        if self.run.as_ref().is_none_or(|run| run.kind() != kind) {
            self.end_run();
            let plan = self.plans.get(self.learned.len()).cloned();
            self.run = Some(Run::new(self.target, kind, plan));
        }
        if let Some(run) = &mut self.run {
            run.push(chunk)?;
            let done = run.take_done();
            self.keep(done);
        }
        Ok(())
    }

    fn end_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        let Outcome {
            learned,
            right,
            failure,
        } = run.finish();
        self.learned.push(learned);
        self.right &= right;
        self.failure = self.failure.take().or(failure);
        let done = run.take_done();
        self.keep(done);
    }

    fn keep(&mut self, chunks: Vec<SeriesChunk>) {
        for chunk in chunks {
            self.done_bytes = self.done_bytes.saturating_add(chunk.len_bytes());
            if self.done_bytes > MAX_OUTPUT_BYTES {
                let limit_bytes = MAX_OUTPUT_BYTES;
                self.failure
                    .get_or_insert(DownsampleError::TooLarge { limit_bytes });
                self.done.clear();
            } else {
                self.done.push(chunk);
            }
        }
    }
}

/// Downsamples a series: raw chunks to windows of 5 minutes, aggregate chunks of 5 minutes to windows of 1 hour.
///
/// The result depends on the chunks alone. It has at most as many windows as the time of the series.
///
/// # Errors
///
/// If chunks overlap, cannot be read, or hold what does not go together.
pub fn downsample_series(
    chunks: &[SeriesChunk],
    target: Resolution,
) -> Result<Vec<SeriesChunk>, DownsampleError> {
    let mut sampler = Downsampler::planned(target, guess(chunks, target), 3);
    loop {
        for chunk in chunks {
            sampler.push(chunk)?;
        }
        match sampler.finish()? {
            Attempt::Done(done) => return Ok(done),
            Attempt::Again(next) => sampler = next,
        }
    }
}

/// What a chunk is to the sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    Of(Kind),
    /// Samples among aggregates.
    Raw,
    /// An empty chunk among aggregates.
    Nothing,
}

fn kind(target: Resolution, chunk: &SeriesChunk) -> Result<Incoming, ChunkError> {
    let encoding = chunk.encoding()?;
    Ok(match (target, encoding) {
        (Resolution::FiveMinutes, Encoding::Xor) => Incoming::Of(Kind::Floats),
        (Resolution::FiveMinutes, Encoding::Histogram | Encoding::FloatHistogram) => {
            Incoming::Of(Kind::Histograms)
        }
        (Resolution::FiveMinutes, Encoding::Aggregate) => return Err(ChunkError::Aggregate),
        (Resolution::OneHour, Encoding::Aggregate) => return kind_of_aggregates(chunk),
        (Resolution::OneHour, _) if chunk.num_samples()? == 0 => Incoming::Nothing,
        (Resolution::OneHour, _) => Incoming::Raw,
    })
}

fn kind_of_aggregates(chunk: &SeriesChunk) -> Result<Incoming, ChunkError> {
    let chunk = AggregateChunk::parse(chunk.data())?;
    Ok(Incoming::Of(if holds_histograms(&chunk) {
        Kind::HistogramAggregates
    } else {
        Kind::FloatAggregates
    }))
}

/// What the headers of the chunks say of the runs: right, unless samples are left out.
fn guess(chunks: &[SeriesChunk], target: Resolution) -> Vec<Plan> {
    let mut plans: Vec<(Kind, Plan)> = Vec::new();
    for chunk in chunks {
        // What cannot be read will be an error later.
        let (Ok(Incoming::Of(kind)), Ok(samples)) = (kind(target, chunk), chunk.num_samples()) else {
            return Vec::new();
        };
        match plans.last_mut() {
            Some((last, plan)) if *last == kind => plan.add(chunk, samples),
            _ => {
                let mut plan = Plan::starting(chunk.mint);
                plan.add(chunk, samples);
                plans.push((kind, plan));
            }
        }
    }
    plans
        .into_iter()
        .map(|(kind, plan)| plan.sized(target, kind))
        .collect()
}

#[cfg(test)]
mod tests;
