use proptest::prelude::*;

use super::super::fixture::{EXAMPLE_CHUNK, any_chunks, hex};
use super::*;

/// The series of the worked example.
const EXAMPLE: &str = "0c 0201040302 01d00fe7d40308 8a7978c7";

fn decoded(bytes: &[u8]) -> Result<(SeriesEntry, usize), SeriesError> {
    let mut entry = SeriesEntry::default();
    let total_bytes = decode_into(bytes, &mut entry)?;
    Ok((entry, total_bytes))
}

fn encoded(labels: &[(u32, u32)], chunks: &[ChunkMeta]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(labels, chunks, &mut out);
    out
}

/// An entry around any body.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    put_u32(&mut out, crc32c(body));
    out
}

fn chunk(mint: i64, maxt: i64, chunk_ref: u64) -> ChunkMeta {
    ChunkMeta {
        mint,
        maxt,
        chunk_ref,
    }
}

#[test]
fn the_example_decodes_and_encodes() {
    let (entry, total_bytes) = decoded(&hex(EXAMPLE)).unwrap();
    assert_eq!(entry.labels, [(1, 4), (3, 2)]);
    assert_eq!(entry.chunks, [EXAMPLE_CHUNK]);
    assert_eq!(total_bytes, 17);
    assert_eq!(encoded(&entry.labels, &entry.chunks), hex(EXAMPLE));
}

#[test]
fn chunks_out_of_order_wrap_around() {
    let chunks = [
        chunk(1000, 2000, 500),
        chunk(1500, 1400, 8),
        chunk(i64::MIN, i64::MAX, u64::MAX),
    ];
    let bytes = encoded(&[(0, 0)], &chunks);
    assert_eq!(decoded(&bytes).unwrap().0.chunks, chunks);
}

#[test]
fn a_cut_entry_says_how_many_bytes_it_needs() {
    let mut bytes = hex(EXAMPLE);
    for cut in 1..bytes.len() {
        let needed_bytes = bytes.len() as u64;
        assert_eq!(
            decoded(&bytes[..cut]),
            Err(SeriesError::NeedMore { needed_bytes })
        );
    }
    assert_eq!(decoded(&[]), Err(SeriesError::NeedMore { needed_bytes: 1 }));
    assert_eq!(decoded(&[0x80]), Err(SeriesError::NeedMore { needed_bytes: 2 }));
    bytes.push(99);
    assert_eq!(decoded(&bytes).unwrap().1, 17, "what follows is not looked at");
}

#[test]
fn a_length_that_no_series_has_is_corrupt() {
    let mut bytes = Vec::new();
    put_uvarint(&mut bytes, MAX_BODY_BYTES + 1);
    assert!(matches!(decoded(&bytes), Err(SeriesError::Corrupt(_))));
    assert!(matches!(decoded(&[0xff; 10]), Err(SeriesError::Corrupt(_))));
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_memory_is_taken() {
    for body in [
        &hex("ffffffff0f")[..],
        &hex("03 0000 0000"),
        &hex("00 ffffffffffffffffff01"),
        &hex("00 02 000000"),
        &hex("01 00 808080801000"),
        &hex("00 00 00"),
    ] {
        let mut entry = SeriesEntry::default();
        let error = decode_into(&sealed(body), &mut entry).unwrap_err();
        assert!(matches!(error, SeriesError::Corrupt(_)), "{error}");
        assert!(entry.labels.capacity() < 100 && entry.chunks.capacity() < 100);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for bit in 0..hex(EXAMPLE).len() * 8 {
        let mut bytes = hex(EXAMPLE);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decoded(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn a_reader_of_a_time_range_gets_its_chunks_only() {
    let chunks = [
        chunk(0, 9, 8),
        chunk(10, 19, 50),
        chunk(20, 29, 90),
        chunk(5, 6, 130),
    ];
    let bytes = encoded(&[(0, 1)], &chunks);
    let mut entry = SeriesEntry::default();
    for (mint, maxt, expected) in [
        (9, 10, &chunks[..2]),
        (10, 10, &chunks[1..2]),
        (-5, -1, &[]),
        (30, 40, &[]),
        (0, 19, &chunks[..2]),
        (0, 20, &[chunks[0], chunks[1], chunks[2], chunks[3]]),
    ] {
        let total_bytes = decode_overlapping_into(&bytes, mint, maxt, &mut entry);
        assert_eq!(total_bytes, Ok(bytes.len()));
        assert_eq!(entry.chunks, expected, "{mint}..={maxt}");
        assert_eq!(entry.labels, [(0, 1)]);
    }
}

proptest! {
    #[test]
    fn entries_round_trip(labels: Vec<(u32, u32)>, chunks in any_chunks()) {
        let bytes = encoded(&labels, &chunks);
        let (entry, total_bytes) = decoded(&bytes).unwrap();
        prop_assert_eq!(total_bytes, bytes.len());
        prop_assert_eq!(entry, SeriesEntry { labels, chunks });
    }

    #[test]
    fn any_body_is_fine(body: Vec<u8>, whole: Vec<u8>) {
        crate::index::fuzz::series_entry(&sealed(&body));
        crate::index::fuzz::series_entry(&whole);
    }
}
