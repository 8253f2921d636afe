//! All series of an index, in the order of the file.

use std::borrow::Cow;

use crate::error::Corruption;

use super::super::series::{self, SECTION, SeriesEntry, SeriesError};
use super::super::source::ByteSource;
use super::{IndexError, IndexReader, read};

/// How much is read at a time. More only where a single series is larger.
const WINDOW_BYTES: u64 = 256 << 10;

/// Reads the series of an index one after the other.
#[derive(Debug)]
pub struct SeriesCursor<'r, S> {
    reader: &'r IndexReader<S>,
    /// Where the next entry is, before padding.
    pub(super) offset: u64,
    pub(super) window: Cow<'r, [u8]>,
    pub(super) window_start: u64,
}

impl<'r, S: ByteSource> SeriesCursor<'r, S> {
    pub(super) fn new(reader: &'r IndexReader<S>) -> Self {
        Self {
            reader,
            offset: reader.series.start,
            window: Cow::Borrowed(&[]),
            window_start: 0,
        }
    }

    /// Decodes the next series and returns its reference; `None` behind the last. After an error it ends.
    pub fn next_into(&mut self, entry: &mut SeriesEntry) -> Result<Option<u32>, IndexError> {
        let alignment = self.reader.version.series_alignment();
        let end = self.reader.series.end;
        let offset = match self.offset.checked_next_multiple_of(alignment) {
            Some(offset) if offset < end => offset,
            _ => return Ok(None),
        };
        // Until the entry is decoded: so that an error is the end.
        self.offset = end;
        let series_ref = u32::try_from(offset / alignment)
            .map_err(|_| Corruption::at(SECTION, offset, "a series beyond the reach of references"))?;
        let entry_bytes = loop {
            match series::decode_into(self.windowed(offset), entry) {
                Ok(entry_bytes) => break entry_bytes,
                Err(SeriesError::Corrupt(error)) => return Err(error.shifted(offset).into()),
                // First for the length perhaps, then for the entry: each time more than before.
                Err(SeriesError::NeedMore { needed_bytes }) => self.move_window(offset, needed_bytes)?,
            }
        };
        self.offset = offset.saturating_add(entry_bytes as u64);
        Ok(Some(series_ref))
    }

    /// What the window has from `offset` on.
    fn windowed(&self, offset: u64) -> &[u8] {
        let start = offset.checked_sub(self.window_start);
        let start = start.and_then(|start| usize::try_from(start).ok());
        start
            .and_then(|start| self.window.get(start..))
            .unwrap_or_default()
    }

    /// Makes the window start at `offset` and have at least `needed_bytes`.
    fn move_window(&mut self, offset: u64, needed_bytes: u64) -> Result<(), IndexError> {
        let wanted = offset.saturating_add(WINDOW_BYTES).min(self.reader.series.end);
        self.window = match offset.checked_add(needed_bytes) {
            Some(end) if end <= wanted => read(&self.reader.source, offset..wanted)?,
            _ => self.reader.read_series(offset, needed_bytes)?,
        };
        self.window_start = offset;
        Ok(())
    }
}
