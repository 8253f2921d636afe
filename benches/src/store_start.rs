//! How a store gateway starts on a bucket of many blocks: from nothing, and from what it keeps on disk.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::{
    Contender, data,
    process::{cpu_seconds, status_mb},
};

/// The longest start that is waited for.
const PATIENCE: Duration = Duration::from_secs(900);

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) work: PathBuf,
    /// How many blocks the bucket has.
    pub(crate) blocks: u32,
}

/// Starts each store twice, without and with a data directory of its own from before.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let bucket = data::tiny(&plan.work, plan.blocks)?;
    for contender in &plan.contenders {
        let data_dir = plan.work.join(format!("start-{}", contender.name));
        let _ = fs::remove_dir_all(&data_dir);
        for what in ["from nothing", "from disk"] {
            measure(plan, contender, (&bucket, &data_dir), what).await?;
        }
    }
    Ok(())
}

async fn measure(
    plan: &Plan,
    contender: &Contender,
    (bucket, data_dir): (&Path, &Path),
    what: &str,
) -> Result<()> {
    let config = format!(
        "type: FILESYSTEM\nconfig:\n  directory: {}\n",
        bucket.canonicalize()?.display()
    );
    let (grpc, http) = (free_address()?, free_address()?);
    let log = fs::File::create(plan.work.join(format!("{}.log", contender.name)))?;
    let started = Instant::now();
    let mut child = Command::new(&contender.binary)
        .arg("store")
        .arg(format!("--data-dir={}", data_dir.display()))
        .arg(format!("--objstore.config={config}"))
        .arg(format!("--grpc-address={grpc}"))
        .arg(format!("--http-address={http}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", contender.binary.display()))?;
    let pid = child.id().context("the process ended at once")?;
    while !get(&http, "/-/ready")
        .await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    {
        if started.elapsed() > PATIENCE {
            bail!(
                "{} did not become ready, its log is in {}",
                contender.name,
                plan.work.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    let metrics = get(&http, "/metrics").await?;
    let requests = requests(&metrics);
    let loaded = value(&metrics, "thanos_bucket_store_blocks_loaded ").unwrap_or_default();
    println!(
        "{}\tstart {what}\tready in {:.2} s, {:.2} CPU s, {loaded} blocks, {} requests ({}), HWM {:.0} MB",
        contender.name,
        took.as_secs_f64(),
        cpu_seconds(pid),
        requests.values().sum::<f64>(),
        requests
            .iter()
            .map(|(operation, count)| format!("{operation} {count}"))
            .collect::<Vec<_>>()
            .join(", "),
        status_mb(pid, "VmHWM"),
    );
    child.kill().await?;
    Ok(())
}

/// Operations on the bucket that were made, by name.
fn requests(metrics: &str) -> BTreeMap<String, f64> {
    let mut requests = BTreeMap::new();
    for line in metrics
        .lines()
        .filter(|line| line.starts_with("thanos_objstore_bucket_operations_total{"))
    {
        let operation = line
            .split("operation=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<f64>().ok());
        if let (Some(operation), Some(count)) = (operation, count)
            && count > 0.0
        {
            *requests.entry(operation.to_owned()).or_default() += count;
        }
    }
    requests
}

fn value(metrics: &str, start: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A whole answer, by hand: two calls do not deserve a client.
async fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
