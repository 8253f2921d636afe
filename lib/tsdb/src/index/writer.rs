//! Writes an index of version 2, in one pass and without seeking.

use std::io::Write;

use sabre_model::Labels;

use super::header::Version;
use super::offset_table;
use super::postings_list;
use super::series::{self, ChunkMeta};
use super::size_estimates::SizeEstimates;
use super::symbols::{self, Symbols, SymbolsBuilder};
use super::toc::Toc;
use super::{ALL_POSTINGS_KEY, frame};

mod error;
mod output;
mod postings_builder;
#[cfg(test)]
mod tests;

pub use error::IndexWriteError;
use output::Output;
use postings_builder::PostingsBuilder;

pub(super) const LIST_ALIGNMENT: u64 = 4;
/// References are 32 bits and count 16 bytes each: 64 GiB.
pub(super) const MAX_FILE_BYTES: u64 = 16 * u32::MAX as u64;

/// Writes an index: first symbols, then series in the order of their labels, then, by [`IndexWriter::finish`],
/// the rest.
///
/// The bytes are those Prometheus writes for the same symbols, series and chunk references. In memory are the
/// symbols, the postings offset table while it is written, 4 bytes for each series and 8 for each label of a
/// series (twice that where a list has just grown); [`SpillingSymbolsWriter`](super::SpillingSymbolsWriter) keeps
/// them in files. Writes are small: give it a buffer.
#[derive(Debug)]
pub struct IndexWriter<W> {
    output: Output<W>,
    toc: Toc,
    symbols: Symbols,
    postings: PostingsBuilder,
    /// Labels of the series written last.
    last_labels: Vec<(u32, u32)>,
    estimates: SizeEstimates,
    series_count: u64,
    /// Memory used again for each series.
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    labels: Vec<(u32, u32)>,
    body: Vec<u8>,
    entry: Vec<u8>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSummary {
    /// Length of the index.
    pub size_bytes: u64,
    /// Where the sections are.
    pub toc: Toc,
    /// Number of series.
    pub series_count: u64,
    /// Sizes for `index_stats` of `meta.json`.
    pub estimates: SizeEstimates,
}

impl<W: Write> IndexWriter<W> {
    /// Writes header and symbols to `out`.
    pub fn new(out: W, symbols: SymbolsBuilder) -> Result<Self, IndexWriteError> {
        Self::with_limit(out, symbols, MAX_FILE_BYTES)
    }

    fn with_limit(out: W, symbols: SymbolsBuilder, max_bytes: u64) -> Result<Self, IndexWriteError> {
        let mut output = Output::new(out, max_bytes);
        let mut header = Vec::new();
        Version::V2.encode(&mut header);
        output.write(&header)?;
        let mut toc = Toc {
            symbols: output.position(),
            ..Toc::default()
        };
        let symbols = symbols
            .build(toc.symbols)
            .ok_or(IndexWriteError::section_too_large(symbols::SECTION))?;
        output.write(symbols.section())?;
        toc.series = output.position();
        Ok(Self {
            output,
            toc,
            symbols,
            postings: PostingsBuilder::default(),
            last_labels: Vec::new(),
            estimates: SizeEstimates::default(),
            series_count: 0,
            scratch: Scratch::default(),
        })
    }

    /// Writes a series and returns its reference. Label sets must come in order, each once, and all texts of
    /// them must be symbols.
    pub fn add_series(&mut self, lset: &Labels, chunks: &[ChunkMeta]) -> Result<u32, IndexWriteError> {
        let mut labels = std::mem::take(&mut self.scratch.labels);
        labels.clear();
        for (name, value) in lset {
            labels.push((self.symbol_ref(name)?, self.symbol_ref(value)?));
        }
        let result = self.add_series_refs(&labels, chunks);
        self.scratch.labels = labels;
        result
    }

    /// As [`IndexWriter::add_series`], with labels as pairs of symbol numbers, sorted by name. Numbers order as
    /// the symbols do, so nothing is looked up.
    pub fn add_series_refs(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<u32, IndexWriteError> {
        self.check_labels(labels)?;
        self.output.pad_to(Version::V2.series_alignment())?;
        let offset = self.output.position();
        let series_ref = u32::try_from(offset / Version::V2.series_alignment())
            .map_err(|_| IndexWriteError::file_too_large(MAX_FILE_BYTES))?;
        let Scratch { body, entry, .. } = &mut self.scratch;
        entry.clear();
        series::encode_reusing(labels, chunks, body, entry);
        self.output.write(entry)?;
        self.postings.add_series(series_ref, labels);
        self.estimates.add_series(offset, chunks);
        self.series_count += 1;
        self.last_labels.clear();
        self.last_labels.extend_from_slice(labels);
        Ok(series_ref)
    }

    /// Number of bytes written so far.
    pub fn position(&self) -> u64 {
        self.output.position()
    }

    /// Where the bytes go, such as a buffer to be drained between two series.
    pub fn get_mut(&mut self) -> &mut W {
        self.output.get_mut()
    }

    /// Writes postings, their offset table and the table of contents, and gives `out` back, flushed.
    pub fn finish(self) -> Result<(W, IndexSummary), IndexWriteError> {
        let Self {
            mut output,
            mut toc,
            symbols,
            postings,
            ..
        } = self;
        toc.postings = output.position();
        toc.label_indices = toc.postings;
        let table = write_postings(&mut output, &symbols, postings)?;
        toc.postings_table = output.position();
        toc.label_indices_table = toc.postings_table;
        output.write(&table)?;
        output.write(&toc.encode())?;
        let summary = IndexSummary {
            size_bytes: output.position(),
            toc,
            series_count: self.series_count,
            estimates: self.estimates,
        };
        Ok((output.finish()?, summary))
    }

    fn symbol_ref(&self, text: &str) -> Result<u32, IndexWriteError> {
        self.symbols
            .find(text)
            .ok_or_else(|| IndexWriteError::UnknownSymbol(text.to_owned()))
    }

    fn check_labels(&self, labels: &[(u32, u32)]) -> Result<(), IndexWriteError> {
        let unsorted = labels.array_windows().any(|[a, b]| a.0 >= b.0);
        let unknown = labels
            .iter()
            .flat_map(|(name, value)| [*name, *value])
            .find(|reference| *reference >= self.symbols.len());
        if let Some(reference) = unknown {
            return Err(IndexWriteError::UnknownSymbol(format!("number {reference}")));
        }
        let nameless = labels
            .first()
            .is_some_and(|(name, _)| self.symbols.get(*name) == Ok(""));
        if labels.is_empty() || unsorted || nameless {
            return Err(IndexWriteError::LabelOrder(self.show(labels)));
        }
        if labels <= self.last_labels.as_slice() {
            return Err(IndexWriteError::SeriesOrder {
                series: self.show(labels),
                after: self.show(&self.last_labels),
            });
        }
        Ok(())
    }

    fn show(&self, labels: &[(u32, u32)]) -> String {
        let text = |reference| self.symbols.get(reference).unwrap_or_default();
        let pairs = labels.iter().map(|(name, value)| (text(*name), text(*value)));
        let shown: Vec<String> = pairs.map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// Writes all postings lists and returns the offset table.
fn write_postings<W: Write>(
    output: &mut Output<W>,
    symbols: &Symbols,
    postings: PostingsBuilder,
) -> Result<Vec<u8>, IndexWriteError> {
    let mut lists = ListWriter {
        output,
        table: vec![0; frame::LEN_BYTES + 4],
        count: 0,
        list: Vec::new(),
    };
    let (name, value) = ALL_POSTINGS_KEY;
    lists.write(name, value, postings.all_series())?;
    postings.for_each_list(|(name, value), refs| {
        let unknown = |_| IndexWriteError::UnknownSymbol(format!("number {name} or {value}"));
        lists.write(
            symbols.get(name).map_err(unknown)?,
            symbols.get(value).map_err(unknown)?,
            refs,
        )
    })?;
    lists
        .finish()
        .ok_or(IndexWriteError::section_too_large(offset_table::SECTION))
}

/// Writes postings lists and notes where they are.
struct ListWriter<'o, W> {
    output: &'o mut Output<W>,
    /// Room for length and number, then an entry for each list.
    table: Vec<u8>,
    count: u32,
    list: Vec<u8>,
}

impl<W: Write> ListWriter<'_, W> {
    fn write(
        &mut self,
        name: &str,
        value: &str,
        refs: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), IndexWriteError> {
        self.output.pad_to(LIST_ALIGNMENT)?;
        let list_offset = self.output.position();
        postings_list::encode(refs, &mut self.list)
            .ok_or(IndexWriteError::section_too_large(postings_list::SECTION))?;
        self.output.write(&self.list)?;
        self.count = self
            .count
            .checked_add(1)
            .ok_or(IndexWriteError::section_too_large(offset_table::SECTION))?;
        offset_table::encode_entry(name, value, list_offset, &mut self.table);
        Ok(())
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let count = self.table.get_mut(frame::LEN_BYTES..frame::LEN_BYTES + 4)?;
        count.copy_from_slice(&self.count.to_be_bytes());
        frame::seal(&mut self.table)?;
        Some(self.table)
    }
}
