//! The flag in the header of a histogram chunk.

use super::{HEADER_BYTES, SECTION};
use crate::error::Corruption;
use crate::histogram::CounterResetHint;

/// Reads what the header of a chunk says of its first sample, or of all of them where they are gauges.
pub fn header_flag(data: &[u8]) -> Result<CounterResetHint, Corruption> {
    match data.first_chunk::<HEADER_BYTES>() {
        Some([_, _, flags]) => Ok(flag_from_byte(*flags)),
        None => Err(Corruption::short(
            SECTION,
            0,
            HEADER_BYTES as u64,
            data.len() as u64,
        )),
    }
}

fn flag_from_byte(flags: u8) -> CounterResetHint {
    match flags >> 6 {
        0b00 => CounterResetHint::Unknown,
        0b01 => CounterResetHint::NotCounterReset,
        0b10 => CounterResetHint::CounterReset,
        _ => CounterResetHint::Gauge,
    }
}

/// The header byte of `flag`.
pub(super) fn flag_byte(flag: CounterResetHint) -> u8 {
    match flag {
        CounterResetHint::Unknown => 0b00 << 6,
        CounterResetHint::NotCounterReset => 0b01 << 6,
        CounterResetHint::CounterReset => 0b10 << 6,
        CounterResetHint::Gauge => 0b11 << 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_two_top_bits() {
        for top in 0..4u8 {
            let flag = header_flag(&[0, 0, top << 6 | 0b11_1111]).unwrap();
            assert_eq!(flag_byte(flag), top << 6);
        }
        assert_eq!(flag_byte(CounterResetHint::CounterReset), 0x80);
        assert!(header_flag(&[0, 0]).is_err());
    }
}
