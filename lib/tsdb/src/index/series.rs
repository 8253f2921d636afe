//! One series of the index: its labels as symbol references, and where its chunks are.
//!
//! `uvarint` length of the body, body, CRC32C of the body. Body: number of labels, a name and a value reference
//! each; number of chunks, and for each the differences to the one before.

use crate::crc::crc32c;
use crate::encoding::{Decoder, MAX_UVARINT_BYTES, put_u32, put_uvarint, put_varint};
use crate::error::Corruption;

#[cfg(test)]
mod tests;

pub(super) const SECTION: &str = "index series";

/// The longest body that is believed; twenty million chunks fit.
const MAX_BODY_BYTES: u64 = 256 << 20;
/// The least a label takes: one byte for each reference.
const MIN_LABEL_BYTES: usize = 2;
/// The least a chunk takes: one byte for each of its three numbers.
const MIN_CHUNK_BYTES: usize = 3;
const CRC_BYTES: usize = 4;

/// Labels and chunks of a series. Decoding into one again reuses its memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Symbol references of name and value, in the order of the file.
    pub labels: Vec<(u32, u32)>,
    /// Chunks, in the order of the file.
    pub chunks: Vec<ChunkMeta>,
}

/// Time range and place of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChunkMeta {
    /// Time of the first sample, in milliseconds.
    pub mint: i64,
    /// Time of the last sample, in milliseconds.
    pub maxt: i64,
    /// Number of the segment file, counted from 0, in the upper 32 bits; offset in it in the lower.
    pub chunk_ref: u64,
}

/// Why a series was not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// The bytes end before the entry does.
    #[error("the series entry takes {needed_bytes} bytes, more than there are")]
    NeedMore {
        /// How many bytes from the start of the entry are needed; if not even the length could be read, one
        /// more than there are.
        needed_bytes: u64,
    },
    /// The entry is broken.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

impl ChunkMeta {
    /// Whether the chunk has a part in `mint..=maxt`.
    pub fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.mint <= maxt && self.maxt >= mint
    }
}

/// Decodes the entry that `bytes` start with, and returns how many bytes it takes.
///
/// Error offsets count from the start of the entry. After an error the content of `entry` is unspecified.
pub fn decode_into(bytes: &[u8], entry: &mut SeriesEntry) -> Result<usize, SeriesError> {
    let (body, total_bytes) = verified_body(bytes)?;
    let mut decoder = body.clone();
    decode_labels(&mut decoder, &mut entry.labels)?;
    decode_chunks(&mut decoder, &mut entry.chunks, |_| Keep::Yes)?;
    if !decoder.is_empty() {
        return Err(decoder.corruption("bytes behind the last chunk").into());
    }
    Ok(total_bytes)
}

/// As [`decode_into`], but keeps only the chunks with a part in `mint..=maxt`, and stops at the first that
/// starts later.
pub fn decode_overlapping_into(
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    entry: &mut SeriesEntry,
) -> Result<usize, SeriesError> {
    let (mut body, total_bytes) = verified_body(bytes)?;
    decode_labels(&mut body, &mut entry.labels)?;
    decode_chunks(&mut body, &mut entry.chunks, |chunk| match chunk {
        chunk if chunk.mint > maxt => Keep::NoneFromHere,
        chunk if chunk.maxt < mint => Keep::No,
        _ => Keep::Yes,
    })?;
    Ok(total_bytes)
}

/// Writes an entry. Chunks may be in any order: differences wrap.
pub fn encode(labels: &[(u32, u32)], chunks: &[ChunkMeta], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    encode_reusing(labels, chunks, &mut body, out);
}

/// As [`encode`], with memory for the body that is used again.
pub(super) fn encode_reusing(
    labels: &[(u32, u32)],
    chunks: &[ChunkMeta],
    body: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    body.clear();
    put_uvarint(body, labels.len() as u64);
    for (name, value) in labels {
        put_uvarint(body, u64::from(*name));
        put_uvarint(body, u64::from(*value));
    }
    put_uvarint(body, chunks.len() as u64);
    let mut previous: Option<&ChunkMeta> = None;
    for chunk in chunks {
        let duration = chunk.maxt.wrapping_sub(chunk.mint).cast_unsigned();
        match previous {
            None => {
                put_varint(body, chunk.mint);
                put_uvarint(body, duration);
                put_uvarint(body, chunk.chunk_ref);
            }
            Some(previous) => {
                put_uvarint(body, chunk.mint.wrapping_sub(previous.maxt).cast_unsigned());
                put_uvarint(body, duration);
                put_varint(
                    body,
                    chunk.chunk_ref.wrapping_sub(previous.chunk_ref).cast_signed(),
                );
            }
        }
        previous = Some(chunk);
    }
    put_uvarint(out, body.len() as u64);
    out.extend_from_slice(body);
    put_u32(out, crc32c(body));
}

/// What becomes of a decoded chunk.
enum Keep {
    Yes,
    No,
    NoneFromHere,
}

/// A decoder of the body, and the length of the whole entry.
fn verified_body(bytes: &[u8]) -> Result<(Decoder<'_>, usize), SeriesError> {
    let mut decoder = Decoder::new(SECTION, bytes);
    let body_bytes = match decoder.uvarint() {
        Ok(length) if length <= MAX_BODY_BYTES => length as usize,
        Ok(length) => return Err(Corruption::at(SECTION, 0, format!("a body of {length} bytes")).into()),
        Err(_) if bytes.len() < MAX_UVARINT_BYTES => {
            let needed_bytes = bytes.len() as u64 + 1;
            return Err(SeriesError::NeedMore { needed_bytes });
        }
        Err(error) => return Err(error.into()),
    };
    let body_start = decoder.position();
    let total_bytes = body_start + body_bytes + CRC_BYTES;
    if bytes.len() < total_bytes {
        let needed_bytes = total_bytes as u64;
        return Err(SeriesError::NeedMore { needed_bytes });
    }
    let body = decoder.take(body_bytes)?;
    let stored = decoder.u32()?;
    let computed = crc32c(body);
    if stored != computed {
        return Err(Corruption::crc(SECTION, 0, stored, computed).into());
    }
    Ok((Decoder::at(SECTION, body_start as u64, body), total_bytes))
}

fn decode_labels(decoder: &mut Decoder<'_>, labels: &mut Vec<(u32, u32)>) -> Result<(), Corruption> {
    labels.clear();
    let count = decode_count(decoder, "labels", MIN_LABEL_BYTES)?;
    labels.reserve(count);
    for _ in 0..count {
        let name = decoder.uvarint32()?;
        let value = decoder.uvarint32()?;
        labels.push((name, value));
    }
    Ok(())
}

fn decode_chunks(
    decoder: &mut Decoder<'_>,
    chunks: &mut Vec<ChunkMeta>,
    keep: impl Fn(&ChunkMeta) -> Keep,
) -> Result<(), Corruption> {
    chunks.clear();
    let count = decode_count(decoder, "chunks", MIN_CHUNK_BYTES)?;
    let mut previous = None;
    for _ in 0..count {
        let chunk = decode_chunk(decoder, previous.as_ref())?;
        match keep(&chunk) {
            Keep::Yes => chunks.push(chunk),
            Keep::No => {}
            Keep::NoneFromHere => break,
        }
        previous = Some(chunk);
    }
    Ok(())
}

/// Differences are unsigned: those of chunks that are not in the order of time wrap around.
fn decode_chunk(decoder: &mut Decoder<'_>, previous: Option<&ChunkMeta>) -> Result<ChunkMeta, Corruption> {
    let mint = match previous {
        None => decoder.varint()?,
        Some(previous) => previous.maxt.wrapping_add_unsigned(decoder.uvarint()?),
    };
    let maxt = mint.wrapping_add_unsigned(decoder.uvarint()?);
    let chunk_ref = match previous {
        None => decoder.uvarint()?,
        Some(previous) => previous.chunk_ref.wrapping_add_signed(decoder.varint()?),
    };
    Ok(ChunkMeta {
        mint,
        maxt,
        chunk_ref,
    })
}

/// Reads a number of things, which cannot be more than the bytes left have room for.
fn decode_count(decoder: &mut Decoder<'_>, things: &str, min_bytes: usize) -> Result<usize, Corruption> {
    let before = decoder.clone();
    let count = decoder.uvarint()?;
    let most = decoder.remaining() / min_bytes;
    match usize::try_from(count) {
        Ok(count) if count <= most => Ok(count),
        _ => Err(before.corruption(format!(
            "{count} {things} in the {} bytes left",
            decoder.remaining()
        ))),
    }
}
