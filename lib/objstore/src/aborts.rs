//! Uploads that were given up and are being aborted behind their callers' backs: a process that ends waits for them,
//! or their parts remain.

use std::{sync::LazyLock, time::Duration};

use tokio::sync::watch;

static UNDER_WAY: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// An abort under way, as long as this lives.
#[derive(Debug)]
pub(crate) struct Abort(());

impl Abort {
    pub(crate) fn begin() -> Self {
        UNDER_WAY.send_modify(|count| *count += 1);
        Self(())
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        UNDER_WAY.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Waits until no upload of this process is being aborted any more, at most for `patience`; false if some still are.
/// To be called when the uploads were dropped, before the runtime ends.
pub async fn aborts_done(patience: Duration) -> bool {
    let mut under_way = UNDER_WAY.subscribe();
    let done = under_way.wait_for(|count| *count == 0);
    let is_done = tokio::time::timeout(patience, done).await.is_ok();
    if !is_done {
        tracing::warn!(
            after = ?patience,
            "uploads that were given up are not aborted yet; cleaning aborts them later"
        );
    }
    is_done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_aborts_and_not_for_ever() {
        assert!(aborts_done(Duration::ZERO).await);
        let abort = Abort::begin();
        assert!(!aborts_done(Duration::from_secs(5)).await);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(abort);
        });
        assert!(aborts_done(Duration::from_secs(5)).await);
    }
}
