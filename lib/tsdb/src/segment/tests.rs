use proptest::prelude::*;

use super::*;
use crate::error::Corruption;

/// Worked example A of the format notes: the only chunk of a segment.
const EXAMPLE: &str = "85 bd 40 dd 01 00 00 00 1f 01 \
    00 05 d0 0f 3f f0 00 00 00 00 00 00 98 75 30 9b ff d8 00 75 ff ce 2f 7f f4 00 00 00 00 00 02 \
    b2 02 ca ff";

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn records(file: &[u8]) -> Result<Vec<(u64, u8, Vec<u8>)>, Corruption> {
    scan(file)?
        .map(|item| item.map(|(offset, r)| (offset, r.encoding, r.data.to_vec())))
        .collect()
}

/// Writes series of chunks, given by the sizes of their data.
fn write(limit: u32, series: &[Vec<usize>]) -> (MemorySink, Vec<ChunkRef>) {
    let (mut sink, mut refs) = (MemorySink::default(), Vec::new());
    let mut writer = SegmentWriter::new(limit);
    for (i, sizes) in series.iter().enumerate() {
        writer.begin_series();
        for &size in sizes {
            refs.push(writer.write_chunk(&mut sink, 1, &vec![i as u8; size]).unwrap());
        }
    }
    assert_eq!(writer.num_segments() as usize, sink.segments.len());
    (sink, refs)
}

/// The segment of every chunk.
fn segments(limit: u32, series: &[Vec<usize>]) -> Vec<u32> {
    write(limit, series)
        .1
        .into_iter()
        .map(ChunkRef::segment)
        .collect()
}

#[test]
fn the_worked_example_is_read_and_written_to_the_byte() {
    let file = hex(EXAMPLE);
    let chunk = &file[10..41];
    assert_eq!(records(&file), Ok(vec![(8, 1, chunk.to_vec())]));
    let mut sink = MemorySink::default();
    let mut writer = SegmentWriter::new(DEFAULT_SEGMENT_BYTES);
    assert_eq!(writer.write_chunk(&mut sink, 1, chunk).unwrap(), ChunkRef(8));
    assert_eq!(sink.segments, [file]);
}

#[test]
fn a_record_tells_how_many_bytes_it_needs() {
    let file = hex(EXAMPLE);
    let record = &file[8..];
    for length in 0..record.len() {
        let needed = if length == 0 { 6 } else { record.len() as u64 };
        let expected = RecordError::NeedsMore { offset: 8, needed };
        assert_eq!(read_record(&record[..length], 8), Err(expected), "{length} bytes");
    }
    let more = [record, &[1, 2, 3]].concat();
    assert_eq!(
        read_record(&more, 8).unwrap().bytes,
        record,
        "bytes behind it do not matter"
    );
    let error = read_record(&record[..20], 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chunk at offset 8 needs 37 bytes, more than were read"
    );
}

#[test]
fn a_record_asks_for_the_rest_of_a_length_that_is_cut_off() {
    let needs = |bytes: &[u8]| match read_record(bytes, 0) {
        Err(RecordError::NeedsMore { needed, .. }) => needed,
        other => panic!("{other:?}"),
    };
    assert_eq!((needs(&[]), needs(&[0x80]), needs(&[0xff; 4])), (6, 7, 10));
    assert_eq!(needs(&[0xff, 0xff, 0xff, 0xff, 0x0f]), (1 << 32) - 1 + 10);
}

#[test]
fn lengths_that_no_chunk_has_are_refused() {
    for bytes in [&[0xff; 6][..], &[0xff, 0xff, 0xff, 0xff, 0x1f, 0][..]] {
        assert!(
            matches!(read_record(bytes, 8), Err(RecordError::Corrupt(_))),
            "{bytes:x?}"
        );
    }
}

#[test]
fn the_header_is_checked() {
    assert_eq!(check_header(&HEADER), Ok(()));
    assert_eq!(
        check_header(&[0x85, 0xbd]),
        Err(Corruption::short(SECTION, 0, 8, 2))
    );
    let mut file = HEADER.to_vec();
    file[4] = 2;
    let text = check_header(&file).unwrap_err().to_string();
    assert_eq!(
        text,
        "corrupt chunk segment at offset 4: version 2, only 1 is known"
    );
    file[0] = 0;
    assert!(
        scan(&file)
            .unwrap_err()
            .to_string()
            .contains("not a chunk segment: begins [00, bd, 40, dd]")
    );
}

#[test]
fn the_padding_of_the_header_does_not_matter() {
    let mut file = HEADER.to_vec();
    file[7] = 1;
    assert_eq!(check_header(&file), Ok(()));
}

#[test]
fn a_scan_says_where_it_broke_and_ends() {
    let mut file = write(1000, &[vec![5, 6]]).0.segments.remove(0);
    let last = file.len() - 1;
    file[last] ^= 1;
    let mut chunks = scan(&file).unwrap();
    assert!(chunks.next().unwrap().is_ok());
    let error = chunks.next().unwrap().unwrap_err();
    assert_eq!(error.offset as usize, file.len() - 4);
    assert!(error.what.starts_with("crc32c mismatch"), "{error}");
    assert!(chunks.next().is_none());
    let error = records(&file[..last]).unwrap_err();
    assert_eq!(error, Corruption::short(SECTION, 19, 12, 11));
}

#[test]
fn file_names_have_six_digits_at_least() {
    assert_eq!(segment_name(0), "000001");
    assert_eq!(segment_name(u32::MAX), "4294967296");
}

#[test]
fn a_series_that_does_not_fit_behind_others_is_cut_where_it_overflows() {
    // With 10 bytes of overhead at worst, chunks of 10 bytes count 20; in the file they take 16.
    assert_eq!(
        segments(100, &[vec![10], vec![10; 5]]),
        [0, 0, 0, 0, 1, 1],
        "8 + 16, + 3 x 20"
    );
}

#[test]
fn a_cut_may_precede_the_first_chunk_of_a_series() {
    assert_eq!(segments(100, &[vec![10; 4], vec![30]]), [0, 0, 0, 0, 1]);
}

#[test]
fn a_series_at_the_start_of_a_segment_is_cut_by_its_own_size() {
    assert_eq!(
        segments(100, &[vec![10; 6]]),
        [0, 0, 0, 0, 1, 1],
        "8 + 4 x 20, exactly 100 would fit"
    );
    assert_eq!(segments(108, &[vec![10; 6]]), [0, 0, 0, 0, 0, 1]);
    assert_eq!(segments(107, &[vec![10; 6]]), [0, 0, 0, 0, 1, 1]);
}

#[test]
fn sizes_count_anew_behind_a_cut() {
    assert_eq!(segments(60, &[vec![10], vec![10; 6]]), [0, 0, 1, 1, 2, 2, 3]);
}

#[test]
fn a_chunk_larger_than_a_segment_gets_one_of_its_own() {
    assert_eq!(segments(100, &[vec![500], vec![10]]), [0, 1]);
    assert_eq!(segments(100, &[vec![10], vec![500, 10]]), [0, 1, 2]);
}

#[test]
fn a_series_without_chunks_changes_nothing() {
    assert_eq!(segments(100, &[vec![], vec![10], vec![], vec![10]]), [0, 0]);
    assert!(write(100, &[vec![]]).0.segments.is_empty());
}

#[test]
fn files_are_opened_one_after_the_other() {
    let opened = std::cell::RefCell::new(Vec::new());
    let mut sink = FileSink::new(|index| {
        opened.borrow_mut().push(index);
        Ok(Vec::new())
    });
    let mut writer = SegmentWriter::new(100);
    for size in [500, 500, 7] {
        writer.begin_series();
        writer.write_chunk(&mut sink, 1, &vec![0; size]).unwrap();
    }
    let last = sink.finish().unwrap().unwrap();
    assert_eq!(*opened.borrow(), [0, 1, 2]);
    assert_eq!(records(&last).unwrap().len(), 1);
}

#[test]
fn a_sink_that_refuses_is_heard() {
    let mut sink = FileSink::new(|_| Err::<Vec<u8>, _>(std::io::Error::other("no room")));
    let error = SegmentWriter::new(100)
        .write_chunk(&mut sink, 1, &[0])
        .unwrap_err();
    assert_eq!(error.to_string(), "no room");
}

/// The rule as it is written down, for one series; the chunks are given by the size of their data.
fn cuts(limit: u64, pos: u64, sizes: &[usize]) -> Vec<bool> {
    let (mut acc, mut first) = (0, true);
    let mut cut_before = |(i, &size): (usize, &usize)| {
        let need = 5 + 1 + size as u64 + 4;
        acc += need;
        let cut = if first && pos > 8 {
            acc + pos > limit
        } else {
            i > 0 && acc + 8 > limit
        };
        if cut {
            acc = need;
            first = false;
        }
        cut
    };
    sizes.iter().enumerate().map(&mut cut_before).collect()
}

proptest! {
    #[test]
    fn segments_are_cut_by_the_rule(
        limit in 20u32..400,
        series in proptest::collection::vec(proptest::collection::vec(0usize..150, 0..8), 0..12),
    ) {
        let (sink, refs) = write(limit, &series);
        let mut refs = refs.into_iter();
        let (mut segment, mut offset) = (0u32, 8u64);
        for sizes in &series {
            for (cut, &size) in cuts(limit.into(), offset, sizes).into_iter().zip(sizes) {
                if cut {
                    (segment, offset) = (segment + 1, 8);
                }
                prop_assert_eq!(refs.next(), Some(ChunkRef::new(segment, offset as u32)));
                offset += (if size < 128 { 1 } else { 2 }) + 1 + size as u64 + 4;
            }
        }
        let mut sizes = Vec::new();
        for file in &sink.segments {
            sizes.extend(records(file).unwrap().into_iter().map(|(_, _, data)| data.len()));
        }
        prop_assert_eq!(sizes, series.concat());
    }

    #[test]
    fn records_pass_through_as_they_are(chunks in proptest::collection::vec(
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..20,
    )) {
        let mut encoded = MemorySink::default();
        let mut writer = SegmentWriter::new(DEFAULT_SEGMENT_BYTES);
        for (encoding, data) in &chunks {
            writer.write_chunk(&mut encoded, *encoding, data).unwrap();
        }
        let got = records(&encoded.segments[0]).unwrap();
        prop_assert_eq!(got.into_iter().map(|(_, e, d)| (e, d)).collect::<Vec<_>>(), chunks);
        let mut copied = MemorySink::default();
        let mut writer = SegmentWriter::new(DEFAULT_SEGMENT_BYTES);
        for item in scan(&encoded.segments[0]).unwrap() {
            let (offset, record) = item.unwrap();
            let chunk_ref = writer.write_record(&mut copied, &record).unwrap();
            prop_assert_eq!(u64::from(chunk_ref), offset);
        }
        prop_assert_eq!(copied, encoded);
    }

    #[test]
    fn a_flipped_bit_is_always_found(
        encoding: u8,
        data in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<proptest::sample::Index>(),
    ) {
        let mut sink = MemorySink::default();
        SegmentWriter::new(DEFAULT_SEGMENT_BYTES).write_chunk(&mut sink, encoding, &data).unwrap();
        let mut file = sink.segments.remove(0);
        let bit = 64 + at.index((file.len() - 8) * 8);
        file[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(records(&file).is_err(), "bit {} of {}", bit, file.len() * 8);
    }

    #[test]
    fn any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz::segment(&data);
        crate::fuzz::segment(&[&HEADER[..], &data].concat());
    }
}
