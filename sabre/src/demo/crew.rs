//! Who is still at work in the demo's directory: it must not be removed under their hands.

use std::{convert::Infallible, time::Duration};

use tokio::sync::mpsc;

/// Counts those at work, and waits for the last to end.
#[derive(Debug)]
pub(crate) struct Crew {
    at_work: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

/// Held by a task as long as it may touch the directory.
#[derive(Debug, Clone)]
pub(crate) struct AtWork {
    _held: mpsc::Sender<Infallible>,
}

impl Crew {
    pub(crate) fn new() -> Crew {
        let (at_work, ended) = mpsc::channel(1);
        Crew { at_work, ended }
    }

    /// One more is at work, until what this returns is dropped.
    pub(crate) fn join(&self) -> AtWork {
        AtWork {
            _held: self.at_work.clone(),
        }
    }

    /// Waits until all have ended, at most for `patience`. Says whether they did.
    pub(crate) async fn ended(self, patience: Duration) -> bool {
        let Crew { at_work, mut ended } = self;
        drop(at_work);
        tokio::time::timeout(patience, ended.recv()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_the_last_and_not_for_ever() {
        assert!(Crew::new().ended(Duration::ZERO).await, "nobody ever joined");

        let crew = Crew::new();
        let (first, second) = (crew.join(), crew.join().clone());
        drop(first);
        let ends = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(second);
        });
        assert!(crew.ended(Duration::from_secs(6)).await);
        ends.await.unwrap();

        let crew = Crew::new();
        let stays = crew.join();
        assert!(!crew.ended(Duration::from_secs(6)).await);
        drop(stays);
    }
}
