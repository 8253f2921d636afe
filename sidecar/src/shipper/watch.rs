//! Wake-ups from the file system.
//!
//! Notifications get lost (queues overflow, network file systems send none), so they only make the next sync come
//! earlier; the periodic rescan is what finds every block.

use std::{path::Path, sync::Arc};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Tells when something appeared in a directory.
#[derive(Debug)]
pub struct Wakeups {
    /// `None` where the file system or the kernel does not notify.
    _watcher: Option<RecommendedWatcher>,
    notify: Arc<Notify>,
}

impl Wakeups {
    /// Watches the entries of `dir`, not what is below them. Prometheus makes a block appear by renaming its
    /// directory into place.
    pub fn of(dir: &Path) -> Wakeups {
        let notify = Arc::new(Notify::new());
        let waker = Arc::clone(&notify);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| matters(&event)) {
                waker.notify_one();
            }
        })
        .and_then(|mut watcher| watcher.watch(dir, RecursiveMode::NonRecursive).map(|()| watcher));
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(dir = %dir.display(), %error, "cannot watch the directory, it is rescanned periodically all the same");
            })
            .ok();
        Wakeups {
            _watcher: watcher,
            notify,
        }
    }

    /// Waits until a block may have appeared since the last call.
    pub async fn next(&self) {
        self.notify.notified().await;
    }
}

/// Directories that appear, and lost events. The state file and the write-ahead log change all the time.
fn matters(event: &notify::Event) -> bool {
    event.need_rescan()
        || (matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))
        ) && event.paths.iter().any(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| sabre_model::BlockId::parse(name).is_ok())
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_renamed_into_place_wakes() {
        let dir = tempfile::tempdir().unwrap();
        let wakeups = Wakeups::of(dir.path());
        let staged = dir.path().join("01KE1Y3XTRWGF29YHY29V0RWTE.tmp-for-creation");
        std::fs::create_dir(&staged).unwrap();
        std::fs::rename(&staged, dir.path().join("01KE1Y3XTRWGF29YHY29V0RWTE")).unwrap();
        wakeups.next().await;
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_watched_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Wakeups::of(&dir.path().join("missing"))._watcher.is_none());
    }
}
