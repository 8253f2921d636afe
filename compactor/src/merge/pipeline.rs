//! Series worked on by the pool while others are read and written. Results come in the order in which they went in, so
//! the bytes are the same for any number of threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;

use sabre_model::BlockId;
use sabre_tsdb::segment::SeriesChunk;

use super::error::JobError;
use super::series::LabelRefs;

/// A batch is handed over when it has so many bytes of chunks, or so many series.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_SERIES: usize = 256;

/// What is done to the chunks of a series.
pub(crate) trait SeriesWork: Send + Sync + std::fmt::Debug {
    /// Makes the chunks of the result from those of the sources, a list each.
    fn run(&self, lists: Vec<Vec<SeriesChunk>>) -> Result<Vec<SeriesChunk>, WorkError>;
}

/// Why the chunks of a series could not be worked on.
pub(crate) type WorkError = String;

/// A series on its way.
#[derive(Debug)]
pub(crate) struct SeriesJob {
    pub(crate) labels: LabelRefs,
    pub(crate) lists: Vec<Vec<SeriesChunk>>,
    /// Blocks the lists come from, for errors.
    pub(crate) blocks: Vec<BlockId>,
}

/// A series that was worked on.
pub(crate) type SeriesResult = (LabelRefs, Vec<SeriesChunk>);

type BatchResult = Result<Vec<SeriesResult>, JobError>;

/// Batches under way, oldest first.
#[derive(Debug)]
pub(crate) struct Pipeline {
    work: Arc<dyn SeriesWork>,
    batch: Vec<SeriesJob>,
    batch_bytes: usize,
    pending: VecDeque<mpsc::Receiver<BatchResult>>,
    depth: usize,
}

impl Pipeline {
    pub(crate) fn new(work: Arc<dyn SeriesWork>) -> Self {
        Self {
            work,
            batch: Vec::new(),
            batch_bytes: 0,
            pending: VecDeque::new(),
            depth: rayon::current_num_threads().saturating_add(1),
        }
    }

    /// Takes a series, and gives the results that have to be written to make room.
    pub(crate) fn push(
        &mut self,
        job: SeriesJob,
        out: &mut impl FnMut(SeriesResult) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let chunks = job.lists.iter().flatten();
        self.batch_bytes += chunks.map(SeriesChunk::len_bytes).sum::<usize>();
        self.batch.push(job);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_SERIES {
            self.submit();
        }
        while self.pending.len() > self.depth {
            self.give_oldest(out)?;
        }
        Ok(())
    }

    /// Gives everything that is under way.
    pub(crate) fn drain(
        &mut self,
        out: &mut impl FnMut(SeriesResult) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        self.submit();
        while !self.pending.is_empty() {
            self.give_oldest(out)?;
        }
        Ok(())
    }

    fn submit(&mut self) {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let work = Arc::clone(&self.work);
        let (sender, receiver) = mpsc::sync_channel(1);
        self.pending.push_back(receiver);
        rayon::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| run_batch(&*work, batch)));
            let result = result.unwrap_or_else(|_| {
                let what = "the work on a series panicked";
                Err(JobError::Unwritable(what.to_owned()))
            });
            // Who asked may have given up.
            drop(sender.send(result));
        });
    }

    fn give_oldest(
        &mut self,
        out: &mut impl FnMut(SeriesResult) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let Some(oldest) = self.pending.pop_front() else {
            return Ok(());
        };
        let results = oldest.recv().map_err(|_| JobError::Closed)??;
        for result in results {
            out(result)?;
        }
        Ok(())
    }
}

/// Works on the series of a batch, one after the other.
fn run_batch(work: &dyn SeriesWork, batch: Vec<SeriesJob>) -> BatchResult {
    let mut results = Vec::with_capacity(batch.len());
    for job in batch {
        results.push(run_one(work, job)?);
    }
    Ok(results)
}

/// Works on one series.
pub(crate) fn run_one(work: &dyn SeriesWork, job: SeriesJob) -> Result<SeriesResult, JobError> {
    let SeriesJob {
        labels,
        lists,
        blocks,
    } = job;
    let chunks = work
        .run(lists)
        .map_err(|what| JobError::Chunks { blocks, what })?;
    Ok((labels, chunks))
}
