//! `Series`: remote read in, frames out.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use prost::Message;
use sabre_model::{Labels, Matcher};
use sabre_proto::{
    convert::matchers_to_wire,
    prometheus::{Query, ReadRequest, ReadResponse, read_request::ResponseType},
    raw_body::FrameSender,
    remote_read::{FrameDecoder, FrameError, decoded_bytes},
    thanos::{SeriesRequest, chunk::Encoding},
};
use sabre_runtime::budget::Budget;
use sabre_tsdb::chunk::xor::XorAppender;
use tonic::Status;

use super::{
    answer::AnswerWriter,
    assemble::{AssembleError, Assembler, ReadChunk, ReadSeries, merge_equal},
    delivery::{Delivery, Rest},
    limits::Limits,
    outlet::Outlet,
    relabel::Relabeler,
    select::selector,
};
use crate::{
    known::Known,
    metrics::SidecarMetrics,
    prometheus::{PrometheusClient, PrometheusError, Selection, not_silent, read_bounded},
};

/// What a call takes from the budget before it starts: a payload on its way in, frames on their way out.
pub(crate) const WINDOW_BYTES: u64 = 4 << 20;

/// How long a call waits for its window.
const WINDOW_PATIENCE: Duration = Duration::from_secs(30);

/// The largest payload of one remote read frame. Prometheus keeps to 1 MiB unless one series is larger.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// The largest answer in samples, which cannot be streamed.
const MAX_SAMPLED_BYTES: usize = 256 << 20;

/// What errors call it.
const CALL: &str = "remote read";

const SAMPLES_PER_CHUNK: usize = 120;

/// One call.
#[derive(Debug)]
pub(crate) struct SeriesCall {
    pub(crate) client: PrometheusClient,
    pub(crate) known: Arc<Known>,
    pub(crate) request: SeriesRequest,
    /// Without those on external labels; not empty.
    pub(crate) matchers: Vec<Matcher>,
    /// Already cut to what this sidecar shows.
    pub(crate) mint_ms: i64,
    pub(crate) budget: Budget,
    pub(crate) limits: Limits,
    pub(crate) metrics: SidecarMetrics,
}

impl SeriesCall {
    /// Answers the call; dropping the receiver stops it at the next await.
    pub(crate) async fn run(self, sender: FrameSender) {
        self.metrics.pending_series.inc();
        let result = tokio::select! {
            () = sender.cancelled() => Ok(()),
            result = self.answer(&sender) => result,
        };
        self.metrics.pending_series.dec();
        if let Err(status) = &result {
            tracing::warn!(code = ?status.code(), reason = status.message(), "Series failed");
        }
        sender.finish(result);
    }

    async fn answer(&self, sender: &FrameSender) -> Result<(), Status> {
        // The turn before the memory: whoever waits for Prometheus holds none of it.
        let turn = match self.request.skip_chunks {
            true => self.client.label_turn(self.range_ms()).await,
            false => self.client.read_turn(self.range_ms()).await,
        };
        let charge = self
            .budget
            .reserve_within(WINDOW_BYTES, WINDOW_PATIENCE)
            .await
            .map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let mut delivery = Delivery {
            writer: AnswerWriter::new(&self.request, self.limits),
            outlet: Outlet {
                sender,
                turn: Some(&turn),
            },
            budget: self.budget.clone(),
            charge,
            pages: Vec::new(),
        };
        let outcome = match self.deliver(&mut delivery).await {
            Ok(true) => delivery.last(),
            Ok(false) => return Ok(()),
            Err(status) => Err(status),
        };
        let writer = delivery.writer;
        if let Some(reason) = writer.violated {
            self.metrics.selects_dropped.with([reason]).inc();
        }
        let last = outcome?;
        self.metrics.series_requested.observe(writer.series as f64);
        self.metrics.chunks_requested.observe(writer.chunks as f64);
        // Prometheus has said all: the next one may ask while this caller still takes the end.
        drop(turn);
        if let Some(last) = last {
            // A caller that has gone is no failure.
            let _ = sender.send(last).await;
        }
        Ok(())
    }

    /// Sends all but the last piece; false if the caller has gone.
    async fn deliver(&self, delivery: &mut Delivery<'_>) -> Result<bool, Status> {
        if self.request.skip_chunks {
            return self.labels_only(delivery).await;
        }
        let response = self.client.remote_read(self.read_request());
        let response = not_silent(CALL, response).await.flatten().map_err(status_of)?;
        let content_type = content_type(&response);
        if content_type.starts_with("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse") {
            self.streamed(response, delivery).await
        } else if content_type.starts_with("application/x-protobuf") {
            self.sampled(response, delivery).await
        } else {
            Err(Status::unknown(format!(
                "remote read answered content of type {content_type:?}, which is not known"
            )))
        }
    }

    fn range_ms(&self) -> u64 {
        u64::try_from(self.request.max_time.saturating_sub(self.mint_ms)).unwrap_or(0)
    }

    fn read_request(&self) -> Vec<u8> {
        let query = Query {
            start_timestamp_ms: self.mint_ms,
            end_timestamp_ms: self.request.max_time,
            matchers: matchers_to_wire(&self.matchers),
            hints: None,
        };
        let request = ReadRequest {
            queries: vec![query],
            accepted_response_types: vec![
                ResponseType::StreamedXorChunks as i32,
                ResponseType::Samples as i32,
            ],
        };
        // Only fails above 4 GiB, and the request came in at a few MiB at most.
        snap::raw::Encoder::new()
            .compress_vec(&request.encode_to_vec())
            .unwrap_or_default()
    }

    async fn streamed(
        &self,
        response: reqwest::Response,
        delivery: &mut Delivery<'_>,
    ) -> Result<bool, Status> {
        let relabeler = self.relabeler();
        let needs_sort = relabeler.needs_sort(&self.known.label_names);
        let mut assembler = Assembler::new(relabeler, needs_sort);
        let mut decoder = FrameDecoder::new(MAX_PAYLOAD_BYTES);
        let mut body = response.bytes_stream();
        let mut frames = 0_u64;
        while let Some(piece) = not_silent(CALL, body.next()).await.map_err(status_of)? {
            let piece =
                piece.map_err(|error| Status::unavailable(format!("remote read broke off: {error}")))?;
            // A frame that comes in pieces is moved while its buffer grows.
            let coming_bytes = (decoder.held_bytes() + piece.len()) * 2;
            delivery.keep_within(coming_bytes + assembler.held_bytes())?;
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().map_err(frame_status)? {
                frames += 1;
                let frame_bytes = frame.payload.len() + decoder.held_bytes();
                for series in frame.series() {
                    let series = series.map_err(frame_status)?;
                    // An empty label or chunk is two bytes of the payload, and fifty in memory.
                    let decoded_bytes = series.decoded_bytes().map_err(frame_status)?;
                    delivery.keep_within(frame_bytes + decoded_bytes + assembler.held_bytes())?;
                    let series = series.decode().map_err(frame_status)?;
                    assembler
                        .push(series, &mut |series| delivery.writer.push(series))
                        .map_err(assemble_status)?;
                }
                if !delivery.send_ready().await? {
                    return Ok(false);
                }
                if delivery.writer.is_full() {
                    return Ok(true);
                }
            }
        }
        decoder
            .finish()
            .map_err(|error| Status::unavailable(error.to_string()))?;
        self.metrics.received_frames.observe(frames as f64);
        let rest = delivery
            .aside(move || assembler.finish().map(|series| Rest::of(series, 0)))
            .await?;
        delivery.send_all(rest.map_err(assemble_status)?).await
    }

    /// Prometheus before 2.13, and others that only know samples.
    async fn sampled(
        &self,
        response: reqwest::Response,
        delivery: &mut Delivery<'_>,
    ) -> Result<bool, Status> {
        // What is to come is charged before it is held.
        let charge = |bytes| {
            delivery
                .keep_within(bytes)
                .map_err(|status| PrometheusError::Budget {
                    call: CALL,
                    reason: status.message().to_owned(),
                })
        };
        let body = read_bounded(CALL, response, MAX_SAMPLED_BYTES, charge)
            .await
            .map_err(status_of)?;
        let size = snap::raw::decompress_len(&body)
            .map_err(|error| Status::unknown(format!("remote read: {error}")))?;
        if size > MAX_SAMPLED_BYTES {
            return Err(Status::resource_exhausted(format!(
                "remote read answered {size} bytes of samples, at most {MAX_SAMPLED_BYTES} are taken"
            )));
        }
        delivery.keep_within(size.saturating_add(body.len()))?;
        let bytes = snap::raw::Decoder::new()
            .decompress_vec(&body)
            .map_err(|error| Status::unknown(format!("remote read: {error}")))?;
        drop(body);
        // Decoded, and once more as chunks.
        let decoded_bytes = decoded_bytes(&bytes).unwrap_or(0);
        delivery.keep_within(size.saturating_mul(2).saturating_add(decoded_bytes))?;
        let answer = ReadResponse::decode(&*bytes)
            .map_err(|error| Status::unknown(format!("remote read: {error}")))?;
        let relabeler = self.relabeler();
        let mut all = Vec::new();
        for series in answer.results.into_iter().flat_map(|result| result.timeseries) {
            if !series.histograms.is_empty() {
                return Err(Status::unknown(
                    "remote read answered histograms as samples, only floats can be taken that way",
                ));
            }
            let answered =
                Labels::from_pairs(series.labels.into_iter().map(|label| (label.name, label.value)))
                    .map_err(|error| Status::unknown(format!("remote read: {error}")))?;
            let labels = relabeler.finish(&relabeler.stored(&answered));
            let samples: Vec<(i64, f64)> = series
                .samples
                .iter()
                .map(|sample| (sample.timestamp, sample.value))
                .collect();
            let chunks = samples
                .chunks(SAMPLES_PER_CHUNK)
                .filter_map(xor_chunk)
                .collect::<Vec<_>>();
            if !chunks.is_empty() {
                all.push(ReadSeries { labels, chunks });
            }
        }
        let rest = delivery.aside(move || Rest::of(merge_equal(all), 0)).await?;
        delivery.send_all(rest).await
    }

    async fn labels_only(&self, delivery: &mut Delivery<'_>) -> Result<bool, Status> {
        let text = selector(&self.matchers);
        let selection = Selection {
            selector: Some(&text),
            mint_ms: self.mint_ms,
            maxt_ms: self.request.max_time,
            limit: 0,
        };
        let relabeler = self.relabeler();
        let found = self.client.series(&selection).await.map_err(status_of)?;
        let (found, page) = found.into_parts();
        let page_bytes = page.bytes();
        delivery.pages.push(page);
        // The page's charge covers labels as they came, and not what each series gets besides.
        let added_bytes = 2 * size_of::<ReadSeries>() + self.known.external_labels.heap_bytes();
        delivery.keep_within(found.len().saturating_mul(added_bytes))?;
        let series = move || {
            let series = found.into_iter().map(|answered| ReadSeries {
                labels: relabeler.finish(&relabeler.stored(&answered)),
                chunks: Vec::new(),
            });
            Rest::of(merge_equal(series.collect()), page_bytes)
        };
        let rest = delivery.aside(series).await?;
        delivery.send_all(rest).await
    }

    fn relabeler(&self) -> Relabeler {
        Relabeler::new(&self.known.external_labels, &self.request.without_replica_labels)
    }
}

fn content_type(response: &reqwest::Response) -> String {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_string()
}

fn xor_chunk(samples: &[(i64, f64)]) -> Option<ReadChunk> {
    let (first, last) = (samples.first()?, samples.last()?);
    let mut appender = XorAppender::new();
    for (t, v) in samples {
        appender.append(*t, *v).ok()?;
    }
    Some(ReadChunk {
        mint: first.0,
        maxt: last.0,
        encoding: Encoding::Xor,
        data: appender.finish().into(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn frame_status(error: FrameError) -> Status {
    Status::unknown(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn assemble_status(error: AssembleError) -> Status {
    match error {
        AssembleError::OutOfOrder { .. } => Status::aborted(error.to_string()),
        _ => Status::unknown(error.to_string()),
    }
}

/// What a failing Prometheus means to the caller.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn status_of(error: PrometheusError) -> Status {
    match &error {
        PrometheusError::Unreachable { .. } => Status::unavailable(error.to_string()),
        PrometheusError::Status { status, .. } => match status.as_u16() {
            400 => Status::invalid_argument(error.to_string()),
            404 => Status::not_found(error.to_string()),
            422 => Status::internal(error.to_string()),
            503 => Status::unavailable(error.to_string()),
            504 => Status::deadline_exceeded(error.to_string()),
            _ => Status::unknown(error.to_string()),
        },
        PrometheusError::Budget { .. } => Status::resource_exhausted(error.to_string()),
        PrometheusError::Unusable { .. } => Status::unknown(error.to_string()),
    }
}
