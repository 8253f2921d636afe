//! A block that is known, and its index-header from when it is needed until it is not.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sabre_block::{BlockError, Cause, HeaderLoader, index_header::SharedRoom, layout};
use sabre_model::{BlockId, Labels};
use sabre_runtime::{budget::Budget, trace::carried};
use tokio::{sync::OwnedMutexGuard, task::JoinError};

use crate::{
    block::{BlockFacts, ServedBlock},
    block_set::BlockSpan,
    header_room::HeaderRoom,
    metrics::StoreMetrics,
    quarantine::{Quarantine, SetAside, Wrong},
};

/// How long a block waits for the memory of its index-header.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often an index-header is tried with more memory: how much it takes is seen while it is read.
const MEMORY_TRIES: usize = 8;

/// Opens index-headers.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) loader: HeaderLoader,
    pub(crate) budget: Budget,
    pub(crate) metrics: StoreMetrics,
    /// Blocks whose index-header could not be opened.
    pub(crate) unopened: Quarantine,
}

/// Why an index-header is not open.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It was tried.
    Failed(BlockError),
    /// It was tried a while ago, and it is too early to try again; the text names the block.
    SetAside(Arc<str>),
    /// There was no memory for it; the text names the block.
    NoMemory(String),
}

/// A block that is known.
pub(crate) struct BlockHandle {
    /// Range and resolution.
    pub(crate) span: BlockSpan,
    /// External labels.
    pub(crate) external: Labels,
    /// The blocks it was made of.
    pub(crate) sources: Box<[BlockId]>,
    facts: Arc<BlockFacts>,
    shared: Arc<Shared>,
    /// A request found that objects of it are gone.
    is_doubted: AtomicBool,
}

/// What the handles of one block share: a sync may know a block anew while requests still hold the handle it had before.
#[derive(Default)]
struct Shared {
    open: Mutex<Open>,
    /// Held while the index-header is loaded, so that it is loaded once.
    loading: Arc<tokio::sync::Mutex<()>>,
    /// How often it was tried.
    tries: AtomicU64,
    /// What was not there when it was tried last.
    gone: Mutex<Option<String>>,
}

#[derive(Default)]
struct Open {
    block: Option<Arc<ServedBlock>>,
    used: Option<Instant>,
}

impl Opener {
    /// Notes a failure: the block is left alone for a while. One that is gone is somebody else's matter.
    fn note(&self, block: BlockId, error: &OpenError, now_ms: i64) {
        match error {
            OpenError::Failed(failure)
                if failure.is_gone() || matches!(failure.cause(), Cause::Cancelled) =>
            {
                tracing::warn!(error = %failure, "an index-header cannot be opened");
            }
            OpenError::Failed(failure) => self.set_aside(block, failure, now_ms),
            OpenError::SetAside(_) => {}
            OpenError::NoMemory(reason) => {
                let pause_ms = self.unopened.put_again(block, reason, Wrong::Memory, now_ms);
                tracing::error!(
                    reason,
                    pause_ms,
                    "no memory for an index-header, others are served without it"
                );
            }
        }
    }

    /// Leaves a block alone for a while.
    pub(crate) fn set_aside(&self, block: BlockId, failure: &BlockError, now_ms: i64) {
        let reason = failure.to_string();
        let kind = match failure.cause() {
            Cause::Local(_) if !failure.is_corrupt() => Wrong::Disk,
            _ if failure.is_retryable() => Wrong::Passing,
            _ => Wrong::Lasting,
        };
        let pause_ms = self.unopened.put_again(block, &reason, kind, now_ms);
        tracing::error!(error = %failure, pause_ms, "block cannot be loaded, others are served without it");
    }
}

impl OpenError {
    /// What is not there, if that is why it failed.
    fn gone(&self) -> Option<String> {
        match self {
            Self::Failed(failure) if failure.is_gone() => Some(failure.cause().to_string()),
            _ => None,
        }
    }
}

impl From<BlockError> for OpenError {
    fn from(error: BlockError) -> Self {
        Self::Failed(error)
    }
}

impl From<SetAside> for OpenError {
    fn from(aside: SetAside) -> Self {
        if aside.is_memory {
            Self::NoMemory(aside.reason.to_string())
        } else {
            Self::SetAside(aside.reason)
        }
    }
}

impl BlockHandle {
    /// A block whose index-header is not open yet.
    pub(crate) fn new(facts: BlockFacts, sources: Vec<BlockId>) -> Self {
        Self {
            span: facts.span,
            external: facts.external.clone(),
            sources: sources.into(),
            facts: Arc::new(facts),
            shared: Arc::default(),
            is_doubted: AtomicBool::new(false),
        }
    }

    /// Goes on where another handle of the same block is: with what it has open, or is about to open.
    pub(crate) fn take_over(&mut self, old: &Self) {
        self.shared = Arc::clone(&old.shared);
    }

    /// Has the next look at the bucket drop the block, or know it anew if it is there after all. Until then it stays: an
    /// answer without it would look complete.
    pub(crate) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Whether a request found that objects of it are gone.
    pub(crate) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Ordering::Relaxed)
    }

    /// How long the index was when the bucket was looked at, if that told.
    pub(crate) fn index_bytes(&self) -> Option<u64> {
        self.facts.index_bytes
    }

    /// The block.
    pub(crate) fn id(&self) -> BlockId {
        self.span.id
    }

    /// Whether the index-header is open.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.open.lock().block.is_some()
    }

    /// The block if its index-header is open, which does not count as a use of it.
    pub(crate) fn opened(&self) -> Option<Arc<ServedBlock>> {
        self.shared.open.lock().block.clone()
    }

    /// The block with its index-header, which is opened, or built, if it is not open. If that failed a while ago it is not
    /// tried again before its time.
    pub(crate) async fn open(
        self: &Arc<Self>,
        opener: &Arc<Opener>,
        patience: Duration,
        now_ms: i64,
    ) -> Result<Arc<ServedBlock>, OpenError> {
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        let tries = self.tries();
        let one = Arc::clone(&self.shared.loading).lock_owned().await;
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        if let Some(aside) = opener.unopened.reason(self.id(), now_ms) {
            return Err(aside.into());
        }
        if self.tries() != tries {
            self.not_gone()?;
        }
        self.load_to_the_end(one, opener, patience, now_ms).await
    }

    /// As [`BlockHandle::open`] whatever was before, unless another one tried meanwhile.
    pub(crate) async fn try_again(
        self: &Arc<Self>,
        opener: &Arc<Opener>,
        patience: Duration,
        now_ms: i64,
    ) -> Result<Arc<ServedBlock>, OpenError> {
        let tries = self.tries();
        let one = Arc::clone(&self.shared.loading).lock_owned().await;
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        if self.tries() != tries {
            if let Some(aside) = opener.unopened.reason(self.id(), now_ms) {
                return Err(aside.into());
            }
            self.not_gone()?;
        }
        self.load_to_the_end(one, opener, patience, now_ms).await
    }

    /// Loads the index-header, and goes on with that when the caller goes: else callers that wait for less long than it
    /// takes would begin it again and again, and never have it.
    async fn load_to_the_end(
        self: &Arc<Self>,
        one: OwnedMutexGuard<()>,
        opener: &Arc<Opener>,
        patience: Duration,
        now_ms: i64,
    ) -> Result<Arc<ServedBlock>, OpenError> {
        let (block, opener) = (Arc::clone(self), Arc::clone(opener));
        let loading = tokio::spawn(carried(async move {
            let _one = one;
            block.load_and_note(&opener, patience, now_ms).await
        }));
        let stopped = |error: JoinError| {
            let cause = match error.is_cancelled() {
                true => Cause::Cancelled,
                false => Cause::Local(io::Error::other(error)),
            };
            OpenError::Failed(BlockError::new(self.id(), layout::INDEX_HEADER_FILE, cause))
        };
        loading.await.map_err(stopped)?
    }

    fn tries(&self) -> u64 {
        self.shared.tries.load(Ordering::Relaxed)
    }

    /// Fails if the last try found that something is gone: those that waited for it do not try once more each.
    fn not_gone(&self) -> Result<(), OpenError> {
        let Some(what) = self.shared.gone.lock().clone() else {
            return Ok(());
        };
        let gone = io::Error::new(io::ErrorKind::NotFound, what);
        Err(BlockError::new(self.id(), layout::INDEX_FILE, gone).into())
    }

    async fn load_and_note(
        &self,
        opener: &Opener,
        patience: Duration,
        now_ms: i64,
    ) -> Result<Arc<ServedBlock>, OpenError> {
        opener.metrics.header_loads.inc();
        let loaded = self.load(opener, patience).await;
        self.shared.tries.fetch_add(1, Ordering::Relaxed);
        let gone = loaded.as_ref().err().and_then(OpenError::gone);
        *self.shared.gone.lock() = gone;
        if let Err(error) = &loaded {
            opener.metrics.header_load_failures.inc();
            opener.note(self.id(), error, now_ms);
        }
        let block = Arc::new(loaded?);
        opener.unopened.healed(self.id(), now_ms);
        *self.shared.open.lock() = Open {
            block: Some(Arc::clone(&block)),
            used: Some(Instant::now()),
        };
        Ok(block)
    }

    /// Closes the index-header if it was not used since `unused_since`; requests that use it go on. True if it did.
    pub(crate) fn close_unused(&self, unused_since: Instant) -> bool {
        let mut open = self.shared.open.lock();
        let is_unused = open.used.is_none_or(|used| used < unused_since)
            && open
                .block
                .as_ref()
                .is_some_and(|block| Arc::strong_count(block) == 1);
        if is_unused {
            *open = Open::default();
        }
        is_unused
    }

    /// Closes the index-header; requests that use it go on, the next one opens it anew.
    pub(crate) fn close(&self) {
        self.facts.forget_segments();
        *self.shared.open.lock() = Open::default();
    }

    fn used(&self, now: Instant) -> Option<Arc<ServedBlock>> {
        let mut open = self.shared.open.lock();
        let block = open.block.clone()?;
        open.used = Some(now);
        Some(block)
    }

    async fn load(&self, opener: &Opener, patience: Duration) -> Result<ServedBlock, OpenError> {
        let segments = self.facts.segment_names().await?;
        let Opener {
            loader,
            budget,
            metrics,
            ..
        } = opener;
        let mut room = HeaderRoom::new(budget, None);
        for _ in 0..MEMORY_TRIES {
            let shared = Arc::new(room);
            let for_loader: SharedRoom = Arc::<HeaderRoom>::clone(&shared);
            let loaded = loader
                .load_within(self.id(), self.facts.index_bytes, &for_loader)
                .await;
            match loaded {
                Err(error) if matches!(error.cause(), Cause::NoMemory { .. }) => {
                    let needs_bytes = shared.more_than_asked();
                    // Whoever waits for memory holds none of it.
                    drop(shared.take_all());
                    let memory = budget.reserve_within(needs_bytes, patience).await;
                    room = HeaderRoom::new(budget, Some(memory.map_err(|error| self.no_memory(&error))?));
                }
                Err(error) => return Err(error.into()),
                Ok(loaded) => {
                    if let Some(build) = loaded.build {
                        metrics.header_build_duration.observe(build.as_secs_f64());
                    }
                    metrics.header_load_duration.observe(loaded.open.as_secs_f64());
                    let bytes = loaded.header.memory_bytes() as u64;
                    let memory = shared.exactly(bytes).ok_or_else(|| {
                        let what = format!(
                            "it keeps {bytes} bytes, which are not free; raise --sabre.memory-budget"
                        );
                        self.no_memory(&what)
                    })?;
                    return Ok(ServedBlock::new(
                        Arc::clone(&self.facts),
                        segments,
                        loaded.header,
                        memory,
                    ));
                }
            }
        }
        Err(self.no_memory(&"it needs more each time it is tried; raise --sabre.memory-budget"))
    }

    fn no_memory(&self, why: &dyn fmt::Display) -> OpenError {
        OpenError::NoMemory(format!("the index-header of block {}: {why}", self.id()))
    }
}

impl fmt::Debug for BlockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockHandle")
            .field("span", &self.span)
            .field("external", &self.external)
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sabre_block::{PageCache, index_header::HeaderOptions};
    use sabre_objstore::{MemoryBucket, Operation, SharedBucket};
    use sabre_runtime::metrics::{Gauge, Registry};
    use sabre_testkit::{blocks::BlockBuilder, fault::FaultBucket};

    use super::*;
    use crate::{
        block::{Buckets, ReadEstimates},
        segments::Segments,
    };

    #[tokio::test(start_paused = true)]
    async fn a_header_is_made_however_short_its_callers_wait() {
        let memory = Arc::new(MemoryBucket::new("test"));
        let block = BlockBuilder::new(1)
            .ext_labels(&[("cluster", "eu")])
            .floats(&[("__name__", "up")], [(0, 1.0), (15_000, 2.0)])
            .build()
            .unwrap();
        block.put_into(&*memory).await.unwrap();
        let slow = FaultBucket::new(memory as SharedBucket);
        slow.set_latency(Duration::from_secs(1));
        let bucket: SharedBucket = Arc::new(slow.clone());
        let opener = Arc::new(Opener {
            loader: HeaderLoader::new(
                Arc::clone(&bucket),
                None,
                PageCache::new(0),
                HeaderOptions::default(),
            ),
            budget: Budget::unlimited(),
            metrics: StoreMetrics::register(&Registry::new()),
            unopened: Quarantine::new(Gauge::default()),
        });
        let buckets = Buckets {
            origin: Arc::clone(&bucket),
            bucket,
        };
        let segments = Segments::new(vec!["000001".to_owned()], None);
        let facts = BlockFacts::new(buckets, &block.meta, (segments, None), ReadEstimates::default());
        let handle = Arc::new(BlockHandle::new(facts, Vec::new()));
        let mut callers = 0;
        let patience = Duration::from_millis(700);
        while tokio::time::timeout(patience, handle.open(&opener, PATIENCE, 0))
            .await
            .is_err()
        {
            callers += 1;
            assert!(callers < 100, "each one begins anew");
        }
        assert!(callers > 0 && handle.is_open());
        let reads = slow.count(Operation::GetRange) + slow.count(Operation::Attributes);
        assert!(reads <= 5, "{:?}", slow.requests());
        assert_eq!(opener.metrics.header_loads.get(), 1);
    }
}
