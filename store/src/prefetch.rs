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
    batch_width::{BatchWidth, WIDE_BATCH_BYTES},
    block::ServedBlock,
    context::CallContext,
    error::RequestError,
    fetch::{FetchedBatch, fetch},
    merged::MergedBatch,
    series::{MergedReceiver, ended_early},
};

/// Batches that are held at once whatever happens: one is encoded while the next is fetched.
const MIN_SLOTS: usize = 2;

/// Batches that are held at once if there is memory and fetching takes long.
const MAX_SLOTS: usize = 4;

/// Batches of the usual size that are asked for before an answer is taken for a large one.
const NARROW_BATCHES: usize = 2;

/// How often what batches take to become wide must be free for it.
const PLENTY: u64 = 4;

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
    width: BatchWidth,
    /// Batches that were asked for.
    asked: usize,
    /// What makes the minimum as much as wide batches need.
    wide: Option<Reservation>,
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
pub(crate) fn prefetch(
    tasks: &mut JoinSet<()>,
    (batches, width): (MergedReceiver, BatchWidth),
    source: ChunkSource,
) -> Prefetched {
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
        width,
        asked: 0,
        wide: None,
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
        // What was spawned last runs first: this batch is to be asked for before the next one.
        tokio::task::yield_now().await;
    }
}

impl Prefetched {
    /// The next batch with its chunks; `None` after the last. Its slot is free again once the next one is asked for
    /// and there, so the frames made of it count as part of the request's minimum.
    pub(crate) async fn next(&mut self) -> Result<Option<FetchedBatch>, RequestError> {
        self.asked += 1;
        if self.asked > NARROW_BATCHES && self.wide.is_none() {
            self.make_wide();
        }
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

    /// The answer is a large one: lets batches be so as well if there is plenty of memory. Where there is not, what is
    /// left is for requests that have not begun yet.
    fn make_wide(&mut self) {
        let missing_bytes = self.width.missing_bytes();
        if let Some(mut memory) = self.budget.try_reserve(PLENTY * missing_bytes) {
            memory.shrink_to(missing_bytes);
            self.wide = Some(memory);
            self.width.widen();
        }
    }

    /// The encoder had to wait for a fetch: lets one more batch be fetched ahead if there is memory for it.
    fn widen(&mut self) {
        if self.extra.len() < MAX_SLOTS - MIN_SLOTS
            && let Some(memory) = self.budget.try_reserve(WIDE_BATCH_BYTES)
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
            late, limits, stats, ..
        } = &self.context;
        let room = match bytes {
            None => None,
            Some(bytes) => {
                let what = || format!("a chunk of {bytes} bytes");
                Some((bytes, late.reserve(bytes, what).await?))
            }
        };
        stats.chunk_refetches.inc();
        batch.reread(&self.blocks, limits, pick, room).await
    }
}

#[cfg(test)]
mod tests {
    use sabre_runtime::metrics::Registry;

    use super::*;
    use crate::{
        index_cache::IndexCache,
        late_memory::LateTurn,
        limits::{LimitSettings, RequestLimits},
        merged::{MergeLimits, Merger, Stop},
        picks::SeriesBatch,
        small_lane::SmallLane,
        stats::RequestStats,
        warm::WarmLabels,
    };

    fn batch() -> MergedBatch {
        let mut series = SeriesBatch::default();
        series.push(b"a", &[]);
        let mut merger = Merger::new(1, 0);
        merger.supply(0, Some(series));
        let mut out = MergedBatch::default();
        let limits = BatchWidth::default().limits();
        while let Stop::Need(stream) = merger.fill(&mut out, limits) {
            merger.supply(stream, None);
        }
        out
    }

    /// What a batch may hold once so many of an answer were asked for, with so much memory to spare.
    async fn limits_after(asked: usize, spare_bytes: u64) -> MergeLimits {
        let budget = Budget::new(spare_bytes.max(1), "--flag");
        let context = CallContext {
            small_lane: SmallLane::of(&Budget::new(0, "--flag")),
            late: LateTurn::default().of_request(&budget),
            budget: budget.clone(),
            limits: Arc::new(RequestLimits::new(LimitSettings::default())),
            stats: Arc::new(RequestStats::default()),
            cache: Arc::new(IndexCache::in_memory(0, &Budget::unlimited(), &Registry::new())),
            cost_rule: None,
            warm: Arc::new(WarmLabels::new(None)),
            removed_labels: Arc::default(),
        };
        let source = ChunkSource {
            blocks: Arc::from(Vec::new()),
            skip_chunks: true,
            context,
        };
        let (sender, batches) = mpsc::channel(asked.max(1));
        for _ in 0..asked {
            sender.send(Ok(batch())).await.unwrap();
        }
        let (mut tasks, width) = (JoinSet::new(), BatchWidth::default());
        let mut prefetched = prefetch(&mut tasks, (batches, width.clone()), source);
        for _ in 0..asked {
            assert!(prefetched.next().await.unwrap().is_some());
        }
        let limits = width.limits();
        drop(prefetched);
        assert_eq!(budget.usage().used_bytes, 0);
        limits
    }

    #[tokio::test]
    async fn batches_become_wide_in_a_large_answer_if_there_is_memory_for_it() {
        let narrow = BatchWidth::default().limits();
        let plenty = 1 << 30;
        let few = limits_after(NARROW_BATCHES, plenty).await;
        assert_eq!(few.fetch_bytes, narrow.fetch_bytes);
        let many = limits_after(NARROW_BATCHES + 1, plenty).await;
        assert_eq!(many.fetch_bytes, WIDE_BATCH_BYTES);
        assert!(many.memory_bytes > narrow.memory_bytes);
        let enough = PLENTY * BatchWidth::default().missing_bytes();
        let short = limits_after(NARROW_BATCHES + 1, enough - 1).await;
        assert_eq!(short.fetch_bytes, narrow.fetch_bytes);
        let just_enough = limits_after(NARROW_BATCHES + 1, enough).await;
        assert_eq!(just_enough.fetch_bytes, WIDE_BATCH_BYTES);
    }
}
