//! Writes StoreAPI answers without building messages first.
//!
//! A [`SeriesFrameBuilder`] puts complete gRPC messages (a header of 5 bytes, then a `SeriesResponse`) one after
//! the other into one buffer. Labels come encoded, chunk data as slices; the lengths are computed first, then
//! every byte is written once, in the order and form that protobuf libraries write it in.

mod parts;
#[cfg(test)]
mod tests;
mod wire;

pub use parts::{AggregateParts, ChunkPart, ChunkParts, SeriesParts};

use crate::thanos::{SeriesResponse, series_response};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::collections::VecDeque;
use wire::{Writer, bytes_field_len};

/// The longest message peers take: gRPC libraries count its length in an `i32`.
pub const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// Bytes before each gRPC message: a flag and the length.
const MESSAGE_HEADER_BYTES: usize = 5;

const RESPONSE_SERIES: u8 = 1;
const RESPONSE_WARNING: u8 = 2;
const RESPONSE_BATCH: u8 = 4;
const BATCH_SERIES: u8 = 1;
const LABEL_NAME: u8 = 1;
const LABEL_VALUE: u8 = 2;

/// Buffers that are remembered to be written again: one waits to be sent, one is being sent, one is written.
const REMEMBERED_BUFFERS: usize = 3;

/// A message would be longer than peers take; nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "message of {bytes} bytes is longer than gRPC allows ({MAX_MESSAGE_BYTES} bytes), ask for a shorter time range"
)]
pub struct MessageTooLong {
    /// The length it would have had.
    pub bytes: usize,
}

/// Collects framed `SeriesResponse` messages.
#[derive(Debug, Default)]
pub struct SeriesFrameBuilder {
    buffer: BytesMut,
    /// Buffers that were handed out, the oldest first.
    handed_out: VecDeque<BytesMut>,
    /// Series lengths of the batch being written, kept to be computed once.
    series_lens: Vec<usize>,
    /// Lengths of the chunks of the message being written, in their order.
    chunk_lens: Vec<usize>,
}

/// Appends one `Series.labels` field to `out`: what [`SeriesParts::labels`] is a sequence of.
pub fn encode_label(name: &str, value: &str, out: &mut Vec<u8>) {
    if let Some((before_name, before_value)) = short_label(name, value) {
        out.extend_from_slice(&before_name);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&before_value);
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let field_len = |text: &str| {
        if text.is_empty() {
            0
        } else {
            bytes_field_len(text.len())
        }
    };
    let mut writer = Writer::new(out);
    writer.key(parts::SERIES_LABELS, field_len(name) + field_len(value));
    writer.bytes(LABEL_NAME, name.as_bytes());
    writer.bytes(LABEL_VALUE, value.as_bytes());
    writer.finish();
}

/// What goes before the name and before the value of a label all of whose lengths take one byte, as nearly all do.
fn short_label(name: &str, value: &str) -> Option<([u8; 4], [u8; 2])> {
    if name.is_empty() || value.is_empty() {
        return None;
    }
    let (name_len, value_len) = (u8::try_from(name.len()).ok()?, u8::try_from(value.len()).ok()?);
    let all = name_len.checked_add(value_len)?.checked_add(4)?;
    if all >= 0x80 {
        return None;
    }
    let key = wire::bytes_key;
    Some((
        [key(parts::SERIES_LABELS), all, key(LABEL_NAME), name_len],
        [key(LABEL_VALUE), value_len],
    ))
}

impl SeriesFrameBuilder {
    /// Starts with an empty buffer of `capacity_bytes`; it grows when a message needs more.
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(capacity_bytes),
            ..Self::default()
        }
    }

    /// Returns the number of bytes written since the last [`Self::take`].
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Hands out all messages written so far.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Makes room for `additional_bytes` more at once.
    ///
    /// With nothing written, it is a buffer that was taken before and that its reader has dropped, if there is one: its
    /// pages are there already and need not be cleared again. The last few buffers live as long as the builder.
    pub fn reserve(&mut self, additional_bytes: usize) {
        if !self.is_empty() {
            return self.buffer.reserve(additional_bytes);
        }
        self.handed_out.push_back(std::mem::take(&mut self.buffer));
        let free = self
            .handed_out
            .iter_mut()
            .position(|buffer| buffer.try_reclaim(additional_bytes));
        let free = free.and_then(|at| self.handed_out.remove(at));
        self.buffer = free.unwrap_or_else(|| BytesMut::with_capacity(additional_bytes));
        while self.handed_out.len() > REMEMBERED_BUFFERS {
            self.handed_out.pop_front();
        }
    }

    /// Writes a message with one series.
    pub fn series(&mut self, series: &SeriesParts<'_>) -> Result<(), MessageTooLong> {
        self.chunk_lens.clear();
        let series_len = series.measure(&mut self.chunk_lens);
        self.start_message(bytes_field_len(series_len))?;
        let mut writer = Writer::new(&mut self.buffer);
        writer.key(RESPONSE_SERIES, series_len);
        series.write(&mut self.chunk_lens.iter(), &mut writer);
        writer.finish();
        Ok(())
    }

    /// Writes a message with all of `batch`, in its order; an empty one writes nothing.
    pub fn batch(&mut self, batch: &[SeriesParts<'_>]) -> Result<(), MessageTooLong> {
        if batch.is_empty() {
            return Ok(());
        }
        self.series_lens.clear();
        self.chunk_lens.clear();
        for series in batch {
            self.series_lens.push(series.measure(&mut self.chunk_lens));
        }
        let batch_len = self.series_lens.iter().map(|len| bytes_field_len(*len)).sum();
        self.start_message(bytes_field_len(batch_len))?;
        let mut writer = Writer::new(&mut self.buffer);
        writer.key(RESPONSE_BATCH, batch_len);
        let mut chunk_lens = self.chunk_lens.iter();
        for (series, series_len) in batch.iter().zip(&self.series_lens) {
            writer.key(BATCH_SERIES, *series_len);
            series.write(&mut chunk_lens, &mut writer);
        }
        writer.finish();
        Ok(())
    }

    /// Writes a message with a warning.
    pub fn warning(&mut self, text: &str) -> Result<(), MessageTooLong> {
        self.start_message(bytes_field_len(text.len()))?;
        let mut writer = Writer::new(&mut self.buffer);
        writer.key(RESPONSE_WARNING, text.len());
        writer.data(text.as_bytes());
        writer.finish();
        Ok(())
    }

    /// Writes a message with hints; see [`crate::hints::pack`].
    pub fn hints(&mut self, hints: prost_types::Any) -> Result<(), MessageTooLong> {
        self.response(&SeriesResponse {
            result: Some(series_response::Result::Hints(hints)),
        })
    }

    /// Writes a message that exists already.
    pub fn response(&mut self, response: &SeriesResponse) -> Result<(), MessageTooLong> {
        self.start_message(response.encoded_len())?;
        response.encode_raw(&mut self.buffer);
        Ok(())
    }

    /// Writes the header of a message of `len` bytes and makes room for all of it.
    fn start_message(&mut self, len: usize) -> Result<(), MessageTooLong> {
        let wire_len = i32::try_from(len).map_err(|_| MessageTooLong { bytes: len })?;
        self.buffer.reserve(MESSAGE_HEADER_BYTES + len);
        self.buffer.put_u8(0); // not compressed
        self.buffer.put_i32(wire_len);
        Ok(())
    }
}
