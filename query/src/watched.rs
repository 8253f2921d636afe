//! What is taken away when nobody asks for it for a while: a client that does not read must not keep an answer, and the
//! memory that is charged for it, for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// How long a client may read nothing before the rest of its answer is given up, with the memory it is charged for.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(120);

/// Something that is dropped when it was not taken for a while.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    slot: Arc<Slot<T>>,
    watch: AbortHandle,
}

#[derive(Debug)]
struct Slot<T> {
    item: Mutex<Option<T>>,
    /// How often it was taken or put back.
    uses: AtomicU64,
}

impl<T: Send + 'static> Watched<T> {
    /// Drops `item` when nobody takes it for `pause`, or a little more than that.
    pub(crate) fn new(item: T, pause: Duration) -> Self {
        let slot = Arc::new(Slot {
            item: Mutex::new(Some(item)),
            uses: AtomicU64::new(0),
        });
        let watched = Arc::clone(&slot);
        let watch = tokio::spawn(async move {
            let mut seen = 0;
            loop {
                tokio::time::sleep(pause).await;
                let uses = watched.uses.load(Ordering::Relaxed);
                if std::mem::replace(&mut seen, uses) == uses {
                    // While it is taken it is in use, however long that is.
                    let forgotten = watched.item.lock().take();
                    if forgotten.is_some() {
                        return;
                    }
                }
            }
        });
        Self {
            slot,
            watch: watch.abort_handle(),
        }
    }

    /// It, if it is still there.
    pub(crate) fn take(&self) -> Option<T> {
        self.slot.uses.fetch_add(1, Ordering::Relaxed);
        self.slot.item.lock().take()
    }

    /// Gives it back.
    pub(crate) fn put(&self, item: T) {
        self.slot.uses.fetch_add(1, Ordering::Relaxed);
        *self.slot.item.lock() = Some(item);
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.watch.abort();
        // The watch may go a little later than this.
        drop(self.slot.item.lock().take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(100);

    #[tokio::test(start_paused = true)]
    async fn what_is_used_stays_and_what_is_not_goes() {
        let item = Arc::new(());
        let watched = Watched::new(Arc::clone(&item), PAUSE);
        for _ in 0..10 {
            tokio::time::sleep(PAUSE * 3 / 4).await;
            let taken = watched.take().expect("used all the time");
            watched.put(taken);
        }
        tokio::time::sleep(PAUSE * 2).await;
        assert_eq!(
            Arc::strong_count(&item),
            1,
            "it is dropped, not only out of reach"
        );
        assert!(watched.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_may_be_used_for_long() {
        let watched = Watched::new("a", PAUSE);
        let taken = watched.take().unwrap();
        tokio::time::sleep(PAUSE * 5).await;
        watched.put(taken);
        assert_eq!(watched.take(), Some("a"));
    }

    #[tokio::test]
    async fn all_goes_at_once_when_it_is_dropped() {
        let item = Arc::new(());
        let watched = Watched::new(Arc::clone(&item), PAUSE);
        drop(watched);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
