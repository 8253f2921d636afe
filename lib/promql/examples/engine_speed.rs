//! How fast queries are evaluated: `cargo run --release -p sabre-promql --example engine_speed`.
//!
//! Series are encoded chunks in memory, scraped every 15 s; decoding is part of what is measured. Each row gives the
//! best of three runs, and the peak of its own memory.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal: what goes wrong ends it"
)]

use std::time::{Duration, Instant};

use sabre_model::Labels;
use sabre_promql::budget::ByteBudget;
use sabre_promql::source::{MemorySamples, MemoryStorage, RawChunk};
use sabre_promql::value::Value;
use sabre_promql::{EvalOptions, query_range};
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::xor::XorAppender;

const START_MS: i64 = 1_767_225_600_000;
const SCRAPE_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;

/// A query and the data it is asked of.
struct Benchmark {
    name: &'static str,
    query: &'static str,
    storage: MemoryStorage,
    step_ms: i64,
    hours: i64,
}

/// A counter that grows by a little that differs from scrape to scrape, and resets once.
fn chunks(number: u64, hours: i64) -> Vec<RawChunk> {
    let samples = hours * HOUR_MS / SCRAPE_MS;
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = (number % 1000) as f64;
    let mut out = Vec::new();
    let mut sample = 0;
    while sample < samples {
        let mut appender = XorAppender::new();
        let first = sample;
        let mut t = 0;
        while sample < samples && sample - first < 120 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value += (state % 50) as f64;
            if sample == samples / 2 {
                value = 0.0;
            }
            t = START_MS + sample * SCRAPE_MS + (state % 8) as i64;
            appender.append(t, value).unwrap();
            sample += 1;
        }
        out.push(RawChunk {
            mint: START_MS + first * SCRAPE_MS,
            maxt: t,
            encoding: Encoding::Xor,
            data: appender.finish().into(),
        });
    }
    out
}

/// So many counters of pods of jobs; with `buckets`, so many of them make a classic histogram.
fn storage(series: u64, hours: i64, buckets: u64) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    for number in 0..series {
        let job = format!("job-{}", number % 36);
        let pod = format!("pod-{}", number / buckets.max(1));
        let bound = if number % buckets.max(1) + 1 == buckets {
            "+Inf".to_owned()
        } else {
            format!("{}", number % buckets.max(1))
        };
        let mut labels = vec![("__name__", "x_total"), ("job", &job), ("pod", &pod)];
        if buckets > 0 {
            labels.retain(|(name, _)| *name != "job");
            labels.push(("le", &bound));
        }
        let samples = MemorySamples::Chunks(chunks(number, hours).into());
        storage.insert(Labels::from_pairs(labels).unwrap(), samples);
    }
    storage
}

fn benchmarks() -> [fn() -> Benchmark; 5] {
    [
        || Benchmark {
            name: "6,372 series x 667 steps",
            query: "sum by (job) (rate(x_total[5m]))",
            storage: storage(6372, 22, 0),
            step_ms: 119_000,
            hours: 22,
        },
        || Benchmark {
            name: "531 histograms of 12 buckets x 667 steps",
            query: "histogram_quantile(0.9, sum by (le) (rate(x_total[5m])))",
            storage: storage(6372, 22, 12),
            step_ms: 119_000,
            hours: 22,
        },
        || Benchmark {
            name: "6,372 series x 667 steps",
            query: "topk(5, rate(x_total[5m]))",
            storage: storage(6372, 22, 0),
            step_ms: 119_000,
            hours: 22,
        },
        || Benchmark {
            name: "120,000 series x 61 steps",
            query: "sum(rate(x_total[5m]))",
            storage: storage(120_000, 1, 0),
            step_ms: 60_000,
            hours: 1,
        },
        || Benchmark {
            name: "200 series x 5,281 steps",
            query: "sum(rate(x_total[1h]))",
            storage: storage(200, 22, 0),
            step_ms: SCRAPE_MS,
            hours: 22,
        },
    ]
}

/// The time that all threads of this process have run, to ten milliseconds.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A size of `/proc/self/status` in bytes.
fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// Forgets the peak, so that the next one is that of the next row alone.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn run(benchmark: &Benchmark, threads: usize) -> (Duration, Duration, u64) {
    let mut best = Duration::MAX;
    let budget = ByteBudget::unlimited();
    let mut best_cpu = Duration::MAX;
    for _ in 0..3 {
        let options = EvalOptions {
            threads,
            budget: &budget,
            ..EvalOptions::default()
        };
        let end = START_MS + benchmark.hours * HOUR_MS;
        let (start, cpu) = (Instant::now(), cpu_time());
        let result = query_range(
            &benchmark.storage,
            benchmark.query,
            START_MS,
            end,
            benchmark.step_ms,
            &options,
        )
        .unwrap();
        best = best.min(start.elapsed());
        best_cpu = best_cpu.min(cpu_time() - cpu);
        assert!(
            matches!(result.value, Value::Matrix(series) if !series.is_empty()),
            "an answer"
        );
    }
    (best, best_cpu, budget.peak())
}

fn main() {
    println!(
        "| query | data | threads | ms | ns per (series, step) | of CPU | charged MiB | peak MiB above the data | data MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for make in benchmarks() {
        let benchmark = make();
        let series = benchmark.storage.iter().count();
        let steps = benchmark.hours * HOUR_MS / benchmark.step_ms + 1;
        for threads in [1, 2] {
            reset_peak();
            let data = status_bytes("VmRSS:");
            let (taken, cpu, charged) = run(&benchmark, threads);
            let above = status_bytes("VmHWM:").saturating_sub(data);
            let pairs = series as f64 * steps as f64;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!(
                "| `{}` | {} | {threads} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
                benchmark.query,
                benchmark.name,
                taken.as_secs_f64() * 1e3,
                taken.as_secs_f64() * 1e9 / pairs,
                cpu.as_secs_f64() * 1e9 / pairs,
                mib(charged),
                mib(above),
                mib(data),
            );
        }
    }
}
