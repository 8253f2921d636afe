//! Remote read.

use bytes::Bytes;
use prost::Message;
use sabre_model::{Labels, Matcher};
use sabre_proto::{
    convert::{labels_to_wire, matchers_from_wire},
    prometheus::{
        Chunk, ChunkedReadResponse, ChunkedSeries, Query, QueryResult, ReadRequest, ReadResponse,
        read_request::ResponseType,
    },
    prometheus_copy::{self, TimeSeries},
    remote_read::encode_frame,
};
use sabre_tsdb::chunk::{Sample, Value, encode_stream};

use super::{ReadMode, State};
use crate::s3::Answer;

/// The content types of the two kinds of answers.
const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
const SAMPLED: &str = "application/x-protobuf";

pub(super) fn answer(state: &State, body: &[u8]) -> Answer {
    match try_answer(state, body) {
        Ok(answer) => answer,
        Err(problem) => Answer::new(400).body(problem),
    }
}

fn try_answer(state: &State, body: &[u8]) -> Result<Answer, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let plain = snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(|error| text(&error))?;
    let request = ReadRequest::decode(&*plain).map_err(|error| text(&error))?;
    let [query] = &*request.queries else {
        return Err(format!("{} queries, one is answered", request.queries.len()));
    };
    let matchers = matchers_from_wire(&query.matchers).map_err(|error| text(&error))?;
    let wants_stream =
        request.accepted_response_types.first() == Some(&(ResponseType::StreamedXorChunks as i32));
    match state.mode {
        ReadMode::Streamed { chunks_per_frame } if wants_stream => {
            let frames = streamed(state, query, &matchers, chunks_per_frame.max(1))?;
            Ok(Answer::new(200).header("content-type", STREAMED).body(frames))
        }
        _ => {
            let message = sampled(state, query, &matchers)?.encode_to_vec();
            let packed = snap::raw::Encoder::new()
                .compress_vec(&message)
                .map_err(|error| text(&error))?;
            Ok(Answer::new(200)
                .header("content-type", SAMPLED)
                .header("content-encoding", "snappy")
                .body(packed))
        }
    }
}

/// Series in the order of the TSDB, with the labels they are answered under.
fn select<'a>(
    state: &'a State,
    query: &'a Query,
    matchers: &'a [Matcher],
) -> impl Iterator<Item = (Labels, Vec<&'a Sample>)> {
    let matching = state
        .series
        .iter()
        .filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches_lset(labels)));
    matching.filter_map(|(labels, samples)| {
        let range = query.start_timestamp_ms..=query.end_timestamp_ms;
        let within: Vec<&Sample> = samples
            .iter()
            .filter(|sample| range.contains(&sample.t))
            .collect();
        // The series' own labels win.
        (!within.is_empty()).then(|| (state.external_labels.overlaid(labels), within))
    })
}

fn streamed(
    state: &State,
    query: &Query,
    matchers: &[Matcher],
    chunks_per_frame: usize,
) -> Result<Vec<u8>, String> {
    let mut frames = Vec::new();
    for (labels, samples) in select(state, query, matchers) {
        let chunks = encode_stream(samples.into_iter().cloned()).map_err(|error| error.to_string())?;
        for some in chunks.chunks(chunks_per_frame) {
            let chunks = some.iter().map(|chunk| Chunk {
                min_time_ms: chunk.mint,
                max_time_ms: chunk.maxt,
                r#type: i32::from(chunk.encoding.byte()),
                data: Bytes::copy_from_slice(&chunk.data),
            });
            let series = ChunkedSeries {
                labels: labels_to_wire(&labels),
                chunks: chunks.collect(),
            };
            let payload = ChunkedReadResponse {
                chunked_series: vec![series],
                query_index: 0,
            };
            frames.extend_from_slice(&encode_frame(&payload.encode_to_vec()));
        }
    }
    Ok(frames)
}

fn sampled(state: &State, query: &Query, matchers: &[Matcher]) -> Result<ReadResponse, String> {
    let mut timeseries = Vec::new();
    for (labels, samples) in select(state, query, matchers) {
        let floats = samples.into_iter().map(|sample| match &sample.value {
            Value::Float(value) => Ok(prometheus_copy::Sample {
                timestamp: sample.t,
                value: *value,
            }),
            _ => Err(format!("{labels}: only floats are answered as samples here")),
        });
        timeseries.push(TimeSeries {
            samples: floats.collect::<Result<_, _>>()?,
            labels: labels_to_wire(&labels),
            ..TimeSeries::default()
        });
    }
    Ok(ReadResponse {
        results: vec![QueryResult { timeseries }],
    })
}
