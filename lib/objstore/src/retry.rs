//! Asking again, after a pause, for what may succeed the next time.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::error::Result;

/// How often and for how long a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is sent again.
    pub max_retries: u32,
    /// The mean pause before the first retry; it doubles with each.
    pub first_pause: Duration,
    /// The longest mean pause.
    pub max_pause: Duration,
    /// No retry begins later than this after the first try began.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 10,
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(10),
            deadline: Duration::from_secs(300),
        }
    }
}

/// The state of one request's retries.
#[derive(Debug)]
pub(crate) struct Retries<'a> {
    policy: &'a RetryPolicy,
    begun: Instant,
    done: u32,
}

impl RetryPolicy {
    /// A policy that never tries again.
    pub const fn never() -> Self {
        Self {
            max_retries: 0,
            first_pause: Duration::ZERO,
            max_pause: Duration::ZERO,
            deadline: Duration::ZERO,
        }
    }

    /// Runs `request` until it succeeds, fails for good, or the policy is exhausted. An error after retries says
    /// how many there were.
    pub async fn run<T, F, Fut>(&self, mut request: F) -> Result<T>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let mut retries = self.begin();
        loop {
            match request().await {
                Err(error) => retries.pause_after(error).await?,
                success => return success,
            }
        }
    }

    pub(crate) fn begin(&self) -> Retries<'_> {
        Retries {
            policy: self,
            begun: Instant::now(),
            done: 0,
        }
    }

    /// The pause before retry `n`, counted from 0: half of it fixed and half by chance, which is `chance` of
    /// 0 to 1, so that callers who failed together do not come back together.
    fn pause(&self, n: u32, chance: f64) -> Duration {
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(n));
        doubled.min(self.max_pause).mul_f64(0.5 + chance)
    }
}

impl Retries<'_> {
    /// Waits for the next try, or gives the error back.
    pub(crate) async fn pause_after(&mut self, error: crate::Error) -> Result<()> {
        let pause = self.policy.pause(self.done, rand::random());
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let elapsed = self.begun.elapsed();
        let is_too_late = elapsed.saturating_add(pause) > self.policy.deadline;
        if !error.is_retryable() || self.done >= self.policy.max_retries || is_too_late {
            return Err(self.give_up(error, elapsed));
        }
        self.done += 1;
        tracing::debug!(%error, retry = self.done, pause_ms = pause.as_millis(), "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Success so far: what fails from now on has all its retries again.
    pub(crate) fn succeeded(&mut self) {
        *self = self.policy.begin();
    }

    fn give_up(&self, error: crate::Error, elapsed: Duration) -> crate::Error {
        match self.done {
            0 => error,
            done => error.with_note(&format!("gave up after {} tries in {elapsed:.1?}", done + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::{Error, ErrorKind, Operation};

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, Operation::Get, "b", "k", "no")
    }

    /// Runs requests that fail as scripted and then succeed; returns the outcome, the tries and the time.
    async fn run(policy: RetryPolicy, failures: Vec<Error>) -> (Result<()>, usize, Duration) {
        let begun = Instant::now();
        let script = Mutex::new((failures.into_iter(), 0));
        let result = policy
            .run(|| async {
                let mut script = script.lock();
                script.1 += 1;
                script.0.next().map_or(Ok(()), Err)
            })
            .await;
        let tries = script.lock().1;
        (result, tries, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn passing_failures_are_tried_again() {
        for kind in [
            ErrorKind::Throttled,
            ErrorKind::Unavailable,
            ErrorKind::Timeout,
            ErrorKind::Truncated,
        ] {
            let (result, tries, _) = run(RetryPolicy::default(), vec![error(kind), error(kind)]).await;
            assert!(result.is_ok());
            assert_eq!(tries, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lasting_failures_are_not_tried_again() {
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::AccessDenied,
            ErrorKind::Invalid,
            ErrorKind::Other,
        ] {
            let (result, tries, elapsed) = run(RetryPolicy::default(), vec![error(kind)]).await;
            assert_eq!(result.unwrap_err().kind(), kind);
            assert_eq!((tries, elapsed), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_retries_and_says_so() {
        let policy = RetryPolicy {
            max_retries: 3,
            ..RetryPolicy::default()
        };
        let failures = (0..9).map(|_| error(ErrorKind::Unavailable)).collect();
        let (result, tries, elapsed) = run(policy, failures).await;
        assert_eq!(tries, 4);
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("no; gave up after 4 tries in")
        );
        assert!(
            elapsed >= Duration::from_millis(350) && elapsed <= Duration::from_millis(1050),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_the_server_asks_but_not_past_the_deadline() {
        let asks = |secs| error(ErrorKind::Throttled).with_retry_after(Duration::from_secs(secs));
        let (result, _, elapsed) = run(RetryPolicy::default(), vec![asks(7)]).await;
        assert!(result.is_ok());
        assert!(elapsed >= Duration::from_secs(7), "{elapsed:?}");
        let (result, tries, elapsed) = run(RetryPolicy::default(), vec![asks(301)]).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Throttled);
        assert_eq!((tries, elapsed), (1, Duration::ZERO));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(0, 0.5), Duration::from_millis(100));
        assert_eq!(policy.pause(3, 0.5), Duration::from_millis(800));
        assert_eq!(policy.pause(3, 0.0), Duration::from_millis(400));
        assert_eq!(policy.pause(3, 1.0), Duration::from_millis(1200));
        assert_eq!(policy.pause(u32::MAX, 0.5), Duration::from_secs(10));
    }
}
