//! How lists of series are written into a shared cache, and read back.

use std::io::{Read, Write};

use crate::refs::SeriesRefs;

/// The longest difference of two references.
const MAX_DELTA_BYTES: u64 = 5;

/// What a value begins with and its key ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Codec {
    /// Differences in a framed snappy stream: what Thanos writes and reads.
    #[default]
    Snappy,
    /// Differences under zstd with its checksum: smaller, and known to Sabre only.
    Zstd,
}

impl Codec {
    /// The end of the keys and the beginning of the values.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Snappy => "dss",
            Self::Zstd => "sabre-zstd",
        }
    }

    /// Writes a list.
    pub(super) fn encode(self, refs: &SeriesRefs) -> std::io::Result<Vec<u8>> {
        let mut out = self.name().as_bytes().to_vec();
        match self {
            Self::Snappy => {
                let mut stream = snap::write::FrameEncoder::new(&mut out);
                stream.write_all(refs.deltas())?;
                stream.flush()?;
                drop(stream);
            }
            Self::Zstd => {
                let mut stream = zstd::Encoder::new(&mut out, 3)?;
                stream.include_checksum(true)?;
                stream.write_all(refs.deltas())?;
                stream.finish()?;
            }
        }
        Ok(out)
    }

    /// Reads a list of at most `most` references; `None` for anything that is not one. Both forms carry checksums.
    pub(super) fn decode(self, value: &[u8], most: u64) -> Option<SeriesRefs> {
        let stream = value.strip_prefix(self.name().as_bytes())?;
        let limit = most.saturating_mul(MAX_DELTA_BYTES);
        let mut deltas = Vec::new();
        match self {
            Self::Snappy if !is_all_data(stream) => return None,
            Self::Snappy => read_bounded(snap::read::FrameDecoder::new(stream), limit, &mut deltas)?,
            Self::Zstd => read_bounded(zstd::Decoder::new(stream).ok()?, limit, &mut deltas)?,
        }
        let refs = SeriesRefs::from_deltas(deltas)?;
        (refs.len() as u64 <= most).then_some(refs)
    }
}

/// Whether a framed snappy stream has chunks of data only. A flipped bit can make such a chunk one that is skipped, which
/// no checksum notices; nobody writes those.
fn is_all_data(mut stream: &[u8]) -> bool {
    while let Some((&[kind, a, b, c], rest)) = stream.split_first_chunk::<4>() {
        let len_bytes = u32::from_le_bytes([a, b, c, 0]) as usize;
        let Some(rest) = rest.get(len_bytes..) else {
            return false;
        };
        if !matches!(kind, 0x00 | 0x01 | 0xff) {
            return false;
        }
        stream = rest;
    }
    stream.is_empty()
}

fn read_bounded(stream: impl Read, limit: u64, out: &mut Vec<u8>) -> Option<()> {
    let read = stream.take(limit.saturating_add(1)).read_to_end(out).ok()? as u64;
    (read <= limit).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refs(refs: &[u32]) -> SeriesRefs {
        SeriesRefs::from_sorted(refs.iter().copied())
    }

    #[test]
    fn values_are_framed_snappy_streams_of_differences() {
        let value = Codec::Snappy.encode(&refs(&[5, 7, 300])).unwrap();
        assert!(value.starts_with(b"dss\xff\x06\x00\x00sNaPpY"), "{value:?}");
        // What another encoder stores uncompressed: a chunk with its masked checksum.
        let mut stored = Vec::new();
        snap::read::FrameDecoder::new(&value[3..])
            .read_to_end(&mut stored)
            .unwrap();
        assert_eq!(stored, [5, 2, 165, 2]);
    }

    #[test]
    fn empty_lists_are_values_too() {
        for codec in [Codec::Snappy, Codec::Zstd] {
            let value = codec.encode(&refs(&[])).unwrap();
            assert_eq!(codec.decode(&value, 10).unwrap().len(), 0, "{codec:?}");
        }
    }

    #[test]
    fn data_that_became_padding_is_no_empty_list() {
        let mut value = Codec::Snappy.encode(&refs(&[5, 7, 300])).unwrap();
        // Behind the name and the identifier of the stream comes the type of the first chunk.
        assert_eq!(value[3 + 10], 0x01);
        value[3 + 10] |= 0x80;
        assert!(Codec::Snappy.decode(&value, 10).is_none());
    }

    #[test]
    fn lists_are_bounded() {
        let value = Codec::Snappy.encode(&refs(&[1, 2, 3])).unwrap();
        assert!(Codec::Snappy.decode(&value, 2).is_none());
        let bomb = Codec::Zstd
            .encode(&SeriesRefs::from_sorted(1..1_000_000))
            .unwrap();
        assert!(Codec::Zstd.decode(&bomb, 1000).is_none());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_and_no_bit_may_flip(
            list in proptest::collection::btree_set(1u32.., 1..200), bit in any::<prop::sample::Index>(),
        ) {
            let list: Vec<u32> = list.into_iter().collect();
            for codec in [Codec::Snappy, Codec::Zstd] {
                let mut value = codec.encode(&refs(&list)).unwrap();
                let back = codec.decode(&value, 200).unwrap();
                prop_assert_eq!(back.cursor().collect::<Vec<_>>(), list.clone());
                let at = bit.index(value.len() * 8);
                value[at / 8] ^= 1 << (at % 8);
                if let Some(other) = codec.decode(&value, 200) {
                    prop_assert_eq!(other.cursor().collect::<Vec<_>>(), list.clone(), "a flip that changes the list");
                }
            }
        }

        #[test]
        fn garbage_is_no_list(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            for codec in [Codec::Snappy, Codec::Zstd] {
                let _ = codec.decode(&value, 100);
                let named = [codec.name().as_bytes(), &value].concat();
                let _ = codec.decode(&named, 100);
            }
        }
    }
}
