//! What a message takes in memory once it is decoded, told before it is: an empty series is two bytes on the wire, and
//! fifty in memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::{
    prometheus::{Chunk, ChunkedSeries, QueryResult},
    prometheus_copy::{BucketSpan, Exemplar, Histogram, Sample, TimeSeries},
    thanos::Label,
};

/// A list that grows is there twice while it moves to a place of twice its length.
const GROWTH: usize = 3;

/// What an allocator adds to a text.
const TEXT_BYTES: usize = 16;

/// The shape of a message.
#[derive(Debug)]
pub(super) struct Shape {
    /// What one takes in memory by itself.
    bytes: usize,
    /// Which of its fields are messages, by their numbers.
    nested: &'static [(u32, &'static Shape)],
    /// What a byte of a field takes that is no message: more than one in lists of numbers.
    per_byte: usize,
    /// What a number takes; none unless it is one of a list.
    per_number: usize,
}

const fn message(bytes: usize, nested: &'static [(u32, &'static Shape)]) -> Shape {
    Shape {
        bytes: bytes * GROWTH,
        nested,
        per_byte: 1,
        per_number: 0,
    }
}

const LABEL: Shape = message(size_of::<Label>(), &[]);
const CHUNK: Shape = Shape {
    // The data are a slice of the payload.
    per_byte: 0,
    ..message(size_of::<Chunk>(), &[])
};
const SAMPLE: Shape = message(size_of::<Sample>(), &[]);
const EXEMPLAR: Shape = message(size_of::<Exemplar>(), &[(1, &LABEL)]);
const SPAN: Shape = message(size_of::<BucketSpan>(), &[]);
const HISTOGRAM: Shape = Shape {
    per_byte: size_of::<u64>() * GROWTH,
    per_number: size_of::<u64>() * GROWTH,
    ..message(size_of::<Histogram>(), &[(8, &SPAN), (11, &SPAN)])
};
const TIME_SERIES: Shape = message(
    size_of::<TimeSeries>(),
    &[(1, &LABEL), (2, &SAMPLE), (3, &EXEMPLAR), (4, &HISTOGRAM)],
);
const QUERY_RESULT: Shape = message(size_of::<QueryResult>(), &[(1, &TIME_SERIES)]);

/// [`ChunkedSeries`].
pub(super) const CHUNKED_SERIES: Shape = message(size_of::<ChunkedSeries>(), &[(1, &LABEL), (2, &CHUNK)]);

/// [`crate::prometheus::ReadResponse`].
pub(super) const READ_RESPONSE: Shape = message(0, &[(1, &QUERY_RESULT)]);

impl Shape {
    /// What a message of this shape takes in memory at most; `None` if it is none.
    pub(super) fn weigh(&self, mut message: &[u8]) -> Option<usize> {
        let mut bytes = self.bytes;
        while !message.is_empty() {
            let (number, wire_type) = decode_key(&mut message).ok()?;
            if wire_type != WireType::LengthDelimited {
                skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
                bytes = bytes.saturating_add(self.per_number);
                continue;
            }
            let len = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (field, rest) = message.split_at_checked(len)?;
            message = rest;
            let more = match self.nested.iter().find(|(of, _)| *of == number) {
                // As deep as shapes are, which do not hold themselves.
                Some((_, shape)) => shape.weigh(field)?,
                None => len.saturating_mul(self.per_byte).saturating_add(TEXT_BYTES),
            };
            bytes = bytes.saturating_add(more);
        }
        Some(bytes)
    }
}
