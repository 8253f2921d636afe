//! Asking again, after a pause, for what may succeed the next time.

use std::{future::Future, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Result;

/// How often and for how long a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is sent again.
    pub max_retries: u32,
    /// The same after a failure that will hardly pass within seconds ([`crate::Error::is_lasting`]).
    pub max_lasting_retries: u32,
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
            max_lasting_retries: 10,
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(10),
            deadline: Duration::from_secs(300),
        }
    }
}

/// Warns of requests that are tried again: of the first at once, so that nobody wonders why nothing happens.
#[derive(Debug)]
pub(crate) struct Notices {
    /// After one there is none for so long; zero warns of each.
    pause: Duration,
    last: Mutex<Option<Instant>>,
}

/// The state of one request's retries.
#[derive(Debug)]
pub(crate) struct Retries<'a> {
    policy: &'a RetryPolicy,
    notices: Option<&'a Notices>,
    begun: Instant,
    done: u32,
}

impl RetryPolicy {
    /// A policy that never tries again.
    pub const fn never() -> Self {
        Self {
            max_retries: 0,
            max_lasting_retries: 0,
            first_pause: Duration::ZERO,
            max_pause: Duration::ZERO,
            deadline: Duration::ZERO,
        }
    }

    /// Runs `request` until it succeeds, fails for good, or the policy is exhausted. An error after retries says
    /// how many there were.
    pub async fn run<T, F, Fut>(&self, request: F) -> Result<T>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.begin(None).run(request).await
    }

    pub(crate) fn begin<'a>(&'a self, notices: Option<&'a Notices>) -> Retries<'a> {
        Retries {
            policy: self,
            notices,
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

impl Notices {
    /// Warns once and then not for `pause`.
    pub(crate) fn every(pause: Duration) -> Self {
        Self {
            pause,
            last: Mutex::new(None),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last.lock();
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.pause);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

impl Retries<'_> {
    /// As [`RetryPolicy::run`].
    pub(crate) async fn run<T, F, Fut>(mut self, mut request: F) -> Result<T>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        loop {
            match request().await {
                Err(error) => self.pause_after(error).await?,
                success => return success,
            }
        }
    }

    /// Waits for the next try, or gives the error back.
    pub(crate) async fn pause_after(&mut self, error: crate::Error) -> Result<()> {
        let pause = self.policy.pause(self.done, rand::random());
        let pause = pause.max(error.retry_after().unwrap_or_default());
        let elapsed = self.begun.elapsed();
        let is_too_late = elapsed.saturating_add(pause) > self.policy.deadline;
        let max_retries = match error.is_lasting() {
            true => self.policy.max_retries.min(self.policy.max_lasting_retries),
            false => self.policy.max_retries,
        };
        if !error.is_retryable() || self.done >= max_retries || is_too_late {
            return Err(self.give_up(error, elapsed));
        }
        self.done += 1;
        let pause_ms = pause.as_millis();
        if self.notices.is_some_and(|notices| notices.is_due(Instant::now())) {
            tracing::warn!(%error, retry = self.done, max_retries, pause_ms, "a request to the bucket failed, trying again");
        } else {
            tracing::debug!(%error, retry = self.done, max_retries, pause_ms, "trying again");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Success so far: what fails from now on has all its retries again.
    pub(crate) fn succeeded(&mut self) {
        *self = self.policy.begin(self.notices);
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
    async fn what_will_hardly_pass_is_tried_less_often_by_who_is_waited_for() {
        let lasting = || -> Vec<Error> {
            let one = || error(ErrorKind::Unavailable).with_little_hope();
            (0..20).map(|_| one()).collect()
        };
        let (_, tries, _) = run(RetryPolicy::default(), lasting()).await;
        assert_eq!(tries, 11);
        let policy = RetryPolicy {
            max_lasting_retries: 2,
            ..RetryPolicy::default()
        };
        let (result, tries, _) = run(policy, lasting()).await;
        assert_eq!(tries, 3);
        assert!(result.unwrap_err().to_string().contains("gave up after 3 tries"));
        let passing = (0..20).map(|_| error(ErrorKind::Unavailable)).collect();
        assert_eq!(run(policy, passing).await.1, 11);
    }

    /// Counts the warnings of the thread that made it, and nothing else.
    #[derive(Clone, Debug, Default)]
    struct Warnings(std::sync::Arc<Mutex<usize>>);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            *self.0.lock() += 1;
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_told_at_once_and_the_others_now_and_then_or_all() {
        let policy = RetryPolicy::default();
        let second = Duration::from_secs(1);
        for (pause, expected) in [(Duration::ZERO, 10), (3600 * second, 1)] {
            let (warnings, notices) = (Warnings::default(), Notices::every(pause));
            let _guard = tracing::subscriber::set_default(warnings.clone());
            let begun = Instant::now();
            let told_after = Mutex::new(None);
            for _ in 0..2 {
                let failing = || async {
                    if *warnings.0.lock() > 0 {
                        told_after.lock().get_or_insert(begun.elapsed());
                    }
                    Err::<(), _>(error(ErrorKind::Unavailable))
                };
                policy.begin(Some(&notices)).run(failing).await.unwrap_err();
                assert_eq!(*warnings.0.lock(), expected);
                if pause.is_zero() {
                    break;
                }
            }
            let told_after = told_after.lock().unwrap();
            assert!(
                told_after < second,
                "told of before the second try, after {told_after:?}"
            );
        }
        let notices = Notices::every(60 * second);
        let start = Instant::now();
        let due = [0, 59, 60, 61, 120].map(|at| notices.is_due(start + at * second));
        assert_eq!(due, [true, false, true, false, true]);
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
