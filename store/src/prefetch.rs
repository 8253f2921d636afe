//! Fetches the chunks of batches ahead of the encoder, as far as memory allows and the network asks for.

use std::sync::Arc;

use sabre_runtime::{
    budget::{Budget, Reservation},
    trace::carried,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    block::ServedBlock,
    context::CallContext,
    error::RequestError,
    fetch::{FetchedBatch, fetch},
    merged::MergedBatch,
    series::{BATCH_BYTES, MergedReceiver, ended_early},
};

/// Batches that are held at once whatever happens: one is encoded while the next is fetched.
const MIN_SLOTS: usize = 2;

/// Batches that are held at once if there is memory and fetching takes long.
const MAX_SLOTS: usize = 10;

/// Where the chunks of a request come from.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSource {
    pub(crate) blocks: Arc<[Arc<ServedBlock>]>,
    pub(crate) skip_chunks: bool,
    pub(crate) context: CallContext,
}

/// Batches in order, their chunks fetched or on the way.
#[derive(Debug)]
pub(crate) struct Prefetched {
    pending: mpsc::Receiver<Pending>,
    slots: Arc<Semaphore>,
    budget: Budget,
    /// Memory of the slots beyond the minimum.
    extra: Vec<Reservation>,
}

#[derive(Debug)]
enum Pending {
    Batch(
        AbortOnDropHandle<Result<FetchedBatch, RequestError>>,
        OwnedSemaphorePermit,
    ),
    Failed(RequestError),
    End,
}

/// Starts fetching what comes out of `batches`.
pub(crate) fn prefetch(tasks: &mut JoinSet<()>, batches: MergedReceiver, source: ChunkSource) -> Prefetched {
    let slots = Arc::new(Semaphore::new(MIN_SLOTS));
    let (sender, pending) = mpsc::channel(MAX_SLOTS);
    let budget = source.context.budget.clone();
    tasks.spawn(carried(start_fetches(
        batches,
        source,
        Arc::clone(&slots),
        sender,
    )));
    Prefetched {
        pending,
        slots,
        budget,
        extra: Vec::new(),
    }
}

async fn start_fetches(
    mut batches: MergedReceiver,
    source: ChunkSource,
    slots: Arc<Semaphore>,
    out: mpsc::Sender<Pending>,
) {
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let pending = match batches.recv().await {
            None => Pending::Failed(ended_early()),
            Some(Err(error)) => Pending::Failed(error),
            Some(Ok(batch)) if batch.is_empty() => Pending::End,
            Some(Ok(batch)) => {
                let task = tokio::spawn(carried(source.clone().fetch(batch)));
                Pending::Batch(AbortOnDropHandle::new(task), slot)
            }
        };
        let is_last = !matches!(pending, Pending::Batch(..));
        if out.send(pending).await.is_err() || is_last {
            return;
        }
    }
}

impl Prefetched {
    /// The next batch with its chunks; `None` after the last. Its slot is free again once the next one is asked for
    /// and there, so the frames made of it count as part of the request's minimum.
    pub(crate) async fn next(&mut self) -> Result<Option<FetchedBatch>, RequestError> {
        match self.pending.recv().await {
            None => Err(ended_early()),
            Some(Pending::Failed(error)) => Err(error),
            Some(Pending::End) => Ok(None),
            Some(Pending::Batch(task, slot)) => {
                if !task.is_finished() {
                    self.widen();
                }
                let batch = task.await??;
                drop(slot);
                Ok(Some(batch))
            }
        }
    }

    /// The encoder had to wait for a fetch: lets one more batch be fetched ahead if there is memory for it.
    fn widen(&mut self) {
        if self.extra.len() < MAX_SLOTS - MIN_SLOTS
            && let Some(memory) = self.budget.try_reserve(BATCH_BYTES)
        {
            self.extra.push(memory);
            self.slots.add_permits(1);
        }
    }
}

impl ChunkSource {
    async fn fetch(self, batch: MergedBatch) -> Result<FetchedBatch, RequestError> {
        if self.skip_chunks || batch.picks().is_empty() {
            return Ok(FetchedBatch::without_chunks(batch));
        }
        let CallContext { limits, stats, .. } = &self.context;
        fetch(&self.blocks, limits, stats, batch).await
    }

    /// Reads again a record of `batch`: one that takes so many bytes, more than were fetched, or one that a cache had
    /// wrong.
    pub(crate) async fn reread(
        &self,
        batch: &mut FetchedBatch,
        pick: usize,
        bytes: Option<u64>,
    ) -> Result<(), RequestError> {
        let CallContext {
            budget,
            limits,
            stats,
            ..
        } = &self.context;
        let room = match bytes {
            None => None,
            Some(bytes) => {
                let room = budget.try_reserve(bytes).ok_or_else(|| RequestError::NoMemory {
                    what: format!("a chunk of {bytes} bytes"),
                })?;
                Some((bytes, room))
            }
        };
        stats.chunk_refetches.inc();
        batch.reread(&self.blocks, limits, pick, room).await
    }
}
