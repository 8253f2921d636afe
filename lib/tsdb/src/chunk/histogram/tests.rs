use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::chunk::{AppendError, Encoding, num_samples};
use crate::histogram::CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
use crate::histogram::{
    Bucket, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Histogram, Layout, NativeHistogram, Span,
};

mod examples;
mod random;
mod rules;

const STEP_MS: i64 = 15_000;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Schema 0 with a zero threshold that takes a byte, and buckets on the positive side alone.
fn layout(positive_spans: &[Span]) -> Layout {
    Layout {
        zero_threshold: 2f64.powi(-128),
        positive_spans: positive_spans.to_vec(),
        ..Layout::default()
    }
}

/// A histogram of absolute counts, the same for both kinds.
fn counts<B: Bucket>(layout: Layout, zero: B::Count, count: B::Count, positive: &[B]) -> NativeHistogram<B> {
    NativeHistogram {
        layout: Arc::new(layout),
        zero_count: zero,
        count,
        sum: 1.5,
        positive: B::from_absolute(positive.to_vec()),
        ..NativeHistogram::default()
    }
}

fn float(positive_spans: &[Span], positive: &[f64]) -> FloatHistogram {
    counts(layout(positive_spans), 0.0, positive.iter().sum(), positive)
}

fn int(positive_spans: &[Span], positive: &[i64]) -> Histogram {
    counts(
        layout(positive_spans),
        0,
        positive.iter().sum::<i64>() as u64,
        positive,
    )
}

fn hinted<B: Bucket>(hint: CounterResetHint, histogram: NativeHistogram<B>) -> NativeHistogram<B> {
    NativeHistogram { hint, ..histogram }
}

fn decode<B: Codec>(data: &[u8]) -> Vec<(i64, NativeHistogram<B>)> {
    HistogramIter::new(data)
        .unwrap()
        .map(|sample| sample.unwrap())
        .collect()
}

/// A chunk begun with the first histogram and extended by the others.
fn chunk<B: Codec>(histograms: &[NativeHistogram<B>]) -> HistogramAppender<B> {
    let mut chunk = HistogramAppender::begin(0, &histograms[0]).unwrap();
    for (i, histogram) in histograms.iter().enumerate().skip(1) {
        let appended = chunk.append(i as i64 * STEP_MS, &mut histogram.clone()).unwrap();
        assert!(
            !matches!(appended, Appended::NewChunk(_)),
            "histogram {i}: {appended:?}"
        );
    }
    chunk
}

/// What becomes of `next` behind `histograms`.
fn verdict<B: Codec>(histograms: &[NativeHistogram<B>], next: &NativeHistogram<B>) -> Appended {
    let mut chunk = chunk(histograms);
    let samples = chunk.num_samples();
    let appended = chunk
        .append(histograms.len() as i64 * STEP_MS, &mut next.clone())
        .unwrap();
    let added = u16::from(!matches!(appended, Appended::NewChunk(_)));
    assert_eq!(chunk.num_samples(), samples + added);
    appended
}
