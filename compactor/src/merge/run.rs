//! The course of a job: symbols, then series by series.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sabre_model::BlockId;
use sabre_tsdb::index::SpillingSymbolsWriter;
use sabre_tsdb::merge::{ChunkMerge, MergeError, MergeStep, OverlapRule, SeriesOrder, SeriesOrderError};
use sabre_tsdb::segment::SeriesChunk;
use tokio::sync::mpsc;

use super::error::JobError;
use super::pipeline::{Pipeline, SeriesJob, SeriesResult, SeriesWork, run_one};
use super::series::{LabelRefs, SeriesSource};
use super::sink::{BlockSink, Piece, ScratchFiles, SinkOptions, SinkSummary};
use crate::source::{Defect, Health, SourceReaders, merge_symbols};

/// A series with more chunks is merged in passing and not handed to the pool.
const LARGE_SERIES_CHUNKS: usize = 20_000;
/// A series with more bytes of chunks is worked on alone.
const LARGE_SERIES_BYTES: usize = 4 << 20;

/// What is made of the series of the sources.
#[derive(Debug, Clone)]
pub(crate) enum Transform {
    /// One series of those with the same labels; chunks that overlap are merged by the rule.
    Merge {
        rule: OverlapRule,
        /// Whether chunks are expected to overlap, so that the pool is worth it.
        is_vertical: bool,
        /// What is made of the result for the second output.
        then: Option<Arc<dyn SeriesWork>>,
    },
    /// Each series by itself.
    Map(Arc<dyn SeriesWork>),
}

/// Where a result goes.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) scratch: Arc<ScratchFiles>,
    pub(crate) sender: mpsc::Sender<Piece>,
    pub(crate) options: SinkOptions,
}

/// How far a job is; read by others meanwhile.
#[derive(Debug, Default)]
pub(crate) struct JobProgress {
    pub(crate) read_bytes: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) series: AtomicU64,
}

/// A job to be run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) sources: Vec<(BlockId, SourceReaders)>,
    pub(crate) transform: Transform,
    pub(crate) outputs: Vec<Output>,
    /// Bytes of all symbols of the sources.
    pub(crate) symbols_bytes: u64,
    /// The most bytes of chunks of a series that are held at once.
    pub(crate) max_series_bytes: u64,
    pub(crate) progress: Arc<JobProgress>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// By output.
    pub(crate) written: Vec<SinkSummary>,
    /// By source.
    pub(crate) health: Vec<(BlockId, Health)>,
}

/// Runs a job to its end, on a thread that may block.
pub(crate) fn run(job: Job) -> Result<Outcome, JobError> {
    let mut symbols = Vec::with_capacity(job.outputs.len());
    for output in &job.outputs {
        symbols.push(SpillingSymbolsWriter::new(output.scratch.make("index")?)?);
    }
    let (mut cursors, mut rest) = (Vec::new(), Vec::new());
    for (block, source) in job.sources {
        cursors.push(source.symbols.begin()?);
        rest.push((block, source.chunks, source.rules));
    }
    let series = merge_symbols(cursors, &mut symbols, job.symbols_bytes)?;
    let mut sources = Vec::with_capacity(rest.len());
    for ((block, chunks, rules), (series, remap)) in rest.into_iter().zip(series) {
        sources.push(SeriesSource::new(block, series, remap, chunks, rules));
    }
    let mut sinks = Vec::with_capacity(job.outputs.len());
    for (output, symbols) in job.outputs.into_iter().zip(symbols) {
        sinks.push(open_sink(output, symbols)?);
    }
    let mut course = Course::new(sources, sinks, job.transform, job.max_series_bytes, job.progress)?;
    course.run()?;
    let Course { sources, sinks, .. } = course;
    let mut written = Vec::with_capacity(sinks.len());
    for sink in sinks {
        written.push(sink.finish()?);
    }
    let health = sources.iter().map(|source| (source.block(), source.health()));
    Ok(Outcome {
        written,
        health: health.collect(),
    })
}

fn open_sink(output: Output, symbols: SpillingSymbolsWriter<File>) -> Result<BlockSink, JobError> {
    BlockSink::new(symbols, &output.scratch, output.sender, output.options)
}

/// Sources, sinks and what is between them.
struct Course {
    sources: Vec<SeriesSource>,
    sinks: Vec<BlockSink>,
    rule: OverlapRule,
    /// Works on series before the first sink, if any.
    first: Option<Stage>,
    /// Works on the series of the first sink for the second.
    second: Option<Stage>,
    max_series_bytes: u64,
    progress: Arc<JobProgress>,
}

struct Stage {
    work: Arc<dyn SeriesWork>,
    pipeline: Pipeline,
}

/// Merges the chunks of a series.
#[derive(Debug)]
struct MergeWork(OverlapRule);

impl SeriesWork for MergeWork {
    fn run(&self, lists: Vec<Vec<SeriesChunk>>) -> Result<Vec<SeriesChunk>, String> {
        if lists.len() == 1 {
            return Ok(lists.into_iter().flatten().collect());
        }
        let mut merged = Vec::new();
        let lists: Vec<_> = lists.into_iter().map(|list| list.into_iter().map(Ok)).collect();
        sabre_tsdb::merge::merge_chunks(self.0, lists, |chunk| {
            merged.push(chunk);
            Ok::<(), MergeError>(())
        })
        .map_err(|error| error.to_string())?;
        Ok(merged)
    }
}

impl Stage {
    fn new(work: Arc<dyn SeriesWork>) -> Self {
        Self {
            pipeline: Pipeline::new(Arc::clone(&work)),
            work,
        }
    }

    /// Takes a series. A large one is worked on here and now, when nothing else is under way.
    fn push(
        &mut self,
        job: SeriesJob,
        out: &mut impl FnMut(SeriesResult) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let bytes: usize = job.lists.iter().flatten().map(SeriesChunk::len_bytes).sum();
        if bytes < LARGE_SERIES_BYTES {
            return self.pipeline.push(job, out);
        }
        self.pipeline.drain(out)?;
        out(run_one(&*self.work, job)?)
    }
}

impl Course {
    fn new(
        sources: Vec<SeriesSource>,
        sinks: Vec<BlockSink>,
        transform: Transform,
        max_series_bytes: u64,
        progress: Arc<JobProgress>,
    ) -> Result<Self, JobError> {
        let (rule, first, second) = match transform {
            Transform::Map(work) => (OverlapRule::OneToOne, Some(Stage::new(work)), None),
            Transform::Merge {
                rule,
                is_vertical,
                then,
            } => {
                let merge = is_vertical.then(|| Stage::new(Arc::new(MergeWork(rule))));
                (rule, merge, then.map(Stage::new))
            }
        };
        Ok(Self {
            sources,
            sinks,
            rule,
            first,
            second,
            max_series_bytes,
            progress,
        })
    }

    fn run(&mut self) -> Result<(), JobError> {
        let mut order = SeriesOrder::new(self.sources.len());
        let mut having = Vec::new();
        loop {
            while let Some(wanted) = order.wanted() {
                let Some(source) = self.sources.get_mut(wanted) else {
                    return Err(JobError::Closed);
                };
                let labels = source.next_series()?;
                order
                    .push(wanted, labels)
                    .map_err(|error| disorder(source, &error))?;
            }
            let Some(labels) = order.pop(&mut having) else {
                break;
            };
            self.take_series(labels, &having)?;
            self.tell_progress();
        }
        self.drain()
    }

    fn take_series(&mut self, labels: LabelRefs, having: &[usize]) -> Result<(), JobError> {
        let of_series = |source: &usize| self.sources.get(*source).map_or(0, SeriesSource::chunks_left);
        let chunks: usize = having.iter().map(of_series).sum();
        let in_passing = self.first.is_none() || (self.is_merging() && chunks > LARGE_SERIES_CHUNKS);
        if !in_passing {
            let job = self.collect(labels, having)?;
            let Self {
                sinks, first, second, ..
            } = self;
            let Some(first) = first else { return Ok(()) };
            return first.push(job, &mut |result| write(sinks, second.as_mut(), result));
        }
        // What was handed over before comes first.
        self.drain_first()?;
        if self.second.is_some() {
            let job = self.collect(labels, having)?;
            let result = run_one(&MergeWork(self.rule), job)?;
            return write(&mut self.sinks, self.second.as_mut(), result);
        }
        self.stream(&labels, having)
    }

    /// Whether what comes before the first sink is a merge.
    fn is_merging(&self) -> bool {
        self.second.is_some() || self.sources.len() > 1
    }

    /// Merges a series chunk by chunk, without holding more of it than overlaps.
    fn stream(&mut self, labels: &LabelRefs, having: &[usize]) -> Result<(), JobError> {
        let Self {
            sources, sinks, rule, ..
        } = self;
        let Some(sink) = sinks.first_mut() else {
            return Ok(());
        };
        sink.begin_series();
        if let [only] = having {
            if let Some(source) = sources.get_mut(*only) {
                while let Some(chunk) = source.next_chunk()? {
                    sink.add_chunk(&chunk)?;
                }
            }
            return sink.end_series(labels);
        }
        let mut merge = ChunkMerge::new(*rule, having.len());
        loop {
            let step = merge.step().map_err(|error| broken(sources, having, &error))?;
            match step {
                MergeStep::Pull(wanted) => {
                    let source = having.get(wanted).and_then(|source| sources.get_mut(*source));
                    let chunk = source.map_or(Ok(None), SeriesSource::next_chunk)?;
                    let pushed = merge.push(wanted, chunk);
                    pushed.map_err(|error| broken(sources, having, &error))?;
                }
                MergeStep::Emit(chunk) => sink.add_chunk(&chunk)?,
                MergeStep::Done => return sink.end_series(labels),
            }
        }
    }

    /// Reads all chunks of a series.
    fn collect(&mut self, labels: LabelRefs, having: &[usize]) -> Result<SeriesJob, JobError> {
        let mut lists = Vec::with_capacity(having.len());
        let mut blocks = Vec::with_capacity(having.len());
        let mut bytes: u64 = 0;
        for source in having {
            let Some(source) = self.sources.get_mut(*source) else {
                continue;
            };
            let mut list = Vec::with_capacity(source.chunks_left().min(LARGE_SERIES_CHUNKS));
            while let Some(chunk) = source.next_chunk()? {
                bytes = bytes.saturating_add(chunk.len_bytes() as u64);
                if bytes > self.max_series_bytes {
                    let what = format!(
                        "the series has more than {} bytes, which is all that --sabre.memory-budget leaves for one; raise it",
                        self.max_series_bytes
                    );
                    let blocks = vec![source.block()];
                    return Err(JobError::Chunks { blocks, what });
                }
                list.push(chunk);
            }
            blocks.push(source.block());
            lists.push(list);
        }
        Ok(SeriesJob {
            labels,
            lists,
            blocks,
        })
    }

    fn drain_first(&mut self) -> Result<(), JobError> {
        let Self {
            sinks, first, second, ..
        } = self;
        match first {
            Some(first) => first
                .pipeline
                .drain(&mut |result| write(sinks, second.as_mut(), result)),
            None => Ok(()),
        }
    }

    fn drain(&mut self) -> Result<(), JobError> {
        self.drain_first()?;
        let Self { sinks, second, .. } = self;
        match (second, sinks.get_mut(1)) {
            (Some(second), Some(sink)) => second.pipeline.drain(&mut |result| write_to(sink, &result)),
            _ => Ok(()),
        }
    }

    fn tell_progress(&self) {
        let read = self.sources.iter().map(SeriesSource::read_bytes);
        let read_bytes = read.fold(0, u64::saturating_add);
        self.progress.read_bytes.store(read_bytes, Ordering::Relaxed);
        if let Some(sink) = self.sinks.first() {
            let stats = sink.stats();
            self.progress.samples.store(stats.num_samples, Ordering::Relaxed);
            self.progress.series.store(stats.num_series, Ordering::Relaxed);
        }
    }
}

/// Writes a series to the first sink, and hands it on to what makes the second.
fn write(sinks: &mut [BlockSink], second: Option<&mut Stage>, result: SeriesResult) -> Result<(), JobError> {
    let Some((sink, others)) = sinks.split_first_mut() else {
        return Ok(());
    };
    write_to(sink, &result)?;
    let (Some(second), Some(sink)) = (second, others.first_mut()) else {
        return Ok(());
    };
    let (labels, chunks) = result;
    let job = SeriesJob {
        labels,
        lists: vec![chunks],
        blocks: Vec::new(),
    };
    second.push(job, &mut |result| write_to(sink, &result))
}

fn write_to(sink: &mut BlockSink, (labels, chunks): &SeriesResult) -> Result<(), JobError> {
    sink.begin_series();
    for chunk in chunks {
        sink.add_chunk(chunk)?;
    }
    sink.end_series(labels)
}

pub(super) fn disorder(source: &SeriesSource, error: &SeriesOrderError) -> JobError {
    JobError::Unhealthy {
        block: source.block(),
        defect: Defect::SeriesOrder,
        what: format!("series at offset {}: {error}", source.offset()),
    }
}

fn broken(sources: &[SeriesSource], having: &[usize], error: &MergeError) -> JobError {
    let of_series = having.iter().filter_map(|source| sources.get(*source));
    JobError::Chunks {
        blocks: of_series.map(SeriesSource::block).collect(),
        what: error.to_string(),
    }
}
