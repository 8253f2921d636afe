//! The index cache of this process.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use sabre_cache::config::MemoryConfig;
use sabre_model::BlockId;
use sabre_runtime::budget::{Budget, Reservation};

use super::metrics::{IndexCacheMetrics, Item};
use crate::refs::SeriesRefs;

/// What an item takes besides its value.
const ITEM_BYTES: u64 = 192;

/// Of a small budget the cache gets at most this part: a cache is worth less than a request.
const BUDGET_PART: u64 = 8;

/// And half of what there is beyond this, which requests need to run at all.
const SPARED_BYTES: u64 = 24 << 20;

/// A read of series entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte in the index.
    pub(crate) start: u64,
    /// Where the last of the series that were asked for begins: what is behind it may be cut off.
    pub(crate) last_start: u64,
    /// The bytes from `start` on.
    pub(crate) bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Postings(BlockId, u64),
    Series(BlockId, u64),
    Expanded(BlockId, Arc<str>),
}

#[derive(Clone, Debug)]
enum Value {
    Refs(SeriesRefs),
    Extent(Extent),
}

#[derive(Debug)]
struct Slot {
    value: Value,
    bytes: u64,
    used: u64,
}

#[derive(Debug, Default)]
struct Items {
    slots: BTreeMap<Key, Slot>,
    /// From the one that was used least recently on.
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    bytes: u64,
}

/// Items of all blocks; what was used least recently goes first.
#[derive(Debug)]
pub(super) struct MemoryIndexCache {
    items: Mutex<Items>,
    capacity_bytes: u64,
    max_item_bytes: u64,
    metrics: IndexCacheMetrics,
    _memory: Option<Reservation>,
}

impl MemoryIndexCache {
    /// Takes its size from `budget`, of which it gets no more than a part.
    pub(super) fn new(config: &MemoryConfig, budget: &Budget, metrics: IndexCacheMetrics) -> Self {
        let limit = budget.limit_bytes();
        let part = (limit / BUDGET_PART).min(limit.saturating_sub(SPARED_BYTES) / 2);
        let wanted = config.max_size.0.min(part);
        let memory = budget.try_reserve(wanted);
        let capacity_bytes = memory.as_ref().map_or(0, Reservation::bytes);
        if capacity_bytes < config.max_size.0 {
            tracing::info!(
                size_bytes = capacity_bytes,
                "the index cache is smaller than asked for, to fit --sabre.memory-budget"
            );
        }
        let max_item_bytes = config.max_item_size.0;
        metrics.sizes(capacity_bytes, max_item_bytes);
        Self {
            items: Mutex::default(),
            capacity_bytes,
            max_item_bytes,
            metrics,
            _memory: memory,
        }
    }

    pub(super) fn expanded(&self, block: BlockId, matchers: &str) -> Option<SeriesRefs> {
        self.refs(&Key::Expanded(block, matchers.into()))
    }

    pub(super) fn keep_expanded(&self, block: BlockId, matchers: &str, refs: &SeriesRefs) -> usize {
        self.keep(Key::Expanded(block, matchers.into()), Value::Refs(refs.clone()))
    }

    pub(super) fn postings(&self, block: BlockId, offset: u64) -> Option<SeriesRefs> {
        self.refs(&Key::Postings(block, offset))
    }

    pub(super) fn keep_postings(&self, block: BlockId, offset: u64, refs: &SeriesRefs) -> usize {
        self.keep(Key::Postings(block, offset), Value::Refs(refs.clone()))
    }

    /// The read that holds whole entries from `start` on.
    pub(super) fn extent(&self, block: BlockId, start: u64) -> Option<Extent> {
        let mut items = self.items.lock();
        let before = Key::Series(block, start);
        let (key, slot) = items.slots.range(..=before).next_back()?;
        let (Key::Series(of, _), Value::Extent(extent)) = (key, &slot.value) else {
            return None;
        };
        let covers = *of == block && extent.start <= start && start <= extent.last_start;
        let extent = covers.then(|| extent.clone())?;
        let key = key.clone();
        items.touch(&key);
        Some(extent)
    }

    pub(super) fn keep_extent(&self, block: BlockId, extent: Extent) -> usize {
        self.keep(Key::Series(block, extent.start), Value::Extent(extent))
    }

    /// Forgets all of a block.
    pub(super) fn forget(&self, block: BlockId) {
        let mut items = self.items.lock();
        let kinds = [
            Key::Postings(block, 0),
            Key::Series(block, 0),
            Key::Expanded(block, "".into()),
        ];
        let of_block: Vec<Key> = kinds
            .into_iter()
            .flat_map(|first| {
                let item = first.item();
                let from_first = items.slots.range(first..).map(|(key, _)| key);
                from_first.take_while(move |key| key.item() == item && key.block() == block)
            })
            .cloned()
            .collect();
        for key in of_block {
            items.remove(&key, &self.metrics);
        }
    }

    fn refs(&self, key: &Key) -> Option<SeriesRefs> {
        let mut items = self.items.lock();
        let Some(Value::Refs(refs)) = items.touch(key) else {
            return None;
        };
        Some(refs.clone())
    }

    /// Keeps an item unless it is there already or too large; says how many bytes the value has.
    fn keep(&self, key: Key, value: Value) -> usize {
        let value_bytes = value.len();
        let item = key.item();
        let key_bytes = match &key {
            Key::Expanded(_, matchers) => matchers.len() as u64,
            Key::Postings(..) | Key::Series(..) => 0,
        };
        let bytes = value_bytes as u64 + key_bytes + ITEM_BYTES;
        if value_bytes as u64 > self.max_item_bytes || bytes > self.capacity_bytes {
            self.metrics.overflowed(item);
            return value_bytes;
        }
        let mut items = self.items.lock();
        // A longer read of the same series is worth more than the one before; all else is the same for ever.
        if let Some(Slot {
            value: Value::Extent(old),
            ..
        }) = items.slots.get(&key)
            && let Value::Extent(new) = &value
            && new.last_start >= old.last_start
        {
            items.remove(&key, &self.metrics);
        }
        if items.slots.contains_key(&key) {
            return value_bytes;
        }
        while items.bytes + bytes > self.capacity_bytes {
            let Some(oldest) = items.by_use.values().next().cloned() else {
                break;
            };
            items.remove(&oldest, &self.metrics);
            self.metrics.evicted(oldest.item());
        }
        items.insert(key, value, bytes);
        self.metrics.added(item, value_bytes as u64, bytes);
        value_bytes
    }
}

impl Items {
    fn touch(&mut self, key: &Key) -> Option<&Value> {
        let slot = self.slots.get_mut(key)?;
        self.clock += 1;
        let own = self.by_use.remove(&slot.used);
        slot.used = self.clock;
        self.by_use.insert(self.clock, own.unwrap_or_else(|| key.clone()));
        Some(&slot.value)
    }

    fn insert(&mut self, key: Key, value: Value, bytes: u64) {
        self.clock += 1;
        self.bytes += bytes;
        self.by_use.insert(self.clock, key.clone());
        let used = self.clock;
        self.slots.insert(key, Slot { value, bytes, used });
    }

    fn remove(&mut self, key: &Key, metrics: &IndexCacheMetrics) {
        if let Some(slot) = self.slots.remove(key) {
            self.by_use.remove(&slot.used);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            metrics.removed(key.item(), slot.value.len() as u64, slot.bytes);
        }
    }
}

impl Key {
    fn block(&self) -> BlockId {
        match self {
            Self::Postings(block, _) | Self::Series(block, _) | Self::Expanded(block, _) => *block,
        }
    }

    fn item(&self) -> Item {
        match self {
            Self::Postings(..) => Item::Postings,
            Self::Series(..) => Item::Series,
            Self::Expanded(..) => Item::Expanded,
        }
    }
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Refs(refs) => refs.size_bytes(),
            Self::Extent(extent) => extent.bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sabre_cache::config::Size;
    use sabre_runtime::metrics::Registry;

    use super::*;

    fn cache(size: u64, item: u64) -> MemoryIndexCache {
        let config = MemoryConfig {
            max_size: Size(size),
            max_item_size: Size(item),
        };
        MemoryIndexCache::new(
            &config,
            &Budget::unlimited(),
            IndexCacheMetrics::register(&Registry::new()),
        )
    }

    fn block(n: u8) -> BlockId {
        BlockId::from_parts(1, [n; 10])
    }

    fn extent(start: u64, last_start: u64, len: usize) -> Extent {
        Extent {
            start,
            last_start,
            bytes: Bytes::from(vec![7; len]),
        }
    }

    #[test]
    fn a_block_that_is_forgotten_leaves_those_of_others() {
        let cache = cache(1 << 20, 1 << 20);
        let refs = SeriesRefs::from_sorted([1, 2, 3]);
        for n in 1..=3 {
            cache.keep_extent(block(n), extent(100, 500, 450));
            cache.keep_extent(block(n), extent(600, 600, 50));
            cache.keep_postings(block(n), 7, &refs);
            cache.keep_expanded(block(n), "a=\"b\"", &refs);
            cache.keep_expanded(block(n), "c=\"d\"", &refs);
        }
        cache.forget(block(2));
        for n in 1..=3 {
            let found = [
                cache.extent(block(n), 100).is_some(),
                cache.extent(block(n), 600).is_some(),
                cache.postings(block(n), 7).is_some(),
                cache.expanded(block(n), "a=\"b\"").is_some(),
                cache.expanded(block(n), "c=\"d\"").is_some(),
            ];
            assert_eq!(found, [n != 2; 5], "{n}");
        }
        cache.forget(block(1));
        cache.forget(block(3));
        assert_eq!(cache.items.lock().bytes, 0);
    }

    #[test]
    fn reads_are_found_by_any_series_in_them() {
        let cache = cache(1 << 20, 1 << 20);
        cache.keep_extent(block(1), extent(100, 500, 450));
        cache.keep_extent(block(1), extent(600, 600, 50));
        for (start, found) in [
            (99, None),
            (100, Some(100)),
            (500, Some(100)),
            (501, None),
            (600, Some(600)),
            (601, None),
        ] {
            assert_eq!(
                cache.extent(block(1), start).map(|extent| extent.start),
                found,
                "{start}"
            );
        }
        assert_eq!(cache.extent(block(0), 100), None);
        assert_eq!(cache.extent(block(2), 100), None);
        cache.keep_extent(block(1), extent(100, 300, 250));
        assert_eq!(
            cache.extent(block(1), 500).unwrap().last_start,
            500,
            "more is not replaced by less"
        );
        cache.keep_extent(block(1), extent(100, 700, 650));
        assert_eq!(cache.extent(block(1), 550).unwrap().last_start, 700);
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let refs = SeriesRefs::from_sorted(1..=1000);
        let cache = cache(4 * (refs.size_bytes() as u64 + ITEM_BYTES), 1 << 20);
        for offset in 0..4 {
            cache.keep_postings(block(1), offset, &refs);
        }
        assert!(cache.postings(block(1), 0).is_some());
        cache.keep_postings(block(1), 4, &refs);
        assert!(cache.postings(block(1), 1).is_none());
        assert!(
            [0, 2, 3, 4]
                .iter()
                .all(|offset| cache.postings(block(1), *offset).is_some())
        );
        let items = cache.items.lock();
        assert_eq!(
            items.bytes,
            items.slots.values().map(|slot| slot.bytes).sum::<u64>()
        );
        assert_eq!(items.by_use.len(), items.slots.len());
    }

    #[test]
    fn large_items_are_not_kept() {
        let refs = SeriesRefs::from_sorted(1..=1000);
        assert!(cache(1 << 20, 999).postings(block(1), 0).is_none());
        let small = cache(1000, 1 << 20);
        small.keep_expanded(block(1), "a", &refs);
        assert!(small.expanded(block(1), "a").is_none());
    }

    #[test]
    fn a_small_budget_is_not_eaten_up() {
        for (limit_mib, taken_mib) in [(14, 0), (28, 2), (64, 8), (4096, 250)] {
            let budget = Budget::new(limit_mib << 20, "--x");
            let metrics = IndexCacheMetrics::register(&Registry::new());
            let _cache = MemoryIndexCache::new(&MemoryConfig::default(), &budget, metrics);
            assert_eq!(budget.usage().used_bytes, taken_mib << 20);
        }
    }
}
