//! Numbers of variable width in a bit stream: a prefix of ones tells the width.
//!
//! | prefix | `0` | `10` | `110` | `1110` | `11110` | `111110` | `1111110` | `11111110` | `11111111` |
//! |---|---|---|---|---|---|---|---|---|---|
//! | bits that follow | 0 | 3 | 6 | 9 | 12 | 18 | 25 | 56 | 64 |

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
