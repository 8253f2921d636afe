//! A block that is known, and its index-header from when it is needed until it is not.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sabre_block::{BlockError, HeaderLoader, layout};
use sabre_model::{BlockId, Labels};
use sabre_runtime::budget::Budget;

use crate::{
    block::{BlockFacts, ServedBlock},
    block_set::BlockSpan,
    metrics::StoreMetrics,
};

/// How long a block waits for the memory of its index-header.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens index-headers.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) loader: HeaderLoader,
    pub(crate) budget: Budget,
    pub(crate) metrics: StoreMetrics,
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

    /// The block with its index-header, which is opened, or built, if it is not open.
    pub(crate) async fn open(&self, opener: &Opener) -> Result<Arc<ServedBlock>, BlockError> {
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        let _one = self.loading.lock().await;
        if let Some(block) = self.used(Instant::now()) {
            return Ok(block);
        }
        let block = Arc::new(self.load(opener).await?);
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
        *self.open.lock() = Open::default();
    }

    fn used(&self, now: Instant) -> Option<Arc<ServedBlock>> {
        let mut open = self.open.lock();
        let block = open.block.clone()?;
        open.used = Some(now);
        Some(block)
    }

    async fn load(&self, opener: &Opener) -> Result<ServedBlock, BlockError> {
        let Opener {
            loader,
            budget,
            metrics,
        } = opener;
        let loaded = loader.load(self.id(), self.facts.index_bytes).await?;
        if let Some(build) = loaded.build {
            metrics.header_build_duration.observe(build.as_secs_f64());
        }
        metrics.header_load_duration.observe(loaded.open.as_secs_f64());
        let bytes = loaded.header.memory_bytes() as u64;
        let memory = budget.reserve_within(bytes, PATIENCE).await;
        let memory = memory
            .map_err(|error| BlockError::invalid(self.id(), layout::INDEX_HEADER_FILE, error.to_string()))?;
        Ok(ServedBlock::new(Arc::clone(&self.facts), loaded.header, memory))
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
