//! Writes an index of version 2 in little memory: what grows with the block lies in files.
//!
//! The bytes are those of [`IndexWriter`](super::IndexWriter). In memory are a position for every 32nd symbol, two
//! bytes or so for each series, the longest postings list while it is written, and a buffer of chosen size in which
//! postings are sorted. When that is full it goes to a file as a sorted run; the runs are merged at the end.

mod lists;
mod lookup;
mod runs;
mod spool;
mod symbols;
#[cfg(test)]
mod tests;

use std::io::{Read, Seek, Write};

use crate::encoding::put_uvarint;

use super::header::Version;
use super::series::{self, ChunkMeta};
use super::size_estimates::SizeEstimates;
use super::toc::Toc;
use super::writer::{IndexSummary, IndexWriteError, MAX_FILE_BYTES};

use lists::ListWriter;
use lookup::SymbolLookup;
use runs::PostingsRuns;
use spool::Spool;
pub use symbols::SpillingSymbolsWriter;

/// A file that is written and read again.
pub trait ScratchFile: Read + Write + Seek + std::fmt::Debug {}

impl<F: Read + Write + Seek + std::fmt::Debug> ScratchFile for F {}

/// Writes series, then, by [`SpillingIndexWriter::finish`], the rest. It is made by
/// [`SpillingSymbolsWriter::finish`], when all symbols are written.
#[derive(Debug)]
pub struct SpillingIndexWriter<F> {
    index: Spool<F>,
    table: Spool<F>,
    toc: Toc,
    symbols: SymbolLookup,
    postings: PostingsRuns<F>,
    /// Differences of the references of all series, as `uvarint`.
    all_series: Vec<u8>,
    last_ref: u32,
    /// Labels of the series written last.
    last_labels: Vec<(u32, u32)>,
    estimates: SizeEstimates,
    series_count: u64,
    body: Vec<u8>,
    entry: Vec<u8>,
}

impl<F: ScratchFile> SpillingIndexWriter<F> {
    /// Writes a series and returns its reference. Labels are pairs of symbol numbers, sorted by name; label sets come
    /// in order, each once.
    pub fn add_series_refs(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<u32, IndexWriteError> {
        self.check_labels(labels)?;
        self.index.pad_to(Version::V2.series_alignment())?;
        let offset = self.index.position();
        let series_ref = u32::try_from(offset / Version::V2.series_alignment())
            .map_err(|_| IndexWriteError::file_too_large(MAX_FILE_BYTES))?;
        self.entry.clear();
        series::encode_reusing(labels, chunks, &mut self.body, &mut self.entry);
        self.index.write(&self.entry)?;
        self.postings.add(series_ref, labels)?;
        put_uvarint(
            &mut self.all_series,
            u64::from(series_ref.wrapping_sub(self.last_ref)),
        );
        self.last_ref = series_ref;
        self.estimates.add_series(offset, chunks);
        self.series_count = self.series_count.saturating_add(1);
        self.last_labels.clear();
        self.last_labels.extend_from_slice(labels);
        Ok(series_ref)
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.index.position()
    }

    /// Writes postings, their offset table and the table of contents, and gives the file of the index back, flushed.
    pub fn finish(self) -> Result<(F, IndexSummary), IndexWriteError> {
        let Self {
            mut index,
            mut table,
            mut toc,
            mut symbols,
            postings,
            all_series,
            estimates,
            series_count,
            ..
        } = self;
        toc.postings = index.position();
        toc.label_indices = toc.postings;
        let mut lists = ListWriter::new(&mut index, &mut table, &mut symbols);
        lists.write_all(&all_series, series_count)?;
        drop(all_series);
        lists.write_labels(postings.into_sorted()?)?;
        let count = lists.count();
        toc.postings_table = index.position();
        toc.label_indices_table = toc.postings_table;
        lists::copy_table(&mut table, count, &mut index)?;
        index.write(&toc.encode())?;
        let summary = IndexSummary {
            size_bytes: index.position(),
            toc,
            series_count,
            estimates,
        };
        Ok((index.finish()?, summary))
    }

    fn check_labels(&mut self, labels: &[(u32, u32)]) -> Result<(), IndexWriteError> {
        let unsorted = labels.array_windows().any(|[a, b]| a.0 >= b.0);
        let count = self.symbols.len();
        let unknown = labels
            .iter()
            .flat_map(|(name, value)| [*name, *value])
            .find(|reference| *reference >= count);
        if let Some(reference) = unknown {
            return Err(IndexWriteError::UnknownSymbol(format!("number {reference}")));
        }
        let nameless = labels
            .first()
            .is_some_and(|(name, _)| self.symbols.is_empty_text(*name));
        if labels.is_empty() || unsorted || nameless {
            return Err(IndexWriteError::LabelOrder(self.show(labels)));
        }
        if labels <= self.last_labels.as_slice() {
            let after = std::mem::take(&mut self.last_labels);
            return Err(IndexWriteError::SeriesOrder {
                series: self.show(labels),
                after: self.show(&after),
            });
        }
        Ok(())
    }

    fn show(&mut self, labels: &[(u32, u32)]) -> String {
        let mut shown = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            let mut text = |number| self.symbols.get(&mut self.index, number).unwrap_or_default();
            let (name, value) = (text(*name), text(*value));
            shown.push(format!("{name}={value:?}"));
        }
        format!("{{{}}}", shown.join(", "))
    }
}
