//! Answers of peers as they came, cut without copying.
//!
//! A message may claim anything: whatever cannot be read is an error, and nothing is set aside for what was not counted.

use bytes::{Bytes, BytesMut};
use sabre_model::{Labels, LabelsError};
use sabre_proto::thanos::{AggrChunk, Chunk};

/// Most of a warning that is kept: whoever reads it wants to know who said what, not all of it.
const MAX_WARNING_BYTES: usize = 4 << 10;

/// A message that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// It ends within a field, or a field has a type that does not exist.
    #[error("an answer that is no message")]
    Message,
    /// A text that is none.
    #[error("an answer with a text that is not UTF-8")]
    Text,
    /// Labels that are none.
    #[error("a series with labels that are none: {0}")]
    Labels(#[from] LabelsError),
}

/// A part of an answer of `Series`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A series that is not decoded yet.
    Series(Bytes),
    /// Fields 1 of it are series.
    Batch(Bytes),
    /// Something to be told.
    Warning(String),
    /// Nothing that matters here.
    Other,
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of fixed width, which no field of ours has.
    Fixed,
}

/// The fields of a message, in their order.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| WireError::Message)?;
                Value::Bytes(self.take(len)?)
            }
            1 => self.take(8).map(|_| Value::Fixed)?,
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(WireError::Message),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Message)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(WireError::Message)
    }
}

/// Reads a `SeriesResponse`.
pub(crate) fn part(message: &Bytes) -> Result<Part, WireError> {
    let mut fields = Fields::new(message);
    let mut part = Part::Other;
    while let Some((number, value)) = fields.next()? {
        // Of the fields of a oneof the last one counts.
        match (number, value) {
            (1, Value::Bytes(series)) => part = Part::Series(message.slice_ref(series)),
            (2, Value::Bytes(text)) => part = Part::Warning(told(self::text(text)?)),
            (4, Value::Bytes(batch)) => part = Part::Batch(message.slice_ref(batch)),
            (3, Value::Bytes(_)) => part = Part::Other,
            _ => {}
        }
    }
    Ok(part)
}

/// A warning of a peer, as much of it as is passed on.
pub(crate) fn told(text: &str) -> String {
    if text.len() <= MAX_WARNING_BYTES {
        return text.to_owned();
    }
    let start = text.get(..text.floor_char_boundary(MAX_WARNING_BYTES));
    format!("{}…", start.unwrap_or_default())
}

/// Takes the next series off a batch.
pub(crate) fn next_of_batch(batch: &mut Bytes) -> Result<Option<Bytes>, WireError> {
    let whole = batch.clone();
    let mut fields = Fields::new(&whole);
    let mut found = None;
    while found.is_none() {
        match fields.next()? {
            Some((1, Value::Bytes(series))) => found = Some(whole.slice_ref(series)),
            Some(_) => {}
            None => break,
        }
    }
    *batch = whole.slice_ref(fields.rest);
    Ok(found)
}

/// How many chunks a series has.
pub(crate) fn count_chunks(series: &[u8]) -> Result<usize, WireError> {
    let mut fields = Fields::new(series);
    let mut chunks = 0;
    while let Some(field) = fields.next()? {
        if let (2, Value::Bytes(_)) = field {
            chunks += 1;
        }
    }
    Ok(chunks)
}

/// How many fields a message has.
pub(crate) fn count_fields(message: &[u8]) -> Result<usize, WireError> {
    let mut fields = Fields::new(message);
    let mut count = 0;
    while fields.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Reads the labels of a series, without those called `without`.
pub(crate) fn labels(series: &[u8], without: &[String]) -> Result<Labels, WireError> {
    let mut failure = None;
    let pairs = LabelFields {
        fields: Fields::new(series),
        without,
        failure: &mut failure,
    };
    let labels = match Labels::from_sorted(pairs) {
        Err(LabelsError::Unsorted { .. }) => {
            let pairs = LabelFields {
                fields: Fields::new(series),
                without,
                failure: &mut failure,
            };
            Labels::from_pairs(pairs)
        }
        other => other,
    };
    match failure {
        Some(failure) => Err(failure),
        None => Ok(labels?),
    }
}

struct LabelFields<'a, 'f> {
    fields: Fields<'a>,
    without: &'f [String],
    failure: &'f mut Option<WireError>,
}

impl<'a> LabelFields<'a, '_> {
    fn next_label(&mut self) -> Result<Option<(&'a str, &'a str)>, WireError> {
        while let Some((number, value)) = self.fields.next()? {
            let (1, Value::Bytes(label)) = (number, value) else {
                continue;
            };
            let (name, value) = self::label(label)?;
            // A label without a value is none, as everywhere in Prometheus.
            if !value.is_empty() && !self.without.iter().any(|without| without == name) {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for LabelFields<'a, '_> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_label() {
            Ok(label) => label,
            Err(failure) => {
                *self.failure = Some(failure);
                None
            }
        }
    }
}

fn label(label: &[u8]) -> Result<(&str, &str), WireError> {
    let mut fields = Fields::new(label);
    let (mut name, mut value) = ("", "");
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError::Text)
}

/// Reads the chunks of a series, of which there are `count`; their data are slices of it.
pub(crate) fn chunks(series: &Bytes, count: usize) -> Result<Vec<AggrChunk>, WireError> {
    let mut fields = Fields::new(series);
    let mut chunks = Vec::with_capacity(count);
    while let Some((number, value)) = fields.next()? {
        if let (2, Value::Bytes(chunk)) = (number, value) {
            chunks.push(aggr_chunk(series, chunk)?);
        }
    }
    Ok(chunks)
}

/// Puts the data of chunks into one piece of memory of their own, if what they are slices of takes `backing_bytes` and
/// they are less than half of it. Else a peer could have a lot of memory held with little that is charged.
pub(crate) fn detach(chunks: &mut [AggrChunk], backing_bytes: usize) {
    let len: usize = chunks.iter().map(AggrChunk::data_bytes).sum();
    if len.saturating_mul(2) >= backing_bytes {
        return;
    }
    let mut own = BytesMut::with_capacity(len);
    for part in chunks.iter_mut().flat_map(AggrChunk::parts_mut) {
        own.extend_from_slice(&part.data);
        part.data = own.split().freeze();
    }
}

fn aggr_chunk(whole: &Bytes, message: &[u8]) -> Result<AggrChunk, WireError> {
    let mut fields = Fields::new(message);
    let mut read = AggrChunk::default();
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(time)) => read.min_time = time.cast_signed(),
            (2, Value::Number(time)) => read.max_time = time.cast_signed(),
            (number @ 3..=8, Value::Bytes(bytes)) => {
                let part = match number {
                    3 => &mut read.raw,
                    4 => &mut read.count,
                    5 => &mut read.sum,
                    6 => &mut read.min,
                    7 => &mut read.max,
                    _ => &mut read.counter,
                };
                *part = Some(chunk(whole, bytes)?);
            }
            _ => {}
        }
    }
    Ok(read)
}

fn chunk(whole: &Bytes, message: &[u8]) -> Result<Chunk, WireError> {
    let mut fields = Fields::new(message);
    let mut read = Chunk::default();
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(encoding)) => {
                read.r#type = i32::try_from(encoding).map_err(|_| WireError::Message)?;
            }
            (2, Value::Bytes(data)) => read.data = whole.slice_ref(data),
            (3, Value::Number(hash)) => read.hash = hash,
            _ => {}
        }
    }
    Ok(read)
}

/// Reads an answer as deep as it goes.
pub(super) fn fuzz_answer(message: &Bytes) {
    let series = |series: &Bytes| {
        let _ = labels(series, &["a".to_owned()]);
        if let Ok(count) = count_chunks(series) {
            let _ = chunks(series, count);
        }
    };
    match part(message) {
        Ok(Part::Series(one)) => series(&one),
        Ok(Part::Batch(mut batch)) => {
            while let Ok(Some(one)) = next_of_batch(&mut batch) {
                series(&one);
            }
        }
        Ok(Part::Warning(_) | Part::Other) | Err(_) => {}
    }
    let _ = count_fields(message);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use sabre_proto::thanos::{Label, Series, SeriesBatch, SeriesResponse, series_response};

    use super::*;

    fn series(value: &str, chunks: usize) -> Series {
        let label = |name: &str, value: &str| Label {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let chunk = |n: usize| AggrChunk {
            min_time: -5 + n as i64,
            max_time: 7,
            raw: n.is_multiple_of(2).then(|| Chunk {
                r#type: 1,
                data: Bytes::from(vec![n as u8; 30]),
                hash: u64::MAX,
            }),
            counter: (n % 2 == 1).then(Chunk::default),
            ..AggrChunk::default()
        };
        Series {
            labels: vec![label("a", value), label("replica", "r"), label("z", "")],
            chunks: (0..chunks).map(chunk).collect(),
        }
    }

    fn encoded(result: series_response::Result) -> Bytes {
        SeriesResponse { result: Some(result) }.encode_to_vec().into()
    }

    #[test]
    fn a_series_is_read_as_it_was_written() {
        let said = series("x", 3);
        let Part::Series(bytes) = part(&encoded(series_response::Result::Series(said.clone()))).unwrap()
        else {
            panic!("no series");
        };
        assert_eq!(count_chunks(&bytes), Ok(3));
        let read = chunks(&bytes, 3).unwrap();
        assert_eq!(read, said.chunks);
        let (data, whole) = (&read[0].raw.as_ref().unwrap().data, bytes.as_ptr_range());
        assert!(whole.contains(&data.as_ptr()), "data are not copied");
        assert_eq!(
            labels(&bytes, &[]).unwrap().to_string(),
            r#"{a="x", replica="r"}"#
        );
        let without = labels(&bytes, &["replica".to_owned()]).unwrap();
        assert_eq!(without.to_string(), r#"{a="x"}"#);
    }

    #[test]
    fn batches_give_one_series_after_the_other() {
        let batch = SeriesBatch {
            series: vec![series("x", 0), series("y", 1)],
        };
        let Part::Batch(mut bytes) = part(&encoded(series_response::Result::Batch(batch))).unwrap() else {
            panic!("no batch");
        };
        let mut values = Vec::new();
        while let Some(series) = next_of_batch(&mut bytes).unwrap() {
            values.push(labels(&series, &[]).unwrap().get("a").unwrap().to_owned());
        }
        assert_eq!(values, ["x", "y"]);
    }

    #[test]
    fn warnings_and_hints_are_told_apart() {
        let warning = encoded(series_response::Result::Warning("w".to_owned()));
        assert_eq!(part(&warning), Ok(Part::Warning("w".to_owned())));
        let hints = encoded(series_response::Result::Hints(prost_types::Any::default()));
        assert_eq!(part(&hints), Ok(Part::Other));
    }

    #[test]
    fn labels_out_of_order_are_sorted_and_twice_the_same_is_an_error() {
        let mut said = series("x", 0);
        said.labels.reverse();
        let bytes = said.encode_to_vec();
        assert_eq!(
            labels(&bytes, &[]).unwrap().to_string(),
            r#"{a="x", replica="r"}"#
        );
        said.labels.extend(series("y", 0).labels);
        assert!(matches!(
            labels(&said.encode_to_vec(), &[]),
            Err(WireError::Labels(_))
        ));
        said.labels.clear();
        let mut bytes = said.encode_to_vec();
        bytes.extend([0x0a, 4, 0x0a, 2, b'x', b'y']);
        assert_eq!(labels(&bytes, &[]), Ok(Labels::default()), "no value, no label");
        bytes.extend([0x0a, 4, 0x12, 2, 0xff, 0xfe]);
        assert_eq!(labels(&bytes, &[]), Err(WireError::Text));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_generated_code_reads(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..60),
            flip in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            if whole {
                bytes = encoded(series_response::Result::Series(series("x", 2))).to_vec();
                let at = flip.index(bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
            }
            let bytes = Bytes::from(bytes);
            if let Ok(Part::Series(series)) = part(&bytes)
                && let Ok(count) = count_chunks(&series)
                && let Ok(ours) = chunks(&series, count)
                && let Ok(theirs) = Series::decode(series.clone())
            {
                // Sub-messages that come twice are merged there and replaced here; nobody writes them.
                prop_assert_eq!(ours.len(), theirs.chunks.len());
                let _ = labels(&series, &[]);
            }
        }
    }
}
