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
pub const SAMPLES: i64 = 300;

/// Series of the metric `bulk`, of which an answer takes many messages.
pub const BULK_SERIES: usize = 2000;

/// Series of one source: what a block, or a Prometheus, holds.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// External labels.
    pub external: Labels,
    /// Own labels and samples of each series: times in milliseconds, ascending.
    pub series: Vec<(Labels, Vec<(i64, f64)>)>,
}

/// Series as labels and samples by time.
pub(super) type Truth = BTreeMap<Labels, BTreeMap<i64, f64>>;

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

fn samples(seed: u64) -> Vec<(i64, f64)> {
    let value = |n: i64| (n * n % 97) as f64 + (seed % 1000) as f64 / 8.0;
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

/// The right answer to `request`, its limit apart: series that have samples in its range, with these samples.
pub(super) fn expected(data: &[DataSet], request: &SeriesRequest) -> Truth {
    let shard = request
        .shard_info
        .clone()
        .and_then(|info| Shard::new(info.shard_index, info.total_shards, info.by, info.labels));
    let matchers = wire_matchers(&request.matchers);
    let mut truth = Truth::new();
    for set in data {
        for (own, samples) in set.series.iter().filter(|(own, _)| selects(set, own, &matchers)) {
            let lset = own
                .overlaid(&set.external)
                .without(&request.without_replica_labels);
            let is_of_shard = |shard: &Shard| shard.holds(lset.iter(), &mut Vec::new());
            let range = request.min_time..=request.max_time;
            let mut inside = samples.iter().filter(|(at, _)| range.contains(at)).peekable();
            if inside.peek().is_none() || !shard.as_ref().is_none_or(is_of_shard) {
                continue;
            }
            truth.entry(lset).or_default().extend(inside.copied());
        }
    }
    truth
}

/// The samples of an answer by series, and by time all values that came: replicas may differ.
pub(super) fn decoded(answer: &SeriesAnswer) -> Result<BTreeMap<Labels, BTreeMap<i64, Vec<f64>>>, String> {
    let mut all: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
    for (lset, chunks) in &answer.series {
        let series = all.entry(lset.clone()).or_default();
        for chunk in chunks {
            decode(chunk, series).map_err(|error| format!("series {lset}: {error}"))?;
        }
    }
    Ok(all)
}

fn decode(chunk: &AggrChunk, into: &mut BTreeMap<i64, Vec<f64>>) -> Result<(), String> {
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
        into.entry(sample.t).or_default().push(value);
    }
    Ok(())
}
