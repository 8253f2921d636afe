//! Segment files: `chunks/000001` and so on, in which the chunks of a block lie one behind the other.
//!
//! | part | bytes |
//! |---|---|
//! | header | `85 bd 40 dd 01 00 00 00` |
//! | chunk | length of the data as `uvarint`, encoding, data, CRC-32C of encoding and data |
//! | ... | |

mod chunk_ref;
mod record;
mod series_chunk;
mod write;

#[cfg(test)]
mod tests;

pub use chunk_ref::ChunkRef;
pub use record::{HEADER, MAX_RECORD_OVERHEAD, Record, RecordError, Scan, check_header, read_record, scan};
pub use series_chunk::SeriesChunk;
pub use write::{
    DEFAULT_SEGMENT_BYTES, FileSink, MemorySink, SegmentSink, SegmentWriteError, SegmentWriter, segment_name,
};

/// What errors call these files.
pub(crate) const SECTION: &str = "chunk segment";
