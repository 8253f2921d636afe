//! Blocks with known samples, and answers in a form that can be compared.

use std::collections::BTreeMap;

use sabre_model::{
    Labels,
    MatchKind::{Eq, Re},
};
use sabre_objstore::Bucket;
use sabre_proto::thanos::{PartialResponseStrategy, SeriesRequest};
use sabre_testkit::{
    blocks::{Block, BlockBuilder},
    series::SeriesAnswer,
};
use sabre_tsdb::chunk::{Encoding, Value, decode_samples};

use crate::common::request;

/// Between two samples.
pub(crate) const STEP_MS: i64 = 15_000;

/// Samples of a series in one block.
pub(crate) const SAMPLES: i64 = 240;

/// The time of one block.
pub(crate) const SPAN_MS: i64 = SAMPLES * STEP_MS;

/// Samples by series.
pub(crate) type Truth = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// A block of the span `slot..slot + spans`, with `series` series whose samples depend only on series and time.
pub(crate) fn block(number: u64, slot: i64, spans: i64, series: usize) -> BlockBuilder {
    let (start, end) = (slot * SPAN_MS, (slot + spans) * SPAN_MS);
    let mut block = BlockBuilder::new(number)
        .time_range(start..end)
        .ext_labels(&[("cluster", "eu")]);
    for n in 0..series {
        let pod = format!("pod-{n:05}");
        let times = (start..end).step_by(STEP_MS as usize);
        let samples = times.map(|at| (at, value(n, at)));
        block = block.floats(&[("__name__", "requests_total"), ("pod", &pod)], samples);
    }
    block
}

fn value(series: usize, at_ms: i64) -> f64 {
    // Values that differ in many bits, so that chunks are as long as real ones.
    ((series as i64 + 1) * (at_ms / STEP_MS + 7) % 1013) as f64 / 7.0
}

pub(crate) async fn put(bucket: &dyn Bucket, block: BlockBuilder) -> Block {
    let block = block.build().unwrap();
    block.put_into(bucket).await.unwrap();
    block
}

/// What a store that holds these slots must answer.
pub(crate) fn truth(slots: i64, series: usize) -> Truth {
    let times = || (0..slots * SPAN_MS).step_by(STEP_MS as usize);
    let one = |n: usize| {
        let pod = format!("pod-{n:05}");
        let lset =
            Labels::from_pairs([("__name__", "requests_total"), ("cluster", "eu"), ("pod", &pod)]).unwrap();
        (lset, times().map(|at| (at, value(n, at).to_bits())).collect())
    };
    (0..series).map(one).collect()
}

/// All series and samples of an answer; a sample that comes twice is an error.
pub(crate) fn samples(answer: &SeriesAnswer) -> Result<Truth, String> {
    if let Some(disorder) = answer.disorder() {
        return Err(disorder);
    }
    let mut all = Truth::new();
    for (lset, chunks) in &answer.series {
        let series = all.entry(lset.clone()).or_default();
        for chunk in chunks {
            let raw = chunk.raw.as_ref().ok_or("no data")?;
            for sample in decode_samples(Encoding::Xor, &raw.data).map_err(|error| error.to_string())? {
                let Value::Float(value) = sample.value else {
                    return Err("no float".to_owned());
                };
                if series.insert(sample.t, value.to_bits()).is_some() {
                    return Err(format!("series {lset} has its sample at {} twice", sample.t));
                }
            }
        }
    }
    Ok(all)
}

/// Everything, and what cannot be had fails the request.
pub(crate) fn everything() -> SeriesRequest {
    SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..request(&[(Eq, "__name__", "requests_total"), (Re, "pod", ".+")])
    }
}

/// The same, and what cannot be had is told by a warning.
pub(crate) fn everything_or_warn() -> SeriesRequest {
    SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Warn.into(),
        ..everything()
    }
}
