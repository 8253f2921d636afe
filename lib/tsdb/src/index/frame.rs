//! The frame that symbols, postings lists and tables share: `u32 len`, `len` bytes, `u32 CRC32C` of them.

use crate::crc::crc32c;
use crate::encoding::Decoder;
use crate::error::Corruption;

/// Bytes of the length before the content.
pub(super) const LEN_BYTES: usize = 4;
/// Bytes around the content: the length and the checksum.
pub(super) const AROUND_BYTES: usize = 8;

/// Takes the content of the frame at the start of `bytes`, which may go on behind it, and the length of the
/// whole frame. The checksum has been verified. Error offsets count from `file_offset`.
pub(super) fn decode<'a>(
    section: &'static str,
    bytes: &'a [u8],
    file_offset: u64,
) -> Result<(&'a [u8], usize), Corruption> {
    let mut decoder = Decoder::at(section, file_offset, bytes);
    let length = decoder.u32()? as usize;
    let content = decoder.take(length)?;
    let stored = decoder.u32()?;
    let computed = crc32c(content);
    match stored == computed {
        true => Ok((content, decoder.position())),
        false => Err(Corruption::crc(section, file_offset, stored, computed)),
    }
}

/// Length of the whole frame that starts with `bytes`, of which only the length field is looked at.
pub(super) fn frame_bytes(section: &'static str, bytes: &[u8], file_offset: u64) -> Result<u64, Corruption> {
    let length = Decoder::at(section, file_offset, bytes).u32()?;
    Ok(u64::from(length) + AROUND_BYTES as u64)
}

/// Turns `frame`, four bytes of room and then the content, into a frame. Fails if the content is too long.
pub(super) fn seal(frame: &mut Vec<u8>) -> Option<()> {
    let checksum = crc32c(frame.get(LEN_BYTES..)?);
    let length = u32::try_from(frame.len().checked_sub(LEN_BYTES)?).ok()?;
    frame
        .first_chunk_mut::<LEN_BYTES>()?
        .copy_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&checksum.to_be_bytes());
    Some(())
}
