//! Names that are looked up again and again; what they stood for stays while they cannot be.

use std::{collections::BTreeMap, time::Duration};

use sabre_runtime::{
    discovery::Resolver,
    metrics::{Counter, Gauges, Registry},
};
use tokio::time::Instant;

use super::rounded;

/// What names stood for when they were last looked up.
#[derive(Debug)]
pub(crate) struct Names {
    known: BTreeMap<String, Looked>,
    resolver: Resolver,
    interval: Duration,
    metrics: NameMetrics,
}

#[derive(Debug)]
struct Looked {
    servers: Vec<String>,
    at: Instant,
    /// Since when it cannot be looked up; `None` if it could be the last time.
    fails_since: Option<Instant>,
}

/// Look-ups under the names of who does them.
#[derive(Clone, Debug)]
pub(crate) struct NameMetrics {
    named: Vec<NamedMetrics>,
}

#[derive(Clone, Debug)]
struct NamedMetrics {
    lookups: Counter,
    failures: Counter,
    results: Gauges<1>,
}

impl NameMetrics {
    /// The same figures under each of `prefixes`, such as `thanos_query_endpoints`.
    pub(crate) fn register(prefixes: &[&str], registry: &Registry) -> Self {
        let named = prefixes
            .iter()
            .map(|prefix| NamedMetrics::register(prefix, registry));
        Self {
            named: named.collect(),
        }
    }

    fn looked_up(&self) {
        for named in &self.named {
            named.lookups.inc();
        }
    }

    fn failed(&self) {
        for named in &self.named {
            named.failures.inc();
        }
    }

    fn found(&self, name: &str, servers: usize) {
        let count = i64::try_from(servers).unwrap_or(i64::MAX);
        for named in &self.named {
            named.results.with([name]).set(count);
        }
    }

    fn forget(&self, name: &str) {
        for named in &self.named {
            named.results.remove([name]);
        }
    }
}

impl NamedMetrics {
    fn register(prefix: &str, registry: &Registry) -> Self {
        Self {
            lookups: registry.counter(
                &format!("{prefix}_dns_lookups_total"),
                "Look-ups of names of endpoints",
            ),
            failures: registry.counter(
                &format!("{prefix}_dns_failures_total"),
                "Look-ups of names of endpoints that failed",
            ),
            results: registry.gauges(
                &format!("{prefix}_dns_provider_results"),
                "Servers that a name stands for",
                ["addr"],
            ),
        }
    }
}

impl Names {
    pub(crate) fn new(resolver: Resolver, interval: Duration, metrics: NameMetrics) -> Self {
        Self {
            known: BTreeMap::new(),
            resolver,
            interval,
            metrics,
        }
    }

    /// What a name stands for; looked up if that was not done for the interval.
    pub(crate) async fn servers(&mut self, name: &str) -> Vec<String> {
        let now = Instant::now();
        if let Some(known) = self.known.get(name)
            && now.saturating_duration_since(known.at) < self.interval
        {
            return known.servers.clone();
        }
        self.metrics.looked_up();
        let before = self.known.remove(name);
        let looked = self.resolver.resolve(name).await;
        let failed_before = before.as_ref().and_then(|known| known.fails_since);
        tell(name, looked.as_ref().err(), failed_before);
        let (servers, fails_since) = match looked {
            Ok(servers) => (servers, None),
            Err(_) => {
                self.metrics.failed();
                let servers = before.map(|known| known.servers).unwrap_or_default();
                (servers, failed_before.or(Some(now)))
            }
        };
        self.metrics.found(name, servers.len());
        let looked = Looked {
            servers: servers.clone(),
            at: now,
            fails_since,
        };
        self.known.insert(name.to_owned(), looked);
        servers
    }

    /// Forgets names that are not asked for any more.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.known.keys().filter(|name| !wanted(name)).cloned().collect();
        for name in gone {
            self.known.remove(&name);
            self.metrics.forget(&name);
        }
    }
}

/// Tells once that a name cannot be looked up, and once that it can be again.
fn tell(name: &str, error: Option<&String>, fails_since: Option<Instant>) {
    match (fails_since, error) {
        (None, Some(error)) => tracing::warn!(
            name,
            error,
            "the name of endpoints cannot be looked up, what it stood for stays"
        ),
        (Some(since), None) => {
            let failed_for = rounded(since.elapsed());
            tracing::info!(name, ?failed_for, "the name of endpoints can be looked up again");
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}
