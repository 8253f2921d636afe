//! Waits for snapshots.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{CallError, Client};

/// The first pause between two looks; it doubles up to [`crate::cluster::Patience::poll`].
const FIRST_POLL: Duration = Duration::from_millis(100);

/// Pauses between looks at something slow, until it took too long.
#[derive(Debug)]
pub(crate) struct Polls<'a> {
    client: &'a Client,
    pause: Duration,
    deadline: Instant,
}

impl<'a> Polls<'a> {
    /// Begins, for at most as long as a snapshot is waited for.
    pub(crate) fn new(client: &'a Client) -> Self {
        Self {
            client,
            pause: FIRST_POLL.min(client.patience.poll),
            deadline: Instant::now() + client.patience.snapshot_timeout,
        }
    }

    /// Waits for the next look; `false` when it took too long.
    ///
    /// # Errors
    /// [`CallError::Stopped`].
    pub(crate) async fn next(&mut self) -> Result<bool, CallError> {
        if Instant::now() >= self.deadline {
            return Ok(false);
        }
        self.client.pause(self.pause).await?;
        self.pause = self.pause.saturating_mul(2).min(self.client.patience.poll);
        Ok(true)
    }
}

/// Waits until no snapshot runs in any repository; `false` when one still runs after the longest wait.
///
/// # Errors
/// As all questions.
pub(crate) async fn wait_until_idle(client: &Client) -> Result<bool, CallError> {
    let mut polls = Polls::new(client);
    loop {
        let running = client.running_snapshots().await?;
        let Some(first) = running.first() else {
            return Ok(true);
        };
        tracing::info!(
            repository = first.repository,
            snapshot = first.name,
            shards_done = first.done_shards,
            shards = first.total_shards,
            "a snapshot is running and is waited for"
        );
        if !polls.next().await? {
            return Ok(false);
        }
    }
}
