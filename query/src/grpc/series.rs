//! `Series` of the querier: what the fan-out gives, framed again.

use std::sync::Arc;

use futures::StreamExt as _;
use sabre_model::Labels;
use sabre_proto::{
    convert::{labels_to_wire, matchers_from_wire},
    flat::{MessageTooLong, SeriesFrameBuilder},
    raw_body::FrameSender,
    thanos::{
        AggrChunk, PartialResponseStrategy, Series, SeriesBatch, SeriesRequest, SeriesResponse,
        series_response,
    },
};
use sabre_runtime::budget::Budget;
use tokio::time::timeout;
use tonic::Status;

use super::{ServiceOptions, source_status, unread::unread};
use crate::{
    source::{Account, SelectOptions, SelectRequest, SeriesItem, SeriesStream},
    watched::MAX_PAUSE,
};

/// Frames are sent once they have so many bytes.
const FRAME_BYTES: usize = 256 << 10;

/// Most series of a batch, whatever is asked for.
const MAX_BATCH: usize = 1024;

/// A batch is sent before it is full once it has so many bytes of chunks.
const BATCH_BYTES: usize = 1 << 20;

/// What a `Series` request asks of the fan-out.
pub(super) fn select_request(request: &SeriesRequest) -> Result<SelectRequest, Status> {
    Ok(SelectRequest {
        matchers: matchers_from_wire(&request.matchers)?,
        mint: request.min_time,
        maxt: request.max_time,
        max_resolution_ms: request.max_resolution_window,
        aggregates: request.aggregates.clone(),
        skip_chunks: request.skip_chunks,
        hints: request.query_hints.clone(),
        shard: request.shard_info.clone(),
        limit: u64::try_from(request.limit).unwrap_or(0),
    })
}

/// How it is to be answered.
pub(super) fn select_options(
    without_replica_labels: Vec<String>,
    partial_response: bool,
    metadata: Vec<(String, String)>,
    deadline: Option<tokio::time::Instant>,
    budget: Budget,
) -> SelectOptions {
    SelectOptions {
        without_replica_labels,
        store_matchers: Vec::new(),
        partial_response,
        deadline: deadline.map(tokio::time::Instant::into_std),
        metadata,
        budget,
        account: Arc::<Account>::default(),
    }
}

/// Whether a request wants what there is without those who fail.
pub(super) fn wants_partial(disabled: bool, strategy: i32) -> bool {
    !disabled && strategy != i32::from(PartialResponseStrategy::Abort)
}

/// Sends all series of a stream; ends with it, with a limit, or when nobody listens or reads on any more.
pub(super) async fn send(
    items: SeriesStream,
    sender: FrameSender,
    batch_size: i64,
    options: Arc<ServiceOptions>,
) {
    let mut answer = Answer {
        frames: SeriesFrameBuilder::default(),
        batch: Vec::new(),
        batch_bytes: 0,
        batch_size: usize::try_from(batch_size).unwrap_or(0).min(MAX_BATCH),
        options,
        series: 0,
        samples: 0,
    };
    tokio::select! {
        () = sender.cancelled() => {}
        outcome = answer.play(items, &sender) => sender.finish(outcome),
    }
}

struct Answer {
    frames: SeriesFrameBuilder,
    batch: Vec<Series>,
    batch_bytes: usize,
    batch_size: usize,
    options: Arc<ServiceOptions>,
    series: u64,
    samples: u64,
}

impl Answer {
    async fn play(&mut self, mut items: SeriesStream, sender: &FrameSender) -> Result<(), Status> {
        while let Some(item) = items.next().await {
            match item.map_err(|failure| source_status(&failure))? {
                SeriesItem::Series(labels, chunks) => self.series(&labels, chunks)?,
                SeriesItem::Warning(text) => {
                    self.flush_batch()?;
                    self.frames.warning(&text).map_err(too_long)?;
                }
            }
            if self.frames.len() >= FRAME_BYTES {
                self.send_frames(sender).await?;
            }
        }
        self.flush_batch()?;
        self.send_frames(sender).await
    }

    fn series(&mut self, labels: &Labels, chunks: Vec<AggrChunk>) -> Result<(), Status> {
        self.count(&chunks)?;
        let series = Series {
            labels: labels_to_wire(labels),
            chunks,
        };
        if self.batch_size <= 1 {
            return self.response(series_response::Result::Series(series));
        }
        self.batch_bytes += series.chunks.iter().map(AggrChunk::data_bytes).sum::<usize>();
        self.batch.push(series);
        match self.batch.len() >= self.batch_size || self.batch_bytes >= BATCH_BYTES {
            true => self.flush_batch(),
            false => Ok(()),
        }
    }

    fn count(&mut self, chunks: &[AggrChunk]) -> Result<(), Status> {
        let samples = chunks.iter().map(crate::fanout::samples_of);
        self.series += 1;
        self.samples = self.samples.saturating_add(samples.sum());
        let limits = [
            (
                self.series,
                self.options.max_series,
                "series",
                "store.limits.request-series",
            ),
            (
                self.samples,
                self.options.max_samples,
                "samples",
                "store.limits.request-samples",
            ),
        ];
        for (counted, most, what, flag) in limits {
            if most > 0 && counted > most {
                return Err(Status::resource_exhausted(format!(
                    "the answer has more than the {most} {what} that --{flag} allows"
                )));
            }
        }
        Ok(())
    }

    fn flush_batch(&mut self) -> Result<(), Status> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let series = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.response(series_response::Result::Batch(SeriesBatch { series }))
    }

    fn response(&mut self, result: series_response::Result) -> Result<(), Status> {
        let response = SeriesResponse { result: Some(result) };
        self.frames.response(&response).map_err(too_long)
    }

    async fn send_frames(&mut self, sender: &FrameSender) -> Result<(), Status> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let gone = |_| Status::cancelled("the caller has gone");
        let sent = timeout(MAX_PAUSE, sender.send(self.frames.take())).await;
        sent.map_err(|_| unread())?.map_err(gone)
    }
}

fn too_long(error: MessageTooLong) -> Status {
    Status::internal(error.to_string())
}
