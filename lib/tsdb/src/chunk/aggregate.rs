//! Thanos' downsampled chunks: up to five chunks in one.
//!
//! For each aggregate, in the order of [`Aggregate::ALL`]: `uvarint` length of its data, and unless that is
//! zero (the aggregate is absent) a byte of encoding and the data.

use super::{Encoding, UnsupportedEncoding, num_samples};
use crate::encoding::{Decoder, put_uvarint, uvarint_len};
use crate::error::Corruption;

/// What errors call these chunks.
const SECTION: &str = "aggregate chunk";

/// What the samples of a window were made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregate {
    /// Number of samples.
    Count,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// The value of a counter, resets added up.
    Counter,
}

impl Aggregate {
    /// All of them, in the order in which a chunk has them.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Counter];
}

/// The chunk of one aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubChunk<'a> {
    /// How it is encoded; Thanos writes [`Encoding::Xor`] and [`Encoding::FloatHistogram`].
    pub encoding: Encoding,
    /// Its data, a part of the data of the aggregate chunk.
    pub data: &'a [u8],
}

/// An aggregate chunk taken apart; the parts are slices of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateChunk<'a> {
    /// By aggregate, in the order of [`Aggregate::ALL`].
    parts: [Option<SubChunk<'a>>; 5],
}

impl<'a> AggregateChunk<'a> {
    /// Takes the data of an aggregate chunk apart, without looking into the parts.
    pub fn parse(data: &'a [u8]) -> Result<Self, Corruption> {
        let mut decoder = Decoder::new(SECTION, data);
        let mut chunk = Self::default();
        for part in &mut chunk.parts {
            *part = read_part(&mut decoder)?;
        }
        if !decoder.is_empty() {
            return Err(decoder.corruption(format!("{} bytes behind the last part", decoder.remaining())));
        }
        Ok(chunk)
    }

    /// The chunk of one aggregate, if it is there.
    pub fn get(&self, aggregate: Aggregate) -> Option<SubChunk<'a>> {
        self.parts.get(aggregate as usize).copied().flatten()
    }

    /// Puts a chunk in the place of one aggregate; an empty one counts as absent.
    pub fn set(&mut self, aggregate: Aggregate, part: Option<SubChunk<'a>>) {
        if let Some(place) = self.parts.get_mut(aggregate as usize) {
            *place = part.filter(|part| !part.data.is_empty());
        }
    }

    /// Number of samples: that of the counts, zero if these are absent.
    pub fn num_samples(&self) -> Result<u16, Corruption> {
        match self.get(Aggregate::Count) {
            Some(count) => num_samples(count.encoding, count.data),
            None => Ok(0),
        }
    }

    /// The data of the chunk.
    pub fn encode(&self) -> Vec<u8> {
        let length = |part: &Option<SubChunk<'_>>| match part {
            Some(part) => uvarint_len(part.data.len() as u64) + 1 + part.data.len(),
            None => 1,
        };
        let mut out = Vec::with_capacity(self.parts.iter().map(length).sum());
        for part in &self.parts {
            let Some(part) = part else {
                put_uvarint(&mut out, 0);
                continue;
            };
            put_uvarint(&mut out, part.data.len() as u64);
            out.push(part.encoding.byte());
            out.extend_from_slice(part.data);
        }
        out
    }
}

fn read_part<'a>(decoder: &mut Decoder<'a>) -> Result<Option<SubChunk<'a>>, Corruption> {
    let start = decoder.clone();
    let length = decoder.uvarint()?;
    if length == 0 {
        return Ok(None);
    }
    let byte = decoder.u8()?;
    let encoding = match Encoding::try_from(byte) {
        Ok(Encoding::Aggregate) => return Err(start.corruption("an aggregate chunk within another")),
        Ok(encoding) => encoding,
        Err(UnsupportedEncoding(byte)) => {
            return Err(start.corruption(format!("a part of unsupported encoding {byte}")));
        }
    };
    match usize::try_from(length) {
        Ok(length) if length <= decoder.remaining() => {
            let data = decoder.take(length)?;
            Ok(Some(SubChunk { encoding, data }))
        }
        _ => {
            let left = decoder.remaining();
            Err(start.corruption(format!(
                "a part of {length} bytes is beyond the {left} bytes left"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::decode_samples;
    use crate::chunk::xor::{XorAppender, XorIter};

    fn xor(samples: &[(i64, f64)]) -> Vec<u8> {
        let mut appender = XorAppender::new();
        samples.iter().for_each(|&(t, v)| appender.append(t, v).unwrap());
        appender.finish()
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect()
    }

    /// Worked example E of the format notes.
    const EXAMPLE: &str = "13 01 00 02 be cf 24 40 00 00 00 00 00 00 00 a1 8d 06 c2 5f ff \
        12 01 00 02 be cf 24 40 10 00 00 00 00 00 00 a1 8d 06 d6 0c \
        13 01 00 02 be cf 24 3f f0 00 00 00 00 00 00 a1 8d 06 c2 5f ff \
        12 01 00 02 be cf 24 40 08 00 00 00 00 00 00 a1 8d 06 d8 0c \
        1c 01 00 04 c0 a9 07 3f f0 00 00 00 00 00 00 ff d2 0e c2 67 ff f6 ee 91 6b 0f f7 3c af d4";

    #[test]
    fn the_worked_example_is_written_to_the_byte() {
        let parts = [
            xor(&[(299_999, 2.0), (400_000, 1.0)]),
            xor(&[(299_999, 4.0), (400_000, 2.0)]),
            xor(&[(299_999, 1.0), (400_000, 2.0)]),
            xor(&[(299_999, 3.0), (400_000, 2.0)]),
            xor(&[(60_000, 1.0), (299_999, 3.0), (400_000, 5.0), (400_000, 2.0)]),
        ];
        let mut chunk = AggregateChunk::default();
        for (aggregate, data) in Aggregate::ALL.into_iter().zip(&parts) {
            chunk.set(
                aggregate,
                Some(SubChunk {
                    encoding: Encoding::Xor,
                    data,
                }),
            );
        }
        assert_eq!(chunk.encode(), hex(EXAMPLE));
    }

    #[test]
    fn the_worked_example_is_read() {
        let data = hex(EXAMPLE);
        let chunk = AggregateChunk::parse(&data).unwrap();
        assert_eq!(chunk.num_samples(), Ok(2));
        assert_eq!(num_samples(Encoding::Aggregate, &data), Ok(2));
        let counter = chunk.get(Aggregate::Counter).unwrap();
        let samples: Vec<_> = XorIter::new(counter.data).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            samples,
            [(60_000, 1.0), (299_999, 3.0), (400_000, 5.0), (400_000, 2.0)]
        );
        assert!(decode_samples(Encoding::Aggregate, &data).is_err());
    }

    #[test]
    fn all_absent_is_five_zeros() {
        assert_eq!(AggregateChunk::default().encode(), [0; 5]);
        let chunk = AggregateChunk::parse(&[0; 5]).unwrap();
        assert!(
            Aggregate::ALL
                .into_iter()
                .all(|aggregate| chunk.get(aggregate).is_none())
        );
        assert_eq!(chunk.num_samples(), Ok(0));
    }

    #[test]
    fn the_length_leaves_out_the_encoding_byte() {
        let chunk = AggregateChunk::parse(&[0, 2, 3, 8, 9, 0, 0, 0]).unwrap();
        let sum = SubChunk {
            encoding: Encoding::FloatHistogram,
            data: &[8, 9],
        };
        assert_eq!(chunk.get(Aggregate::Sum), Some(sum));
    }

    #[test]
    fn broken_parts_are_refused() {
        let broken: [(&[u8], &str); 6] = [
            (&[], "nothing"),
            (&[0, 0, 0, 0], "four parts"),
            (&[0, 0, 0, 0, 0, 0], "six parts"),
            (&[5, 1, 0, 0, 0], "a length beyond the end"),
            (&[1, 4, 0, 0, 0, 0, 0], "xor2"),
            (&[1, 0xff, 0, 0, 0, 0, 0], "an aggregate in an aggregate"),
        ];
        for (data, what) in broken {
            assert!(AggregateChunk::parse(data).is_err(), "{what}");
        }
        let error = AggregateChunk::parse(&[0, 0, 0x7f, 1, 0]).unwrap_err();
        assert_eq!((error.offset, error.section), (2, "aggregate chunk"));
    }

    proptest! {
        #[test]
        fn parts_round_trip(
            parts in proptest::array::uniform5(
                proptest::option::of((1u8..4, proptest::collection::vec(any::<u8>(), 1..300))),
            ),
        ) {
            let mut chunk = AggregateChunk::default();
            for (aggregate, part) in Aggregate::ALL.into_iter().zip(&parts) {
                let part = part.as_ref().map(|(encoding, data)| SubChunk {
                    encoding: Encoding::try_from(*encoding).unwrap(),
                    data,
                });
                chunk.set(aggregate, part);
            }
            let data = chunk.encode();
            prop_assert_eq!(AggregateChunk::parse(&data), Ok(chunk));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(chunk) = AggregateChunk::parse(&data) {
                let again = chunk.encode();
                prop_assert_eq!(AggregateChunk::parse(&again), Ok(chunk));
            }
        }
    }
}
