//! Writes series into frames: shard, limit and batches of a request are applied here.

use bytes::Bytes;
use sabre_model::{Labels, shard::Shard};
use sabre_proto::{
    flat::{ChunkPart, ChunkParts, SeriesFrameBuilder, SeriesParts, encode_label},
    thanos::SeriesRequest,
};
use tonic::Status;

use super::{
    assemble::{ReadChunk, ReadSeries},
    limits::Limits,
};

/// Frames are handed to the network in pieces of about this size.
const FLUSH_BYTES: usize = 256 << 10;

/// A batch is sent when it is this large, however few series it has.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The frames of one answer.
#[derive(Debug)]
pub(crate) struct AnswerWriter {
    frames: SeriesFrameBuilder,
    shard: Option<Shard>,
    /// Series that may still be sent; `None` is no limit.
    left: Option<u64>,
    batch_size: usize,
    batch: Vec<ReadSeries>,
    batch_bytes: usize,
    scratch: Vec<u8>,
    error: Option<Status>,
    limits: Limits,
    /// Which limit of the sidecar the answer went beyond.
    pub(crate) violated: Option<&'static str>,
    /// Series and chunks written, for the metrics.
    pub(crate) series: u64,
    pub(crate) chunks: u64,
}

impl AnswerWriter {
    pub(crate) fn new(request: &SeriesRequest, limits: Limits) -> AnswerWriter {
        let shard = request
            .shard_info
            .as_ref()
            .and_then(|info| Shard::new(info.shard_index, info.total_shards, info.by, info.labels.clone()));
        AnswerWriter {
            frames: SeriesFrameBuilder::with_capacity(FLUSH_BYTES),
            shard,
            left: u64::try_from(request.limit).ok().filter(|limit| *limit > 0),
            batch_size: usize::try_from(request.response_batch_size).unwrap_or(1).max(1),
            batch: Vec::new(),
            batch_bytes: 0,
            scratch: Vec::new(),
            error: None,
            limits,
            violated: None,
            series: 0,
            chunks: 0,
        }
    }

    /// Takes the next series of the answer.
    pub(crate) fn push(&mut self, series: ReadSeries) {
        if self.error.is_some() || self.is_full() || !self.wants(&series.labels) {
            return;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.series += 1;
        self.chunks += series.chunks.len() as u64;
        if let Err(violation) = self.limits.check(self.series, self.chunks) {
            self.violated = Some(violation.reason());
            self.error = Some(Status::resource_exhausted(violation.to_string()));
            return;
        }
        self.batch_bytes += series.held_bytes();
        self.batch.push(series);
        if self.batch.len() >= self.batch_size || self.batch_bytes >= MAX_BATCH_BYTES {
            self.write_batch();
        }
    }

    /// Whether the limit of the request is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// A piece that is worth sending, if there is one.
    pub(crate) fn ready(&mut self) -> Result<Option<Bytes>, Status> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.frames.len() >= FLUSH_BYTES => Ok(Some(self.frames.take())),
            None => Ok(None),
        }
    }

    /// The last piece.
    pub(crate) fn finish(&mut self) -> Result<Bytes, Status> {
        self.write_batch();
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.frames.take()),
        }
    }

    /// Bytes that wait here.
    pub(crate) fn held_bytes(&self) -> usize {
        self.frames.len() + self.batch_bytes
    }

    fn wants(&mut self, labels: &Labels) -> bool {
        match &self.shard {
            Some(shard) => shard.holds(labels, &mut self.scratch),
            None => true,
        }
    }

    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let labels: Vec<Vec<u8>> = batch.iter().map(|series| encode_labels(&series.labels)).collect();
        let chunks: Vec<Vec<ChunkParts<'_>>> = batch
            .iter()
            .map(|series| series.chunks.iter().map(chunk_parts).collect())
            .collect();
        let parts: Vec<SeriesParts<'_>> = labels
            .iter()
            .zip(&chunks)
            .map(|(labels, chunks)| SeriesParts { labels, chunks })
            .collect();
        let written = match (&*parts, self.batch_size) {
            ([one], 1) => self.frames.series(one),
            (many, _) => self.frames.batch(many),
        };
        if let Err(error) = written {
            self.error = Some(Status::resource_exhausted(error.to_string()));
        }
    }
}

fn encode_labels(labels: &Labels) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(labels.heap_bytes() + labels.len() * 8);
    for (name, value) in labels {
        encode_label(name, value, &mut encoded);
    }
    encoded
}

fn chunk_parts(chunk: &ReadChunk) -> ChunkParts<'_> {
    let part = ChunkPart {
        encoding: chunk.encoding,
        data: &chunk.data,
        hash: 0,
    };
    ChunkParts::raw(chunk.mint, chunk.maxt, part)
}
