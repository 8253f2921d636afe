//! How long a sample of a float chunk takes to decode and to encode: `cargo run --release --example xor_speed`.
//!
//! The data is made up: scrapes every 15 s with a jitter of milliseconds, values that change four times in five;
//! or, as arguments, the float chunks of segment files.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use sabre_tsdb::chunk::xor::{XorAppender, XorIter, decode};
use sabre_tsdb::segment::scan;

const ROUNDS: usize = 25;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Result<Vec<Vec<u8>>, _> = std::env::args().skip(1).map(std::fs::read).collect();
    let mut chunks = Vec::new();
    for file in &files? {
        for item in scan(file)? {
            let (_, record) = item?;
            if record.encoding == 1 {
                chunks.push(record.data.to_vec());
            }
        }
    }
    if chunks.is_empty() {
        chunks = (0..20_000).map(made_up).collect::<Result<_, _>>()?;
    }
    measure(&chunks)
}

fn measure(chunks: &[Vec<u8>]) -> Result<(), Box<dyn Error>> {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let (mut batch, mut iterator, mut encode) = (f64::MAX, f64::MAX, f64::MAX);
    let mut samples = 0usize;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        samples = 0;
        for data in chunks {
            timestamps.clear();
            values.clear();
            decode(data, &mut timestamps, &mut values)?;
            samples += black_box(&timestamps).len().min(black_box(&values).len());
        }
        batch = batch.min(start.elapsed().as_secs_f64());

        let start = Instant::now();
        for data in chunks {
            for sample in XorIter::new(data)? {
                black_box(sample?);
            }
        }
        iterator = iterator.min(start.elapsed().as_secs_f64());
        encode = encode.min(encode_all(chunks)?);
    }
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    println!(
        "{} chunks, {samples} samples, {:.2} bytes a sample",
        chunks.len(),
        bytes as f64 / samples as f64
    );
    for (what, seconds) in [
        ("decode to vectors", batch),
        ("decode by iterator", iterator),
        ("encode", encode),
    ] {
        println!("{what}: {:.2} ns a sample", seconds * 1e9 / samples as f64);
    }
    Ok(())
}

/// Seconds it takes to encode the samples of all chunks, without decoding them.
fn encode_all(chunks: &[Vec<u8>]) -> Result<f64, Box<dyn Error>> {
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let (mut buffer, mut seconds) = (Vec::new(), 0.0);
    for some in chunks.chunks(1000) {
        let mut ends = Vec::new();
        timestamps.clear();
        values.clear();
        for data in some {
            let start = timestamps.len();
            decode(data, &mut timestamps, &mut values)?;
            ends.push((start, timestamps.len()));
        }
        let clock = Instant::now();
        for &(start, end) in &ends {
            let mut appender = XorAppender::with_buffer(buffer);
            let times = timestamps.get(start..end).unwrap_or_default();
            for (&t, &value) in times.iter().zip(values.get(start..end).unwrap_or_default()) {
                appender.append(t, value)?;
            }
            buffer = black_box(appender.finish());
        }
        seconds += clock.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// A chunk of 120 samples.
fn made_up(seed: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut appender = XorAppender::new();
    let mut value = 1000.0;
    for i in 0..120 {
        let jitter = (draw() % 8) as i64;
        if !draw().is_multiple_of(5) {
            value += (draw() % 1000) as f64 / 8.0;
        }
        appender.append(1_767_225_600_000 + i * 15_000 + jitter, value)?;
    }
    Ok(appender.finish())
}
