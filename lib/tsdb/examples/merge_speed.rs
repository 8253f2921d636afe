//! How long a sample of two replicas takes to be merged, on one core:
//! `cargo run --release -p sabre-tsdb --example merge_speed`.
//!
//! The data is made up: two hours of scrapes every 15 s with a jitter of milliseconds, the second replica 7 s later,
//! two in a hundred scrapes missing, values that change four times in five. Time is of CPU, per sample read.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use sabre_tsdb::chunk::xor::for_each;
use sabre_tsdb::chunk::{ChunkEncoder, EncodedChunk, Sample, Value};
use sabre_tsdb::merge::{MergeError, OverlapRule, merge_chunks};
use sabre_tsdb::segment::SeriesChunk;

const ROUNDS: usize = 15;
const SERIES: u64 = 1000;
const SCRAPES: i64 = 480;
const SCRAPE_MS: i64 = 15_000;
const START_MS: i64 = 1_767_225_600_000;
const SHIFT_MS: i64 = 7_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut series = Vec::new();
    for seed in 0..SERIES {
        series.push([replica(seed, 0)?, replica(seed + SERIES, SHIFT_MS)?]);
    }
    let mut samples = 0u64;
    for chunk in series.iter().flatten().flatten() {
        samples += u64::from(chunk.num_samples()?);
    }
    println!("{SERIES} series of two replicas, {samples} samples");
    let decode = best(|| {
        for chunk in series.iter().flatten().flatten() {
            let mut sum = 0.0;
            for_each(chunk.data(), |t, value| sum += t as f64 + value)?;
            black_box(sum);
        }
        Ok(())
    })?;
    println!("decode alone: {:.2} ns", decode * 1e9 / samples as f64);
    for rule in [OverlapRule::Penalty, OverlapRule::OneToOne] {
        let mut given = 0u64;
        let seconds = best(|| {
            given = 0;
            for replicas in &series {
                let sources = replicas.iter().map(|chunks| chunks.iter().cloned().map(Ok));
                merge_chunks(rule, sources.collect(), |chunk| {
                    given += chunk.num_samples().map_or(0, u64::from);
                    black_box(chunk);
                    Ok::<_, MergeError>(())
                })?;
            }
            Ok(())
        })?;
        println!(
            "{rule:?}: {:.2} ns, {given} samples left",
            seconds * 1e9 / samples as f64
        );
    }
    Ok(())
}

/// The fewest seconds of CPU that it took.
fn best(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let (start, mut best) = (Instant::now(), f64::MAX);
    for _ in 0..ROUNDS {
        let before = seconds(start);
        work()?;
        best = best.min(seconds(start) - before);
    }
    Ok(best)
}

/// Seconds that this thread has run, where the system tells; else those of the clock.
fn seconds(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    nanos.map_or(start.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

fn replica(seed: u64, shift_ms: i64) -> Result<Vec<SeriesChunk>, Box<dyn Error>> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut encoder = ChunkEncoder::new();
    let (mut value, mut chunks) = (1000.0, Vec::new());
    for scrape in 0..SCRAPES {
        let t = START_MS + scrape * SCRAPE_MS + shift_ms + (draw() % 8) as i64;
        if !draw().is_multiple_of(5) {
            value += (draw() % 1000) as f64 / 8.0;
        }
        if draw() % 100 >= 2 {
            let value = Value::Float(value);
            chunks.extend(encoder.push(Sample { t, value })?);
        }
    }
    chunks.extend(encoder.finish());
    let framed =
        |chunk: &EncodedChunk| SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data);
    Ok(chunks.iter().map(framed).collect())
}
