//! Wake-ups from the file system. They make a look come earlier; the watch interval is what finds every change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

use super::{ReloaderConfig, ReloaderMetrics};

/// Changes come in bursts: a look follows once they are over, or after a second of them.
const SETTLE: Duration = Duration::from_millis(200);

/// Tells when something may have changed.
#[derive(Debug)]
pub(super) struct Changes {
    /// `None` where the kernel does not notify.
    _watcher: Option<RecommendedWatcher>,
    notify: Arc<Notify>,
}

/// The name that Kubernetes swaps in a mounted volume.
const VOLUME_LINK: &str = "..data";

impl Changes {
    pub(super) fn watch(config: &ReloaderConfig, metrics: &ReloaderMetrics) -> Changes {
        let notify = Arc::new(Notify::new());
        let (waker, seen) = (Arc::clone(&notify), metrics.clone());
        let wanted = config.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if matters(&event, &wanted) => {
                seen.watch_events.inc();
                waker.notify_one();
            }
            Ok(_) => {}
            Err(error) => {
                seen.watch_errors.inc();
                tracing::error!(%error, "watching the configuration failed");
            }
        });
        let watcher = match watcher {
            Ok(mut watcher) => {
                for (path, mode) in places(config) {
                    match watcher.watch(&path, mode) {
                        Ok(()) => {
                            metrics.watches.inc();
                        }
                        Err(error) => {
                            metrics.watch_errors.inc();
                            tracing::warn!(path = %path.display(), %error, "cannot be watched, it is compared every {:?} all the same", config.watch_interval);
                        }
                    }
                }
                Some(watcher)
            }
            Err(error) => {
                metrics.watch_errors.inc();
                tracing::warn!(%error, "nothing can be watched, everything is compared every {:?} all the same", config.watch_interval);
                None
            }
        };
        Changes {
            _watcher: watcher,
            notify,
        }
    }

    /// Waits until something may have changed since the last call.
    pub(super) async fn next(&self) {
        self.notify.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

/// The directory of the file, not the file: it is replaced by renaming. Directories of rules with all below.
fn places(config: &ReloaderConfig) -> Vec<(PathBuf, RecursiveMode)> {
    let file_dir = config.config_file.as_deref().map(|file| match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    });
    let file_dir = file_dir.map(|dir| (dir, RecursiveMode::NonRecursive));
    let rule_dirs = config.rule_dirs.iter().cloned();
    file_dir
        .into_iter()
        .chain(rule_dirs.map(|dir| (dir, RecursiveMode::Recursive)))
        .collect()
}

/// Looking is reading and may be writing the rendered file: those must not cause the next look.
fn matters(event: &notify::Event, config: &ReloaderConfig) -> bool {
    if event.need_rescan() {
        return true;
    }
    let is_change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    is_change && event.paths.iter().any(|path| is_watched(path, config))
}

fn is_watched(path: &Path, config: &ReloaderConfig) -> bool {
    let name = path.file_name();
    let same_name =
        |file: &Option<PathBuf>| name.is_some() && file.as_deref().and_then(Path::file_name) == name;
    same_name(&config.config_file)
        || name.is_some_and(|name| name == VOLUME_LINK)
        || (!same_name(&config.rendered_file)
            && config.rule_dirs.iter().any(|dir| {
                path.starts_with(dir) || std::fs::canonicalize(dir).is_ok_and(|dir| path.starts_with(dir))
            }))
}

#[cfg(test)]
mod tests {
    use notify::{Event, event::CreateKind};

    use super::*;

    fn config() -> ReloaderConfig {
        ReloaderConfig {
            config_file: Some("/etc/p/prometheus.yml".into()),
            rendered_file: Some("/etc/p/rendered.yml".into()),
            rule_dirs: vec!["/rules".into()],
            watch_interval: Duration::from_secs(1),
            retry_interval: Duration::from_secs(1),
        }
    }

    #[test]
    fn own_writes_and_reads_do_not_wake() {
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let created = EventKind::Create(CreateKind::File);
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Read));
        let config = config();
        assert!(matters(&event(created, "/etc/p/prometheus.yml"), &config));
        assert!(matters(&event(created, "/etc/p/..data"), &config));
        assert!(matters(&event(created, "/rules/a/b.yml"), &config));
        assert!(!matters(&event(created, "/etc/p/rendered.yml"), &config));
        assert!(!matters(&event(created, "/etc/p/other"), &config));
        assert!(!matters(&event(opened, "/rules/a/b.yml"), &config));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(matters(&event(written, "/rules/a/b.yml"), &config));
    }
}
