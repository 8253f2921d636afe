//! A block that is known, and its index-header from when it is needed until it is not.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sabre_block::{BlockError, Cause, HeaderLoader, index_header::SharedRoom};
use sabre_model::{BlockId, Labels};
use sabre_runtime::budget::Budget;

use crate::{
    block::{BlockFacts, ServedBlock},
    block_set::BlockSpan,
    header_room::HeaderRoom,
    metrics::StoreMetrics,
    quarantine::Quarantine,
};

/// How long a block waits for the memory of its index-header.
const PATIENCE: Duration = Duration::from_secs(10);

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
    open: Mutex<Open>,
    /// Held while the index-header is loaded, so that it is loaded once.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    block: Option<Arc<ServedBlock>>,
    used: Option<Instant>,
}

impl Opener {
    /// Notes a failure: the block is left alone for a while. One that is gone is somebody else's matter, and memory
    /// comes back.
    fn note(&self, block: BlockId, error: &OpenError, now_ms: i64) {
        match error {
            OpenError::Failed(failure)
                if failure.is_gone() || matches!(failure.cause(), Cause::Cancelled) =>
            {
                tracing::warn!(error = %failure, "an index-header cannot be opened");
            }
            OpenError::Failed(failure) => self.set_aside(block, failure, now_ms),
            OpenError::SetAside(_) => {}
            OpenError::NoMemory(reason) => tracing::error!(reason, "an index-header cannot be opened"),
        }
    }

    /// Leaves a block alone for a while.
    pub(crate) fn set_aside(&self, block: BlockId, failure: &BlockError, now_ms: i64) {
        let reason = failure.to_string();
        let pause_ms = self
            .unopened
            .put_again(block, &reason, failure.is_retryable(), now_ms);
        tracing::error!(error = %failure, pause_ms, "block cannot be loaded, others are served without it");
    }
}

impl From<BlockError> for OpenError {
    fn from(error: BlockError) -> Self {
        Self::Failed(error)
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
            open: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// The block.
    pub(crate) fn id(&self) -> BlockId {
        self.span.id
    }

    /// Whether the index-header is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.lock().block.is_some()
    }

    /// The block with its index-header, which is opened, or built, if it is not open. If that failed a while ago it is not
    /// tried again before its time.
    pub(crate) async fn open(&self, opener: &Opener, now_ms: i64) -> Result<Arc<ServedBlock>, OpenError> {
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        let _one = self.loading.lock().await;
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        // Those that waited for the one that tried do not try once more each.
        if let Some(reason) = opener.unopened.reason(self.id(), now_ms) {
            return Err(OpenError::SetAside(reason));
        }
        self.load_and_note(opener, now_ms).await
    }

    /// As [`BlockHandle::open`] whatever was before.
    pub(crate) async fn try_again(
        &self,
        opener: &Opener,
        now_ms: i64,
    ) -> Result<Arc<ServedBlock>, OpenError> {
        let _one = self.loading.lock().await;
        match self.used(Instant::now()) {
            Some(block) => Ok(block),
            None => self.load_and_note(opener, now_ms).await,
        }
    }

    async fn load_and_note(&self, opener: &Opener, now_ms: i64) -> Result<Arc<ServedBlock>, OpenError> {
        opener.metrics.header_loads.inc();
        let loaded = self.load(opener).await;
        if let Err(error) = &loaded {
            opener.metrics.header_load_failures.inc();
            opener.note(self.id(), error, now_ms);
        }
        let block = Arc::new(loaded?);
        opener.unopened.healed(self.id(), now_ms);
        *self.open.lock() = Open {
            block: Some(Arc::clone(&block)),
            used: Some(Instant::now()),
        };
        Ok(block)
    }

    /// Closes the index-header if it was not used since `unused_since`; requests that use it go on. True if it did.
    pub(crate) fn close_unused(&self, unused_since: Instant) -> bool {
        let mut open = self.open.lock();
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
        *self.open.lock() = Open::default();
    }

    fn used(&self, now: Instant) -> Option<Arc<ServedBlock>> {
        let mut open = self.open.lock();
        let block = open.block.clone()?;
        open.used = Some(now);
        Some(block)
    }

    async fn load(&self, opener: &Opener) -> Result<ServedBlock, OpenError> {
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
                    let memory = budget.reserve_within(needs_bytes, PATIENCE).await;
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
