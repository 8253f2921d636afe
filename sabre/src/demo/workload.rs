//! What the demo's Prometheus has scraped: a small web shop on three nodes.
//!
//! Everything follows from the seed and the time, so that both replicas see the same targets.

use sabre_model::Labels;
use sabre_tsdb::{
    chunk::{Sample, Value},
    histogram::{CounterResetHint, Histogram, Layout, Span},
};

/// Time between two scrapes.
pub(crate) const SCRAPE_INTERVAL_MS: i64 = 15_000;

const DAY_MS: f64 = 86_400_000.0;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
const SERVICES: [(&str, usize); 4] = [("cart", 3), ("checkout", 2), ("frontend", 4), ("search", 3)];
const HANDLERS: [&str; 3] = ["/", "/api/items", "/healthz"];
const CODES: [(&str, f64); 3] = [("200", 1.0), ("404", 0.03), ("500", 0.004)];
const BUCKETS: [(&str, f64); 6] = [
    ("0.01", 0.35),
    ("0.05", 0.7),
    ("0.1", 0.88),
    ("0.5", 0.97),
    ("1", 0.995),
    ("+Inf", 1.0),
];
const CPU_MODES: [(&str, f64); 3] = [("idle", 0.7), ("system", 0.08), ("user", 0.22)];

/// One target's view of time: which instants are scraped, and which are missed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scraper {
    /// Replicas scrape at different moments.
    pub(crate) offset_ms: i64,
    /// While this replica was down nothing was scraped: `[from, to)`.
    pub(crate) outage_ms: (i64, i64),
}

/// A series that is being scraped.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    kind: Kind,
    noise: Noise,
    /// Since when the target is as it is. It changes at every interval, scraped or not, so that all replicas see the
    /// same target.
    tick_ms: Option<i64>,
    /// In [0, 1), until the next change.
    jitter: f64,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Grows by about `per_second`, busier by day; starts anew when its process restarts.
    Counter {
        per_second: f64,
        /// At the last change.
        value: f64,
        /// Until the next change.
        growth: f64,
        restart_ms: i64,
    },
    /// Swings around `mean` once a day.
    Gauge { mean: f64, swing: f64 },
    /// Always the same.
    Constant(f64),
    /// A native histogram of latencies.
    Latency { counts: [i64; 8], sum: f64 },
}

/// A small deterministic generator: splitmix64.
#[derive(Clone, Debug)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Scraper {
    /// The scrapes in `[from_ms, to_ms)`.
    pub(crate) fn times(&self, from_ms: i64, to_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let first =
            from_ms - from_ms.rem_euclid(SCRAPE_INTERVAL_MS) + self.offset_ms.rem_euclid(SCRAPE_INTERVAL_MS);
        let first = if first < from_ms {
            first + SCRAPE_INTERVAL_MS
        } else {
            first
        };
        let (down, up) = self.outage_ms;
        (0..)
            .map(move |n| first + n * SCRAPE_INTERVAL_MS)
            .take_while(move |t| *t < to_ms)
            .filter(move |t| *t < down || *t >= up)
    }
}

impl Series {
    /// The sample at `t_ms`; times must not go back.
    pub(crate) fn scrape(&mut self, t_ms: i64) -> Sample {
        let since_ms = t_ms.rem_euclid(SCRAPE_INTERVAL_MS);
        let cell_ms = t_ms - since_ms;
        while self.tick_ms.is_none_or(|tick_ms| tick_ms < cell_ms) {
            let next_ms = self
                .tick_ms
                .map_or(cell_ms, |tick_ms| tick_ms + SCRAPE_INTERVAL_MS);
            self.tick(next_ms);
        }
        let value = match &self.kind {
            Kind::Constant(value) => Value::Float(*value),
            Kind::Gauge { mean, swing } => {
                let busy = daily(t_ms) * 2.0 - 1.0;
                Value::Float((mean + swing * busy + swing * 0.1 * (self.jitter - 0.5)).round())
            }
            Kind::Counter { value, growth, .. } => {
                let share = since_ms as f64 / SCRAPE_INTERVAL_MS as f64;
                Value::Float(value + (growth * share).floor())
            }
            Kind::Latency { counts, sum } => Value::Histogram(Box::new(latency_histogram(counts, *sum))),
        };
        Sample { t: t_ms, value }
    }

    /// What changes at an interval.
    fn tick(&mut self, tick_ms: i64) {
        self.tick_ms = Some(tick_ms);
        self.jitter = self.noise.unit();
        let busy = daily(tick_ms);
        match &mut self.kind {
            Kind::Constant(_) | Kind::Gauge { .. } => {}
            Kind::Counter {
                per_second,
                value,
                growth,
                restart_ms,
            } => {
                *value += *growth;
                if (tick_ms - SCRAPE_INTERVAL_MS..tick_ms).contains(restart_ms) {
                    *value = 0.0;
                }
                let seconds = SCRAPE_INTERVAL_MS as f64 / 1000.0;
                *growth = (*per_second * seconds * (0.3 + busy) * (0.5 + self.jitter)).round();
            }
            Kind::Latency { counts, sum } => {
                for count in counts.iter_mut() {
                    let calls = (self.noise.unit() * 6.0 * (0.3 + busy)) as i64;
                    *count += calls;
                    *sum += calls as f64 * 0.02;
                }
            }
        }
    }
}

/// All series, in no order. Counters of one pod restart at `restart_ms`.
pub(crate) fn series(restart_ms: i64) -> Vec<Series> {
    let mut all = Shop {
        series: Vec::new(),
        restart_ms,
    };
    for (n, node) in NODES.iter().enumerate() {
        all.node(n, node);
    }
    for (service, pods) in SERVICES {
        for pod in 0..pods {
            all.pod(service, pod);
        }
    }
    all.series
}

struct Shop {
    series: Vec<Series>,
    restart_ms: i64,
}

impl Shop {
    fn node(&mut self, n: usize, node: &str) {
        let target = [("instance", format!("{node}:9100")), ("job", "node".to_string())];
        self.add("up", &target, &[], Kind::Constant(1.0));
        let memory = 8e9 + n as f64 * 1e9;
        self.add(
            "node_memory_MemAvailable_bytes",
            &target,
            &[],
            Kind::Gauge {
                mean: memory,
                swing: -2e9,
            },
        );
        self.add(
            "node_load1",
            &target,
            &[],
            Kind::Gauge {
                mean: 4.0,
                swing: 3.0,
            },
        );
        for cpu in ["0", "1"] {
            for (mode, share) in CPU_MODES {
                let kind = Kind::Counter {
                    per_second: share,
                    value: 0.0,
                    growth: 0.0,
                    restart_ms: i64::MAX,
                };
                self.add(
                    "node_cpu_seconds_total",
                    &target,
                    &[("cpu", cpu), ("mode", mode)],
                    kind,
                );
            }
        }
    }

    fn pod(&mut self, service: &str, pod: usize) {
        let name = format!("{service}-{pod}");
        let target = [
            ("instance", format!("{name}:8080")),
            ("job", service.to_string()),
            ("pod", name),
        ];
        // One pod of the shop restarts: its counters are reset.
        let restart_ms = if (service, pod) == ("checkout", 0) {
            self.restart_ms
        } else {
            i64::MAX
        };
        self.add("up", &target, &[], Kind::Constant(1.0));
        self.add(
            "process_resident_memory_bytes",
            &target,
            &[],
            Kind::Gauge {
                mean: 3e8,
                swing: 5e7,
            },
        );
        for handler in HANDLERS {
            for (code, share) in CODES {
                let kind = Kind::Counter {
                    per_second: 20.0 * share,
                    value: 0.0,
                    growth: 0.0,
                    restart_ms,
                };
                self.add(
                    "http_requests_total",
                    &target,
                    &[("code", code), ("handler", handler)],
                    kind,
                );
            }
        }
        for (le, share) in BUCKETS {
            let kind = Kind::Counter {
                per_second: 40.0 * share,
                value: 0.0,
                growth: 0.0,
                restart_ms,
            };
            self.add(
                "http_request_duration_seconds_bucket",
                &target,
                &[("le", le)],
                kind,
            );
        }
        self.add(
            "rpc_duration_seconds",
            &target,
            &[],
            Kind::Latency {
                counts: [0; 8],
                sum: 0.0,
            },
        );
    }

    fn add(&mut self, name: &str, target: &[(&str, String)], more: &[(&str, &str)], kind: Kind) {
        let target = target.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs = [("__name__", name)]
            .into_iter()
            .chain(target)
            .chain(more.iter().copied());
        // Names are distinct by construction; a set that is none is left out.
        if let Ok(labels) = Labels::from_pairs(pairs) {
            let noise = Noise(labels.hash());
            self.series.push(Series {
                labels,
                kind,
                noise,
                tick_ms: None,
                jitter: 0.0,
            });
        }
    }
}

/// How busy the shop is: 0 at night, 1 at noon.
fn daily(t_ms: i64) -> f64 {
    let turn = (t_ms as f64 / DAY_MS).fract() * std::f64::consts::TAU;
    (1.0 - turn.cos()) / 2.0
}

/// Buckets of schema 3 around 20 ms.
fn latency_histogram(counts: &[i64; 8], sum: f64) -> Histogram {
    let mut deltas = Vec::with_capacity(counts.len());
    let mut previous = 0;
    for count in counts {
        deltas.push(count - previous);
        previous = *count;
    }
    let layout = Layout {
        schema: 3,
        zero_threshold: 2.938_735_877_055_719e-39,
        positive_spans: vec![Span {
            offset: -48,
            length: 8,
        }],
        ..Layout::default()
    };
    Histogram {
        hint: CounterResetHint::Unknown,
        layout: layout.into(),
        count: counts.iter().sum::<i64>().unsigned_abs(),
        zero_count: 0,
        sum,
        positive: deltas,
        negative: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_fall_on_the_grid_and_not_into_the_outage() {
        let scraper = Scraper {
            offset_ms: 7_000,
            outage_ms: (30_000, 60_000),
        };
        assert_eq!(
            scraper.times(0, 90_000).collect::<Vec<_>>(),
            [7_000, 22_000, 67_000, 82_000]
        );
        assert_eq!(scraper.times(7_001, 23_000).collect::<Vec<_>>(), [22_000]);
    }

    #[test]
    fn labels_are_distinct() {
        let all = series(0);
        let distinct: std::collections::BTreeSet<_> =
            all.iter().map(|series| series.labels.to_string()).collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.len() > 200, "{}", all.len());
    }

    #[test]
    fn counters_grow_and_restart_once() {
        let restart_ms = 300_000;
        let mut all = series(restart_ms);
        let counter = all
            .iter_mut()
            .find(|s| s.labels.to_string().contains("checkout-0") && s.labels.get("code") == Some("200"));
        let counter = counter.expect("the shop has it");
        let values: Vec<f64> = (0..60)
            .map(|n| match counter.scrape(n * SCRAPE_INTERVAL_MS).value {
                Value::Float(value) => value,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values.windows(2).filter(|pair| pair[1] < pair[0]).count(), 1);
    }

    /// Whoever scrapes, and whenever: one target has one counter.
    #[test]
    fn replicas_see_the_same_counter_also_after_an_outage() {
        let all = series(i64::MAX);
        let find = |series: &&Series| series.labels.get("code") == Some("200");
        let counter = all.iter().find(find).expect("the shop has it");
        let scrapers = [(0, (i64::MAX, i64::MAX)), (7_000, (300_000, 3_900_000))];
        let mut samples = Vec::new();
        for (offset_ms, outage_ms) in scrapers {
            let scraper = Scraper { offset_ms, outage_ms };
            let mut replica = counter.clone();
            for t in scraper.times(0, 5_000_000) {
                match replica.scrape(t).value {
                    Value::Float(value) => samples.push((t, value)),
                    other => panic!("{other:?}"),
                }
            }
        }
        samples.sort_by_key(|(t, _)| *t);
        assert!(samples.len() > 400);
        for pair in samples.windows(2) {
            assert!(pair[0].1 <= pair[1].1, "{pair:?}");
        }
    }
}
