//! Series entries of an index, straight into the arrays of the decoder.
//!
//! This is the fast way for entries that are as they should be. Whatever it does not take is left to
//! [`sabre_tsdb::index::series`], which says what is wrong with it.

use sabre_tsdb::{
    crc32c,
    index::series::{SeriesEntry, SeriesError, decode_into},
};

use crate::{label_table::Pair, picks::Pick};

/// Which chunks of an entry are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// First instant asked for.
    pub(crate) mint_ms: i64,
    /// Last instant asked for.
    pub(crate) maxt_ms: i64,
    /// One chunk is enough: it proves that there is one.
    pub(crate) only_one: bool,
}

/// Appends the labels and the chunks of the entry that `bytes` start with, and returns how many bytes it takes.
///
/// Chunks are appended from the first one on, wanted or not, until one proves enough or begins too late. Their lengths
/// are left at zero.
pub(crate) fn decode(
    bytes: &[u8],
    wanted: Wanted,
    pairs: &mut Vec<Pair>,
    chunks: &mut Vec<Pick>,
) -> Result<usize, SeriesError> {
    let (pairs_start, chunks_start) = (pairs.len(), chunks.len());
    if let Some(len) = decode_fast(bytes, wanted, pairs, chunks) {
        return Ok(len);
    }
    pairs.truncate(pairs_start);
    chunks.truncate(chunks_start);
    let mut entry = SeriesEntry::default();
    let len = decode_into(bytes, &mut entry)?;
    pairs.extend(entry.labels.iter().map(|&pair| Pair::new(pair)));
    chunks.extend(entry.chunks.iter().map(|chunk| Pick {
        mint_ms: chunk.mint,
        maxt_ms: chunk.maxt,
        chunk_ref: chunk.chunk_ref,
        len_bytes: 0,
    }));
    Ok(len)
}

fn decode_fast(bytes: &[u8], wanted: Wanted, pairs: &mut Vec<Pair>, chunks: &mut Vec<Pick>) -> Option<usize> {
    let mut frame = Numbers { bytes, at: 0 };
    let body_bytes = usize::try_from(frame.uvarint()?).ok()?;
    let body_end = frame.at.checked_add(body_bytes)?;
    let body = bytes.get(frame.at..body_end)?;
    let stored = bytes.get(body_end..)?.first_chunk::<4>()?;
    if crc32c(body) != u32::from_be_bytes(*stored) {
        return None;
    }
    let mut body = Numbers { bytes: body, at: 0 };
    for _ in 0..body.uvarint()? {
        let name = u32::try_from(body.uvarint()?).ok()?;
        let value = u32::try_from(body.uvarint()?).ok()?;
        pairs.push(Pair::new((name, value)));
    }
    let count = body.uvarint()?;
    let mut previous: Option<Pick> = None;
    for _ in 0..count {
        let chunk = body.chunk(previous)?;
        chunks.push(chunk);
        let is_wanted = chunk.mint_ms <= wanted.maxt_ms && chunk.maxt_ms >= wanted.mint_ms;
        if chunk.mint_ms > wanted.maxt_ms || (wanted.only_one && is_wanted) {
            break;
        }
        previous = Some(chunk);
    }
    body_end.checked_add(4)
}

/// Reads variable-length numbers.
struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Numbers<'_> {
    /// A LEB128 number; none that takes more than nine bytes.
    #[inline(always)]
    fn uvarint(&mut self) -> Option<u64> {
        let first = *self.bytes.get(self.at)?;
        if first < 0x80 {
            self.at += 1;
            return Some(u64::from(first));
        }
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) => self.uvarint_of(u64::from_le_bytes(*word)),
            None => self.uvarint_bytewise(),
        }
    }

    /// A number of two to eight bytes that begins with the lowest byte of `word`.
    #[inline(always)]
    fn uvarint_of(&mut self, word: u64) -> Option<u64> {
        let ends = !word & 0x8080_8080_8080_8080;
        if ends == 0 {
            return self.uvarint_bytewise();
        }
        // All bits up to the end of the first byte that has none behind it.
        let own = word & (ends ^ (ends - 1));
        self.at += (ends.trailing_zeros() / 8 + 1) as usize;
        // Groups of 7 bits move together, then groups of 14, then of 28.
        let by_7 = own & 0x7f7f_7f7f_7f7f_7f7f;
        let by_14 = (by_7 & 0x007f_007f_007f_007f) | (by_7 & 0x7f00_7f00_7f00_7f00) >> 1;
        let by_28 = (by_14 & 0x0000_3fff_0000_3fff) | (by_14 & 0x3fff_0000_3fff_0000) >> 2;
        Some((by_28 & 0x0fff_ffff) | (by_28 & 0x0fff_ffff_0000_0000) >> 4)
    }

    #[cold]
    fn uvarint_bytewise(&mut self) -> Option<u64> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 56 {
                return None;
            }
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Option<i64> {
        let value = self.uvarint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Differences are unsigned: those of chunks that are not in the order of time wrap around.
    #[inline(always)]
    fn chunk(&mut self, previous: Option<Pick>) -> Option<Pick> {
        let mint_ms = match previous {
            None => self.varint()?,
            Some(previous) => previous.maxt_ms.wrapping_add_unsigned(self.uvarint()?),
        };
        let maxt_ms = mint_ms.wrapping_add_unsigned(self.uvarint()?);
        let chunk_ref = match previous {
            None => self.uvarint()?,
            Some(previous) => previous.chunk_ref.wrapping_add_signed(self.varint()?),
        };
        Some(Pick {
            mint_ms,
            maxt_ms,
            chunk_ref,
            len_bytes: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sabre_tsdb::index::{ChunkMeta, series::encode};

    use super::*;

    fn all(only_one: bool) -> Wanted {
        Wanted {
            mint_ms: i64::MIN,
            maxt_ms: i64::MAX,
            only_one,
        }
    }

    fn decoded(bytes: &[u8], wanted: Wanted) -> Result<(usize, Vec<Pair>, Vec<Pick>), SeriesError> {
        let (mut pairs, mut chunks) = (Vec::new(), Vec::new());
        let len = decode(bytes, wanted, &mut pairs, &mut chunks)?;
        Ok((len, pairs, chunks))
    }

    fn any_chunks() -> impl Strategy<Value = Vec<ChunkMeta>> {
        let small = (0i64..1000, 0i64..1000, 0u64..5000);
        let any = (any::<i64>(), any::<i64>(), any::<u64>());
        let one = prop_oneof![small, any].prop_map(|(mint, maxt, chunk_ref)| ChunkMeta {
            mint,
            maxt,
            chunk_ref,
        });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn equals_the_decoder_of_the_format(
            labels in proptest::collection::vec(any::<(u32, u32)>(), 0..6),
            chunks in any_chunks(), behind in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut bytes = Vec::new();
            encode(&labels, &chunks, &mut bytes);
            let len = bytes.len();
            bytes.extend(behind);
            let (got_len, pairs, picks) = decoded(&bytes, all(false)).unwrap();
            prop_assert_eq!(got_len, len);
            prop_assert_eq!(pairs, labels.into_iter().map(Pair::new).collect::<Vec<_>>());
            let got: Vec<ChunkMeta> = picks.iter()
                .map(|p| ChunkMeta { mint: p.mint_ms, maxt: p.maxt_ms, chunk_ref: p.chunk_ref }).collect();
            prop_assert_eq!(got, chunks);
        }

        #[test]
        fn what_is_broken_is_refused_as_by_the_decoder_of_the_format(
            labels in proptest::collection::vec((0u32..99, 0u32..99), 0..4), chunks in any_chunks(), bit in any::<usize>(),
        ) {
            let mut bytes = Vec::new();
            encode(&labels, &chunks, &mut bytes);
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let expected = decode_into(&bytes, &mut SeriesEntry::default());
            prop_assert_eq!(decoded(&bytes, all(false)).map(|(len, ..)| len), expected);
        }

        #[test]
        fn numbers_of_all_lengths_are_read(number: u64, shift in 0u32..64, behind in proptest::collection::vec(any::<u8>(), 0..9)) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            sabre_tsdb::encoding::put_uvarint(&mut bytes, number);
            let len = bytes.len();
            bytes.extend(behind);
            let mut numbers = Numbers { bytes: &bytes, at: 0 };
            let read = numbers.uvarint();
            if len <= 9 {
                prop_assert_eq!((read, numbers.at), (Some(number), len));
            } else {
                prop_assert_eq!(read, None);
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decoded(&bytes, all(false));
        }
    }

    #[test]
    fn decoding_stops_where_enough_is_known() {
        let chunk = |n: i64| ChunkMeta {
            mint: n * 10,
            maxt: n * 10 + 9,
            chunk_ref: n.unsigned_abs() * 100,
        };
        let mut bytes = Vec::new();
        encode(&[(1, 2)], &[chunk(0), chunk(1), chunk(2), chunk(3)], &mut bytes);
        let count = |wanted| decoded(&bytes, wanted).unwrap().2.len();
        let range = Wanted {
            mint_ms: 10,
            maxt_ms: 15,
            only_one: false,
        };
        assert_eq!(
            count(range),
            3,
            "the chunk behind the range tells the length of the last one in it"
        );
        assert_eq!(
            count(Wanted {
                only_one: true,
                ..range
            }),
            2
        );
        assert_eq!(count(all(true)), 1);
    }
}
