//! Samples from both sides, in one shape that compares to the bit.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use sabre_model::Labels;
use sabre_proto::{prometheus_copy, thanos};
use sabre_tsdb::{
    chunk::{Encoding, Value, decode_samples},
    histogram::{Histogram, Span, bucket_indexes},
};

/// All samples of a series by timestamp.
pub type Samples = BTreeMap<i64, Sample>;

/// Series by labels.
pub type SeriesMap = BTreeMap<Labels, Samples>;

/// One value; floats as bits, so that NaN equals itself and stale markers differ from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A float.
    Float(u64),
    /// An integer histogram.
    Histogram(Box<Buckets>),
}

/// A native histogram without its counter reset hint, which depends on where chunks are cut, and with its buckets as
/// counts, since a chunk may have room for more of them than the sample needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    schema: i32,
    zero_threshold: u64,
    zero_count: u64,
    count: u64,
    sum: u64,
    positive: BTreeMap<i64, i64>,
    negative: BTreeMap<i64, i64>,
}

/// Samples of remote read.
///
/// # Errors
/// Float histograms, and labels that are none.
pub fn of_remote_read(series: &[prometheus_copy::TimeSeries]) -> Result<SeriesMap> {
    let mut all = SeriesMap::new();
    for one in series {
        let labels = Labels::from_pairs(
            one.labels
                .iter()
                .map(|label| (label.name.as_str(), label.value.as_str())),
        )?;
        let samples = all.entry(labels).or_default();
        samples.extend(
            one.samples
                .iter()
                .map(|sample| (sample.timestamp, Sample::Float(sample.value.to_bits()))),
        );
        for histogram in &one.histograms {
            samples.insert(
                histogram.timestamp,
                Sample::Histogram(Box::new(of_wire(histogram)?)),
            );
        }
    }
    Ok(all)
}

/// Samples of StoreAPI's raw chunks within `[mint, maxt]`.
///
/// # Errors
/// A chunk that does not decode, or that has no raw data.
pub fn of_store_api(
    series: &BTreeMap<Labels, Vec<thanos::AggrChunk>>,
    (mint, maxt): (i64, i64),
) -> Result<SeriesMap> {
    let mut all = SeriesMap::new();
    for (labels, chunks) in series {
        let samples = all.entry(labels.clone()).or_default();
        for chunk in chunks {
            let raw = chunk
                .raw
                .as_ref()
                .with_context(|| format!("{labels}: a chunk without raw data"))?;
            let encoding = match raw.r#type {
                0 => Encoding::Xor,
                1 => Encoding::Histogram,
                other => bail!("{labels}: chunk of type {other}"),
            };
            for sample in decode_samples(encoding, &raw.data)? {
                if !(mint..=maxt).contains(&sample.t) {
                    continue;
                }
                let value = match sample.value {
                    Value::Float(value) => Sample::Float(value.to_bits()),
                    Value::Histogram(histogram) => Sample::Histogram(Box::new(of_chunk(&histogram))),
                    other => bail!("{labels}: {other:?}"),
                };
                let before = samples.insert(sample.t, value.clone());
                if before.is_some_and(|before| before != value) {
                    bail!("{labels}: two values at {}", sample.t);
                }
            }
        }
        if samples.is_empty() {
            all.remove(labels);
        }
    }
    Ok(all)
}

/// Where two sides differ, the first few places; empty when they are equal.
pub fn differences(want: &SeriesMap, got: &SeriesMap) -> Vec<String> {
    let mut found = Vec::new();
    for (labels, samples) in want {
        match got.get(labels) {
            None => found.push(format!("{labels} is missing")),
            Some(other) => {
                for (t, sample) in samples {
                    match other.get(t) {
                        None => found.push(format!("{labels} at {t} is missing")),
                        Some(value) if value != sample => {
                            found.push(format!("{labels} at {t}: {value:?}, not {sample:?}"));
                        }
                        Some(_) => {}
                    }
                }
                found.extend(
                    other
                        .keys()
                        .filter(|t| !samples.contains_key(t))
                        .map(|t| format!("{labels} at {t} is too many")),
                );
            }
        }
    }
    found.extend(
        got.keys()
            .filter(|labels| !want.contains_key(labels))
            .map(|labels| format!("{labels} is too many")),
    );
    found.truncate(10);
    found
}

/// How many samples there are.
pub fn count(series: &SeriesMap) -> usize {
    series.values().map(BTreeMap::len).sum()
}

fn of_wire(histogram: &prometheus_copy::Histogram) -> Result<Buckets> {
    use prometheus_copy::histogram::{Count, ZeroCount};
    let (Some(Count::CountInt(count)), Some(ZeroCount::ZeroCountInt(zero_count))) =
        (histogram.count, histogram.zero_count)
    else {
        bail!("a float histogram")
    };
    let spans = |spans: &[prometheus_copy::BucketSpan]| -> Vec<Span> {
        spans
            .iter()
            .map(|span| Span {
                offset: span.offset,
                length: span.length,
            })
            .collect()
    };
    Ok(Buckets {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold.to_bits(),
        zero_count,
        count,
        sum: histogram.sum.to_bits(),
        positive: counts(&spans(&histogram.positive_spans), &histogram.positive_deltas),
        negative: counts(&spans(&histogram.negative_spans), &histogram.negative_deltas),
    })
}

/// Buckets that are not empty, by index.
fn counts(spans: &[Span], deltas: &[i64]) -> BTreeMap<i64, i64> {
    let mut count = 0;
    let counts = deltas.iter().map(|delta| {
        count += delta;
        count
    });
    bucket_indexes(spans)
        .zip(counts)
        .filter(|(_, count)| *count != 0)
        .collect()
}

fn of_chunk(histogram: &Histogram) -> Buckets {
    Buckets {
        schema: histogram.layout.schema,
        zero_threshold: histogram.layout.zero_threshold.to_bits(),
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum.to_bits(),
        positive: counts(&histogram.layout.positive_spans, &histogram.positive),
        negative: counts(&histogram.layout.negative_spans, &histogram.negative),
    }
}

/// The histograms of `written` within `[mint, maxt]`, under the labels a reader sees, added to `truth`.
pub fn add_histograms(
    truth: &mut SeriesMap,
    written: &SeriesMap,
    external: &Labels,
    (mint, maxt): (i64, i64),
) {
    for (labels, samples) in written {
        let seen = samples
            .range(mint..=maxt)
            .filter(|(_, sample)| matches!(sample, Sample::Histogram(_)));
        let seen: Samples = seen.map(|(t, sample)| (*t, sample.clone())).collect();
        if !seen.is_empty() {
            truth.entry(labels.overlaid(external)).or_default().extend(seen);
        }
    }
}
