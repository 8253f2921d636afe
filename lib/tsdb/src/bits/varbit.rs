//! Numbers of variable width in a bit stream: a prefix of ones tells the width.
//!
//! | prefix | `0` | `10` | `110` | `1110` | `11110` | `111110` | `1111110` | `11111110` | `11111111` |
//! |---|---|---|---|---|---|---|---|---|---|
//! | bits that follow | 0 | 3 | 6 | 9 | 12 | 18 | 25 | 56 | 64 |

use super::reader::PEEK_BITS;
use super::{BitReader, BitWriter, fits_signed, signed_from};

/// Width by the number of ones in the prefix.
const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Reads an unsigned number.
#[inline]
pub(crate) fn read_varbit_uint(reader: &mut BitReader<'_>) -> u64 {
    let (bits, _) = read_prefixed(reader);
    bits
}

/// Reads a signed number, whose widths hold −(2^(n−1)−1) ... 2^(n−1).
#[inline]
pub(crate) fn read_varbit_int(reader: &mut BitReader<'_>) -> i64 {
    match read_prefixed(reader) {
        (_, 0) => 0,
        (bits, 64) => bits.cast_signed(),
        (bits, width) => signed_from(bits, width),
    }
}

/// Bits that a number with a prefix of up to six ones takes at most, prefix included.
const MAX_SHORT_BITS: u32 = 32;

/// Reads as many signed numbers as there are places, and hands each to its place.
///
/// Behind the end there are zeros, as everywhere: whoever reads checks the reader afterwards.
#[inline]
pub(crate) fn read_varbit_ints<T>(
    reader: &mut BitReader<'_>,
    places: &mut [T],
    mut take: impl FnMut(&mut T, i64),
) {
    let mut word = reader.peek();
    let mut used = 0;
    for place in places {
        if used > PEEK_BITS - MAX_SHORT_BITS {
            reader.skip(used);
            (word, used) = (reader.peek(), 0);
        }
        let ones = word.leading_ones();
        if ones > 6 {
            reader.skip(used);
            take(place, read_varbit_int(reader));
            (word, used) = (reader.peek(), 0);
            continue;
        }
        let width = WIDTHS.get(ones as usize).copied().unwrap_or_default();
        // Half of the numbers of a width are negative, those above the other half. A width of 0 has no number but 0.
        let bits = (word << (ones + 1)) >> 1 >> (63 - width);
        let is_negative = bits > (1u64 << width) >> 1;
        take(place, bits.cast_signed() - (i64::from(is_negative) << width));
        word <<= ones + 1 + width;
        used += ones + 1 + width;
    }
    reader.skip(used);
}

/// Writes an unsigned number.
pub(crate) fn write_varbit_uint(writer: &mut BitWriter, value: u64) {
    let ones = WIDTHS
        .iter()
        .take(8)
        .take_while(|&&width| value >> width != 0)
        .count();
    write_prefixed(writer, ones, value);
}

/// Writes a signed number.
pub(crate) fn write_varbit_int(writer: &mut BitWriter, value: i64) {
    let fits = |&&width: &&u32| {
        if width == 0 {
            value == 0
        } else {
            fits_signed(value, width)
        }
    };
    let ones = WIDTHS.iter().take(8).take_while(|width| !fits(width)).count();
    write_prefixed(writer, ones, value.cast_unsigned());
}

#[inline(always)]
fn read_prefixed(reader: &mut BitReader<'_>) -> (u64, u32) {
    let word = reader.peek();
    if word >> 63 == 0 {
        reader.skip(1);
        return (0, 0);
    }
    let ones = word.leading_ones().min(8);
    let width = WIDTHS.get(ones as usize).copied().unwrap_or(64);
    reader.skip((ones + 1).min(8));
    (reader.read(width), width)
}

/// Writes the prefix of `ones` ones, at most 8, and the low bits of `value` that go with it.
fn write_prefixed(writer: &mut BitWriter, ones: usize, value: u64) {
    let ones = ones as u32;
    if ones < 8 {
        writer.write(((1 << ones) - 1) << 1, ones + 1);
    } else {
        writer.write(0xff, 8);
    }
    match WIDTHS.get(ones as usize).copied() {
        Some(0) => {}
        Some(width @ ..64) => writer.write(value & ((1 << width) - 1), width),
        _ => writer.write(value, 64),
    }
}
