//! The first five bytes of an index.

use crate::encoding::{Decoder, put_u32};
use crate::error::Corruption;

pub(super) const SECTION: &str = "index header";

/// The first four bytes of an index, big-endian.
pub const MAGIC: u32 = 0xbaaa_d700;
/// Length of the header.
pub const HEADER_BYTES: usize = 5;

/// How symbols and series are referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Symbols by their offset in the file, series by theirs, which are not padded.
    V1,
    /// Symbols by their number, series by a sixteenth of their offset. Version 3 has the same layout.
    V2,
}

impl Version {
    /// Reads the header of an index.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut decoder = Decoder::new(SECTION, bytes);
        let magic = decoder.u32()?;
        if magic != MAGIC {
            let what = format!("magic number {magic:08x} instead of {MAGIC:08x}");
            return Err(Corruption::at(SECTION, 0, what));
        }
        match decoder.u8()? {
            1 => Ok(Self::V1),
            2 | 3 => Ok(Self::V2),
            other => {
                let what = format!("version {other}, versions 1 to 3 are known");
                Err(Corruption::at(SECTION, 4, what))
            }
        }
    }

    /// Number in the header; that of an index of version 3 is 2.
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Offset in the file of the series with this reference.
    pub fn series_offset(self, series_ref: u32) -> u64 {
        u64::from(series_ref) * self.series_alignment()
    }

    /// Series entries start at multiples of this many bytes.
    pub(super) fn series_alignment(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 16,
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        put_u32(out, MAGIC);
        out.push(self.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u8) -> [u8; 5] {
        [0xba, 0xaa, 0xd7, 0x00, version]
    }

    #[test]
    fn version_3_is_read_as_2() {
        assert_eq!(Version::decode(&header(1)), Ok(Version::V1));
        assert_eq!(Version::decode(&header(2)), Ok(Version::V2));
        assert_eq!(Version::decode(&header(3)), Ok(Version::V2));
        for other in [0, 4, 255] {
            assert_eq!(Version::decode(&header(other)).unwrap_err().offset, 4);
        }
    }

    #[test]
    fn another_magic_number_is_refused() {
        let mut bytes = header(2);
        bytes[3] = 1;
        assert_eq!(
            Version::decode(&bytes).unwrap_err().to_string(),
            "corrupt index header at offset 0: magic number baaad701 instead of baaad700"
        );
        assert!(Version::decode(&header(2)[..4]).is_err());
    }

    #[test]
    fn written_headers_are_read() {
        let mut out = Vec::new();
        Version::V2.encode(&mut out);
        assert_eq!(out, header(2));
    }
}
