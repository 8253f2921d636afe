//! Whether the process is alive and whether it can serve, with reasons.

use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::{Gauge, Registry};

/// Health and readiness of the process. Starts unhealthy and not ready. Clones share it.
#[derive(Debug, Clone)]
pub struct Probe {
    state: Arc<watch::Sender<ProbeState>>,
    ready: Gauge,
    healthy: Gauge,
}

/// The answer of a probe: fine, or why not.
pub type Verdict = Result<(), String>;

/// Both answers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeState {
    /// Whether the process is alive.
    pub healthy: Verdict,
    /// Whether it can serve.
    pub ready: Verdict,
}

impl Probe {
    /// Makes a probe and its `thanos_status{check}` gauges.
    pub fn new(registry: &Registry) -> Self {
        let status = registry.gauges("thanos_status", "Status of the probes, 1 is fine", ["check"]);
        let starting = || Err("starting".to_owned());
        let state = ProbeState {
            healthy: starting(),
            ready: starting(),
        };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            ready: status.with(["ready"]),
            healthy: status.with(["healthy"]),
        }
    }

    /// Says that the process is alive, which the HTTP server does once it listens.
    pub fn set_healthy(&self) {
        self.change("healthy", &self.healthy, |state| &mut state.healthy, Ok(()));
    }

    /// Says that the process cannot go on.
    pub fn set_unhealthy(&self, reason: impl Into<String>) {
        self.change(
            "healthy",
            &self.healthy,
            |state| &mut state.healthy,
            Err(reason.into()),
        );
    }

    /// Says that the process can serve.
    pub fn set_ready(&self) {
        self.change("ready", &self.ready, |state| &mut state.ready, Ok(()));
    }

    /// Says that the process cannot serve now.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.change("ready", &self.ready, |state| &mut state.ready, Err(reason.into()));
    }

    /// Both answers now.
    pub fn state(&self) -> ProbeState {
        self.state.borrow().clone()
    }

    /// Whether the process can serve now.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().ready.is_ok()
    }

    /// Follows both answers.
    pub fn subscribe(&self) -> watch::Receiver<ProbeState> {
        self.state.subscribe()
    }

    fn change(
        &self,
        check: &'static str,
        gauge: &Gauge,
        part: impl Fn(&mut ProbeState) -> &mut Verdict,
        verdict: Verdict,
    ) {
        gauge.set(i64::from(verdict.is_ok()));
        let changed = self.state.send_if_modified(|state| {
            let old = part(state);
            let changed = *old != verdict;
            old.clone_from(&verdict);
            changed
        });
        match (changed, verdict) {
            (true, Ok(())) => tracing::info!(check, "probe is fine"),
            (true, Err(reason)) => tracing::info!(check, reason, "probe is not fine"),
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_not_ready_and_follows_what_it_is_told() {
        let registry = Registry::new();
        let probe = Probe::new(&registry);
        let mut changes = probe.subscribe();
        assert!(!probe.is_ready() && probe.state().healthy.is_err());
        assert!(registry.classic().contains("thanos_status{check=\"ready\"} 0\n"));
        probe.set_healthy();
        probe.set_ready();
        assert!(changes.has_changed().unwrap() && changes.borrow_and_update().ready.is_ok());
        probe.set_ready();
        assert!(!changes.has_changed().unwrap(), "the same answer is no change");
        probe.set_not_ready("no contact with Prometheus");
        assert_eq!(probe.state().ready, Err("no contact with Prometheus".to_owned()));
        probe.set_unhealthy("halted");
        let page = registry.classic();
        for line in [
            "thanos_status{check=\"ready\"} 0\n",
            "thanos_status{check=\"healthy\"} 0\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }
}
