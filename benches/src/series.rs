//! Series over gRPC: what a querier does all day.

mod bare;
mod watch;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, label_matcher};
use tokio::process::{Child, Command};

use self::watch::Watch;
use crate::{
    Contender,
    bucket::{Kind, Served},
    caller::{self, Call},
    data,
    process::{PeakAnon, cpu_seconds, status_mb},
};

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) work: PathBuf,
    pub(crate) pods: u32,
    pub(crate) frame_bytes: u32,
    /// Only rows whose name has this in it, and no account of memory.
    pub(crate) row: Option<String>,
}

/// One row: what is asked, how often, by how many at once.
struct Row {
    name: &'static str,
    matcher: (label_matcher::Type, &'static str),
    skip_chunks: bool,
    calls: u32,
    callers: u32,
}

const ROWS: [Row; 4] = [
    Row {
        name: "large answer",
        matcher: (label_matcher::Type::Re, "container_.*"),
        skip_chunks: false,
        calls: 6,
        callers: 1,
    },
    Row {
        name: "large answer, 4 callers",
        matcher: (label_matcher::Type::Re, "container_.*"),
        skip_chunks: false,
        calls: 4,
        callers: 4,
    },
    Row {
        name: "small answer",
        matcher: (label_matcher::Type::Eq, "up"),
        skip_chunks: false,
        calls: 30,
        callers: 1,
    },
    Row {
        name: "labels only",
        matcher: (label_matcher::Type::Eq, "http_requests_total"),
        skip_chunks: true,
        calls: 15,
        callers: 1,
    },
];

/// A store gateway that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) grpc: String,
    http: String,
}

pub(crate) async fn run(plan: &Plan, kind: Kind, versitygw: &Path) -> Result<()> {
    let day = data::day(&plan.work, plan.pods)?;
    let bucket = kind.serve(&plan.work, &day, versitygw).await?;
    for contender in &plan.contenders {
        let is_wanted = |row: &&Row| plan.row.as_deref().is_none_or(|part| row.name.contains(part));
        for row in ROWS.iter().filter(is_wanted) {
            measure(plan, contender, &bucket, row).await?;
        }
    }
    if kind != Kind::Filesystem || plan.row.is_some() {
        return Ok(());
    }
    let doubled = data::doubled(&plan.work, &day)?;
    for contender in &plan.contenders {
        memory(plan, contender, &doubled).await?;
    }
    Ok(())
}

/// A fresh process for each row: its memory is that of the row alone.
async fn measure(plan: &Plan, contender: &Contender, bucket: &Served, row: &Row) -> Result<()> {
    let running = start_on(plan, contender, &bucket.config).await?;
    let request = request(row.matcher, row.skip_chunks);
    let mut watch = Watch::start(&running.http, bucket).await?;
    // The first call warms what is cached, as in a gateway that has run for a while.
    let warm_up = caller::connect(&running.grpc, plan.frame_bytes).await?;
    let began = Instant::now();
    let cold = caller::call(&warm_up, &request).await?;
    let title = format!("{}\t{}", contender.name, row.name);
    watch.report(&format!("{title}, cold"), &cold, began).await?;
    let warm_began = Instant::now();
    let mut watch = Watch::start(&running.http, bucket).await?;
    let warm = caller::call(&warm_up, &request).await?;
    watch.report(&format!("{title}, warm"), &warm, warm_began).await?;
    bare::compare(&title, bucket, watch.requests(), (&warm_up, &request)).await?;
    let peak = PeakAnon::of(running.pid);
    let (cpu_before, start) = (cpu_seconds(running.pid), Instant::now());
    let mut callers = Vec::new();
    for _ in 0..row.callers {
        let (channel, request, calls) = (
            caller::connect(&running.grpc, plan.frame_bytes).await?,
            request.clone(),
            row.calls,
        );
        callers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for _ in 0..calls {
                done.push(caller::call(&channel, &request).await?);
            }
            anyhow::Ok(done)
        }));
    }
    let mut calls: Vec<Call> = Vec::new();
    for caller in callers {
        calls.extend(caller.await??);
    }
    let (wall, cpu) = (
        start.elapsed().as_secs_f64(),
        cpu_seconds(running.pid) - cpu_before,
    );
    let bytes: u64 = calls.iter().map(|call| call.bytes).sum();
    calls.sort_by_key(|call| call.took);
    let median = calls.get(calls.len() / 2).copied().unwrap_or_default();
    let mut firsts: Vec<Duration> = calls.iter().map(|call| call.first_frame).collect();
    firsts.sort();
    println!(
        "{}\t{}\t{:.1} ms a call, first frame {:.1} ms, {} messages, {:.1} MB, {:.0} MB/s together, {:.1} CPU ms a call, {:.2} CPU s/GB, HWM {:.0} MB, anon {:.0} MB",
        contender.name,
        row.name,
        median.took.as_secs_f64() * 1e3,
        firsts
            .get(firsts.len() / 2)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3,
        median.messages,
        median.bytes as f64 / 1e6,
        bytes as f64 / wall / 1e6,
        cpu * 1e3 / calls.len() as f64,
        cpu / (bytes as f64 / 1e9),
        status_mb(running.pid, "VmHWM"),
        peak.mb(),
    );
    stop(running).await
}

/// Peak memory against the size of the answer.
async fn memory(plan: &Plan, contender: &Contender, bucket: &Path) -> Result<()> {
    for (name, value) in [
        ("5 MB and more", "up"),
        ("a third", "container_.*"),
        ("everything", ".+"),
    ] {
        let running = start(plan, contender, bucket).await?;
        let channel = caller::connect(&running.grpc, plan.frame_bytes).await?;
        let peak = PeakAnon::of(running.pid);
        let answer = caller::call(&channel, &request((label_matcher::Type::Re, value), false)).await?;
        println!(
            "{}\tmemory, {name}\tanswer {:.0} MB, {:.2} s, HWM {:.0} MB, anon {:.0} MB",
            contender.name,
            answer.bytes as f64 / 1e6,
            answer.took.as_secs_f64(),
            status_mb(running.pid, "VmHWM"),
            peak.mb(),
        );
        drop(peak);
        stop(running).await?;
    }
    Ok(())
}

fn request((kind, value): (label_matcher::Type, &str), skip_chunks: bool) -> SeriesRequest {
    let matcher = LabelMatcher {
        r#type: kind as i32,
        name: "__name__".to_string(),
        value: value.to_string(),
    };
    SeriesRequest {
        min_time: 0,
        max_time: i64::MAX / 2,
        matchers: vec![matcher],
        skip_chunks,
        ..SeriesRequest::default()
    }
}

/// Starts a store gateway on the blocks of a folder.
pub(crate) async fn start(plan: &Plan, contender: &Contender, bucket: &Path) -> Result<Running> {
    start_on(plan, contender, &Served::folder(bucket)?.config).await
}

async fn start_on(plan: &Plan, contender: &Contender, config: &str) -> Result<Running> {
    let data_dir = plan.work.join("store-data");
    let _ = fs::remove_dir_all(&data_dir);
    let (grpc, http) = (free_address()?, free_address()?);
    let log = fs::File::create(plan.work.join(format!("{}.log", contender.name)))?;
    let child = Command::new(&contender.binary)
        .arg("store")
        .arg(format!("--data-dir={}", data_dir.display()))
        .arg(format!("--objstore.config={config}"))
        .arg(format!("--grpc-address={grpc}"))
        .arg(format!("--http-address={http}"))
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", contender.binary.display()))?;
    let pid = child.id().context("the process ended at once")?;
    let running = Running {
        child,
        pid,
        grpc,
        http,
    };
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if ready(&running.http).await {
            return Ok(running);
        }
    }
    bail!(
        "{} did not become ready, its log is in {}",
        contender.name,
        plan.work.display()
    )
}

/// `GET /-/ready`, by hand: the one HTTP call does not deserve a client.
pub(crate) async fn ready(address: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else {
        return false;
    };
    if stream
        .write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .is_err()
    {
        return false;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer.starts_with(b"HTTP/1.1 200")
}

pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

pub(crate) async fn stop(mut running: Running) -> Result<()> {
    running.child.kill().await?;
    Ok(())
}
