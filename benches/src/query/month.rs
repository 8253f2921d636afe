//! A month downsampled to an hour, written with the project's own writers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sabre_block::local_writer::LocalBlockWriter;
use sabre_model::{BlockId, Labels};
use sabre_tsdb::{
    chunk::{
        EncodedChunk, Encoding,
        aggregate::{Aggregate, AggregateChunk, SubChunk},
        xor::XorAppender,
    },
    meta::{BlockMeta, Compaction, Downsample, ThanosMeta},
};

const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01T00:00:00Z.
const START_MS: i64 = 1_767_225_600_000;
const HOURS: i64 = 30 * 24;
/// Windows of a chunk.
const WINDOWS: i64 = 140;
/// Scrapes in an hour.
const SCRAPES: f64 = 240.0;
const SERIES_OF_POD: u32 = 12;

/// One block of 30 days with twelve counters for each pod, below `work`; made only if it is not there.
pub(crate) fn make(work: &Path, pods: u32) -> Result<PathBuf> {
    let dir = work.join(format!("month-{pods}"));
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = work.join(format!("month-{pods}.tmp"));
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    write_block(&unfinished, pods)?;
    fs::rename(&unfinished, &dir)?;
    Ok(dir)
}

fn write_block(parent: &Path, pods: u32) -> Result<()> {
    let mut all = Vec::new();
    for pod in 0..pods {
        for path in 0..SERIES_OF_POD {
            all.push(Labels::from_pairs([
                ("__name__", "http_requests_total".to_owned()),
                ("job", format!("job-{}", pod % 36)),
                ("path", format!("/{path}")),
                ("pod", format!("pod-{pod}")),
            ])?);
        }
    }
    all.sort();
    let texts = all
        .iter()
        .flat_map(|labels| labels.iter())
        .flat_map(|(name, value)| [name, value]);
    let maxt = START_MS + HOURS * HOUR_MS;
    let id = BlockId::from_parts(u64::try_from(maxt)?, [7; 10]);
    let mut writer = LocalBlockWriter::create(parent, id, texts)?;
    for (number, labels) in all.iter().enumerate() {
        let rate = 1.0 + (number % 50) as f64;
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < HOURS {
            let to = (from + WINDOWS).min(HOURS);
            chunks.push(chunk(from..to, rate)?);
            from = to;
        }
        writer.add_series(labels, &chunks)?;
    }
    let external = Labels::from_pairs([("cluster", "eu1"), ("prometheus_replica", "a")])?;
    writer.finish(BlockMeta {
        min_time: START_MS,
        max_time: maxt,
        compaction: Compaction {
            level: 4,
            sources: vec![id],
            ..Compaction::default()
        },
        version: 1,
        thanos: Some(ThanosMeta {
            labels: Some(external),
            downsample: Downsample {
                resolution: HOUR_MS,
                ..Downsample::default()
            },
            source: "compactor".to_owned(),
            ..ThanosMeta::default()
        }),
        ..BlockMeta::default()
    })?;
    Ok(())
}

/// A counter that grows by `rate` a second, as its five aggregates of each hour.
fn chunk(hours: std::ops::Range<i64>, rate: f64) -> Result<EncodedChunk> {
    let end_of = |hour: i64| START_MS + (hour + 1) * HOUR_MS - 1;
    let seconds = |hour: i64| (hour * 3600) as f64;
    let encoded = |value: &dyn Fn(i64) -> f64| {
        let mut appender = XorAppender::new();
        for hour in hours.clone() {
            appender.append(end_of(hour), value(hour))?;
        }
        anyhow::Ok(appender)
    };
    let first = |hour: i64| rate * seconds(hour);
    let last = |hour: i64| rate * seconds(hour + 1);
    let mut counter = XorAppender::new();
    counter.append(START_MS + hours.start * HOUR_MS, first(hours.start))?;
    for hour in hours.clone() {
        counter.append(end_of(hour), last(hour))?;
    }
    // The last value stands twice: it is what the next chunk goes on from.
    counter.append(end_of(hours.end - 1), last(hours.end - 1))?;
    let parts = [
        (Aggregate::Count, encoded(&|_| SCRAPES)?.finish()),
        (
            Aggregate::Sum,
            encoded(&|hour| (first(hour) + last(hour)) / 2.0 * SCRAPES)?.finish(),
        ),
        (Aggregate::Min, encoded(&first)?.finish()),
        (Aggregate::Max, encoded(&last)?.finish()),
        (Aggregate::Counter, counter.finish()),
    ];
    let mut chunk = AggregateChunk::default();
    for (aggregate, data) in &parts {
        let encoding = Encoding::Xor;
        chunk.set(*aggregate, Some(SubChunk { encoding, data }));
    }
    Ok(EncodedChunk {
        mint: START_MS + hours.start * HOUR_MS,
        maxt: end_of(hours.end - 1),
        encoding: Encoding::Aggregate,
        num_samples: u16::try_from(hours.end - hours.start)?,
        data: chunk.encode(),
    })
}
