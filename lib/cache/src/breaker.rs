//! Stops writing to a cache that fails, and tries again after a while: `set_async_circuit_breaker_config`.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::BreakerConfig;

/// Counts of a closed breaker begin anew after so long.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a breaker stays open when the document says zero.
const DEFAULT_OPEN: Duration = Duration::from_secs(60);

/// Lets operations pass, or not. Time is an argument.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: State,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { until: Option<Instant> },
    Open { until: Instant },
    HalfOpen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    failures: u32,
    failures_in_a_row: u32,
    successes_in_a_row: u32,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed { until: None },
            counts: Counts::default(),
        }
    }

    /// Whether an operation may begin now; if so its outcome must be told.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if !self.config.enabled {
            return true;
        }
        match self.state {
            State::Closed { until } if until.is_none_or(|until| until <= now) => {
                self.enter(State::Closed {
                    until: Some(now + INTERVAL),
                });
            }
            State::Open { until } if until <= now => self.enter(State::HalfOpen),
            State::Open { .. } => return false,
            State::Closed { .. } | State::HalfOpen => {}
        }
        if self.state == State::HalfOpen && self.counts.requests >= self.config.half_open_max_requests.max(1)
        {
            return false;
        }
        self.counts.requests = self.counts.requests.saturating_add(1);
        true
    }

    /// Notes how an operation that was allowed ended.
    pub(crate) fn ended(&mut self, is_success: bool, now: Instant) {
        if !self.config.enabled {
            return;
        }
        if is_success {
            self.counts.successes_in_a_row = self.counts.successes_in_a_row.saturating_add(1);
            self.counts.failures_in_a_row = 0;
            if self.state == State::HalfOpen
                && self.counts.successes_in_a_row >= self.config.half_open_max_requests.max(1)
            {
                self.enter(State::Closed {
                    until: Some(now + INTERVAL),
                });
            }
            return;
        }
        self.counts.failures = self.counts.failures.saturating_add(1);
        self.counts.failures_in_a_row = self.counts.failures_in_a_row.saturating_add(1);
        self.counts.successes_in_a_row = 0;
        if self.state == State::HalfOpen || self.trips() {
            let open = match self.config.open_duration.get() {
                Duration::ZERO => DEFAULT_OPEN,
                open => open,
            };
            self.enter(State::Open { until: now + open });
        }
    }

    fn trips(&self) -> bool {
        let share = f64::from(self.counts.failures) / f64::from(self.counts.requests.max(1));
        self.counts.requests >= self.config.min_requests
            && (self.counts.failures_in_a_row >= self.config.consecutive_failures
                || share >= self.config.failure_percent)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.counts = Counts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(enabled: bool) -> (Breaker, Instant) {
        let config = BreakerConfig {
            enabled,
            half_open_max_requests: 2,
            min_requests: 4,
            consecutive_failures: 3,
            failure_percent: 1.0,
            ..BreakerConfig::default()
        };
        (Breaker::new(config), Instant::now())
    }

    fn fail(breaker: &mut Breaker, times: usize, now: Instant) {
        for _ in 0..times {
            assert!(breaker.allows(now));
            breaker.ended(false, now);
        }
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_successes() {
        let (mut breaker, now) = breaker(true);
        fail(&mut breaker, 3, now);
        assert!(breaker.allows(now), "fewer than min_requests");
        breaker.ended(false, now);
        assert!(!breaker.allows(now));
        let later = now + Duration::from_secs(5);
        assert!(breaker.allows(later) && breaker.allows(later));
        assert!(!breaker.allows(later), "only some are let through to try");
        breaker.ended(true, later);
        breaker.ended(true, later);
        assert!(breaker.allows(later) && breaker.allows(later) && breaker.allows(later));
    }

    #[test]
    fn a_failed_trial_opens_it_again() {
        let (mut breaker, now) = breaker(true);
        fail(&mut breaker, 4, now);
        let later = now + Duration::from_secs(5);
        fail(&mut breaker, 1, later);
        assert!(!breaker.allows(later + Duration::from_secs(4)));
        assert!(breaker.allows(later + Duration::from_secs(5)));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (mut breaker, now) = breaker(true);
        fail(&mut breaker, 3, now);
        fail(&mut breaker, 1, now + INTERVAL);
        assert!(breaker.allows(now + INTERVAL));
    }

    #[test]
    fn does_nothing_unless_enabled() {
        let (mut breaker, now) = breaker(false);
        fail(&mut breaker, 1000, now);
    }
}
