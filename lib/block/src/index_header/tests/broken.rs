//! Broken headers and indexes: an error that says where, never a wrong answer.

use proptest::prelude::*;
use sabre_objstore::{Bucket, ErrorKind};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::{crc32c, index::Toc};

use super::{
    super::{format::encode_toc, *},
    fixture::{assert_equal, block, bucket_with, expected_header, index_v1, index_v2, many_series, open},
};
use crate::{
    error::ErrorClass,
    layout::{INDEX_FILE, key},
};

#[test]
fn every_flipped_bit_is_found() {
    let labels = [("a", "1"), ("a", "2"), ("b", "1")];
    for header in [
        expected_header(&index_v2(&many_series(3))),
        expected_header(&index_v1(&labels)),
    ] {
        for bit in 0..header.len() * 8 {
            let mut broken = header.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let error = open(broken).expect_err(&format!("bit {bit}"));
            assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let header = expected_header(&index_v2(&many_series(3)));
    for length in 0..header.len() {
        let error = open(header[..length].to_vec()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    }
    let mut longer = header;
    longer.push(0);
    assert!(open(longer).is_err());
}

#[test]
fn an_error_names_block_file_section_and_offset() {
    let mut header = expected_header(&index_v2(&many_series(3)));
    header[20] ^= 1;
    let error = open(header).unwrap_err().to_string();
    let expected = format!(
        "block {}: index-header in memory: corrupt index-header symbols at offset 14: crc32c mismatch",
        block()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_table_of_version_2_that_is_not_sorted_is_found_all_the_same() {
    let mut index = index_v1(&[("a", "1"), ("a", "2"), ("b", "1")]);
    index[4] = 2;
    let header = open(expected_header(&index)).unwrap();
    assert_eq!(header.label_names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(header.postings_range("a", "2").unwrap().is_some());
}

#[test]
fn a_label_that_is_twice_in_the_table_is_an_error() {
    let error = open(expected_header(&index_v1(&[("a", "1"), ("a", "1")]))).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

#[test]
fn offsets_that_do_not_fit_the_file_are_refused() {
    let header = expected_header(&index_v2(&many_series(3)));
    let frame = header.len() - 20;
    for table in [0, 13, frame as u64, u64::MAX] {
        let mut broken = header[..frame].to_vec();
        broken.extend(encode_toc(table));
        assert_eq!(open(broken).unwrap_err().class(), ErrorClass::Corrupt, "{table}");
    }
}

#[tokio::test]
async fn a_broken_index_in_the_bucket_is_an_error_of_the_index() {
    let index = index_v2(&many_series(40));
    let toc = Toc::decode(&index[index.len() - 52..]).unwrap();
    // Header, symbols, table, contents: all that a header is made of.
    let parts = [
        0,
        3,
        4,
        5,
        9,
        30,
        toc.postings_table as usize,
        index.len() - 60,
        index.len() - 20,
    ];
    for at in parts {
        let mut broken = index.clone();
        broken[at] ^= 0x40;
        let bucket = bucket_with(&broken).await;
        let loader = HeaderLoader::new(bucket, None, PageCache::new(1 << 20), HeaderOptions::default());
        let error = loader.load(block(), Some(index.len() as u64)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "byte {at}: {error}");
        assert!(error.file().starts_with("index"), "{error}");
    }
}

#[tokio::test]
async fn an_index_of_another_size_than_listed_is_an_error() {
    let index = index_v2(&many_series(40));
    let bucket = bucket_with(&index).await;
    let size = index.len() as u64;
    let loader = HeaderLoader::new(
        Arc::<sabre_objstore::MemoryBucket>::clone(&bucket),
        None,
        PageCache::new(1 << 20),
        HeaderOptions::default(),
    );
    for listed in [0, 56, size - 1, size + 1] {
        let error = loader.load(block(), Some(listed)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
    }
    bucket.delete(&key(block(), INDEX_FILE)).await.unwrap();
    assert!(loader.load(block(), None).await.unwrap_err().is_gone());
    assert!(loader.load(block(), Some(size)).await.unwrap_err().is_gone());
}

#[tokio::test]
async fn whatever_goes_wrong_with_a_request_no_broken_header_stays() {
    let index = index_v2(&many_series(3000));
    let memory = bucket_with(&index).await;
    let faults = [
        Fault::Error(ErrorKind::Unavailable),
        Fault::Truncate,
        Fault::BitFlip(8 * 3 + 1),
        Fault::BitFlip(8 * 5_000),
        Fault::BitFlip(u64::MAX),
        Fault::Crash,
        Fault::CrashAfter,
    ];
    for fault in faults {
        for n in 0.. {
            let bucket = FaultBucket::new(Arc::<sabre_objstore::MemoryBucket>::clone(&memory));
            let dir = tempfile::tempdir().unwrap();
            let data_dir = Some(dir.path().to_owned());
            let pages = PageCache::new(1 << 20);
            let loader = HeaderLoader::new(
                Arc::new(bucket.clone()),
                data_dir,
                pages,
                HeaderOptions::default(),
            );
            bucket.add(Rule::nth(n, fault));
            let outcome = bucket.until_crash(loader.load(block(), None)).await;
            match outcome {
                Some(Ok(loaded)) => assert_equal(&loaded.header, &index),
                Some(Err(error)) => assert!(error.is_retryable(), "{fault:?} at request {n}: {error}"),
                None => {}
            }
            if bucket.triggered() == 0 {
                assert!(n >= 3, "size, end, and the rest: {n} requests");
                break;
            }
            bucket.heal();
            assert_equal(&loader.load(block(), None).await.unwrap().header, &index);
        }
    }
}

/// Puts the checksum of a section right that was tampered with.
fn fix_crc(header: &mut [u8], section: usize) {
    let length = u32::from_be_bytes(header[section..section + 4].try_into().unwrap()) as usize;
    let body = section + 4;
    if let Some(end) = body.checked_add(length).filter(|end| end + 4 <= header.len()) {
        let crc = crc32c(&header[body..end]).to_be_bytes();
        header[end..end + 4].copy_from_slice(&crc);
    }
}

proptest! {
    #[test]
    fn bytes_that_pass_the_checksum_are_decoded_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        is_v1: bool,
    ) {
        let labels = [("a", "1"), ("a", "2"), ("b", "1")];
        let index = if is_v1 { index_v1(&labels) } else { index_v2(&many_series(5)) };
        let mut header = expected_header(&index);
        let frame = header.len() - 20;
        let table = u64::from_be_bytes(header[frame + 8..frame + 16].try_into().unwrap()) as usize;
        for (at, byte) in changes {
            // Not the frame, which would only be refused.
            let at = 14 + at.index(frame - 52 - 14);
            header[at] = byte;
        }
        fix_crc(&mut header, 14);
        fix_crc(&mut header, table);
        crate::fuzz::index_header(&header);
    }
}
