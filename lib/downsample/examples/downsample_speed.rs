//! How much CPU time a raw sample takes to become a part of five aggregates, decoded and encoded, on one core:
//! `cargo run --release -p sabre-downsample --example downsample_speed`.
//!
//! The data is made up: two days of scrapes every 15 s with a jitter of milliseconds, values that change four times
//! in five; or, as arguments, the float chunks of segment files, every 96 of which are taken for a series.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sabre_downsample::{Resolution, downsample_series};
use sabre_tsdb::chunk::xor::{XorAppender, XorIter, for_each};
use sabre_tsdb::chunk::{ChunkEncoder, Encoding, SAMPLES_PER_CHUNK, Sample, Value};
use sabre_tsdb::histogram::{Histogram, Layout, Span};
use sabre_tsdb::segment::{SeriesChunk, scan};

const ROUNDS: usize = 15;
const CHUNKS_PER_SERIES: usize = 96;
const SERIES: u64 = 200;
const HISTOGRAM_SERIES: u64 = 20;
const HISTOGRAM_SCRAPES: i64 = 5_760;
const START_MS: i64 = 1_767_225_600_000;
const SCRAPE_MS: i64 = 15_000;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Result<Vec<Vec<u8>>, _> = std::env::args().skip(1).map(std::fs::read).collect();
    let mut series = from_files(&files?)?;
    if series.is_empty() {
        series = (0..SERIES).map(made_up).collect::<Result<_, _>>()?;
    }
    let mut samples = 0u64;
    for chunk in series.iter().flatten() {
        samples += u64::from(chunk.num_samples()?);
    }
    let (mut decode, mut five, mut hour) = (f64::MAX, f64::MAX, f64::MAX);
    let (start, mut bytes) = (Instant::now(), 0);
    for _ in 0..ROUNDS {
        let before = seconds(start);
        for chunk in series.iter().flatten() {
            let mut sum = 0.0;
            for_each(chunk.data(), |t, value| sum += t as f64 + value)?;
            black_box(sum);
        }
        decode = decode.min(seconds(start) - before);
        let (mut fives, before) = (Vec::with_capacity(series.len()), seconds(start));
        for chunks in &series {
            fives.push(black_box(downsample_series(chunks, Resolution::FiveMinutes)?));
        }
        five = five.min(seconds(start) - before);
        bytes = fives.iter().flatten().map(SeriesChunk::len_bytes).sum();
        let before = seconds(start);
        for chunks in &fives {
            black_box(downsample_series(chunks, Resolution::OneHour)?);
        }
        hour = hour.min(seconds(start) - before);
    }
    println!(
        "{} series, {samples} samples, {bytes} bytes of 5 m chunks",
        series.len()
    );
    let histograms = made_up_histograms()?;
    let samples_of_histograms = HISTOGRAM_SERIES * HISTOGRAM_SCRAPES.unsigned_abs();
    let mut native = f64::MAX;
    for _ in 0..ROUNDS {
        let before = seconds(start);
        for chunks in &histograms {
            black_box(downsample_series(chunks, Resolution::FiveMinutes)?);
        }
        native = native.min(seconds(start) - before);
    }
    println!(
        "native histograms of 12 buckets, raw to 5 m: {:.1} ns a raw sample",
        native * 1e9 / samples_of_histograms as f64
    );
    for (what, seconds) in [
        ("decode alone", decode),
        ("raw to 5 m", five),
        ("5 m to 1 h", hour),
    ] {
        println!("{what}: {:.2} ns a raw sample", seconds * 1e9 / samples as f64);
    }
    Ok(())
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

/// Series of the float chunks of segment files: a new one wherever time goes back.
fn from_files(files: &[Vec<u8>]) -> Result<Vec<Vec<SeriesChunk>>, Box<dyn Error>> {
    let mut series: Vec<Vec<SeriesChunk>> = Vec::new();
    for file in files {
        for item in scan(file)? {
            let (_, record) = item?;
            if record.encoding != Encoding::Xor.byte() {
                continue;
            }
            let (mut mint, mut maxt) = (i64::MAX, i64::MIN);
            for sample in XorIter::new(record.data)? {
                let (t, _) = sample?;
                (mint, maxt) = (mint.min(t), maxt.max(t));
            }
            let chunk = SeriesChunk::encode(mint, maxt, Encoding::Xor, record.data);
            match series.last_mut() {
                Some(chunks) if chunks.last().is_some_and(|last| last.maxt < mint) => chunks.push(chunk),
                _ => series.push(vec![chunk]),
            }
        }
    }
    Ok(series)
}

/// Series of histograms that count a few observations between scrapes.
fn made_up_histograms() -> Result<Vec<Vec<SeriesChunk>>, Box<dyn Error>> {
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
    let layout = Arc::new(layout);
    let mut all = Vec::new();
    for seed in 0..HISTOGRAM_SERIES {
        let (mut random, mut encoder, mut chunks) = (seed | 1, ChunkEncoder::new(), Vec::new());
        let mut counts = [0i64; 12];
        for scrape in 0..HISTOGRAM_SCRAPES {
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let place = (random >> 40) as usize % counts.len();
                counts
                    .iter_mut()
                    .skip(place)
                    .take(1)
                    .for_each(|count| *count += 1);
            }
            let mut before = 0;
            let deltas = counts
                .iter()
                .map(|count| count - std::mem::replace(&mut before, *count));
            let histogram = Histogram {
                layout: Arc::clone(&layout),
                count: counts.iter().sum::<i64>().unsigned_abs(),
                sum: scrape as f64 / 7.0,
                positive: deltas.collect(),
                ..Histogram::default()
            };
            let value = Value::Histogram(Box::new(histogram));
            let t = START_MS + scrape * SCRAPE_MS;
            chunks.extend(encoder.push(Sample { t, value })?);
        }
        chunks.extend(encoder.finish());
        let framed = chunks
            .iter()
            .map(|chunk| SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data));
        all.push(framed.collect());
    }
    Ok(all)
}

fn made_up(seed: u64) -> Result<Vec<SeriesChunk>, Box<dyn Error>> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut value, mut scrape) = (1000.0, 0);
    let mut chunks = Vec::with_capacity(CHUNKS_PER_SERIES);
    for _ in 0..CHUNKS_PER_SERIES {
        let mut appender = XorAppender::new();
        let (mut mint, mut maxt) = (i64::MAX, 0);
        for _ in 0..SAMPLES_PER_CHUNK {
            let t = START_MS + scrape * SCRAPE_MS + (draw() % 8) as i64;
            scrape += 1;
            if !draw().is_multiple_of(5) {
                value += (draw() % 1000) as f64 / 8.0;
            }
            (mint, maxt) = (mint.min(t), t);
            appender.append(t, value)?;
        }
        chunks.push(SeriesChunk::encode(mint, maxt, Encoding::Xor, &appender.finish()));
    }
    Ok(chunks)
}
