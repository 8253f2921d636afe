//! Reading chunks out of a segment.

use super::SECTION;
use crate::crc::crc32c;
use crate::encoding::Decoder;
use crate::error::Corruption;

/// Magic number, version and padding.
pub const HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];

/// The most bytes a length takes.
const MAX_LENGTH_BYTES: usize = 5;
const ENCODING_BYTES: usize = 1;
const CRC_BYTES: usize = 4;

/// The most bytes a chunk takes in a segment beyond its data; what counts when files are cut.
pub const MAX_RECORD_OVERHEAD: usize = MAX_LENGTH_BYTES + ENCODING_BYTES + CRC_BYTES;

/// A chunk as it lies in a segment, its checksum verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The byte of encoding; see [`Encoding`](crate::chunk::Encoding).
    pub encoding: u8,
    /// The data of the chunk.
    pub data: &'a [u8],
    /// All bytes of the chunk, from the length to the checksum.
    pub bytes: &'a [u8],
}

/// Why there is no chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes given end before the chunk does.
    ///
    /// The number is as trustworthy as the bytes are: compare it with the size of the file.
    #[error("chunk at offset {offset} needs {needed} bytes, more than were read")]
    NeedsMore {
        /// Offset of the chunk in the file.
        offset: u64,
        /// How many bytes to give instead, from the start of the chunk; at least, if not even its length is
        /// whole.
        needed: u64,
    },
    /// The bytes are no chunk.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

impl RecordError {
    /// For a reader that has the whole file: bytes that are missing are corruption.
    pub fn into_corruption(self, available: u64) -> Corruption {
        match self {
            Self::NeedsMore { offset, needed } => Corruption::short(SECTION, offset, needed, available),
            Self::Corrupt(corruption) => corruption,
        }
    }
}

/// Checks the first eight bytes of a segment file: magic number and version.
pub fn check_header(file: &[u8]) -> Result<(), Corruption> {
    let Some([magic @ .., version, _, _, _]) = file.first_chunk::<{ HEADER.len() }>() else {
        return Err(Corruption::short(
            SECTION,
            0,
            HEADER.len() as u64,
            file.len() as u64,
        ));
    };
    if *magic != HEADER[..4] {
        return Err(Corruption::at(
            SECTION,
            0,
            format!("not a chunk segment: begins {magic:02x?}"),
        ));
    }
    if *version != HEADER[4] {
        return Err(Corruption::at(
            SECTION,
            4,
            format!("version {version}, only 1 is known"),
        ));
    }
    Ok(())
}

/// Reads the chunk at the start of `bytes`, which are at `offset` of the segment file.
///
/// Bytes behind the chunk do not matter.
pub fn read_record(bytes: &[u8], offset: u64) -> Result<Record<'_>, RecordError> {
    let mut decoder = Decoder::at(SECTION, offset, bytes);
    let length = read_length(&mut decoder, offset)?;
    let (Some(data_end), Some(total)) = (
        (decoder.position() + ENCODING_BYTES).checked_add(length as usize),
        (decoder.position() + ENCODING_BYTES + CRC_BYTES).checked_add(length as usize),
    ) else {
        return Err(decoder.corruption("length beyond the address space").into());
    };
    let Some(record) = bytes.get(..total) else {
        return Err(RecordError::NeedsMore {
            offset,
            needed: total as u64,
        });
    };
    let covered = bytes.get(decoder.position()..data_end).unwrap_or_default();
    let encoding = decoder.u8()?;
    let data = decoder.take(length as usize)?;
    let crc_offset = decoder.offset();
    let (stored, computed) = (decoder.u32()?, crc32c(covered));
    if stored != computed {
        return Err(Corruption::crc(SECTION, crc_offset, stored, computed).into());
    }
    Ok(Record {
        encoding,
        data,
        bytes: record,
    })
}

fn read_length(decoder: &mut Decoder<'_>, offset: u64) -> Result<u32, RecordError> {
    let start = decoder.rest();
    let field = start.iter().take(MAX_LENGTH_BYTES).position(|&byte| byte < 0x80);
    match field {
        Some(_) => Ok(decoder.uvarint32()?),
        None if start.len() < MAX_LENGTH_BYTES => {
            let needed = (start.len() + 1 + ENCODING_BYTES + CRC_BYTES) as u64;
            Err(RecordError::NeedsMore { offset, needed })
        }
        None => Err(decoder.corruption("length of more than five bytes").into()),
    }
}

/// Reads all chunks of a segment, header checked; `file` is the whole of it.
pub fn scan(file: &[u8]) -> Result<Scan<'_>, Corruption> {
    check_header(file)?;
    Ok(Scan {
        file,
        position: HEADER.len(),
    })
}

/// The chunks of a segment one after the other, each with its offset in the file.
///
/// Nothing comes behind an error.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    file: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Scan<'a> {
    type Item = Result<(u64, Record<'a>), Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.file.get(self.position..).filter(|rest| !rest.is_empty())?;
        let offset = self.position as u64;
        match read_record(rest, offset) {
            Ok(record) => {
                self.position += record.bytes.len();
                Some(Ok((offset, record)))
            }
            Err(error) => {
                self.position = self.file.len();
                Some(Err(error.into_corruption(rest.len() as u64)))
            }
        }
    }
}
