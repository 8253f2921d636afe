//! Postings sorted by name, value and series: in memory as long as they fit, else as runs in a file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::encoding::{Decoder, MAX_UVARINT_BYTES, put_uvarint};
use crate::index::writer::IndexWriteError;

use super::ScratchFile;
use super::spool::Spool;

/// What errors call the file.
const SECTION: &str = "sorted run of postings";
/// What the cursors of all runs may read at a time together, and the least and the most that one does.
const ALL_WINDOWS_BYTES: usize = 4 << 20;
const LEAST_WINDOW_BYTES: usize = 4 << 10;
const MOST_WINDOW_BYTES: usize = 64 << 10;
/// The most bytes that an entry takes in a run.
const MAX_ENTRY_BYTES: usize = 3 * MAX_UVARINT_BYTES;

/// A name, a value and a series that has them, in this order from the most significant bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting(u128);

impl Posting {
    fn new(name: u32, value: u32, series_ref: u32) -> Self {
        Self(u128::from(name) << 64 | u128::from(value) << 32 | u128::from(series_ref))
    }

    pub(super) fn label(self) -> (u32, u32) {
        ((self.0 >> 64) as u32, (self.0 >> 32) as u32)
    }

    pub(super) fn series_ref(self) -> u32 {
        self.0 as u32
    }
}

#[derive(Debug)]
pub(super) struct PostingsRuns<F> {
    file: Spool<F>,
    runs: Vec<Range<u64>>,
    buffer: Vec<Posting>,
    buffer_len: usize,
}

impl<F: ScratchFile> PostingsRuns<F> {
    pub(super) fn new(file: F, sort_bytes: usize) -> Self {
        Self {
            file: Spool::new(file),
            runs: Vec::new(),
            buffer: Vec::new(),
            buffer_len: (sort_bytes / size_of::<Posting>()).max(1),
        }
    }

    pub(super) fn add(&mut self, series_ref: u32, labels: &[(u32, u32)]) -> Result<(), IndexWriteError> {
        for (name, value) in labels {
            self.buffer.push(Posting::new(*name, *value, series_ref));
            if self.buffer.len() >= self.buffer_len {
                self.spill()?;
            }
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), IndexWriteError> {
        self.buffer.sort_unstable();
        let start = self.file.position();
        let mut bytes = Vec::with_capacity(MAX_ENTRY_BYTES);
        let mut previous = Posting(0);
        for posting in &self.buffer {
            bytes.clear();
            encode(previous, *posting, &mut bytes);
            self.file.write(&bytes)?;
            previous = *posting;
        }
        self.runs.push(start..self.file.position());
        self.buffer.clear();
        Ok(())
    }

    /// All postings in order.
    pub(super) fn into_sorted(mut self) -> Result<SortedPostings<F>, IndexWriteError> {
        if self.runs.is_empty() {
            self.buffer.sort_unstable();
            return Ok(SortedPostings::Memory(self.buffer.into_iter()));
        }
        self.spill()?;
        self.buffer = Vec::new();
        let window_bytes = (ALL_WINDOWS_BYTES / self.runs.len()).clamp(LEAST_WINDOW_BYTES, MOST_WINDOW_BYTES);
        let mut merge = RunMerge {
            file: self.file,
            cursors: Vec::with_capacity(self.runs.len()),
            heap: BinaryHeap::new(),
            window_bytes,
        };
        for (number, range) in self.runs.into_iter().enumerate() {
            merge.cursors.push(RunCursor {
                left: range,
                window: Vec::new(),
                at: 0,
                previous: Posting(0),
            });
            merge.advance(number)?;
        }
        Ok(SortedPostings::Runs(merge))
    }
}

fn encode(previous: Posting, posting: Posting, out: &mut Vec<u8>) {
    let ((name, value), (last_name, last_value)) = (posting.label(), previous.label());
    put_uvarint(out, u64::from(name.wrapping_sub(last_name)));
    if name != last_name {
        put_uvarint(out, u64::from(value));
        put_uvarint(out, u64::from(posting.series_ref()));
        return;
    }
    put_uvarint(out, u64::from(value.wrapping_sub(last_value)));
    if value != last_value {
        put_uvarint(out, u64::from(posting.series_ref()));
        return;
    }
    put_uvarint(
        out,
        u64::from(posting.series_ref().wrapping_sub(previous.series_ref())),
    );
}

fn decode(previous: Posting, decoder: &mut Decoder<'_>) -> Result<Posting, crate::Corruption> {
    let (last_name, last_value) = previous.label();
    let name = last_name.wrapping_add(decoder.uvarint32()?);
    if name != last_name {
        return Ok(Posting::new(name, decoder.uvarint32()?, decoder.uvarint32()?));
    }
    let value = last_value.wrapping_add(decoder.uvarint32()?);
    if value != last_value {
        return Ok(Posting::new(name, value, decoder.uvarint32()?));
    }
    let series_ref = previous.series_ref().wrapping_add(decoder.uvarint32()?);
    Ok(Posting::new(name, value, series_ref))
}

/// Postings in order, from memory or from runs.
#[derive(Debug)]
pub(super) enum SortedPostings<F> {
    Memory(std::vec::IntoIter<Posting>),
    Runs(RunMerge<F>),
}

#[derive(Debug)]
pub(super) struct RunMerge<F> {
    file: Spool<F>,
    cursors: Vec<RunCursor>,
    heap: BinaryHeap<Reverse<(Posting, usize)>>,
    window_bytes: usize,
}

#[derive(Debug)]
struct RunCursor {
    /// What of the run has not been read yet.
    left: Range<u64>,
    window: Vec<u8>,
    at: usize,
    previous: Posting,
}

impl<F: ScratchFile> SortedPostings<F> {
    pub(super) fn next(&mut self) -> Result<Option<Posting>, IndexWriteError> {
        match self {
            Self::Memory(postings) => Ok(postings.next()),
            Self::Runs(merge) => merge.next(),
        }
    }
}

impl<F: ScratchFile> RunMerge<F> {
    fn next(&mut self) -> Result<Option<Posting>, IndexWriteError> {
        let Some(Reverse((posting, run))) = self.heap.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(posting))
    }

    /// Puts the next posting of a run into the heap.
    fn advance(&mut self, run: usize) -> Result<(), IndexWriteError> {
        let Some(cursor) = self.cursors.get_mut(run) else {
            return Ok(());
        };
        let unread = cursor.window.len().saturating_sub(cursor.at);
        if unread < MAX_ENTRY_BYTES && !cursor.left.is_empty() {
            let start = cursor.left.start.saturating_sub(unread as u64);
            let wanted = cursor.left.end.saturating_sub(start);
            let len = usize::try_from(wanted)
                .unwrap_or(usize::MAX)
                .min(self.window_bytes);
            self.file.read_at(start, len, &mut cursor.window)?;
            cursor.left.start = start.saturating_add(cursor.window.len() as u64);
            cursor.at = 0;
        }
        let mut decoder = Decoder::new(SECTION, cursor.window.get(cursor.at..).unwrap_or_default());
        if decoder.is_empty() {
            return Ok(());
        }
        let posting = decode(cursor.previous, &mut decoder)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
        cursor.at = cursor.at.saturating_add(decoder.position());
        cursor.previous = posting;
        self.heap.push(Reverse((posting, run)));
        Ok(())
    }
}
