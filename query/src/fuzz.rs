//! Entry points for fuzzing: whatever a peer or a file may say.

use bytes::Bytes;
use prost::Message as _;
use sabre_promql::source::SampleBuffer;
use sabre_proto::thanos::Series;

use crate::{
    dedup::{self, DedupFunc, SampleOptions},
    discovery,
    endpoints::ClientOptions,
    fanout,
};

/// An answer of `Series`.
pub fn series_answer(data: &[u8]) {
    fanout::fuzz_answer(&Bytes::copy_from_slice(data));
}

/// Documents and files that name endpoints.
pub fn endpoint_documents(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(discovery::parse_document(
        "document",
        &text,
        &ClientOptions::default(),
    ));
    drop(discovery::parse_targets("file", &text));
}

/// The chunks of all replicas of a series, made one: a byte that says how, then a `thanos.Series`.
pub fn dedup(data: &[u8]) {
    let Some((how, message)) = data.split_first() else {
        return;
    };
    let Ok(Series { mut chunks, .. }) = Series::decode(message) else {
        return;
    };
    chunks.sort_by_key(|chunk| (chunk.min_time, chunk.max_time));
    let func = match (how >> 2) & 3 {
        0 => "",
        1 => "rate",
        2 => "min_over_time",
        _ => "avg_over_time",
    };
    let times = match how & 16 {
        0 => (i64::MIN, i64::MAX),
        _ => (0, 1_000_000),
    };
    let dedup = match how & 3 {
        0 => None,
        1 => Some(DedupFunc::Chain),
        _ => Some(DedupFunc::Penalty),
    };
    let Ok(mut samples) = dedup::samples(chunks, &SampleOptions::for_function(func, times, dedup)) else {
        return;
    };
    let mut buffer = SampleBuffer::default();
    while let Ok(true) = samples.next_into(&mut buffer) {
        buffer.clear();
    }
}
