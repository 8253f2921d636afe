//! One postings list: the references of all series with a label, ascending.

use crate::encoding::Decoder;
use crate::error::Corruption;

use super::frame;

#[cfg(test)]
mod tests;

pub(super) const SECTION: &str = "index postings";

const REF_BYTES: usize = 4;

/// A verified postings list, still in the bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingsList<'a> {
    /// Big-endian references.
    refs: &'a [[u8; REF_BYTES]],
}

impl<'a> PostingsList<'a> {
    /// Verifies the list that `bytes` consist of, from its length to its checksum.
    ///
    /// Fails unless length, number and checksum are right and the references ascend. Error offsets count from
    /// the start of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Corruption> {
        let (list, total_bytes) = Self::decode_bounded(bytes)?;
        match bytes.len() == total_bytes {
            true => Ok(list),
            false => Err(Corruption::at(
                SECTION,
                total_bytes as u64,
                "bytes behind the checksum",
            )),
        }
    }

    /// As [`PostingsList::decode`], for bytes that may go on behind the list, and returns its length.
    ///
    /// The offset table gives a list's start only; its end is known to be before the next list, the padding in
    /// between is not, and behind the last list of old files comes another table.
    pub fn decode_bounded(bytes: &'a [u8]) -> Result<(Self, usize), Corruption> {
        let (content, total_bytes) = frame::decode(SECTION, bytes, 0)?;
        let mut decoder = Decoder::at(SECTION, frame::LEN_BYTES as u64, content);
        let count = decoder.u32()? as usize;
        let (refs, rest) = decoder.rest().as_chunks::<REF_BYTES>();
        if !rest.is_empty() || refs.len() != count {
            let what = format!("{count} references in {} bytes", decoder.remaining());
            return Err(Corruption::at(SECTION, frame::LEN_BYTES as u64, what));
        }
        let list = Self { refs };
        match list.first_disorder() {
            None => Ok((list, total_bytes)),
            Some(number) => {
                let offset = frame::LEN_BYTES + REF_BYTES * (number + 1);
                let what = format!("reference {number} is not greater than the one before");
                Err(Corruption::at(SECTION, offset as u64, what))
            }
        }
    }

    /// Number of references.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether the list has no references.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The references, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + DoubleEndedIterator + use<'a> {
        self.refs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The references, ascending.
    pub fn to_vec(&self) -> Vec<u32> {
        self.iter().collect()
    }

    fn first_disorder(&self) -> Option<usize> {
        // Big-endian numbers order as their bytes do.
        let at = self.refs.array_windows().position(|[a, b]| a >= b)?;
        Some(at + 1)
    }
}

/// Turns `out` into the list of `refs`; `None` if it would pass 4 GiB.
pub(super) fn encode(refs: impl ExactSizeIterator<Item = u32>, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    out.extend_from_slice(&[0; frame::LEN_BYTES]);
    out.extend_from_slice(&u32::try_from(refs.len()).ok()?.to_be_bytes());
    out.reserve(refs.len().checked_mul(REF_BYTES)?);
    for reference in refs {
        out.extend_from_slice(&reference.to_be_bytes());
    }
    frame::seal(out)
}
