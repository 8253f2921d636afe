//! The data of the benchmarks: Kubernetes-like series, written with the project's own writers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sabre_block::local_writer::LocalBlockWriter;
use sabre_model::{BlockId, Labels};
use sabre_tsdb::{
    chunk::{ChunkEncoder, Sample, Value},
    histogram::{CounterResetHint, Histogram, Layout, Span},
    meta::{BlockMeta, Compaction, ThanosMeta},
};

const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 15_000;
/// Step of series that have a single small chunk in a block of 2 h.
const SPARSE_STEP_MS: i64 = 600_000;

/// 2026-01-01T00:00:00Z, which two hours and eight hours divide.
const START_MS: i64 = 1_767_225_600_000;

/// Pods replaced within a block.
const CHURN: f64 = 0.05;

#[derive(Clone)]
struct Series {
    labels: Labels,
    kind: Kind,
    value: f64,
    counts: [i64; 12],
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Flag,
    Native,
}

/// How blocks are made up.
struct Recipe<'a> {
    /// Name of their folder.
    name: String,
    pods: u32,
    /// Hours of each block.
    hours: &'a [i64],
    replica: &'a str,
    /// Share of scrapes that are missing.
    gaps: f64,
    /// Milliseconds by which scrapes are later than those of the other replica.
    late_ms: i64,
    step_ms: i64,
    /// The name of the only metric, if there is to be one.
    only: Option<&'a str>,
}

/// Two blocks of 8 h and four of 2 h, 24 h in all, below `work`; made only if they are not there.
pub(crate) fn day(work: &Path, pods: u32) -> Result<PathBuf> {
    make(
        work,
        &Recipe::of(format!("day-{pods}"), pods, &[8, 8, 2, 2, 2, 2]),
    )
}

/// So many blocks of 2 h with two series of four samples each, one after the other in time.
pub(crate) fn tiny(work: &Path, count: u32) -> Result<PathBuf> {
    let dir = work.join(format!("tiny-{count}"));
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = work.join(format!("tiny-{count}.tmp"));
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    println!("making {count} tiny blocks");
    for number in 0..count {
        let mint = START_MS + i64::from(number) * 2 * HOUR_MS;
        write_tiny(&unfinished, mint, number)?;
    }
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

fn write_tiny(parent: &Path, mint: i64, number: u32) -> Result<()> {
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&number.to_be_bytes());
    let id = BlockId::from_parts(u64::try_from(mint + 2 * HOUR_MS)?, entropy);
    let all = ["0", "1"].map(|target| Labels::from_pairs([("__name__", "up"), ("instance", target)]));
    let texts = ["__name__", "up", "instance", "0", "1"];
    let mut writer = LocalBlockWriter::create(parent, id, texts)?;
    for labels in all {
        let mut encoder = ChunkEncoder::new();
        for sample in 0..4 {
            let value = Value::Float(1.0);
            encoder.push(Sample {
                t: mint + sample * STEP_MS,
                value,
            })?;
        }
        let chunks: Vec<_> = encoder.finish().into_iter().collect();
        writer.add_series(&labels?, &chunks)?;
    }
    let meta = BlockMeta {
        min_time: mint,
        max_time: mint + 2 * HOUR_MS,
        compaction: Compaction {
            level: 1,
            sources: vec![id],
            ..Compaction::default()
        },
        version: 1,
        thanos: Some(thanos("a")),
        ..BlockMeta::default()
    };
    writer.finish(meta)?;
    Ok(())
}

/// So many blocks of 2 h.
pub(crate) fn two_hours(work: &Path, pods: u32, count: usize) -> Result<PathBuf> {
    let hours = vec![2; count];
    make(
        work,
        &Recipe::of(format!("two-hours-{pods}-{count}"), pods, &hours),
    )
}

/// So many blocks of 2 h with few samples in each series: what grows is the index.
pub(crate) fn sparse(work: &Path, pods: u32, count: usize) -> Result<PathBuf> {
    let hours = vec![2; count];
    make(
        work,
        &Recipe {
            step_ms: SPARSE_STEP_MS,
            ..Recipe::of(format!("sparse-{pods}-{count}"), pods, &hours)
        },
    )
}

/// A block of 2 h with a single counter, twelve series a pod.
pub(crate) fn wide(work: &Path, pods: u32) -> Result<PathBuf> {
    make(
        work,
        &Recipe {
            only: Some("http_requests_total"),
            ..Recipe::of(format!("wide-{pods}"), pods, &[2])
        },
    )
}

/// A block of 48 h.
pub(crate) fn two_days(work: &Path, pods: u32) -> Result<PathBuf> {
    make(work, &Recipe::of(format!("two-days-{pods}"), pods, &[48]))
}

/// So many blocks of 2 h each of two replicas that scrape the same targets at other moments, one with gaps.
pub(crate) fn replicas(work: &Path, pods: u32, count: usize) -> Result<PathBuf> {
    let hours = vec![2; count];
    let dir = work.join(format!("replicas-{pods}-{count}"));
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = work.join(format!("replicas-{pods}-{count}.tmp"));
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)?;
    for (replica, gaps, late_ms) in [("a", 0.0, 0), ("b", 0.02, 7_000)] {
        let recipe = Recipe {
            replica,
            gaps,
            late_ms,
            ..Recipe::of(format!("replica-{replica}-{pods}-{count}"), pods, &hours)
        };
        let made = make(work, &recipe)?;
        for block in fs::read_dir(&made)? {
            let block = block?;
            fs::rename(block.path(), unfinished.join(block.file_name()))?;
        }
        fs::remove_dir(&made)?;
    }
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

impl<'a> Recipe<'a> {
    fn of(name: String, pods: u32, hours: &'a [i64]) -> Self {
        Self {
            name,
            pods,
            hours,
            replica: "a",
            gaps: 0.0,
            late_ms: 0,
            step_ms: STEP_MS,
            only: None,
        }
    }

    fn series(&self, pod: u32, generation: u32) -> Vec<Series> {
        let mut all = pod_series(pod, generation);
        if let Some(only) = self.only {
            all.retain(|series| series.labels.get("__name__") == Some(only));
        }
        all
    }
}

fn make(work: &Path, recipe: &Recipe<'_>) -> Result<PathBuf> {
    let dir = work.join(&recipe.name);
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = work.join(format!("{}.tmp", recipe.name));
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    let mut rng = SmallRng::seed_from_u64(u64::from(recipe.pods));
    let mut all: Vec<Vec<Series>> = (0..recipe.pods).map(|pod| recipe.series(pod, 0)).collect();
    let mut mint = START_MS;
    for hours in recipe.hours {
        println!("making a block of {hours} h");
        let maxt = mint + hours * HOUR_MS;
        write_block(&unfinished, &mut all, (mint, maxt), recipe, &mut rng)?;
        mint = maxt;
    }
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

/// The blocks of `day`, and the same once more under another replica label: twice the answer for hard links.
pub(crate) fn doubled(work: &Path, day: &Path) -> Result<PathBuf> {
    let name = day
        .file_name()
        .and_then(|name| name.to_str())
        .context("day has a name")?;
    let dir = work.join(format!("{name}-doubled"));
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = work.join(format!("{name}-doubled.tmp"));
    let _ = fs::remove_dir_all(&unfinished);
    for (number, entry) in fs::read_dir(day)?.enumerate() {
        let from = entry?.path();
        for replica in ["a", "b"] {
            let mut meta = BlockMeta::parse(&fs::read(from.join("meta.json"))?)?;
            let id = BlockId::from_parts(
                u64::try_from(meta.max_time)?,
                [
                    u8::try_from(number)?,
                    replica.as_bytes()[0],
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                ],
            );
            meta.ulid = id;
            meta.compaction.sources = vec![id];
            let segment_files = meta.thanos.take().unwrap_or_default().segment_files;
            meta.thanos = Some(ThanosMeta {
                segment_files,
                ..thanos(replica)
            });
            let to = unfinished.join(id.to_string());
            fs::create_dir_all(to.join("chunks"))?;
            fs::hard_link(from.join("index"), to.join("index"))?;
            for segment in fs::read_dir(from.join("chunks"))? {
                let segment = segment?;
                fs::hard_link(segment.path(), to.join("chunks").join(segment.file_name()))?;
            }
            fs::write(to.join("meta.json"), meta.to_json())?;
        }
    }
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

fn thanos(replica: &str) -> ThanosMeta {
    let labels = Labels::from(std::collections::BTreeMap::from([
        ("cluster".to_string(), "eu1".to_string()),
        ("prometheus_replica".to_string(), replica.to_string()),
    ]));
    ThanosMeta {
        labels: Some(labels),
        source: "sidecar".to_string(),
        ..ThanosMeta::default()
    }
}

fn write_block(
    parent: &Path,
    pods: &mut [Vec<Series>],
    (mint, maxt): (i64, i64),
    recipe: &Recipe<'_>,
    rng: &mut SmallRng,
) -> Result<()> {
    // Which pods are replaced, when, and by what.
    let mut lives: Vec<(Series, i64, i64)> = Vec::new();
    for (pod, series) in pods.iter_mut().enumerate() {
        let cut = if rng.random::<f64>() < CHURN {
            rng.random_range(mint..maxt)
        } else {
            maxt
        };
        lives.extend(series.iter().cloned().map(|series| (series, mint, cut)));
        if cut < maxt {
            let generation = rng.random();
            *series = recipe.series(u32::try_from(pod)?, generation);
            lives.extend(series.iter().cloned().map(|series| (series, cut, maxt)));
        }
    }
    lives.sort_by(|a, b| a.0.labels.cmp(&b.0.labels));
    let labels: Vec<Labels> = lives.iter().map(|(series, ..)| series.labels.clone()).collect();
    let symbols = labels
        .iter()
        .flat_map(|labels| labels.iter())
        .flat_map(|(name, value)| [name, value]);
    // Replicas draw the same numbers, their blocks must not have the same names.
    let mut random: [u8; 10] = rng.random();
    random[0] ^= recipe.replica.as_bytes()[0];
    let id = BlockId::from_parts(u64::try_from(maxt)?, random);
    let mut writer = LocalBlockWriter::create(parent, id, symbols)?;
    for ((series, from, to), labels) in lives.iter_mut().zip(&labels) {
        let mut encoder = ChunkEncoder::new();
        let mut chunks = Vec::new();
        let offset = (i64::try_from(labels.hash() % 400)? * 37 + recipe.late_ms) % recipe.step_ms;
        for t in (*from + offset..*to).step_by(usize::try_from(recipe.step_ms)?) {
            if recipe.gaps > 0.0 && rng.random::<f64>() < recipe.gaps {
                continue;
            }
            let jittered = (t + rng.random_range(0..5)).min(maxt - 1);
            chunks.extend(encoder.push(series.sample(jittered, rng))?);
        }
        chunks.extend(encoder.finish());
        if !chunks.is_empty() {
            writer.add_series(labels, &chunks)?;
        }
    }
    let meta = BlockMeta {
        min_time: mint,
        max_time: maxt,
        compaction: Compaction {
            level: 1,
            sources: vec![id],
            ..Compaction::default()
        },
        version: 1,
        thanos: Some(thanos(recipe.replica)),
        ..BlockMeta::default()
    };
    writer.finish(meta)?;
    Ok(())
}

fn pod_series(pod: u32, generation: u32) -> Vec<Series> {
    let service = format!("svc-{:03}", pod % 67);
    let name = format!(
        "{service}-{:08x}-{:05x}",
        pod.wrapping_mul(2_654_435_761).wrapping_add(generation),
        pod.wrapping_mul(7919) & 0xf_ffff
    );
    let base = [
        ("namespace", format!("team-{:02}", pod % 23)),
        ("pod", name),
        (
            "instance",
            format!("10.{}.{}.{}:8080", pod >> 16 & 255, pod >> 8 & 255, pod & 255),
        ),
        ("job", service),
        (
            "cluster_zone",
            format!("eu-west-1{}", ["a", "b", "c"][(pod % 3) as usize]),
        ),
    ];
    let mut all = Vec::new();
    let mut add = |kind: Kind, name: &str, more: &[(&str, &str)]| {
        let base = base.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs = [("__name__", name)]
            .into_iter()
            .chain(base)
            .chain(more.iter().copied());
        if let Ok(labels) = Labels::from_pairs(pairs) {
            all.push(Series {
                labels,
                kind,
                value: 0.0,
                counts: [0; 12],
            });
        }
    };
    for container in ["c0", "c1", "c2", "c3"] {
        for name in [
            "cpu_usage_seconds_total",
            "network_receive_bytes_total",
            "network_transmit_bytes_total",
            "fs_writes_bytes_total",
        ] {
            add(
                Kind::Counter,
                &format!("container_{name}"),
                &[("container", container)],
            );
        }
        let kind = if container == "c0" || container == "c2" {
            Kind::Gauge
        } else {
            Kind::Flag
        };
        for name in [
            "container_memory_working_set_bytes",
            "container_memory_rss",
            "container_threads",
            "kube_pod_container_status_ready",
        ] {
            add(kind, name, &[("container", container)]);
        }
    }
    for code in ["200", "404", "500"] {
        for handler in ["/api/v1/query", "/api/v1/write", "/healthz", "/login"] {
            add(
                Kind::Counter,
                "http_requests_total",
                &[("code", code), ("handler", handler), ("method", "GET")],
            );
        }
    }
    for le in [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
    ] {
        add(
            Kind::Counter,
            "http_request_duration_seconds_bucket",
            &[("le", le), ("handler", "/api/v1/query")],
        );
    }
    add(
        Kind::Counter,
        "http_request_duration_seconds_sum",
        &[("handler", "/api/v1/query")],
    );
    add(
        Kind::Counter,
        "http_request_duration_seconds_count",
        &[("handler", "/api/v1/query")],
    );
    add(Kind::Flag, "up", &[]);
    add(Kind::Native, "rpc_duration_seconds", &[("rpc", "m0")]);
    add(Kind::Native, "rpc_duration_seconds", &[("rpc", "m1")]);
    all
}

impl Series {
    fn sample(&mut self, t: i64, rng: &mut SmallRng) -> Sample {
        let uniform: f64 = rng.random();
        match self.kind {
            Kind::Counter => self.value += (-40.0 * (1.0 - uniform).ln()).floor(),
            Kind::Gauge => self.value = 1e8 + 5e7 * (t as f64 / 3.6e6).sin() + uniform * 2e6,
            Kind::Flag if uniform < 0.01 => self.value = f64::from(rng.random_range(0..2)),
            Kind::Flag => {}
            Kind::Native => {
                return Sample {
                    t,
                    value: Value::Histogram(Box::new(self.native(rng))),
                };
            }
        }
        Sample {
            t,
            value: Value::Float(self.value),
        }
    }

    fn native(&mut self, rng: &mut SmallRng) -> Histogram {
        for _ in 0..rng.random_range(0..5) {
            self.counts[rng.random_range(0..12)] += 1;
            self.value += rng.random::<f64>();
        }
        let deltas = (0..12)
            .map(|i| self.counts[i] - if i == 0 { 0 } else { self.counts[i - 1] })
            .collect();
        let layout = Layout {
            schema: 3,
            zero_threshold: 1e-128,
            positive_spans: vec![
                Span {
                    offset: -10,
                    length: 8,
                },
                Span { offset: 3, length: 4 },
            ],
            ..Layout::default()
        };
        Histogram {
            hint: CounterResetHint::Unknown,
            layout: layout.into(),
            count: self.counts.iter().sum::<i64>().unsigned_abs(),
            zero_count: 0,
            sum: self.value,
            positive: deltas,
            negative: Vec::new(),
        }
    }
}
