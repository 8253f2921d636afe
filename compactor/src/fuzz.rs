//! Entry points for fuzzing: each takes any bytes, and must neither panic nor take much memory.

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_tsdb::index::{ChunkMeta, SeriesEntry};
use tokio::sync::mpsc;

use crate::source::{ChunkReader, RandomReads, SegmentFile, Window, WindowReader, read_index};

/// Windows of the sizes that are hardest: they end in the middle of everything.
const WINDOW_BYTES: usize = 7;
/// Series of an index that are read.
const MAX_SERIES: usize = 1_000;

/// Reads the bytes as the index of a source: symbols, then series.
pub fn source_index(data: &[u8]) {
    let Ok(Some(mut symbols)) = read_index(windows(data), data) else {
        return;
    };
    while let Ok(true) = symbols.advance() {
        let _ = (symbols.symbol().len(), symbols.symbol_offset());
    }
    let mut series = symbols.into_series();
    let mut entry = SeriesEntry::default();
    for _ in 0..MAX_SERIES {
        if !matches!(series.next_into(&mut entry), Ok(Some(_))) {
            return;
        }
    }
}

/// Reads the bytes as a segment of a source, with a chunk at each place that the first bytes name.
pub fn source_chunks(data: &[u8]) {
    let (places, segment) = data.split_at(data.len().min(16));
    let file = SegmentFile {
        file: "chunks/000001".to_owned(),
        size_bytes: segment.len() as u64,
    };
    // Nobody answers: what lies behind cannot be had.
    let mut reader = ChunkReader::new(windows(segment), vec![file], RandomReads::unanswered());
    for place in places {
        let meta = ChunkMeta {
            chunk_ref: u64::from(*place),
            ..ChunkMeta::default()
        };
        let _ = reader.read(&meta);
    }
}

fn windows(data: &[u8]) -> WindowReader {
    let count = data.len().div_ceil(WINDOW_BYTES).max(1);
    let (sender, receiver) = mpsc::channel(count);
    for (number, bytes) in data.chunks(WINDOW_BYTES).enumerate() {
        let window = Window {
            object: 0,
            offset: (number * WINDOW_BYTES) as u64,
            bytes: Bytes::copy_from_slice(bytes),
        };
        // There is room for all of them.
        drop(sender.try_send(Ok(window)));
    }
    WindowReader::new(BlockId::default(), receiver)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sabre_testkit::blocks::BlockBuilder;

    use super::*;

    fn block_file(path: &str) -> Vec<u8> {
        let block = BlockBuilder::new(1)
            .counters(3, 0..600_000, 15_000)
            .build()
            .unwrap();
        block.file(path).unwrap().to_vec()
    }

    /// The series that are found in an index by windows of a few bytes.
    fn count_series(index: &[u8]) -> usize {
        let mut symbols = read_index(windows(index), index).unwrap().unwrap();
        while symbols.advance().unwrap() {}
        let mut series = symbols.into_series();
        let mut entry = SeriesEntry::default();
        let mut count = 0;
        while series.next_into(&mut entry).unwrap().is_some() {
            count += 1;
        }
        count
    }

    #[test]
    fn an_index_is_read_through_windows_of_a_few_bytes() {
        assert_eq!(count_series(&block_file("index")), 3);
    }

    #[test]
    fn chunks_are_read_through_windows_of_a_few_bytes() {
        let segment = block_file("chunks/000001");
        let file = SegmentFile {
            file: "chunks/000001".to_owned(),
            size_bytes: segment.len() as u64,
        };
        let mut reader = ChunkReader::new(windows(&segment), vec![file], RandomReads::unanswered());
        for (offset, record) in sabre_tsdb::segment::scan(&segment).unwrap().map(Result::unwrap) {
            let meta = ChunkMeta {
                chunk_ref: offset,
                ..ChunkMeta::default()
            };
            assert_eq!(reader.read(&meta).unwrap().data(), record.data);
        }
        let behind = ChunkMeta {
            chunk_ref: 8,
            ..ChunkMeta::default()
        };
        assert!(
            reader.read(&behind).is_err(),
            "what was passed is asked for again, and nobody answers"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            source_index(&data);
            source_chunks(&data);
        }

        #[test]
        fn damaged_files_are_taken(at in 0..4_000_usize, with: u8, cut in 0..4_000_usize) {
            for path in ["index", "chunks/000001"] {
                let mut bytes = block_file(path);
                let len = bytes.len();
                bytes[at % len] = with;
                source_index(&bytes);
                bytes.truncate(cut % len);
                source_index(&bytes);
                let mut with_places = vec![8; 16];
                with_places.extend(bytes);
                source_chunks(&with_places);
            }
        }
    }
}
