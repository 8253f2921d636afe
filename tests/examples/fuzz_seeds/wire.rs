//! Messages of StoreAPI and of remote read.

use std::io::Write;

use anyhow::Result;
use prost::Message;
use sabre_proto::{
    prometheus::{self, ChunkedReadResponse, ChunkedSeries},
    remote_read::encode_frame,
    thanos::{
        AggrChunk, Chunk, Label, LabelMatcher, LabelNamesRequest, LabelSet, LabelValuesRequest, Series,
        SeriesRequest, SeriesResponse, ShardInfo, info, series_response,
    },
};
use sabre_tsdb::chunk::xor::XorAppender;

use crate::Corpus;

pub(crate) fn add(corpus: &mut Corpus) -> Result<()> {
    let matchers = vec![
        LabelMatcher {
            r#type: 2,
            name: "__name__".to_owned(),
            value: "up|x".to_owned(),
        },
        LabelMatcher {
            r#type: 1,
            name: "job".to_owned(),
            value: "a".to_owned(),
        },
    ];
    let series_request = SeriesRequest {
        min_time: 1000,
        max_time: 61_007,
        matchers: matchers.clone(),
        max_resolution_window: 300_000,
        aggregates: vec![1, 2],
        shard_info: Some(ShardInfo {
            shard_index: 1,
            total_shards: 3,
            by: true,
            labels: vec!["job".to_owned()],
        }),
        without_replica_labels: vec!["replica".to_owned()],
        limit: 10,
        response_batch_size: 64,
        ..SeriesRequest::default()
    };
    corpus.add("proto_store_request", "series", &series_request.encode_to_vec())?;
    let names = LabelNamesRequest {
        start: 1,
        end: 2,
        matchers: matchers.clone(),
        ..LabelNamesRequest::default()
    };
    corpus.add("proto_store_request", "names", &names.encode_to_vec())?;
    let values = LabelValuesRequest {
        label: "job".to_owned(),
        start: 1,
        end: 2,
        matchers,
        ..LabelValuesRequest::default()
    };
    corpus.add("proto_store_request", "values", &values.encode_to_vec())?;
    answers(corpus)?;
    remote_read(corpus)?;
    let plain = series_request.encode_to_vec();
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(&plain)?;
    let packed = framed.into_inner()?;
    let messages = [message(1, &packed)?, message(0, &plain)?].concat();
    corpus.add("runtime_snappy_request", "two", &messages)
}

fn answers(corpus: &mut Corpus) -> Result<()> {
    let chunk = AggrChunk {
        min_time: 1000,
        max_time: 16_000,
        raw: Some(Chunk {
            r#type: 0,
            data: floats()?.into(),
            hash: 0,
        }),
        ..AggrChunk::default()
    };
    let series = series_response::Result::Series(Series {
        labels: labels(),
        chunks: vec![chunk],
    });
    let warning = series_response::Result::Warning("half of it".to_owned());
    for (name, result) in [("series", series), ("warning", warning)] {
        let response = SeriesResponse { result: Some(result) };
        corpus.add("proto_store_response", name, &response.encode_to_vec())?;
    }
    let info = info::InfoResponse {
        label_sets: vec![LabelSet { labels: labels() }],
        component_type: "sidecar".to_owned(),
        ..info::InfoResponse::default()
    };
    corpus.add("proto_store_response", "info", &info.encode_to_vec())
}

/// Two frames; the byte in front says in which pieces they arrive.
fn remote_read(corpus: &mut Corpus) -> Result<()> {
    let chunk = prometheus::Chunk {
        min_time_ms: 1000,
        max_time_ms: 16_000,
        r#type: 1,
        data: floats()?.into(),
    };
    let response = ChunkedReadResponse {
        chunked_series: vec![ChunkedSeries {
            labels: labels(),
            chunks: vec![chunk],
        }],
        query_index: 0,
    };
    let frame = encode_frame(&response.encode_to_vec());
    for (name, pieces) in [("whole", 255), ("pieces", 6)] {
        corpus.add(
            "proto_remote_read_stream",
            name,
            &[&[pieces], &*frame, &frame].concat(),
        )?;
    }
    Ok(())
}

fn floats() -> Result<Vec<u8>> {
    let mut appender = XorAppender::new();
    appender.append(1000, 1.0)?;
    appender.append(16_000, 2.5)?;
    Ok(appender.finish())
}

fn labels() -> Vec<Label> {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    vec![label("__name__", "up"), label("job", "a")]
}

/// A message as gRPC sends it.
fn message(flag: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut message = vec![flag];
    message.extend(u32::try_from(payload.len())?.to_be_bytes());
    message.extend(payload);
    Ok(message)
}
