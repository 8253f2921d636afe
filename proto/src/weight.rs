//! What a message takes in memory once it is decoded, told before it is: an empty series is two bytes on the wire, and
//! fifty in memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::{
    prometheus::{Chunk, ChunkedSeries, QueryResult},
    prometheus_copy::{BucketSpan, Exemplar, Histogram, Sample, TimeSeries},
    thanos::{Label, LabelMatcher},
};

/// A list that grows is there twice while it moves to a place of twice its length.
const GROWTH: usize = 3;

/// What an allocator adds to a text.
const TEXT_BYTES: usize = 16;

/// What one of a list of texts takes besides.
const LISTED_TEXT_BYTES: usize = size_of::<String>() * GROWTH + TEXT_BYTES;

/// What a matcher takes once more when it is made one of the model's.
const MODEL_MATCHER_BYTES: usize = size_of::<sabre_model::Matcher>();

/// The shape of a message.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What one takes in memory by itself.
    bytes: usize,
    /// Whether it is `google.protobuf.Any`, whose bytes need be no message.
    is_any: bool,
    /// Which of its fields are messages, by their numbers.
    nested: &'static [(u32, &'static Shape)],
    /// What a byte of a field takes that is no message: more than one in lists of numbers.
    per_byte: usize,
    /// What a number takes; none unless it is one of a list.
    per_number: usize,
    /// What a text takes besides its bytes.
    text_bytes: usize,
}

const fn message(bytes: usize, nested: &'static [(u32, &'static Shape)]) -> Shape {
    Shape {
        bytes: bytes * GROWTH,
        is_any: false,
        nested,
        per_byte: 1,
        per_number: 0,
        text_bytes: TEXT_BYTES,
    }
}

/// A message with lists of texts.
const fn with_texts(nested: &'static [(u32, &'static Shape)]) -> Shape {
    Shape {
        text_bytes: LISTED_TEXT_BYTES,
        ..message(0, nested)
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
pub(crate) const CHUNKED_SERIES: Shape = message(size_of::<ChunkedSeries>(), &[(1, &LABEL), (2, &CHUNK)]);

/// [`crate::prometheus::ReadResponse`].
pub(crate) const READ_RESPONSE: Shape = message(0, &[(1, &QUERY_RESULT)]);

const MATCHER: Shape = message(size_of::<LabelMatcher>() + MODEL_MATCHER_BYTES, &[]);
/// Each call's has matchers of blocks in it.
const HINTS: Shape = message(0, &[(1, &MATCHER)]);
const ANY: Shape = Shape {
    is_any: true,
    ..message(0, &[(2, &HINTS)])
};
const QUERY_HINTS: Shape = with_texts(&[(4, &with_texts(&[]))]);

/// [`crate::thanos::SeriesRequest`].
pub(crate) const SERIES_REQUEST: Shape = Shape {
    // Aggregates, one by one or packed.
    per_byte: size_of::<i32>() * GROWTH,
    per_number: size_of::<i32>() * GROWTH,
    ..with_texts(&[
        (3, &MATCHER),
        (9, &ANY),
        (12, &QUERY_HINTS),
        (13, &with_texts(&[])),
    ])
};

/// [`crate::thanos::LabelNamesRequest`].
pub(crate) const LABEL_NAMES_REQUEST: Shape = with_texts(&[(5, &ANY), (6, &MATCHER)]);

/// [`crate::thanos::LabelValuesRequest`].
pub(crate) const LABEL_VALUES_REQUEST: Shape = with_texts(&[(6, &ANY), (7, &MATCHER)]);

impl Shape {
    /// What a message of this shape takes in memory at most; `None` if it is none.
    pub(crate) fn weigh(&self, mut message: &[u8]) -> Option<usize> {
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
                Some((_, shape)) => match shape.weigh(field) {
                    // Nobody can make a message of them then.
                    None if self.is_any => len,
                    more => more?,
                },
                None => len.saturating_mul(self.per_byte).saturating_add(self.text_bytes),
            };
            bytes = bytes.saturating_add(more);
        }
        Some(bytes)
    }
}
