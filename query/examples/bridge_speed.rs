//! How fast queries go from encoded chunks through fan-out's seam, deduplication and evaluation:
//! `cargo run --release -p sabre-query --example bridge_speed`.
//!
//! Stores are lists in memory. The same query is asked of the evaluator alone, of one replica, and of two whose
//! scrapes differ by some seconds and have gaps. Each line gives the best of three runs.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal: what goes wrong ends it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use sabre_model::Labels;
use sabre_promql::source::{MemorySamples, MemoryStorage, RawChunk};
use sabre_promql::value::Value;
use sabre_promql::{EvalOptions, query_range};
use sabre_proto::thanos::{AggrChunk, Chunk};
use sabre_query::evaluate::{Engine, EngineConfig, QueryRequest, QueryTimes, RequestContext};
use sabre_query::source::{
    Names, SelectOptions, SelectRequest, SeriesItem, SeriesStream, SourceFailure, StoreSource,
};
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::chunk::xor::XorAppender;

const START_MS: i64 = 1_767_225_600_000;
const SCRAPE_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const HOURS: i64 = 22;
const STEP_MS: i64 = 119_000;
const SERIES: u64 = 6372;
const QUERY: &str = "sum by (job) (rate(x_total[5m]))";

/// Series whose chunks are sent to whoever asks.
#[derive(Debug)]
struct Lists(Vec<(Labels, Vec<AggrChunk>)>);

#[async_trait::async_trait]
impl StoreSource for Lists {
    async fn select(&self, _: SelectRequest, _: SelectOptions) -> Result<SeriesStream, SourceFailure> {
        let series = self.0.clone();
        let items = series
            .into_iter()
            .map(|(labels, chunks)| Ok(SeriesItem::Series(labels, chunks)));
        Ok(futures::stream::iter(items).boxed())
    }

    async fn label_names(&self, _: SelectRequest, _: SelectOptions) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }

    async fn label_values(
        &self,
        _: &str,
        _: SelectRequest,
        _: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        Ok(Names::default())
    }
}

/// A counter that grows by a little that differs from scrape to scrape, and resets once; some scrapes are missing.
fn chunks(number: u64, shift_ms: i64) -> Vec<RawChunk> {
    let samples = HOURS * HOUR_MS / SCRAPE_MS;
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = (number % 1000) as f64;
    let mut out = Vec::new();
    let mut sample = 0;
    while sample < samples {
        let mut appender = XorAppender::new();
        let (mut first, mut last, mut count) = (None, 0, 0);
        while sample < samples && count < 120 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value += (state % 50) as f64;
            if sample == samples / 2 {
                value = 0.0;
            }
            last = START_MS + sample * SCRAPE_MS + shift_ms + (state % 8) as i64;
            sample += 1;
            if shift_ms > 0 && state.is_multiple_of(50) {
                continue;
            }
            appender.append(last, value).unwrap();
            first.get_or_insert(last);
            count += 1;
        }
        let Some(first) = first else { break };
        out.push(RawChunk {
            mint: first,
            maxt: last,
            encoding: Encoding::Xor,
            data: appender.finish().into(),
        });
    }
    out
}

fn labels(number: u64) -> Labels {
    let (job, pod) = (format!("job-{}", number % 36), format!("pod-{number}"));
    Labels::from_pairs([("__name__", "x_total"), ("job", &job), ("pod", &pod)]).unwrap()
}

fn lists(shifts_ms: &[i64]) -> Lists {
    let mut series: Vec<(Labels, Vec<AggrChunk>)> = (0..SERIES)
        .map(|number| {
            let mut all: Vec<RawChunk> = shifts_ms
                .iter()
                .flat_map(|shift| chunks(number, *shift))
                .collect();
            all.sort_by_key(|chunk| (chunk.mint, chunk.maxt));
            let sent = all.into_iter().map(|chunk| AggrChunk {
                min_time: chunk.mint,
                max_time: chunk.maxt,
                raw: Some(Chunk {
                    data: chunk.data.to_vec().into(),
                    ..Chunk::default()
                }),
                ..AggrChunk::default()
            });
            (labels(number), sent.collect())
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    Lists(series)
}

/// The time that all threads of this process have run, to ten milliseconds.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn report(name: &str, mut run: impl FnMut() -> String) {
    let (mut best, mut best_cpu, mut note) = (Duration::MAX, Duration::MAX, String::new());
    for _ in 0..3 {
        let (start, cpu) = (Instant::now(), cpu_time());
        note = run();
        best = best.min(start.elapsed());
        best_cpu = best_cpu.min(cpu_time() - cpu);
    }
    let (ms, cpu_ms) = (best.as_secs_f64() * 1e3, best_cpu.as_secs_f64() * 1e3);
    println!("{name:24} {ms:8.1} ms  {cpu_ms:8.1} ms of CPU  {note}");
}

fn evaluator_alone(threads: usize) -> String {
    thread_local! {
        static STORAGE: MemoryStorage = {
            let mut storage = MemoryStorage::new();
            for number in 0..SERIES {
                storage.insert(labels(number), MemorySamples::Chunks(chunks(number, 0).into()));
            }
            storage
        };
    }
    let options = EvalOptions {
        threads,
        ..EvalOptions::default()
    };
    STORAGE.with(|storage| {
        let end = START_MS + HOURS * HOUR_MS;
        let result = query_range(storage, QUERY, START_MS, end, STEP_MS, &options).unwrap();
        match result.value {
            Value::Matrix(series) => format!("{} series out", series.len()),
            _ => String::new(),
        }
    })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    println!("{QUERY}: {SERIES} series, {HOURS} h, {threads} threads");
    evaluator_alone(threads);
    report("the evaluator alone", || evaluator_alone(threads));
    for (name, shifts_ms) in [("one replica", &[0][..]), ("two replicas", &[0, 6700])] {
        let config = EngineConfig {
            replica_labels: vec!["replica".to_owned()],
            ..EngineConfig::default()
        };
        let engine = Engine::new(Arc::new(lists(shifts_ms)), config);
        let request = QueryRequest {
            expression: QUERY.to_owned(),
            times: QueryTimes::Range {
                start_ms: START_MS,
                end_ms: START_MS + HOURS * HOUR_MS,
                step_ms: STEP_MS,
            },
            lookback_delta_ms: None,
            max_source_resolution: None,
            limit: 0,
            wants_times: std::env::var_os("TIMES").is_some(),
            context: RequestContext {
                dedup: true,
                ..RequestContext::default()
            },
        };
        report(name, || {
            let statistics = runtime.block_on(engine.query(&request)).unwrap().statistics;
            format!(
                "{} samples, waited {} ms, decoded {} ms, peak {:.1} MiB",
                statistics.samples,
                statistics.fan_out_us / 1000,
                statistics.decode_us / 1000,
                statistics.peak_bytes as f64 / f64::from(1 << 20)
            )
        });
    }
}
