//! The streamed answer of remote read: frames of `uvarint size | u32 BE CRC32C(payload) | payload`, each
//! payload a [`ChunkedReadResponse`].
//!
//! Bytes go in as they arrive; payloads come out whole and checked. What is held is at most one payload and what
//! was pushed last. Chunk data of a decoded payload are slices of it.

#[cfg(test)]
mod tests;

use crate::prometheus::{ChunkedReadResponse, ChunkedSeries};
use crate::weight;
use bytes::{Buf, Bytes, BytesMut};
use crc_fast::CrcAlgorithm;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// Prometheus' default for the payload size it keeps to (`--storage.remote.read-max-bytes-in-frame`).
pub const DEFAULT_MAX_FRAME_BYTES: usize = 1 << 20;

/// A size of up to ten bytes, and a checksum.
const MAX_HEADER_BYTES: usize = 14;

/// What is wrong with a streamed answer; `offset` counts from its first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The size of a frame does not fit into 64 bits.
    #[error("remote read frame at offset {offset}: size is no valid varint")]
    Size {
        /// Start of the frame.
        offset: u64,
    },
    /// The size of a frame is above the limit.
    #[error(
        "remote read frame at offset {offset}: payload of {size_bytes} bytes is above the limit of {max_bytes} bytes"
    )]
    TooLarge {
        /// Start of the frame.
        offset: u64,
        /// What the frame claims.
        size_bytes: u64,
        /// What is allowed.
        max_bytes: usize,
    },
    /// The payload is not what was sent.
    #[error(
        "remote read frame at offset {offset}: payload has checksum {found:#010x}, expected {expected:#010x}"
    )]
    Checksum {
        /// Start of the frame.
        offset: u64,
        /// From the frame.
        expected: u32,
        /// Of the payload.
        found: u32,
    },
    /// The payload is no message.
    #[error("remote read frame at offset {offset}: payload is no ChunkedReadResponse: {reason}")]
    Payload {
        /// Start of the frame.
        offset: u64,
        /// From the protobuf library.
        reason: String,
    },
    /// The answer ends within a frame.
    #[error("remote read answer ends within the frame at offset {offset}, {held_bytes} bytes into it")]
    Truncated {
        /// Start of the frame.
        offset: u64,
        /// What there is of it.
        held_bytes: usize,
    },
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    max_payload_bytes: usize,
    /// The beginning of a frame that did not arrive in one piece; else empty.
    started: BytesMut,
    /// What was pushed last and not yet handed out; it follows `started`.
    rest: Bytes,
    /// Where the next frame starts.
    offset: u64,
    failed: Option<FrameError>,
}

/// The payload of a frame, its checksum verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the frame starts in the answer.
    pub offset: u64,
    /// An encoded [`ChunkedReadResponse`].
    pub payload: Bytes,
}

/// The series of a payload, one after the other: only one needs to be held decoded. Ends after an error.
#[derive(Debug)]
pub struct FrameSeries {
    offset: u64,
    rest: Bytes,
}

/// A series of a payload, not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSeries {
    offset: u64,
    bytes: Bytes,
}

/// The field of a [`ChunkedReadResponse`] that its series are.
const SERIES_FIELD: u32 = 1;

/// How many bytes a [`crate::prometheus::ReadResponse`] takes once it is decoded, at most; `None` if `message` is none.
pub fn decoded_bytes(message: &[u8]) -> Option<usize> {
    weight::READ_RESPONSE.weigh(message)
}

/// Writes a payload as a frame: the other side of [`FrameDecoder`].
pub fn encode_frame(payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + MAX_HEADER_BYTES);
    let mut size = payload.len();
    while size > 0x7f {
        frame.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    frame.push(size as u8);
    frame.extend_from_slice(&crc32c(payload).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.into()
}

/// The numbers before a payload.
struct FrameHeader {
    header_bytes: usize,
    payload_bytes: usize,
    checksum: u32,
}

impl Frame {
    /// Decodes the payload; chunk data are slices of it.
    pub fn decode(self) -> Result<ChunkedReadResponse, FrameError> {
        let Self { offset, payload } = self;
        ChunkedReadResponse::decode(payload).map_err(|error| no_payload(offset, &error))
    }

    /// The series of the payload, not decoded.
    pub fn series(self) -> FrameSeries {
        FrameSeries {
            offset: self.offset,
            rest: self.payload,
        }
    }
}

impl FrameSeries {
    fn try_next(&mut self) -> Result<Option<Bytes>, String> {
        let no_message = |error: DecodeError| error.to_string();
        while self.rest.has_remaining() {
            let (number, wire_type) = decode_key(&mut self.rest).map_err(no_message)?;
            if (number, wire_type) != (SERIES_FIELD, WireType::LengthDelimited) {
                let context = DecodeContext::default();
                skip_field(wire_type, number, &mut self.rest, context).map_err(no_message)?;
                continue;
            }
            let claimed = decode_varint(&mut self.rest).map_err(no_message)?;
            let len = usize::try_from(claimed)
                .ok()
                .filter(|len| *len <= self.rest.len());
            let Some(len) = len else {
                return Err(format!(
                    "a series of {claimed} bytes where {} are left",
                    self.rest.len()
                ));
            };
            return Ok(Some(self.rest.split_to(len)));
        }
        Ok(None)
    }
}

impl Iterator for FrameSeries {
    type Item = Result<EncodedSeries, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        match self.try_next() {
            Ok(bytes) => bytes.map(|bytes| Ok(EncodedSeries { offset, bytes })),
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(no_payload(offset, &error)))
            }
        }
    }
}

impl EncodedSeries {
    /// How many bytes the series takes once it is decoded, at most, beside the payload; chunk data are slices of that.
    ///
    /// # Errors
    /// It is no series.
    pub fn decoded_bytes(&self) -> Result<usize, FrameError> {
        let bytes = weight::CHUNKED_SERIES.weigh(&self.bytes);
        bytes.ok_or_else(|| no_payload(self.offset, &"a series that is cut off or no message"))
    }

    /// Decodes it.
    ///
    /// # Errors
    /// It is no series.
    pub fn decode(self) -> Result<ChunkedSeries, FrameError> {
        ChunkedSeries::decode(self.bytes).map_err(|error| no_payload(self.offset, &error))
    }
}

fn no_payload(offset: u64, reason: &dyn std::fmt::Display) -> FrameError {
    FrameError::Payload {
        offset,
        reason: reason.to_string(),
    }
}

impl FrameDecoder {
    /// Starts before the first frame; larger payloads than `max_payload_bytes` are refused.
    pub fn new(max_payload_bytes: usize) -> Self {
        Self {
            max_payload_bytes,
            started: BytesMut::new(),
            rest: Bytes::new(),
            offset: 0,
            failed: None,
        }
    }

    /// Adds the next bytes of the answer: best after [`Self::next_frame`] returned `None`, else all that is
    /// there is copied together.
    pub fn push(&mut self, bytes: Bytes) {
        if self.failed.is_some() {
            return;
        }
        if self.rest.is_empty() {
            self.rest = bytes;
        } else {
            self.rest = Bytes::from([&*self.rest, &*bytes].concat());
        }
    }

    /// Returns the next whole frame, or `None` when more bytes are needed.
    ///
    /// After an error there are no more frames: the same error comes again.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let frame = self.try_next();
        if let Err(error) = &frame {
            self.failed = Some(error.clone());
            self.started = BytesMut::new();
            self.rest = Bytes::new();
        }
        frame
    }

    /// Checks that the answer ended between two frames.
    pub fn finish(&self) -> Result<(), FrameError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.held_bytes() == 0 => Ok(()),
            None => Err(FrameError::Truncated {
                offset: self.offset,
                held_bytes: self.held_bytes(),
            }),
        }
    }

    /// Returns how many bytes were pushed and not yet handed out.
    pub fn held_bytes(&self) -> usize {
        self.started.len() + self.rest.len()
    }

    fn try_next(&mut self) -> Result<Option<Frame>, FrameError> {
        let header = loop {
            let held = if self.started.is_empty() {
                &*self.rest
            } else {
                &*self.started
            };
            if let Some(header) = self.header(held)? {
                break header;
            }
            // The longest header is 14 bytes: one by one is quick enough.
            if !self.take_started(1) {
                return Ok(None);
            }
        };
        let frame_bytes = header.header_bytes + header.payload_bytes;
        let mut frame = if self.started.is_empty() && self.rest.len() >= frame_bytes {
            self.rest.split_to(frame_bytes)
        } else if self.take_started(frame_bytes.saturating_sub(self.started.len())) {
            std::mem::take(&mut self.started).freeze()
        } else {
            return Ok(None);
        };
        let payload = frame.split_off(header.header_bytes);
        let offset = self.offset;
        self.offset += frame_bytes as u64;
        let found = crc32c(&payload);
        if found != header.checksum {
            return Err(FrameError::Checksum {
                offset,
                expected: header.checksum,
                found,
            });
        }
        Ok(Some(Frame { offset, payload }))
    }

    /// Moves up to `count` bytes behind those already started; tells whether there were as many.
    ///
    /// The buffer grows with what has arrived, not with what a header claims.
    fn take_started(&mut self, count: usize) -> bool {
        let taken = self.rest.split_to(count.min(self.rest.len()));
        self.started.extend_from_slice(&taken);
        taken.len() == count
    }

    /// Reads size and checksum at the start of `held`; `None` when they are not there yet.
    fn header(&self, held: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
        let Some((size_bytes, after_size)) = self.size(held)? else {
            return Ok(None);
        };
        let payload_bytes = usize::try_from(size_bytes)
            .ok()
            .filter(|size| *size <= self.max_payload_bytes)
            .ok_or(FrameError::TooLarge {
                offset: self.offset,
                size_bytes,
                max_bytes: self.max_payload_bytes,
            })?;
        let Some((checksum, payload)) = after_size.split_first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(FrameHeader {
            header_bytes: held.len() - payload.len(),
            payload_bytes,
            checksum: u32::from_be_bytes(*checksum),
        }))
    }

    /// Reads the size, and returns it with the bytes after it.
    fn size<'a>(&self, held: &'a [u8]) -> Result<Option<(u64, &'a [u8])>, FrameError> {
        let mut size = 0u64;
        let mut rest = held;
        for shift in (0..u64::BITS).step_by(7) {
            let Some((byte, after)) = rest.split_first() else {
                return Ok(None);
            };
            let group = u64::from(byte & 0x7f);
            if (group << shift) >> shift != group {
                break;
            }
            size |= group << shift;
            rest = after;
            if byte & 0x80 == 0 {
                return Ok(Some((size, rest)));
            }
        }
        Err(FrameError::Size { offset: self.offset })
    }
}

fn crc32c(data: &[u8]) -> u32 {
    // The library returns every width as `u64`; a 32-bit sum has nothing in its upper half.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, data) as u32
}
