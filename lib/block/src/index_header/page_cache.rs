//! A small cache of file pages that all index-headers of a process share.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use sabre_runtime::budget::Reservation;

/// Size of a page. Large enough that a run of 32 entries mostly lies in one, small enough that a thousand
/// blocks can each keep some.
pub(super) const PAGE_BYTES: u64 = 32 << 10;

/// What a page costs besides its bytes: key, reference counts and the cache's own bookkeeping.
const PAGE_OVERHEAD_BYTES: u64 = 128;

type Pages = Cache<PageKey, Bytes, PageWeight>;

/// Pages of index-header files, at most so many bytes of them; the ones used least go first.
///
/// One is enough for a process.
pub struct PageCache {
    pages: Pages,
    next_file: AtomicU64,
    reads: AtomicU64,
    _reservation: Option<Reservation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PageKey {
    file: u64,
    page: u64,
}

#[derive(Debug, Clone, Copy)]
struct PageWeight;

/// One file's share of a [`PageCache`]; dropping it gives its pages back.
pub(super) struct FilePages {
    cache: Arc<PageCache>,
    file: u64,
}

impl PageCache {
    /// A cache that holds at most `capacity_bytes` of pages, of no budget.
    pub fn new(capacity_bytes: u64) -> Arc<Self> {
        Self::with(capacity_bytes, None)
    }

    /// A cache that holds at most the reserved bytes of pages, and keeps them reserved.
    pub fn reserved(reservation: Reservation) -> Arc<Self> {
        Self::with(reservation.bytes(), Some(reservation))
    }

    fn with(capacity_bytes: u64, reservation: Option<Reservation>) -> Arc<Self> {
        let pages = usize::try_from(capacity_bytes / PAGE_BYTES)
            .unwrap_or(usize::MAX)
            .clamp(1, 1 << 20);
        let mut options = OptionsBuilder::new();
        // A page must fit into one shard, or a small cache would hold nothing.
        options.shards(pages.div_ceil(64).clamp(1, 16));
        options
            .estimated_items_capacity(pages)
            .weight_capacity(capacity_bytes);
        let pages = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                PageWeight,
                Default::default(),
                DefaultLifecycle::default(),
            ),
            // Both required options are set above; should that ever be refused, the default shards do.
            Err(_) => Cache::with_weighter(pages, capacity_bytes, PageWeight),
        };
        Arc::new(Self {
            pages,
            next_file: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            _reservation: reservation,
        })
    }

    /// How many bytes of pages it holds at the moment.
    pub fn size_bytes(&self) -> u64 {
        self.pages.weight()
    }

    /// How many bytes it may hold.
    pub fn capacity_bytes(&self) -> u64 {
        self.pages.capacity()
    }

    /// How many pages were read from files since the start.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Opens a share for another file.
    pub(super) fn file(self: &Arc<Self>) -> FilePages {
        FilePages {
            cache: Arc::clone(self),
            file: self.next_file.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl FilePages {
    /// The bytes of page `page`, by `read` if they are not in memory; waits if another thread reads it already.
    pub(super) fn get(&self, page: u64, read: impl FnOnce() -> io::Result<Bytes>) -> io::Result<Bytes> {
        self.cache.pages.get_or_insert_with(
            &PageKey {
                file: self.file,
                page,
            },
            || {
                self.cache.reads.fetch_add(1, Ordering::Relaxed);
                read()
            },
        )
    }
}

impl Drop for FilePages {
    fn drop(&mut self) {
        let file = self.file;
        self.cache.pages.retain(|key, _| key.file != file);
    }
}

impl Weighter<PageKey, Bytes> for PageWeight {
    fn weight(&self, _: &PageKey, page: &Bytes) -> u64 {
        (page.len() as u64).saturating_add(PAGE_OVERHEAD_BYTES)
    }
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache")
            .field("size_bytes", &self.size_bytes())
            .field("capacity_bytes", &self.capacity_bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FilePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePages")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Bytes {
        Bytes::from(vec![byte; PAGE_BYTES as usize])
    }

    #[test]
    fn files_do_not_share_pages_and_take_theirs_along() {
        let cache = PageCache::new(1 << 20);
        let (one, two) = (cache.file(), cache.file());
        assert_eq!(one.get(0, || Ok(page(1))).unwrap(), page(1));
        assert_eq!(two.get(0, || Ok(page(2))).unwrap(), page(2));
        assert_eq!(one.get(0, || panic!("is in memory")).unwrap(), page(1));
        drop(one);
        assert_eq!(cache.size_bytes(), PAGE_BYTES + PAGE_OVERHEAD_BYTES);
        assert_eq!(two.get(0, || panic!("is in memory")).unwrap(), page(2));
    }

    #[test]
    fn stays_within_its_capacity() {
        for capacity in [1, PAGE_BYTES * 3, 1 << 20, 9 << 20] {
            let cache = PageCache::new(capacity);
            let file = cache.file();
            for n in 0..500 {
                file.get(n, || Ok(page(n as u8))).unwrap();
                assert!(
                    cache.size_bytes() <= cache.capacity_bytes(),
                    "{capacity}: {cache:?}"
                );
            }
            assert!(
                cache.capacity_bytes() <= capacity.max(16),
                "{capacity}: {cache:?}"
            );
        }
    }

    #[test]
    fn takes_its_capacity_from_a_budget() {
        let budget = sabre_runtime::budget::Budget::new(3 << 20, "--some.flag");
        let cache = PageCache::reserved(budget.try_reserve(2 << 20).unwrap());
        assert!(cache.capacity_bytes() <= 2 << 20);
        assert_eq!(budget.usage().used_bytes, 2 << 20);
        drop(cache);
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[test]
    fn a_failed_read_is_not_remembered() {
        let cache = PageCache::new(1 << 20);
        let file = cache.file();
        assert!(file.get(0, || Err(io::ErrorKind::Other.into())).is_err());
        assert_eq!(file.get(0, || Ok(page(1))).unwrap(), page(1));
    }
}
