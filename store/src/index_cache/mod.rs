//! What earlier requests read of indexes: postings lists, the series that matchers select, and series entries.
//!
//! In memory it is charged to the budget as a whole, and what was used least recently goes first. In memcached or redis
//! keys and values are those of Thanos, so that a fleet can share them; whatever comes from there is verified, and what
//! does not hold is a miss.

mod codec;
mod config;
mod keys;
mod memory;
mod metrics;
mod remote;

use bytes::Bytes;
use sabre_model::{BlockId, Matcher};

pub use self::config::{IndexCacheConfig, IndexCacheError};
pub(crate) use self::{keys::ListName, memory::Extent};
use self::{
    memory::MemoryIndexCache,
    metrics::{IndexCacheMetrics, Item},
    remote::RemoteIndexCache,
};
use crate::refs::SeriesRefs;

/// Which items are kept: `enabled_items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnabledItems {
    /// Postings lists.
    pub postings: bool,
    /// The series that matchers select.
    pub expanded: bool,
    /// Series entries.
    pub series: bool,
}

/// What earlier requests read of indexes.
#[derive(Debug)]
pub struct IndexCache {
    backend: Backend,
    enabled: EnabledItems,
    metrics: IndexCacheMetrics,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Backend {
    Memory(MemoryIndexCache),
    Remote(RemoteIndexCache),
}

/// Where the index of a block has a list, how many series it has, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListPlace {
    pub(crate) offset: u64,
    pub(crate) count: u64,
    /// No series of the block has a higher reference.
    pub(crate) last_ref: u32,
    /// Only where a cache outside of the process wants it.
    pub(crate) name: Option<ListName>,
}

impl EnabledItems {
    /// All of them.
    pub const ALL: Self = Self {
        postings: true,
        expanded: true,
        series: true,
    };
}

impl IndexCache {
    /// Whether lists must be known by their names.
    pub(crate) fn wants_names(&self) -> bool {
        matches!(self.backend, Backend::Remote(_)) && self.enabled.postings
    }

    /// Forgets what this process keeps of a block that is gone, or is not what it was. What remote caches keep is another's
    /// as well, and is verified when it is used.
    pub(crate) fn forget(&self, block: BlockId) {
        if let Backend::Memory(memory) = &self.backend {
            memory.forget(block);
        }
    }

    /// The series that matchers select, if that is known in this process.
    pub(crate) fn expanded_here(&self, block: BlockId, matchers: &[Matcher]) -> Option<SeriesRefs> {
        let Backend::Memory(memory) = &self.backend else {
            return None;
        };
        if !self.enabled.expanded {
            return None;
        }
        let found = memory.expanded(block, &keys::matchers_text(matchers));
        self.metrics
            .asked(Item::Expanded, 1, usize::from(found.is_some()));
        found
    }

    /// The series that matchers select, if that is known outside of the process: at most `most` of them.
    pub(crate) async fn expanded_elsewhere(
        &self,
        block: BlockId,
        matchers: &[Matcher],
        most: u64,
    ) -> Option<SeriesRefs> {
        let Backend::Remote(remote) = &self.backend else {
            return None;
        };
        if !self.enabled.expanded {
            return None;
        }
        let timer = self.metrics.timer(Item::Expanded);
        let found = remote.expanded(block, matchers, most).await;
        timer.done();
        self.metrics
            .asked(Item::Expanded, 1, usize::from(found.is_some()));
        found
    }

    /// Keeps the series that matchers select.
    pub(crate) fn keep_expanded(&self, block: BlockId, matchers: &[Matcher], refs: &SeriesRefs) {
        if !self.enabled.expanded {
            return;
        }
        let stored = match &self.backend {
            Backend::Memory(memory) => memory.keep_expanded(block, &keys::matchers_text(matchers), refs),
            Backend::Remote(remote) => remote.keep_expanded(block, matchers, refs),
        };
        self.metrics.stored(Item::Expanded, stored);
    }

    /// The lists that are known, for each of `lists` in order.
    pub(crate) async fn postings(&self, block: BlockId, lists: &[ListPlace]) -> Vec<Option<SeriesRefs>> {
        if !self.enabled.postings || lists.is_empty() {
            return vec![None; lists.len()];
        }
        let timer = self.metrics.timer(Item::Postings);
        let found = match &self.backend {
            Backend::Memory(memory) => lists
                .iter()
                .map(|list| memory.postings(block, list.offset))
                .collect(),
            Backend::Remote(remote) => remote.postings(block, lists).await,
        };
        timer.done();
        let hits = found.iter().filter(|list| list.is_some()).count();
        self.metrics.asked(Item::Postings, lists.len(), hits);
        found
    }

    /// Whether lists are kept, and are worth being put in the form they are kept in.
    pub(crate) fn keeps_postings(&self) -> bool {
        self.enabled.postings
    }

    /// Keeps a list.
    pub(crate) fn keep_postings(&self, block: BlockId, list: &ListPlace, refs: &SeriesRefs) {
        let stored = match &self.backend {
            Backend::Memory(memory) => memory.keep_postings(block, list.offset, refs),
            Backend::Remote(remote) => remote.keep_postings(block, list, refs),
        };
        self.metrics.stored(Item::Postings, stored);
    }

    /// A read of series that covers this place, if there was one in this process.
    pub(crate) fn extent(&self, block: BlockId, start: u64) -> Option<Extent> {
        let Backend::Memory(memory) = &self.backend else {
            return None;
        };
        self.enabled.series.then(|| memory.extent(block, start)).flatten()
    }

    /// Counts series that were looked for in reads of this process.
    pub(crate) fn asked_for_series(&self, series: usize, hits: usize) {
        if self.enabled.series && matches!(self.backend, Backend::Memory(_)) {
            self.metrics.asked(Item::Series, series, hits);
        }
    }

    /// Keeps a read of series.
    pub(crate) fn keep_extent(&self, block: BlockId, extent: Extent) {
        if let Backend::Memory(memory) = &self.backend
            && self.enabled.series
        {
            let stored = memory.keep_extent(block, extent);
            self.metrics.stored(Item::Series, stored);
        }
    }

    /// Whether series entries are kept one by one, outside of the process.
    pub(crate) fn has_entries(&self) -> bool {
        self.enabled.series && matches!(self.backend, Backend::Remote(_))
    }

    /// The series entries at these places as the index has them, with length and checksum, those that are known.
    pub(crate) async fn entries(&self, block: BlockId, offsets: &[u64]) -> Vec<Option<Bytes>> {
        let Backend::Remote(remote) = &self.backend else {
            return vec![None; offsets.len()];
        };
        let timer = self.metrics.timer(Item::Series);
        let found = remote.entries(block, offsets).await;
        timer.done();
        let hits = found.iter().filter(|entry| entry.is_some()).count();
        self.metrics.asked(Item::Series, offsets.len(), hits);
        found
    }

    /// Keeps the series entry that `bytes` begin with, if all of it is there and it is sound.
    pub(crate) fn keep_entry(&self, block: BlockId, offset: u64, bytes: &[u8]) {
        if let Backend::Remote(remote) = &self.backend {
            let stored = remote.keep_entry(block, offset, bytes);
            self.metrics.stored(Item::Series, stored);
        }
    }
}

#[cfg(test)]
mod tests;
