//! The rows of the compactor: compaction, deduplication of replicas by penalty, downsampling.
//!
//! Each contender runs `compact --wait` on a bucket of files of its own until its first iteration is done. CPU time and
//! memory are those of the process then; requests and bytes are what it says itself at `/metrics`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::{
    Contender, data,
    process::{PeakAnon, cpu_seconds, status_mb},
};

/// Which row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Eight blocks of 2 h into two of 8 h.
    Compaction,
    /// Two replicas, four blocks of 2 h each.
    Penalty,
    /// A block of 48 h.
    Downsampling,
    /// Four blocks of 2 h whose series have few samples, into one of 8 h: for memory by the number of series.
    Sparse,
}

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) work: PathBuf,
    pub(crate) pods: u32,
    pub(crate) row: Row,
}

impl Row {
    pub(crate) const NAMES: [&'static str; 4] = ["compaction", "penalty", "downsampling", "sparse"];

    /// The row called `name`.
    pub(crate) fn named(name: &str) -> Option<Row> {
        match name {
            "compaction" => Some(Row::Compaction),
            "penalty" => Some(Row::Penalty),
            "downsampling" => Some(Row::Downsampling),
            "sparse" => Some(Row::Sparse),
            _ => None,
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Row::Compaction | Row::Sparse => &["--downsampling.disable"],
            Row::Penalty => &[
                "--deduplication.replica-label=prometheus_replica",
                "--deduplication.func=penalty",
                "--compact.enable-vertical-compaction",
                "--downsampling.disable",
            ],
            Row::Downsampling => &[],
        }
    }

    fn data(self, work: &Path, pods: u32) -> Result<PathBuf> {
        match self {
            Row::Compaction => data::two_hours(work, pods, 9),
            Row::Penalty => data::replicas(work, pods, 4),
            Row::Downsampling => data::two_days(work, pods),
            Row::Sparse => data::sparse(work, pods, 5),
        }
    }
}

/// Measures every contender on the same blocks.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let blocks = plan.row.data(&plan.work, plan.pods)?;
    let (samples, size_bytes) = held(&blocks)?;
    println!("{:?}: {samples} samples in {} MB", plan.row, size_bytes >> 20);
    for contender in &plan.contenders {
        measure(plan, contender, &blocks, samples).await?;
    }
    Ok(())
}

/// Samples and bytes of the blocks in a folder.
fn held(blocks: &Path) -> Result<(u64, u64)> {
    let (mut samples, mut size_bytes) = (0, 0);
    for entry in fs::read_dir(blocks)? {
        let dir = entry?.path();
        let meta = sabre_tsdb::meta::BlockMeta::parse(&fs::read(dir.join("meta.json"))?)?;
        samples += meta.stats.num_samples;
        size_bytes += fs::metadata(dir.join("index"))?.len();
        for segment in fs::read_dir(dir.join("chunks"))? {
            size_bytes += segment?.metadata()?.len();
        }
    }
    Ok((samples, size_bytes))
}

async fn measure(plan: &Plan, contender: &Contender, blocks: &Path, samples: u64) -> Result<()> {
    let bucket = plan.work.join(format!("bucket-{}", contender.name));
    let data_dir = plan.work.join(format!("data-{}", contender.name));
    for dir in [&bucket, &data_dir] {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir)?;
    }
    link(blocks, &bucket)?;
    let source_bytes = size_of(&bucket);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = format!("type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.display());
    let started = Instant::now();
    let mut process = Command::new(&contender.binary)
        .arg("compact")
        .arg("--wait")
        .arg("--wait-interval=1h")
        .arg("--compact.cleanup-interval=0s")
        .arg("--compact.progress-interval=0s")
        .arg("--consistency-delay=0s")
        .arg(format!("--data-dir={}", data_dir.display()))
        .arg(format!("--objstore.config={config}"))
        .arg(format!("--http-address=127.0.0.1:{port}"))
        .args(plan.row.arguments())
        .stdout(Stdio::null())
        .stderr(fs::File::create(
            plan.work.join(format!("log-{}", contender.name)),
        )?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", contender.binary.display()))?;
    let pid = process.id().context("the process ended at once")?;
    let anon = PeakAnon::of(pid);
    let (metrics, disk_bytes) = until_done(&mut process, port, &data_dir).await?;
    let halted = sum(&metrics, "thanos_compact_halted", "") > 0.0;
    if halted || !has_new_block(&bucket, blocks)? {
        let log = plan.work.join(format!("log-{}", contender.name));
        bail!("{} did not do its work: see {}", contender.name, log.display());
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds(pid));
    let figure = |name: &str| sum(&metrics, name, "");
    let operation = |name: &str| {
        sum(
            &metrics,
            "thanos_objstore_bucket_operations_total",
            &format!("operation=\"{name}\""),
        )
    };
    println!(
        "{}\t{:?}\twall_s={wall:.2} cpu_s={cpu:.2} ns_per_sample={:.1} hwm_mb={:.0} anon_peak_mb={:.0} disk_mb={:.1} \
         read_mb={:.0} written_mb={:.0} get={} get_range={} upload={} iter={} blocks={}",
        contender.name,
        plan.row,
        cpu * 1e9 / samples.max(1) as f64,
        status_mb(pid, "VmHWM"),
        anon.mb(),
        disk_bytes as f64 / 1e6,
        figure("thanos_objstore_bucket_operation_fetched_bytes_total") / 1e6,
        // Nothing is deleted yet: marks have two days.
        size_of(&bucket).saturating_sub(source_bytes) as f64 / 1e6,
        operation("get"),
        operation("get_range"),
        operation("upload"),
        operation("iter"),
        fs::read_dir(&bucket)?.count(),
    );
    process.kill().await?;
    Ok(())
}

/// The metric that says that all is done.
const DONE: &str = "thanos_compact_iterations_total";

/// Waits for the row's work; returns the last metrics and the most bytes that lay in the data folder.
async fn until_done(process: &mut Child, port: u16, data_dir: &Path) -> Result<(String, u64)> {
    let mut most = 0;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("the process ended with {status}");
        }
        most = most.max(size_of(data_dir));
        if let Some(metrics) = scrape(port).await
            && sum(&metrics, DONE, "") >= 1.0
        {
            return Ok((metrics, most));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads `/metrics` with what the standard library has.
async fn scrape(port: u16) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The sum of a metric over the lines whose labels contain `labels`.
fn sum(metrics: &str, name: &str, labels: &str) -> f64 {
    let lines = metrics.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let mut total = 0;
    for entry in entries.flatten() {
        let Ok(kind) = entry.metadata() else { continue };
        total += if kind.is_dir() {
            size_of(&entry.path())
        } else {
            kind.len()
        };
    }
    total
}

/// Whether a bucket has a block that was not among those it began with.
fn has_new_block(bucket: &Path, blocks: &Path) -> Result<bool> {
    for entry in fs::read_dir(bucket)? {
        let entry = entry?;
        let is_block = entry.path().join("meta.json").exists();
        if is_block && !blocks.join(entry.file_name()).exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A copy of the blocks by hard links: nobody writes into a block.
fn link(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            link(&entry.path(), &target)?;
        } else {
            fs::hard_link(entry.path(), &target)?;
        }
    }
    Ok(())
}
