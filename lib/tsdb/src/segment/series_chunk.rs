//! A chunk that is carried from block to block.

use bytes::Bytes;

use super::record::{MAX_RECORD_OVERHEAD, Record, RecordError, read_record};
use crate::chunk::{ChunkError, Encoding, UnsupportedEncoding, num_samples};
use crate::crc::crc32c;
use crate::encoding::put_uvarint;

const ENCODING_BYTES: usize = 1;
const CRC_BYTES: usize = 4;

/// A chunk of a series: when its samples are, and its bytes as they lie in a segment.
///
/// A copy shares the bytes. What comes out of one segment can go into another as it is, checksum included:
/// nothing in the bytes depends on their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesChunk {
    /// Timestamp of the first sample, in milliseconds, as the index says.
    pub mint: i64,
    /// Timestamp of the last sample, in milliseconds, as the index says.
    pub maxt: i64,
    encoding: u8,
    /// Length, encoding, data, checksum.
    bytes: Bytes,
    /// Where the data starts in `bytes`.
    data_start: usize,
}

impl SeriesChunk {
    /// Takes the chunk that `bytes` start with, and verifies its checksum. `offset` is its place in the segment
    /// file, for errors. Nothing is copied; bytes behind the chunk do not matter.
    pub fn from_record(mint: i64, maxt: i64, bytes: &Bytes, offset: u64) -> Result<Self, RecordError> {
        Self::from_window(mint, maxt, bytes, 0, offset)
    }

    /// As [`Self::from_record`], of a chunk that begins at `start` in `window`, from which `offset` is its place in the
    /// segment file still.
    pub fn from_window(
        mint: i64,
        maxt: i64,
        window: &Bytes,
        start: usize,
        offset: u64,
    ) -> Result<Self, RecordError> {
        let record = read_record(window.get(start..).unwrap_or_default(), offset)?;
        let (encoding, record_bytes) = (record.encoding, record.bytes.len());
        let data_start = record_bytes - record.data.len() - CRC_BYTES;
        Ok(Self {
            mint,
            maxt,
            encoding,
            bytes: window.slice(start..start + record_bytes),
            data_start,
        })
    }

    /// Frames new data as a segment has it.
    pub fn encode(mint: i64, maxt: i64, encoding: Encoding, data: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(data.len() + MAX_RECORD_OVERHEAD);
        put_uvarint(&mut bytes, data.len() as u64);
        let covered_start = bytes.len();
        bytes.push(encoding.byte());
        bytes.extend_from_slice(data);
        let checksum = crc32c(bytes.get(covered_start..).unwrap_or_default());
        bytes.extend_from_slice(&checksum.to_be_bytes());
        Self {
            mint,
            maxt,
            encoding: encoding.byte(),
            bytes: bytes.into(),
            data_start: covered_start + ENCODING_BYTES,
        }
    }

    /// The byte of encoding, known here or not.
    pub fn encoding_byte(&self) -> u8 {
        self.encoding
    }

    /// The encoding, if it is one of those read here.
    pub fn encoding(&self) -> Result<Encoding, UnsupportedEncoding> {
        Encoding::try_from(self.encoding)
    }

    /// The data of the chunk, without what surrounds it.
    pub fn data(&self) -> &[u8] {
        let data_end = self.bytes.len().saturating_sub(CRC_BYTES);
        self.bytes.get(self.data_start..data_end).unwrap_or_default()
    }

    /// The data of the chunk, sharing its memory.
    pub fn shared_data(&self) -> Bytes {
        self.bytes.slice_ref(self.data())
    }

    /// The chunk as a segment writer takes it.
    pub fn record(&self) -> Record<'_> {
        Record {
            encoding: self.encoding,
            data: self.data(),
            bytes: &self.bytes,
        }
    }

    /// Number of samples, read from the header.
    pub fn num_samples(&self) -> Result<u16, ChunkError> {
        Ok(num_samples(self.encoding()?, self.data())?)
    }

    /// Number of bytes it takes in a segment.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether both have the same time range, encoding and data.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.mint, self.maxt) == (other.mint, other.maxt)
            && self.encoding == other.encoding
            && self.data() == other.data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{MemorySink, SegmentWriter};

    #[test]
    fn what_is_framed_here_is_what_a_segment_writer_frames() {
        for data in [vec![], vec![7; 3], vec![1; 300]] {
            let chunk = SeriesChunk::encode(1, 2, Encoding::Histogram, &data);
            let mut sink = MemorySink::default();
            SegmentWriter::new(1 << 20)
                .write_chunk(&mut sink, 2, &data)
                .unwrap();
            assert_eq!(sink.segments[0][8..], *chunk.record().bytes);
            assert_eq!(chunk.data(), data);
            let mut longer = chunk.record().bytes.to_vec();
            longer.extend_from_slice(b"behind");
            let read = SeriesChunk::from_record(1, 2, &longer.into(), 8).unwrap();
            assert_eq!(read, chunk);
            assert_eq!(read.shared_data(), data);
            assert_eq!(read.encoding(), Ok(Encoding::Histogram));
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let chunk = SeriesChunk::encode(1, 2, Encoding::Xor, &[0, 0]);
        for bit in 0..chunk.len_bytes() * 8 {
            let mut bytes = chunk.record().bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SeriesChunk::from_record(1, 2, &bytes.into(), 0).is_err(), "{bit}");
        }
    }

    #[test]
    fn an_encoding_that_is_not_known_is_carried_along() {
        let mut bytes = vec![1, 4, 9];
        bytes.extend_from_slice(&crc32c(&[4, 9]).to_be_bytes());
        let chunk = SeriesChunk::from_record(1, 2, &bytes.into(), 0).unwrap();
        assert_eq!((chunk.encoding_byte(), chunk.data()), (4, &[9][..]));
        assert!(chunk.encoding().is_err() && chunk.num_samples().is_err());
    }
}
