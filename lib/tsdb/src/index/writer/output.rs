//! A `Write` that knows how far it is and how far it may go.

use std::io::Write;

use super::error::IndexWriteError;

#[derive(Debug)]
pub(super) struct Output<W> {
    out: W,
    position: u64,
    max_bytes: u64,
}

impl<W: Write> Output<W> {
    pub(super) fn new(out: W, max_bytes: u64) -> Self {
        Self {
            out,
            position: 0,
            max_bytes,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexWriteError> {
        let end = self.position.saturating_add(bytes.len() as u64);
        if end > self.max_bytes {
            return Err(IndexWriteError::file_too_large(self.max_bytes));
        }
        self.out.write_all(bytes)?;
        self.position = end;
        Ok(())
    }

    /// Writes zeros up to the next multiple of `alignment`, which is at most 16.
    pub(super) fn pad_to(&mut self, alignment: u64) -> Result<(), IndexWriteError> {
        const ZEROS: [u8; 16] = [0; 16];
        let padding = self.position.next_multiple_of(alignment) - self.position;
        self.write(ZEROS.get(..padding as usize).unwrap_or_default())
    }

    pub(super) fn finish(mut self) -> Result<W, IndexWriteError> {
        self.out.flush()?;
        Ok(self.out)
    }
}
