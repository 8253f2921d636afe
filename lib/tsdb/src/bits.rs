//! Bit streams, most significant bit first: the ground all chunk encodings stand on.

mod field;
mod reader;
mod varbit;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use field::significant_bits;
pub(crate) use field::{CountField, DeltaField, Field, XorField};
pub(crate) use reader::BitReader;
pub(crate) use varbit::{read_varbit_int, read_varbit_uint, write_varbit_int, write_varbit_uint};
pub(crate) use writer::BitWriter;

/// The number that `width` bits stand for where a format allows −(2^(width−1)−1) ... 2^(width−1).
///
/// Unlike two's complement, the pattern with only the top bit set is positive. `width` is 1 to 64, and
/// `bits` has no bit above it.
#[inline(always)]
pub(crate) fn signed_from(bits: u64, width: u32) -> i64 {
    let unused = 64 - width;
    (bits.wrapping_sub(1) << unused)
        .cast_signed()
        .wrapping_shr(unused)
        .wrapping_add(1)
}

/// Whether `value` lies in −(2^(width−1)−1) ... 2^(width−1); `width` is 1 to 63.
#[inline(always)]
pub(crate) fn fits_signed(value: i64, width: u32) -> bool {
    let half = 1i64 << (width - 1);
    value > -half && value <= half
}
