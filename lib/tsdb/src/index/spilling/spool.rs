//! A file that is written through a buffer and can be read again meanwhile.

use std::io::SeekFrom;

use super::ScratchFile;
use crate::index::writer::{IndexWriteError, MAX_FILE_BYTES};

/// How much is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Spool<F> {
    file: F,
    pending: Vec<u8>,
    /// Bytes that are in the file.
    flushed: u64,
}

impl<F: ScratchFile> Spool<F> {
    pub(super) fn new(file: F) -> Self {
        Self {
            file,
            pending: Vec::new(),
            flushed: 0,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.flushed.saturating_add(self.pending.len() as u64)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexWriteError> {
        if self.position().saturating_add(bytes.len() as u64) > MAX_FILE_BYTES {
            return Err(IndexWriteError::file_too_large(MAX_FILE_BYTES));
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes zeros up to the next multiple of `alignment`, which is at most 16.
    pub(super) fn pad_to(&mut self, alignment: u64) -> Result<(), IndexWriteError> {
        const ZEROS: [u8; 16] = [0; 16];
        let padding = self.position().next_multiple_of(alignment) - self.position();
        self.write(ZEROS.get(..padding as usize).unwrap_or_default())
    }

    /// Replaces bytes that were written before.
    pub(super) fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IndexWriteError> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)?;
        Ok(())
    }

    /// Reads up to `len` bytes from `offset`: fewer only where the file ends.
    pub(super) fn read_at(
        &mut self,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), IndexWriteError> {
        if offset.saturating_add(len as u64) > self.flushed {
            self.flush()?;
        }
        let available = self.flushed.saturating_sub(offset);
        let len = usize::try_from(available).unwrap_or(usize::MAX).min(len);
        out.clear();
        out.resize(len, 0);
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(out)?;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), IndexWriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.flushed))?;
        self.file.write_all(&self.pending)?;
        self.flushed = self.position();
        self.pending.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<F, IndexWriteError> {
        self.flush()?;
        self.file.flush()?;
        Ok(self.file)
    }
}
