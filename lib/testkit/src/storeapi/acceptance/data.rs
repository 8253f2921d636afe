//! What the suite lets an implementation serve, and what the right answers are.

use std::collections::BTreeMap;

use sabre_model::{Labels, MatchKind, Matcher, shard::Shard};
use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{AggrChunk, LabelMatcher, SeriesRequest, chunk},
};
use sabre_tsdb::chunk::{Encoding, Value, decode_samples};

use crate::series::SeriesAnswer;

/// The first sample of all series.
pub const START_MS: i64 = 1_700_000_000_000;

/// Between two samples of a series.
pub const STEP_MS: i64 = 15_000;

/// Samples of a series; more than a chunk holds.
pub const SAMPLES: i64 = 240;

/// Series of the metric `bulk`, of which an answer takes many messages.
pub const BULK_SERIES: usize = 800;

/// Series of one source: what a block, or a Prometheus, holds.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// External labels.
    pub external: Labels,
    /// Own labels and samples of each series: times in milliseconds, ascending.
    pub series: Vec<(Labels, Vec<(i64, f64)>)>,
}

/// What is right for each series of an answer: one entry for each series of the data that goes into it.
pub(super) type Truth<'a> = BTreeMap<Labels, Vec<Source<'a>>>;

/// A series of the data: times in milliseconds and values, ascending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// The samples in the range asked for; an answer must have them.
    pub(super) inside: &'a [(i64, f64)],
    /// All samples; an answer has no others.
    pub(super) all: &'a [(i64, f64)],
}

/// The samples of each series of an answer, by time; replicas may have several at one.
pub(super) type Decoded = BTreeMap<Labels, Vec<(i64, f64)>>;

/// The last sample of all series.
pub(super) const END_MS: i64 = START_MS + (SAMPLES - 1) * STEP_MS;

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap_or_else(|error| panic!("{error}"))
}

/// Series whose order is not the same with external labels as without, series that carry a label which is also an
/// external one, and many of one metric. Data sets of different `external` labels have some own label sets in common.
pub fn data_set(external: &[(&str, &str)], seed: u64) -> DataSet {
    let odd: &[&[(&str, &str)]] = &[
        &[("__name__", "odd"), ("a", "1")],
        &[("__name__", "odd"), ("a", "1"), ("c", "1")],
        &[("__name__", "odd"), ("a", "1"), ("zz", "1")],
        &[("__name__", "odd"), ("a", "1"), ("c", "1"), ("zz", "1")],
        &[("__name__", "odd"), ("a", "2")],
        &[
            ("__name__", "odd"),
            ("a", "2"),
            ("cluster", "inner"),
            ("own", "yes"),
        ],
        &[("__name__", "odd"), ("a", ""), ("own", "empty")],
        &[("__name__", "odd"), ("a", "ünï 日本"), ("own", "utf-8")],
        &[("__name__", "up"), ("job", "api"), ("pod", "p1")],
        &[("__name__", "up"), ("job", "api"), ("pod", "p2")],
        &[("__name__", "up"), ("job", "db"), ("pod", "p1")],
        &[("__name__", "up"), ("pod", "p9")],
    ];
    let own = odd
        .iter()
        .filter(|pairs| pairs.iter().all(|(_, value)| !value.is_empty()));
    let mut all: Vec<Labels> = own.map(|pairs| labels(pairs)).collect();
    all.extend((0..BULK_SERIES).map(|n| labels(&[("__name__", "bulk"), ("n", &format!("{n:05}"))])));
    let series = (0u64..)
        .zip(all)
        .map(|(n, own)| (own, samples(seed.wrapping_mul(31).wrapping_add(n))));
    DataSet {
        external: labels(external),
        series: series.collect(),
    }
}

/// Values that chunks cannot make smaller: an answer is large with few series.
fn samples(seed: u64) -> Vec<(i64, f64)> {
    let value = |n: i64| {
        let mixed = seed
            .wrapping_mul(1_000_003)
            .wrapping_add(n.unsigned_abs())
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)) >> 12) as f64
    };
    (0..SAMPLES).map(|n| (START_MS + n * STEP_MS, value(n))).collect()
}

pub(super) fn matcher(kind: MatchKind, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: kind.to_wire(),
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A request for all times.
pub(super) fn request(matchers: &[(MatchKind, &str, &str)]) -> SeriesRequest {
    SeriesRequest {
        min_time: START_MS,
        max_time: END_MS,
        matchers: matchers
            .iter()
            .map(|(kind, name, value)| matcher(*kind, name, value))
            .collect(),
        ..SeriesRequest::default()
    }
}

pub(super) fn wire_matchers(request: &[LabelMatcher]) -> Vec<Matcher> {
    matchers_from_wire(request).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a series is selected. Matchers on external labels are about these, whatever the series itself says.
pub(super) fn selects(set: &DataSet, own: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| {
        let external = set.external.get(matcher.name()).filter(|value| !value.is_empty());
        matcher.matches(external.or_else(|| own.get(matcher.name())).unwrap_or(""))
    })
}

/// The right answer to `request`, its limit apart: series that have samples in its range.
pub(super) fn expected<'a>(data: &'a [DataSet], request: &SeriesRequest) -> Truth<'a> {
    let shard = request
        .shard_info
        .clone()
        .and_then(|info| Shard::new(info.shard_index, info.total_shards, info.by, info.labels));
    let matchers = wire_matchers(&request.matchers);
    let mut truth = Truth::new();
    for set in data {
        for (own, all) in &set.series {
            let inside = inside(all, request.min_time, request.max_time);
            if inside.is_empty() || !selects(set, own, &matchers) {
                continue;
            }
            let lset = own
                .overlaid(&set.external)
                .without(&request.without_replica_labels);
            let is_of_shard = |shard: &Shard| shard.holds(lset.iter(), &mut Vec::new());
            if shard.as_ref().is_none_or(is_of_shard) {
                truth.entry(lset).or_default().push(Source { inside, all });
            }
        }
    }
    truth
}

/// The samples of the closed range.
fn inside(all: &[(i64, f64)], mint_ms: i64, maxt_ms: i64) -> &[(i64, f64)] {
    let start = all.partition_point(|(at, _)| *at < mint_ms);
    let end = all.partition_point(|(at, _)| *at <= maxt_ms);
    all.get(start..end).unwrap_or_default()
}

/// The samples of an answer.
pub(super) fn decoded(answer: &SeriesAnswer) -> Result<Decoded, String> {
    let mut all = Decoded::new();
    for (lset, chunks) in &answer.series {
        let series = all.entry(lset.clone()).or_default();
        for chunk in chunks {
            decode(chunk, series).map_err(|error| format!("series {lset}: {error}"))?;
        }
        series.sort_by_key(|(at, _)| *at);
    }
    Ok(all)
}

fn decode(chunk: &AggrChunk, into: &mut Vec<(i64, f64)>) -> Result<(), String> {
    let raw = chunk
        .raw
        .as_ref()
        .ok_or("a chunk of raw samples has no raw data")?;
    if raw.r#type != i32::from(chunk::Encoding::Xor) {
        return Err(format!("floats in a chunk of type {}", raw.r#type));
    }
    let samples = decode_samples(Encoding::Xor, &raw.data).map_err(|error| error.to_string())?;
    for sample in samples {
        if sample.t < chunk.min_time || sample.t > chunk.max_time {
            let (mint, maxt) = (chunk.min_time, chunk.max_time);
            return Err(format!(
                "a sample at {} in a chunk from {mint} to {maxt}",
                sample.t
            ));
        }
        let Value::Float(value) = sample.value else {
            return Err("a histogram where floats were put in".to_owned());
        };
        into.push((sample.t, value));
    }
    Ok(())
}
