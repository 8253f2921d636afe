//! The tombstones file of a local block: ranges of series that were deleted but are still there.
//!
//! `u32` magic number, `u8` version; entries of `uvarint` series reference, `varint` mint, `varint` maxt;
//! `u32` CRC32C of the entries alone. A file without entries is usual.

use std::iter::FusedIterator;

use crate::crc::crc32c;
use crate::encoding::Decoder;
use crate::error::Corruption;

const SECTION: &str = "tombstones";
const MAGIC: u32 = 0x0130_ba30;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
const CRC_BYTES: usize = 4;

/// Name of the file in the folder of the block.
pub const TOMBSTONES_FILE_NAME: &str = "tombstones";

/// A deleted range of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tombstone {
    /// Reference of the series, as in the postings of the index.
    pub series_ref: u64,
    /// First deleted millisecond.
    pub mint: i64,
    /// Last deleted millisecond.
    pub maxt: i64,
}

/// Reads the tombstones one after the other; after an error it ends. Error offsets count from the start of the
/// file.
#[derive(Debug, Clone)]
pub struct Tombstones<'a> {
    decoder: Decoder<'a>,
}

impl<'a> Tombstones<'a> {
    /// Verifies magic number, version and checksum of a whole file.
    pub fn open(file: &'a [u8]) -> Result<Self, Corruption> {
        let mut decoder = Decoder::new(SECTION, file);
        let magic = decoder.u32()?;
        if magic != MAGIC {
            let what = format!("magic number {magic:08x} instead of {MAGIC:08x}");
            return Err(Corruption::at(SECTION, 0, what));
        }
        let version = decoder.u8()?;
        if version != VERSION {
            let what = format!("version {version} instead of {VERSION}");
            return Err(Corruption::at(SECTION, 4, what));
        }
        let Some(entries_bytes) = decoder.remaining().checked_sub(CRC_BYTES) else {
            return Err(decoder.corruption("no room for a checksum"));
        };
        let entries = decoder.take(entries_bytes)?;
        let checksum_offset = decoder.offset();
        let stored = decoder.u32()?;
        let computed = crc32c(entries);
        match stored == computed {
            true => Ok(Self {
                decoder: Decoder::at(SECTION, HEADER_BYTES as u64, entries),
            }),
            false => Err(Corruption::crc(SECTION, checksum_offset, stored, computed)),
        }
    }

    fn read(&mut self) -> Result<Tombstone, Corruption> {
        Ok(Tombstone {
            series_ref: self.decoder.uvarint()?,
            mint: self.decoder.varint()?,
            maxt: self.decoder.varint()?,
        })
    }
}

impl Iterator for Tombstones<'_> {
    type Item = Result<Tombstone, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.decoder.is_empty() {
            return None;
        }
        let result = self.read();
        if result.is_err() {
            self.decoder = Decoder::new(SECTION, &[]);
        }
        Some(result)
    }
}

impl FusedIterator for Tombstones<'_> {}

/// Verifies a whole file and counts its tombstones: `numTombstones` of `meta.json`.
pub fn count(file: &[u8]) -> Result<u64, Corruption> {
    let mut count = 0;
    for tombstone in Tombstones::open(file)? {
        tombstone?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::{put_u32, put_uvarint, put_varint};

    fn file(tombstones: &[Tombstone]) -> Vec<u8> {
        let mut entries = Vec::new();
        for tombstone in tombstones {
            put_uvarint(&mut entries, tombstone.series_ref);
            put_varint(&mut entries, tombstone.mint);
            put_varint(&mut entries, tombstone.maxt);
        }
        let mut out = vec![0x01, 0x30, 0xba, 0x30, 1];
        out.extend_from_slice(&entries);
        put_u32(&mut out, crc32c(&entries));
        out
    }

    fn read(file: &[u8]) -> Result<Vec<Tombstone>, Corruption> {
        Tombstones::open(file)?.collect()
    }

    const EXAMPLE: [Tombstone; 2] = [
        Tombstone {
            series_ref: 7,
            mint: -5,
            maxt: 1000,
        },
        Tombstone {
            series_ref: 300,
            mint: i64::MIN,
            maxt: i64::MAX,
        },
    ];

    #[test]
    fn a_file_without_entries_is_valid() {
        let bytes = [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0];
        assert_eq!(file(&[]), bytes);
        assert_eq!(count(&bytes), Ok(0));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let file = file(&EXAMPLE);
        assert_eq!(read(&file).unwrap(), EXAMPLE);
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped).unwrap_err().section, SECTION, "bit {bit}");
        }
        for cut in 0..file.len() {
            assert!(read(&file[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_entry_that_is_cut_ends_the_reading() {
        let entries = [7, 9, 11, 7, 9];
        let mut file = vec![0x01, 0x30, 0xba, 0x30, 1];
        file.extend_from_slice(&entries);
        put_u32(&mut file, crc32c(&entries));
        let mut tombstones = Tombstones::open(&file).unwrap();
        assert!(tombstones.next().unwrap().is_ok());
        assert_eq!(tombstones.next().unwrap().unwrap_err().offset, 10);
        assert_eq!(tombstones.next(), None);
        assert!(count(&file).is_err());
    }

    proptest! {
        #[test]
        fn tombstones_round_trip(entries: Vec<(u64, i64, i64)>) {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(series_ref, mint, maxt)| Tombstone { series_ref, mint, maxt })
                .collect();
            prop_assert_eq!(count(&file(&entries)), Ok(entries.len() as u64));
            prop_assert_eq!(read(&file(&entries)), Ok(entries));
        }

        #[test]
        fn any_bytes_are_fine(entries: Vec<u8>, whole: Vec<u8>) {
            let mut file = vec![0x01, 0x30, 0xba, 0x30, 1];
            file.extend_from_slice(&entries);
            put_u32(&mut file, crc32c(&entries));
            let _ = read(&file);
            let _ = read(&whole);
        }
    }
}
