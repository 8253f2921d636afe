//! What a sidecar takes that has nothing to do: one stands beside every Prometheus, day and night.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    Contender,
    process::{PeakAnon, cpu_seconds, status_mb},
};

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) prometheus: PathBuf,
    pub(crate) work: PathBuf,
    /// How long each is watched, once it is ready.
    pub(crate) watch: Duration,
}

/// Starts a Prometheus that scrapes itself, and each sidecar in turn beside it.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    fs::create_dir_all(&plan.work)?;
    let address = free_address()?;
    let _prometheus = prometheus(plan, &address).await?;
    for contender in &plan.contenders {
        measure(plan, contender, &address).await?;
    }
    Ok(())
}

async fn prometheus(plan: &Plan, address: &str) -> Result<Child> {
    let config = plan.work.join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 5s\n  external_labels: {{cluster: x}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: [\"{address}\"]}}]\n"
    );
    fs::write(&config, text)?;
    let child = Command::new(&plan.prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data_dir(plan).display()))
        .args([
            "--storage.tsdb.min-block-duration=2h",
            "--storage.tsdb.max-block-duration=2h",
        ])
        .arg(format!("--web.listen-address={address}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", plan.prometheus.display()))?;
    ready(address, "prometheus").await?;
    Ok(child)
}

async fn measure(plan: &Plan, contender: &Contender, prometheus: &str) -> Result<()> {
    let (http, grpc) = (free_address()?, free_address()?);
    let (bucket, config) = (plan.work.join("bucket"), plan.work.join("bucket.yml"));
    fs::create_dir_all(&bucket)?;
    fs::write(
        &config,
        format!("type: FILESYSTEM\nconfig: {{directory: {}}}\n", bucket.display()),
    )?;
    let log = fs::File::create(plan.work.join(format!("{}.log", contender.name)))?;
    let child = Command::new(&contender.binary)
        .arg("sidecar")
        .arg(format!("--tsdb.path={}", data_dir(plan).display()))
        .arg(format!("--prometheus.url=http://{prometheus}"))
        .arg(format!("--objstore.config-file={}", config.display()))
        .arg(format!("--http-address={http}"))
        .arg(format!("--grpc-address={grpc}"))
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", contender.binary.display()))?;
    let pid = child.id().context("the sidecar ended at once")?;
    let peak = PeakAnon::of(pid);
    ready(&http, &contender.name).await?;
    let cpu_before = cpu_seconds(pid);
    tokio::time::sleep(plan.watch).await;
    println!(
        "{}: sidecar, idle for {} s: VmHWM {:.1} MB, VmRSS {:.1} MB, RssAnon {:.1} MB (at most {:.1} MB), threads {}, {:.1} CPU ms/min",
        contender.name,
        plan.watch.as_secs(),
        status_mb(pid, "VmHWM"),
        status_mb(pid, "VmRSS"),
        status_mb(pid, "RssAnon"),
        peak.mb(),
        threads(pid),
        (cpu_seconds(pid) - cpu_before) * 60_000.0 / plan.watch.as_secs_f64(),
    );
    Ok(())
}

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

fn data_dir(plan: &Plan) -> PathBuf {
    plan.work.join("data")
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn ready(address: &str, name: &str) -> Result<()> {
    for _ in 0..600 {
        if answers_ready(address).await.unwrap_or(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{name} did not become ready within a minute; its log is in the folder of --work")
}

async fn answers_ready(address: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /-/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
