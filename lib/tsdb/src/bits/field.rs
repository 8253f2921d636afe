//! The fields of a histogram sample: how a number is written the first time, and how after another one.

use super::varbit::read_varbit_ints;
use super::{BitReader, BitWriter, read_varbit_int, read_varbit_uint, write_varbit_int, write_varbit_uint};
use crate::error::Corruption;

/// A number that every sample of a chunk has, with what its encoding remembers from sample to sample.
pub trait Field: Sized + Clone + std::fmt::Debug {
    /// The number.
    type Value: Copy;
    /// The fewest bits the first sample takes for it: bounds what a broken layout can make us allocate.
    const MIN_FIRST_BITS: usize;

    /// Reads it in the first sample of a chunk.
    fn read_first(reader: &mut BitReader<'_>) -> Self;
    /// Reads it in a later sample.
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption>;
    /// Reads several, one behind the other, in a later sample.
    #[inline]
    fn read_all_next(fields: &mut [Self], reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        for field in fields {
            field.read_next(reader)?;
        }
        Ok(())
    }
    /// Writes it in the first sample of a chunk.
    fn write_first(writer: &mut BitWriter, value: Self::Value) -> Self;
    /// Writes it in a later sample.
    fn write_next(&mut self, writer: &mut BitWriter, value: Self::Value);
    /// Writes what stands in its place in a stale sample that is not the first.
    fn write_stale(&mut self, writer: &mut BitWriter);
    /// The number of the sample read or written last.
    fn value(&self) -> Self::Value;
}

/// A count that does not fall as a rule: first itself, then the change of its change.
#[derive(Debug, Clone, Copy)]
pub struct CountField {
    value: u64,
    delta: i64,
}

impl Field for CountField {
    type Value = u64;
    const MIN_FIRST_BITS: usize = 1;

    fn read_first(reader: &mut BitReader<'_>) -> Self {
        Self {
            value: read_varbit_uint(reader),
            delta: 0,
        }
    }

    #[inline]
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        self.delta = self.delta.wrapping_add(read_varbit_int(reader));
        self.value = self.value.wrapping_add_signed(self.delta);
        Ok(())
    }

    fn write_first(writer: &mut BitWriter, value: u64) -> Self {
        write_varbit_uint(writer, value);
        Self { value, delta: 0 }
    }

    fn write_next(&mut self, writer: &mut BitWriter, value: u64) {
        let delta = value.wrapping_sub(self.value).cast_signed();
        write_varbit_int(writer, delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }

    fn write_stale(&mut self, writer: &mut BitWriter) {
        write_varbit_int(writer, 0);
    }

    fn value(&self) -> u64 {
        self.value
    }
}

/// A signed number: first itself, then the change of its change.
#[derive(Debug, Clone, Copy)]
pub struct DeltaField {
    value: i64,
    delta: i64,
}

impl DeltaField {
    /// The number of the sample before the one read or written last, if that `has_moved` it.
    #[inline(always)]
    pub fn before(&self, has_moved: bool) -> i64 {
        if has_moved {
            self.value.wrapping_sub(self.delta)
        } else {
            self.value
        }
    }
}

impl Field for DeltaField {
    type Value = i64;
    const MIN_FIRST_BITS: usize = 1;

    fn read_first(reader: &mut BitReader<'_>) -> Self {
        Self {
            value: read_varbit_int(reader),
            delta: 0,
        }
    }

    #[inline]
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        self.delta = self.delta.wrapping_add(read_varbit_int(reader));
        self.value = self.value.wrapping_add(self.delta);
        Ok(())
    }

    #[inline]
    fn read_all_next(fields: &mut [Self], reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        read_varbit_ints(reader, fields, |field, change| {
            field.delta = field.delta.wrapping_add(change);
            field.value = field.value.wrapping_add(field.delta);
        });
        Ok(())
    }

    fn write_first(writer: &mut BitWriter, value: i64) -> Self {
        write_varbit_int(writer, value);
        Self { value, delta: 0 }
    }

    fn write_next(&mut self, writer: &mut BitWriter, value: i64) {
        let delta = value.wrapping_sub(self.value);
        write_varbit_int(writer, delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }

    fn write_stale(&mut self, writer: &mut BitWriter) {
        write_varbit_int(writer, 0);
    }

    fn value(&self) -> i64 {
        self.value
    }
}

/// No window yet: no number of leading zeros reaches this.
const NO_WINDOW: u32 = 0xff;

/// A float: first its 64 bits, then the bits in which it differs from the one before.
///
/// The differing bits are given by a window, the numbers of zeros before and behind them.
#[derive(Debug, Clone, Copy)]
pub struct XorField {
    bits: u64,
    lead: u32,
    trail: u32,
}

impl XorField {
    /// A field whose value before was `bits` and that has no window yet.
    pub fn starting_at(bits: u64) -> Self {
        Self {
            bits,
            lead: NO_WINDOW,
            trail: 0,
        }
    }

    /// Reads what differs from the value before; false if the window has more than 64 bits.
    #[inline(always)]
    fn read_change(&mut self, reader: &mut BitReader<'_>) -> bool {
        let word = reader.peek();
        if word >> 63 == 0 {
            reader.skip(1);
            return true;
        }
        if word >> 62 == 0b11 {
            reader.skip(13);
            if !self.set_window(word << 2) {
                return false;
            }
        } else {
            reader.skip(2);
            if self.lead == NO_WINDOW {
                // Not written by anyone; what readers have always made of it.
                (self.lead, self.trail) = (0, 0);
            }
        }
        self.bits ^= reader.read(64 - self.lead - self.trail) << self.trail;
        true
    }

    /// Takes the window whose 11 bits are on top of `word`; false if it has more than 64 bits.
    #[inline(always)]
    fn set_window(&mut self, word: u64) -> bool {
        let lead = (word >> 59) as u32;
        let significant = significant_bits(word >> 53 & 63);
        let Some(trail) = (64 - lead).checked_sub(significant) else {
            return false;
        };
        (self.lead, self.trail) = (lead, trail);
        true
    }
}

#[cold]
#[inline(never)]
fn too_wide(reader: &BitReader<'_>) -> Corruption {
    reader.corruption("xor window of more than 64 bits")
}

/// The number of significant bits that the six bits of a window stand for: 64 is written as 0.
#[inline(always)]
pub(crate) fn significant_bits(six: u64) -> u32 {
    if six == 0 { 64 } else { six as u32 }
}

/// Writes two numbers, each with its width, at once if they fit one word.
#[inline(always)]
fn write_joined(writer: &mut BitWriter, first: (u64, u32), second: (u64, u32)) {
    let width = first.1 + second.1;
    if width <= 64 {
        writer.write(first.0 << second.1 | second.0, width);
    } else {
        writer.write(first.0, first.1);
        writer.write(second.0, second.1);
    }
}

impl Field for XorField {
    type Value = f64;
    const MIN_FIRST_BITS: usize = 64;

    fn read_first(reader: &mut BitReader<'_>) -> Self {
        Self::starting_at(reader.read(64))
    }

    #[inline]
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        if self.read_change(reader) {
            Ok(())
        } else {
            Err(too_wide(reader))
        }
    }

    #[inline]
    fn read_all_next(fields: &mut [Self], reader: &mut BitReader<'_>) -> Result<(), Corruption> {
        for field in fields {
            if !field.read_change(reader) {
                return Err(too_wide(reader));
            }
        }
        Ok(())
    }

    fn write_first(writer: &mut BitWriter, value: f64) -> Self {
        let bits = value.to_bits();
        writer.write(bits, 64);
        Self::starting_at(bits)
    }

    #[inline(always)]
    fn write_next(&mut self, writer: &mut BitWriter, value: f64) {
        let bits = value.to_bits();
        let difference = bits ^ self.bits;
        self.bits = bits;
        if difference == 0 {
            writer.bit(false);
            return;
        }
        let lead = difference.leading_zeros().min(31);
        let trail = difference.trailing_zeros();
        if lead >= self.lead && trail >= self.trail {
            write_joined(
                writer,
                (0b10, 2),
                (difference >> self.trail, 64 - self.lead - self.trail),
            );
            return;
        }
        let significant = 64 - lead - trail;
        let window = 0b11 << 11 | u64::from(lead) << 6 | u64::from(significant & 63);
        write_joined(writer, (window, 13), (difference >> trail, significant));
        (self.lead, self.trail) = (lead, trail);
    }

    fn write_stale(&mut self, writer: &mut BitWriter) {
        self.write_next(writer, 0.0);
    }

    fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }
}
