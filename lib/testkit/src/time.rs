//! Paused time that stands still.

use std::sync::mpsc::{Sender, channel};

/// Time stands still until this is dropped, see [`stand_still`].
#[derive(Debug)]
pub struct StandsStill(#[expect(dead_code, reason = "its end is what is waited for")] Sender<()>);

/// Keeps paused time from passing by itself while nothing can go on: what is waited for may be another thread or a socket,
/// which knows nothing of that time. It passes with `tokio::time::advance` only.
///
/// # Panics
/// Outside of a runtime.
pub fn stand_still() -> StandsStill {
    let (held, end) = channel();
    // Time does not pass by itself while such a task runs.
    tokio::task::spawn_blocking(move || end.recv().is_ok());
    StandsStill(held)
}

/// Lets all others go on until something is so, however long that takes, without any time passing.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_only_when_it_is_told_to() {
        let still = stand_still();
        let begin = Instant::now();
        let sleeping = tokio::spawn(sleep(Duration::from_secs(5)));
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!sleeping.is_finished() && begin.elapsed().is_zero());
        advance(Duration::from_secs(5)).await;
        until(|| sleeping.is_finished()).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
        drop(still);
        sleep(Duration::from_secs(3_600)).await;
    }
}
