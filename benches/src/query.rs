//! PromQL over HTTP from a querier before a store gateway: what a dashboard does all day.

mod month;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{
    Contender, data,
    process::{PeakAnon, cpu_seconds, status_mb},
    series::{self, free_address, ready},
};

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) work: PathBuf,
    pub(crate) pods: u32,
}

/// One row: what is asked, and by how many at once.
struct Row {
    name: &'static str,
    query: &'static str,
    /// Seconds between evaluations; none for an instant query.
    step_s: Option<i64>,
    calls: usize,
    callers: usize,
    data: Data,
}

/// What is in the bucket.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    /// A day of one replica.
    Day,
    /// Eight hours of one replica.
    Replica,
    /// The same with a second replica, scraped at other moments and with gaps.
    TwoReplicas,
    /// Two hours of one counter of 25 times as many pods: 120,000 series of 400 pods.
    Wide,
    /// Thirty days downsampled to an hour.
    Month,
}

/// The data begins at 2026-01-01; the first hour is left to what ranges look back to.
const START_S: i64 = 1_767_225_600 + 3_600;
/// 667 steps of two minutes.
const RANGE_S: i64 = 666 * 120;

/// Each bucket of the rows once.
const DATA: [Data; 5] = [
    Data::Day,
    Data::Replica,
    Data::TwoReplicas,
    Data::Wide,
    Data::Month,
];

const ROWS: [Row; 12] = [
    Row::range("rate by job", "sum by (job) (rate(http_requests_total[5m]))"),
    Row::range(
        "classic histogram_quantile",
        "histogram_quantile(0.99, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    Row::range("sum of native histograms", "sum(rate(rpc_duration_seconds[5m]))"),
    Row {
        calls: 2,
        ..Row::range("count of everything", "count by (__name__) ({__name__=~\".+\"})")
    },
    Row {
        step_s: None,
        calls: 30,
        ..Row::range("instant count(up)", "count(up)")
    },
    Row::range("topk", "topk(10, rate(http_requests_total[5m]))"),
    Row {
        calls: 2,
        callers: 10,
        ..Row::range("ten callers", "sum by (job) (rate(up[5m]))")
    },
    Row {
        step_s: Some(3600),
        ..Row::range(
            "a day of one-hour rates",
            "sum by (namespace) (rate(container_cpu_usage_seconds_total[1h]))",
        )
    },
    Row {
        data: Data::Replica,
        ..Row::range("one replica, 7 h", "sum by (job) (rate(http_requests_total[5m]))")
    },
    Row {
        data: Data::TwoReplicas,
        ..Row::range(
            "two replicas, 7 h",
            "sum by (job) (rate(http_requests_total[5m]))",
        )
    },
    Row {
        data: Data::Wide,
        step_s: Some(60),
        calls: 2,
        ..Row::range(
            "rate of 120,000 series over 1 h",
            "sum(rate(http_requests_total[5m]))",
        )
    },
    Row {
        data: Data::Month,
        step_s: Some(3600),
        ..Row::range(
            "30 days at 1 h resolution",
            "sum by (job) (rate(http_requests_total[3h]))",
        )
    },
];

impl Data {
    fn make(self, plan: &Plan) -> Result<PathBuf> {
        match self {
            Data::Day => data::day(&plan.work, plan.pods),
            Data::Replica => data::two_hours(&plan.work, plan.pods, 4),
            Data::TwoReplicas => data::replicas(&plan.work, plan.pods, 4),
            Data::Wide => data::wide(&plan.work, plan.pods * 25),
            Data::Month => month::make(&plan.work, plan.pods),
        }
    }

    /// How many seconds the ranges of queries are long.
    fn range_s(self) -> i64 {
        match self {
            Data::Day => RANGE_S,
            Data::Replica | Data::TwoReplicas => 7 * 3600,
            // The last hour is left to the range that ends with the data.
            Data::Wide => 3600 - 60,
            Data::Month => 30 * 86_400 - 2 * 3600,
        }
    }
}

impl Row {
    const fn range(name: &'static str, query: &'static str) -> Self {
        Self {
            name,
            query,
            step_s: Some(120),
            calls: 3,
            callers: 1,
            data: Data::Day,
        }
    }

    fn path(&self) -> String {
        let query: String = self.query.bytes().map(escaped).collect();
        let end_s = START_S + self.data.range_s();
        let resolution = if self.data == Data::Month {
            "&max_source_resolution=1h"
        } else {
            ""
        };
        match self.step_s {
            None => format!("/api/v1/query?query={query}&time={end_s}"),
            Some(step_s) => format!(
                "/api/v1/query_range?query={query}&start={START_S}&end={end_s}&step={step_s}{resolution}"
            ),
        }
    }
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"_.-".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// A store gateway and the querier before it, new for each row: their memory is that of the row.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    for data in DATA {
        let bucket = data.make(plan)?;
        for contender in &plan.contenders {
            for row in ROWS.iter().filter(|row| row.data == data) {
                measure(plan, contender, &bucket, row).await?;
            }
        }
    }
    Ok(())
}

async fn measure(plan: &Plan, contender: &Contender, bucket: &Path, row: &Row) -> Result<()> {
    let store_plan = series::Plan {
        contenders: Vec::new(),
        work: plan.work.clone(),
        pods: plan.pods,
        frame_bytes: 0,
        row: None,
    };
    let store = series::start(&store_plan, contender, bucket).await?;
    let (http, mut querier) = start_querier(plan, contender, &store.grpc).await?;
    let pid = querier.id().context("the querier ended at once")?;
    let path = row.path();
    // One call warms what is cached, as with processes that have run for a while.
    get(&http, &path).await?;
    let peaks = (PeakAnon::of(store.pid), PeakAnon::of(pid));
    let cpu_before = (cpu_seconds(store.pid), cpu_seconds(pid));
    let mut callers = Vec::new();
    for _ in 0..row.callers {
        let (http, path, calls) = (http.clone(), path.clone(), row.calls);
        callers.push(tokio::spawn(async move {
            let mut took = Vec::new();
            for _ in 0..calls {
                let start = Instant::now();
                let bytes = get(&http, &path).await?;
                took.push((start.elapsed(), bytes));
            }
            anyhow::Ok(took)
        }));
    }
    let mut calls: Vec<(Duration, usize)> = Vec::new();
    for caller in callers {
        calls.extend(caller.await??);
    }
    calls.sort();
    let count = calls.len().max(1) as f64;
    let (median, bytes) = calls.get(calls.len() / 2).copied().unwrap_or_default();
    println!(
        "{}\t{}\t{:.1} ms a call, answer {:.1} KB, CPU ms a call: store {:.1}, querier {:.1}; HWM / anon: store {:.0} / {:.0} MB, querier {:.0} / {:.0} MB",
        contender.name,
        row.name,
        median.as_secs_f64() * 1e3,
        bytes as f64 / 1e3,
        (cpu_seconds(store.pid) - cpu_before.0) * 1e3 / count,
        (cpu_seconds(pid) - cpu_before.1) * 1e3 / count,
        status_mb(store.pid, "VmHWM"),
        peaks.0.mb(),
        status_mb(pid, "VmHWM"),
        peaks.1.mb(),
    );
    if let Some(breakdown) = breakdown(&http, &path).await? {
        println!("\t\t{breakdown}");
    }
    querier.kill().await?;
    series::stop(store).await
}

async fn start_querier(plan: &Plan, contender: &Contender, endpoint: &str) -> Result<(String, Child)> {
    let (grpc, http) = (free_address()?, free_address()?);
    let log = fs::File::create(plan.work.join(format!("{}-query.log", contender.name)))?;
    let child = Command::new(&contender.binary)
        .arg("query")
        .arg(format!("--endpoint={endpoint}"))
        .arg(format!("--grpc-address={grpc}"))
        .arg(format!("--http-address={http}"))
        .arg("--query.replica-label=prometheus_replica")
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", contender.binary.display()))?;
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if ready(&http).await && knows_store(&http, endpoint).await {
            return Ok((http, child));
        }
    }
    bail!("the querier of {} does not get to know its store", contender.name)
}

async fn knows_store(http: &str, endpoint: &str) -> bool {
    let Ok(body) = request(http, "/api/v1/stores").await else {
        return false;
    };
    let text = String::from_utf8_lossy(&body);
    text.contains(endpoint) && text.contains("\"minTime\":1767")
}

/// `GET`; how many bytes came.
async fn get(http: &str, path: &str) -> Result<usize> {
    let body = request(http, path).await?;
    ensure!(
        body.windows(18).any(|text| text == b"\"status\":\"success\""),
        "{path}: {}",
        String::from_utf8_lossy(body.get(..500).unwrap_or(&body))
    );
    Ok(body.len())
}

/// What a call says of where its time went, if it says so.
async fn breakdown(http: &str, path: &str) -> Result<Option<String>> {
    let body = request(http, &format!("{path}&stats=all")).await?;
    let text = String::from_utf8_lossy(&body);
    let stats = text.rfind("\"stats\":").and_then(|at| text.get(at..));
    Ok(stats.map(|stats| stats.trim().chars().take(1000).collect()))
}

async fn request(http: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(http).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
