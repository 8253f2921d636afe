//! The table of contents, the last 52 bytes of an index.

use crate::crc::crc32c;
use crate::encoding::{Decoder, put_u32, put_u64};
use crate::error::Corruption;

use super::header::HEADER_BYTES;

pub(super) const SECTION: &str = "index toc";

/// Length of the table of contents.
pub const TOC_BYTES: usize = 52;
/// The part of it that the checksum covers.
const OFFSETS_BYTES: usize = 48;

/// Where the sections of an index start, in bytes from its start; 0 where there is none.
///
/// `series` and `postings` are where the section before ends: padding may follow before the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Toc {
    /// Texts of label names and values.
    pub symbols: u64,
    /// Series.
    pub series: u64,
    /// Legacy; equal to `postings` in files of today.
    pub label_indices: u64,
    /// Legacy; equal to `postings_table` in files of today.
    pub label_indices_table: u64,
    /// Postings lists.
    pub postings: u64,
    /// Where the postings list of each label name and value is.
    pub postings_table: u64,
}

impl Toc {
    /// Reads the 52 bytes. Error offsets count from their start.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut decoder = Decoder::new(SECTION, bytes);
        let computed = crc32c(decoder.clone().take(OFFSETS_BYTES)?);
        let toc = Self {
            symbols: decoder.u64()?,
            series: decoder.u64()?,
            label_indices: decoder.u64()?,
            label_indices_table: decoder.u64()?,
            postings: decoder.u64()?,
            postings_table: decoder.u64()?,
        };
        let stored = decoder.u32()?;
        if !decoder.is_empty() {
            return Err(decoder.corruption("bytes behind the checksum"));
        }
        match stored == computed {
            true => Ok(toc),
            false => Err(Corruption::crc(SECTION, 0, stored, computed)),
        }
    }

    /// Writes the 52 bytes.
    pub fn encode(&self) -> [u8; TOC_BYTES] {
        let mut out = Vec::with_capacity(TOC_BYTES);
        for offset in self.in_order_of_file() {
            put_u64(&mut out, offset);
        }
        let checksum = crc32c(&out);
        put_u32(&mut out, checksum);
        let mut bytes = [0; TOC_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Checks that the sections fit into an index of `file_bytes` bytes and do not run into each other.
    /// Error offsets count from the start of the table of contents.
    pub fn check(&self, file_bytes: u64) -> Result<(), Corruption> {
        let corrupt = |what: String| Err(Corruption::at(SECTION, 0, what));
        let Some(end) = file_bytes.checked_sub(TOC_BYTES as u64) else {
            return corrupt(format!("a file of {file_bytes} bytes has no room for it"));
        };
        let first = HEADER_BYTES as u64;
        for (name, offset) in self.named() {
            if offset != 0 && !(first..=end).contains(&offset) {
                return corrupt(format!("{name} at {offset}, outside of {first} to {end}"));
            }
        }
        if self.symbols == 0 || self.series < self.symbols {
            let Self { symbols, series, .. } = self;
            return corrupt(format!("symbols at {symbols} and series at {series}"));
        }
        if self.series_end(file_bytes) < self.series {
            return corrupt(format!(
                "series at {} do not end before the sections behind them",
                self.series
            ));
        }
        Ok(())
    }

    /// Where the series end, in an index of `file_bytes` bytes: at the next section that there is.
    pub fn series_end(&self, file_bytes: u64) -> u64 {
        let behind = [
            self.label_indices,
            self.postings,
            self.label_indices_table,
            self.postings_table,
        ];
        let next = behind.into_iter().filter(|offset| *offset != 0).min();
        next.unwrap_or_else(|| file_bytes.saturating_sub(TOC_BYTES as u64))
    }

    fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("symbols", self.symbols),
            ("series", self.series),
            ("label indices", self.label_indices),
            ("label indices table", self.label_indices_table),
            ("postings", self.postings),
            ("postings table", self.postings_table),
        ]
    }

    fn in_order_of_file(&self) -> [u64; 6] {
        self.named().map(|(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table of contents of the worked example of the format.
    const EXAMPLE: Toc = Toc {
        symbols: 5,
        series: 0x24,
        label_indices: 0x41,
        label_indices_table: 0x74,
        postings: 0x41,
        postings_table: 0x74,
    };

    #[test]
    fn the_example_ends_as_the_format_says() {
        let bytes = EXAMPLE.encode();
        assert_eq!(bytes[48..], [0x92, 0x19, 0xea, 0xf8]);
        assert_eq!(Toc::decode(&bytes), Ok(EXAMPLE));
        assert_eq!(EXAMPLE.check(0xce), Ok(()));
        assert_eq!(EXAMPLE.series_end(0xce), 0x41);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for bit in 0..TOC_BYTES * 8 {
            let mut bytes = EXAMPLE.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Toc::decode(&bytes).unwrap_err().section, SECTION, "bit {bit}");
        }
        assert!(Toc::decode(&EXAMPLE.encode()[..51]).is_err());
        assert!(Toc::decode(&[0; 53]).is_err());
    }

    #[test]
    fn sections_must_fit_the_file() {
        for broken in [
            Toc {
                symbols: 0,
                ..EXAMPLE
            },
            Toc {
                symbols: 4,
                ..EXAMPLE
            },
            Toc { series: 4, ..EXAMPLE },
            Toc { series: 0, ..EXAMPLE },
            Toc {
                series: 0x42,
                ..EXAMPLE
            },
            Toc {
                postings_table: 0x9b,
                ..EXAMPLE
            },
            Toc {
                postings: u64::MAX,
                ..EXAMPLE
            },
        ] {
            assert!(broken.check(0xce).is_err(), "{broken:?}");
        }
        assert!(EXAMPLE.check(51).is_err());
    }

    #[test]
    fn series_end_at_the_first_section_there_is() {
        let old = Toc {
            label_indices: 0x60,
            postings: 0x80,
            label_indices_table: 0x90,
            ..EXAMPLE
        };
        assert_eq!(old.series_end(0xce), 0x60);
        let bare = Toc {
            symbols: 5,
            series: 0x24,
            ..Toc::default()
        };
        assert_eq!(bare.series_end(0xce), 0x9a);
    }

    proptest! {
        #[test]
        fn tables_of_contents_round_trip(offsets: [u64; 6], file_bytes: u64) {
            let [symbols, series, label_indices, label_indices_table, postings, postings_table] = offsets;
            let toc = Toc { symbols, series, label_indices, label_indices_table, postings, postings_table };
            prop_assert_eq!(Toc::decode(&toc.encode()), Ok(toc));
            let _ = toc.check(file_bytes);
        }
    }
}
