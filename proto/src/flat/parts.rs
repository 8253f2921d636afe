//! What a message is written from: slices of fetched buffers.

use super::wire::{Writer, bytes_field_len, number_field_len};
use crate::thanos::chunk::Encoding;
use bytes::BufMut;

pub(super) const SERIES_LABELS: u8 = 1;
const SERIES_CHUNKS: u8 = 2;
const AGGR_CHUNK_MIN_TIME: u8 = 1;
const AGGR_CHUNK_MAX_TIME: u8 = 2;
const AGGR_CHUNK_RAW: u8 = 3;
const AGGR_CHUNK_COUNT: u8 = 4;
const CHUNK_TYPE: u8 = 1;
const CHUNK_DATA: u8 = 2;
const CHUNK_HASH: u8 = 3;

/// One series: `Series` on the wire.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeriesParts<'a> {
    /// The encoded labels one after the other, as [`super::encode_label`] writes them, in the order of their names.
    pub labels: &'a [u8],
    /// In the order in which they are to be sent.
    pub chunks: &'a [ChunkParts<'a>],
}

/// One time range of a series: `AggrChunk` on the wire.
///
/// Nearly all are of raw samples, and there are half a million of them in a large answer: the rest lies elsewhere.
#[derive(Debug, Clone, Default)]
pub struct ChunkParts<'a> {
    /// First timestamp, in milliseconds.
    pub mint: i64,
    /// Last timestamp, in milliseconds.
    pub maxt: i64,
    /// All samples.
    pub raw: Option<ChunkPart<'a>>,
    /// What there is of downsampled ones.
    pub aggregates: Option<Box<AggregateParts<'a>>>,
}

/// The aggregates of a downsampled chunk.
#[derive(Debug, Clone, Copy, Default)]
pub struct AggregateParts<'a> {
    /// Samples per window.
    pub count: Option<ChunkPart<'a>>,
    /// Sum per window.
    pub sum: Option<ChunkPart<'a>>,
    /// Smallest value per window.
    pub min: Option<ChunkPart<'a>>,
    /// Largest value per window.
    pub max: Option<ChunkPart<'a>>,
    /// Counter with resets taken out.
    pub counter: Option<ChunkPart<'a>>,
}

/// One encoded chunk: `Chunk` on the wire.
#[derive(Debug, Clone, Copy)]
pub struct ChunkPart<'a> {
    /// How `data` is encoded.
    pub encoding: Encoding,
    /// Payload without length, encoding byte and checksum.
    pub data: &'a [u8],
    /// xxh64 of `data`; 0 leaves it to the receiver.
    pub hash: u64,
}

impl<'a> ChunkParts<'a> {
    /// A chunk of raw samples.
    pub fn raw(mint: i64, maxt: i64, part: ChunkPart<'a>) -> Self {
        Self {
            mint,
            maxt,
            raw: Some(part),
            ..Self::default()
        }
    }

    fn encoded_len(&self) -> usize {
        let raw = self.raw.as_ref().map_or(0, ChunkPart::field_len);
        let aggregates = self.aggregates.as_ref().map_or(0, |parts| parts.encoded_len());
        number_field_len(self.mint as u64) + number_field_len(self.maxt as u64) + raw + aggregates
    }

    fn write(&self, writer: &mut Writer<'_, impl BufMut>) {
        writer.number(AGGR_CHUNK_MIN_TIME, self.mint as u64);
        writer.number(AGGR_CHUNK_MAX_TIME, self.maxt as u64);
        if let Some(raw) = &self.raw {
            raw.write(AGGR_CHUNK_RAW, writer);
        }
        if let Some(aggregates) = &self.aggregates {
            for (field, part) in aggregates.parts() {
                part.write(field, writer);
            }
        }
    }
}

impl<'a> AggregateParts<'a> {
    /// The parts with their field numbers, ascending.
    fn parts(&self) -> impl Iterator<Item = (u8, &ChunkPart<'a>)> {
        let parts = [&self.count, &self.sum, &self.min, &self.max, &self.counter];
        (AGGR_CHUNK_COUNT..)
            .zip(parts)
            .filter_map(|(field, part)| part.as_ref().map(|part| (field, part)))
    }

    fn encoded_len(&self) -> usize {
        self.parts().map(|(_, part)| part.field_len()).sum()
    }
}

impl ChunkPart<'_> {
    /// Length of the field that holds it, with its key.
    fn field_len(&self) -> usize {
        bytes_field_len(self.encoded_len())
    }

    fn write(&self, field: u8, writer: &mut Writer<'_, impl BufMut>) {
        writer.key(field, self.encoded_len());
        writer.number(CHUNK_TYPE, self.encoding as u64);
        writer.bytes(CHUNK_DATA, self.data);
        writer.number(CHUNK_HASH, self.hash);
    }

    fn encoded_len(&self) -> usize {
        let data = if self.data.is_empty() {
            0
        } else {
            bytes_field_len(self.data.len())
        };
        number_field_len(self.encoding as u64) + data + number_field_len(self.hash)
    }
}

impl SeriesParts<'_> {
    /// Returns the length of the `Series` message, which is what it adds to an answer, to within a few bytes.
    pub fn encoded_len(&self) -> usize {
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| bytes_field_len(chunk.encoded_len()))
            .sum();
        self.labels.len() + chunks
    }

    /// As [`Self::encoded_len`]; appends the length of each chunk to `chunk_lens`.
    pub(super) fn measure(&self, chunk_lens: &mut Vec<usize>) -> usize {
        let start = chunk_lens.len();
        chunk_lens.extend(self.chunks.iter().map(ChunkParts::encoded_len));
        let own_lens = chunk_lens.get(start..).unwrap_or_default();
        let chunks: usize = own_lens.iter().map(|len| bytes_field_len(*len)).sum();
        self.labels.len() + chunks
    }

    /// Writes what was measured; takes as many of `chunk_lens` as there are chunks.
    pub(super) fn write<'l>(
        &self,
        chunk_lens: &mut impl Iterator<Item = &'l usize>,
        writer: &mut Writer<'_, impl BufMut>,
    ) {
        writer.data(self.labels);
        for (chunk, len) in self.chunks.iter().zip(chunk_lens) {
            writer.key(SERIES_CHUNKS, *len);
            chunk.write(writer);
        }
    }
}
