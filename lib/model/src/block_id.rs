//! Block names: ULIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of a ULID's text.
const TEXT_LEN: usize = 26;

/// Bits of a ULID that are not its time.
const RANDOM_BITS: u32 = 80;

/// The name of a block: a ULID, that is 48 bits of creation time in ms and 80 random bits.
///
/// Its text is 26 characters of Crockford's base 32 in upper case; reading takes lower case too. Names order by time,
/// and their texts order as they do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockId(u128);

/// Why a text is not a ULID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockIdError {
    /// It has not 26 bytes.
    #[error("a ULID has {TEXT_LEN} characters, this text has {len} bytes")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// A character is not of Crockford's base 32.
    #[error("byte {byte:#04x} at offset {offset} is not a character of a ULID")]
    Character {
        /// The byte.
        byte: u8,
        /// Where it is.
        offset: usize,
    },
    /// The first character is above 7, so the value has more than 128 bits.
    #[error("the text is above the greatest ULID, 7ZZZZZZZZZZZZZZZZZZZZZZZZZ")]
    Overflow,
}

impl BlockId {
    /// Reads the text of a ULID, in upper or lower case.
    pub fn parse(text: &str) -> Result<BlockId, BlockIdError> {
        if text.len() != TEXT_LEN {
            return Err(BlockIdError::Length { len: text.len() });
        }
        let mut value: u128 = 0;
        for (offset, byte) in text.bytes().enumerate() {
            let digit = digit(byte).ok_or(BlockIdError::Character { byte, offset })?;
            if offset == 0 && digit > 7 {
                return Err(BlockIdError::Overflow);
            }
            value = value << 5 | u128::from(digit);
        }
        Ok(BlockId(value))
    }

    /// Makes a name from its time and its random part. Time is cut to 48 bits.
    pub fn from_parts(time_ms: u64, random: [u8; 10]) -> BlockId {
        let mut value = u128::from(time_ms & 0xffff_ffff_ffff);
        for byte in random {
            value = value << 8 | u128::from(byte);
        }
        BlockId(value)
    }

    /// The name with these 16 bytes, most significant first.
    pub fn from_bytes(bytes: [u8; 16]) -> BlockId {
        BlockId(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// When the block was made, in ms since the epoch. Below 2^48.
    pub fn time_ms(self) -> i64 {
        // 48 bits always fit.
        i64::try_from(self.0 >> RANDOM_BITS).unwrap_or(i64::MAX)
    }
}

/// The value of a character of Crockford's base 32.
fn digit(byte: u8) -> Option<u8> {
    let upper = byte.to_ascii_uppercase();
    ALPHABET
        .iter()
        .position(|&c| c == upper)
        .and_then(|at| u8::try_from(at).ok())
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; TEXT_LEN];
        let mut rest = self.0;
        for byte in text.iter_mut().rev() {
            *byte = ALPHABET.get((rest & 31) as usize).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockId {
    type Err = BlockIdError;

    fn from_str(text: &str) -> Result<BlockId, BlockIdError> {
        BlockId::parse(text)
    }
}

impl Serialize for BlockId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BlockId, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BlockId::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_time_and_prints_upper_case() {
        // The example of the ULID specification.
        let id = BlockId::parse("01arz3ndektsv4rrffq69g5fav").unwrap();
        assert_eq!(id.to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(id.time_ms(), 1_469_922_850_259);
    }

    #[test]
    fn first_character_above_seven_overflows() {
        let greatest = BlockId::parse("7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap();
        assert_eq!(greatest.to_bytes(), [0xff; 16]);
        assert_eq!(greatest.time_ms(), (1 << 48) - 1);
        assert_eq!(
            BlockId::parse("80000000000000000000000000"),
            Err(BlockIdError::Overflow)
        );
        assert_eq!(
            BlockId::parse("ZZZZZZZZZZZZZZZZZZZZZZZZZZ"),
            Err(BlockIdError::Overflow)
        );
    }

    #[test]
    fn refuses_other_folders_of_a_bucket() {
        for text in [
            "",
            "debug",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV0",
        ] {
            assert_eq!(
                BlockId::parse(text),
                Err(BlockIdError::Length { len: text.len() })
            );
        }
        for (text, byte, offset) in [
            ("01ARZ3NDEKTSV4RRFFQ69G5FAU", b'U', 25),
            ("01ARZ3NDEKTSV4RRFFQ69G5FA/", b'/', 25),
            ("I1ARZ3NDEKTSV4RRFFQ69G5FAV", b'I', 0),
            ("01ARZ3NDEKTSV4RRFFQ69G5Fé", 0xc3, 24),
        ] {
            assert_eq!(
                BlockId::parse(text),
                Err(BlockIdError::Character { byte, offset }),
                "{text}"
            );
        }
    }

    #[test]
    fn is_a_string_in_json() {
        let id: BlockId = serde_json::from_str(r#""01ARZ3NDEKTSV4RRFFQ69G5FAV""#).unwrap();
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            r#""01ARZ3NDEKTSV4RRFFQ69G5FAV""#
        );
        let error = serde_json::from_str::<BlockId>(r#""x""#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a ULID has 26 characters, this text has 1 bytes"),
            "{error}"
        );
    }

    #[test]
    fn time_is_cut_to_48_bits() {
        assert_eq!(BlockId::from_parts(u64::MAX, [0; 10]).time_ms(), (1 << 48) - 1);
    }

    proptest! {
        #[test]
        fn parts_and_text_come_back(time_ms in 0_u64..1 << 48, random: [u8; 10]) {
            let id = BlockId::from_parts(time_ms, random);
            prop_assert_eq!(id.time_ms(), i64::try_from(time_ms).unwrap());
            prop_assert_eq!(BlockId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(BlockId::parse(&id.to_string().to_lowercase()), Ok(id));
            prop_assert_eq!(BlockId::from_bytes(id.to_bytes()), id);
        }

        #[test]
        fn texts_order_as_names_do(a: [u8; 16], b: [u8; 16]) {
            let (a, b) = (BlockId::from_bytes(a), BlockId::from_bytes(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn parse_is_total(text in ".{0,30}") {
            let _ = BlockId::parse(&text);
        }
    }
}
