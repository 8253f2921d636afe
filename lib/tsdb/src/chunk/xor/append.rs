//! Encoding floats.

use super::super::{AppendError, MAX_SAMPLES};
use crate::bits::{BitWriter, Field, XorField, fits_signed};

/// Encodes floats into one chunk, byte for byte as Prometheus does.
///
/// When to begin the next chunk is for the caller to say; timestamps may be in any order.
#[derive(Debug, Clone)]
pub struct XorAppender {
    writer: BitWriter,
    samples: u16,
    t: i64,
    t_delta: i64,
    value: XorField,
}

impl XorAppender {
    /// Begins a chunk.
    pub fn new() -> Self {
        Self::with_buffer(Vec::new())
    }

    /// Begins a chunk in memory that was used before; what is in `buffer` is dropped.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&[0, 0]);
        Self {
            writer: BitWriter::new(buffer),
            samples: 0,
            t: 0,
            t_delta: 0,
            value: XorField::starting_at(0),
        }
    }

    /// Appends a sample, `t` in milliseconds.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`] behind the 65535th sample.
    #[inline]
    pub fn append(&mut self, t: i64, value: f64) -> Result<(), AppendError> {
        match self.samples {
            0 => {
                self.writer.varint(t);
                self.value = XorField::write_first(&mut self.writer, value);
            }
            1 => {
                self.t_delta = t.wrapping_sub(self.t);
                self.writer.uvarint(self.t_delta.cast_unsigned());
                self.value.write_next(&mut self.writer, value);
            }
            MAX_SAMPLES => return Err(AppendError::Full),
            _ => {
                let delta = t.wrapping_sub(self.t);
                self.write_dod(delta.wrapping_sub(self.t_delta));
                self.t_delta = delta;
                self.value.write_next(&mut self.writer, value);
            }
        }
        self.t = t;
        self.samples += 1;
        Ok(())
    }

    /// Number of samples so far.
    pub fn num_samples(&self) -> u16 {
        self.samples
    }

    /// Number of bytes the chunk would have if it ended here.
    pub fn len_bytes(&self) -> usize {
        self.writer.len_bytes()
    }

    /// Ends the chunk and returns its data.
    pub fn finish(self) -> Vec<u8> {
        let mut data = self.writer.finish();
        if let Some(header) = data.first_chunk_mut::<2>() {
            *header = self.samples.to_be_bytes();
        }
        data
    }

    #[inline(always)]
    fn write_dod(&mut self, dod: i64) {
        let low = |width: u32| dod.cast_unsigned() & ((1 << width) - 1);
        if dod == 0 {
            self.writer.bit(false);
        } else if fits_signed(dod, 14) {
            self.writer.write(0b10 << 14 | low(14), 16);
        } else if fits_signed(dod, 17) {
            self.writer.write(0b110 << 17 | low(17), 20);
        } else if fits_signed(dod, 20) {
            self.writer.write(0b1110 << 20 | low(20), 24);
        } else {
            self.writer.write(0b1111, 4);
            self.writer.write(dod.cast_unsigned(), 64);
        }
    }
}

impl Default for XorAppender {
    fn default() -> Self {
        Self::new()
    }
}
