use std::sync::Arc;

use proptest::prelude::*;
use sabre_tsdb::chunk::aggregate::Aggregate;
use sabre_tsdb::chunk::{Sample, Value, decode_samples, encode_stream};
use sabre_tsdb::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, Layout, Span,
};
use sabre_tsdb::stale::STALE_NAN;

use super::*;
use crate::CounterResets;

mod floats;
mod histograms;
mod properties;

const MINUTE_MS: i64 = 60_000;

fn framed(samples: impl IntoIterator<Item = Sample>) -> Vec<SeriesChunk> {
    let chunks = encode_stream(samples).unwrap();
    let framed = |chunk: &sabre_tsdb::chunk::EncodedChunk| {
        SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data)
    };
    chunks.iter().map(framed).collect()
}

fn float_series(samples: &[(i64, f64)]) -> Vec<SeriesChunk> {
    framed(samples.iter().map(|&(t, value)| Sample {
        t,
        value: Value::Float(value),
    }))
}

fn five(chunks: &[SeriesChunk]) -> Vec<SeriesChunk> {
    downsample_series(chunks, Resolution::FiveMinutes).unwrap()
}

fn hour(chunks: &[SeriesChunk]) -> Vec<SeriesChunk> {
    downsample_series(chunks, Resolution::OneHour).unwrap()
}

fn part(chunk: &SeriesChunk, aggregate: Aggregate) -> Vec<Sample> {
    let parsed = AggregateChunk::parse(chunk.data()).unwrap();
    let part = parsed.get(aggregate);
    part.map(|part| decode_samples(part.encoding, part.data).unwrap())
        .unwrap_or_default()
}

fn floats_of(chunk: &SeriesChunk, aggregate: Aggregate) -> Vec<(i64, f64)> {
    let float = |sample: Sample| match sample.value {
        Value::Float(value) => (sample.t, value),
        other => panic!("{other:?}"),
    };
    part(chunk, aggregate).into_iter().map(float).collect()
}

fn histograms_of(chunk: &SeriesChunk, aggregate: Aggregate) -> Vec<(i64, FloatHistogram)> {
    let histogram = |sample: Sample| match sample.value {
        Value::FloatHistogram(histogram) => (sample.t, *histogram),
        other => panic!("{other:?}"),
    };
    part(chunk, aggregate).into_iter().map(histogram).collect()
}

#[test]
fn a_series_without_samples_gives_nothing() {
    assert_eq!(five(&[]), []);
    assert_eq!(hour(&[]), []);
    let empty = SeriesChunk::encode(0, 1, Encoding::Xor, &[0, 0]);
    assert_eq!(five(std::slice::from_ref(&empty)), []);
    assert_eq!(hour(&[empty]), []);
    assert_eq!(five(&float_series(&[(5, STALE_NAN), (6, f64::NAN)])), []);
}

#[test]
fn overlaps_are_refused() {
    let mut chunks = float_series(&[(1, 1.0), (5, 1.0)]);
    chunks.extend(float_series(&[(5, 2.0), (9, 1.0)]));
    let error = downsample_series(&chunks, Resolution::FiveMinutes).unwrap_err();
    assert_eq!(
        error,
        DownsampleError::Overlap {
            mint: 5,
            maxt: 9,
            other_maxt: 5
        }
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let broken = SeriesChunk::encode(3, 9, Encoding::Xor, &[0, 9, 1]);
    let error = downsample_series(&[broken], Resolution::FiveMinutes).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the chunk of 3 to 9: corrupt xor chunk"),
        "{error}"
    );
    let aggregates = SeriesChunk::encode(3, 9, Encoding::Aggregate, &[0; 5]);
    assert!(downsample_series(&[aggregates], Resolution::FiveMinutes).is_err());
}

/// A block of aggregates may hold raw chunks by mistake; they are brought to windows of 5 minutes first.
#[test]
fn raw_chunks_among_aggregates_are_converted() {
    let samples: Vec<(i64, f64)> = (0..200).map(|i| (i * MINUTE_MS, i as f64)).collect();
    let (first, second) = samples.split_at(100);
    let mut mixed = five(&float_series(first));
    mixed.extend(float_series(second));
    let all: Vec<SeriesChunk> = [first, second]
        .iter()
        .flat_map(|half| five(&float_series(half)))
        .collect();
    assert_eq!(hour(&mixed), hour(&all));
}

#[test]
fn floats_and_histograms_of_a_series_are_apart() {
    let histogram = |t: i64| Sample {
        t,
        value: Value::Histogram(Box::new(Histogram {
            count: 3,
            sum: 1.5,
            ..Histogram::default()
        })),
    };
    let float = |t: i64| Sample {
        t,
        value: Value::Float(2.0),
    };
    let chunks = framed([float(1), float(2), histogram(3), histogram(4), float(5)]);
    assert_eq!(chunks.len(), 3);
    let made = five(&chunks);
    let times: Vec<_> = made.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect();
    assert_eq!(times, [(2, 2), (4, 4), (5, 5)]);
    assert_eq!(floats_of(&made[1], Aggregate::Count), [(4, 2.0)]);
    let hours = hour(&made);
    assert_eq!(hours.len(), 3);
    assert_eq!(histograms_of(&hours[1], Aggregate::Sum)[0].1.count, 6.0);
}

/// The chunks are read three times at most and never kept: what is held are the windows.
#[test]
fn a_series_of_a_hundred_thousand_chunks_is_held_as_windows() {
    const CHUNKS: i64 = 100_000;
    let chunk = |number: i64| {
        let start = number * 45_000;
        float_series(&[(start, 1.0), (start + 15_000, 2.0), (start + 30_000, 3.0)]).remove(0)
    };
    let mut sampler = Downsampler::new(Resolution::FiveMinutes);
    let (mut rounds, mut held) = (0, 0);
    let made = loop {
        rounds += 1;
        for number in 0..CHUNKS {
            sampler.push(&chunk(number)).unwrap();
            held = held.max(sampler.held_bytes());
        }
        match sampler.finish().unwrap() {
            Attempt::Done(made) => break made,
            Attempt::Again(next) => sampler = next,
        }
    };
    assert_eq!(rounds, 2);
    let counts = made.iter().flat_map(|chunk| floats_of(chunk, Aggregate::Count));
    assert_eq!(counts.map(|(_, count)| count).sum::<f64>(), 3.0 * CHUNKS as f64);
    let windows: u64 = made
        .iter()
        .map(|chunk| u64::from(chunk.num_samples().unwrap()))
        .sum();
    assert_eq!(windows, 15_000);
    assert!(held < 600_000, "{held} bytes");
}
