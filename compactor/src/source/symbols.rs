//! The union of the symbol tables of all sources, written as it is found.

use std::fs::File;

use sabre_block::BlockError;
use sabre_tsdb::index::{IndexWriteError, SpillingSymbolsWriter};

use super::index::{SeriesReader, SymbolCursor};
use super::remap::Remap;

/// Maps of references that take more than this together are kept in their small form.
const LARGE_REMAPS_BYTES: u64 = 4 << 20;
/// The least a symbol takes in an index.
const LEAST_SYMBOL_BYTES: u64 = 8;

/// Why symbols could not be merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SymbolsError {
    /// A source.
    #[error(transparent)]
    Source(#[from] BlockError),
    /// The index that is written.
    #[error(transparent)]
    Write(#[from] IndexWriteError),
}

/// Merges the symbols of all sources, each once and in order, and writes them to all of `outs`. Returns for each source its series and the
/// numbers of its symbols.
pub(crate) fn merge_symbols(
    mut cursors: Vec<SymbolCursor>,
    outs: &mut [SpillingSymbolsWriter<File>],
    section_bytes: u64,
) -> Result<Vec<(SeriesReader, Remap)>, SymbolsError> {
    let is_small = section_bytes / LEAST_SYMBOL_BYTES * size_of::<u32>() as u64 > LARGE_REMAPS_BYTES;
    let mut remaps: Vec<Remap> = Vec::with_capacity(cursors.len());
    let mut alive: Vec<bool> = Vec::with_capacity(cursors.len());
    for cursor in &mut cursors {
        remaps.push(Remap::new(cursor.version(), is_small));
        alive.push(cursor.advance()?);
    }
    let mut smallest = String::new();
    // Symbols are numbered in order, from 0.
    let mut number: u32 = 0;
    loop {
        let live = cursors.iter().zip(&alive).filter(|(_, alive)| **alive);
        let Some(symbol) = live.map(|(cursor, _)| cursor.symbol()).min() else {
            break;
        };
        smallest.clear();
        smallest.push_str(symbol);
        for out in outs.iter_mut() {
            out.push(&smallest)?;
        }
        for ((cursor, alive), remap) in cursors.iter_mut().zip(&mut alive).zip(&mut remaps) {
            if *alive && cursor.symbol() == smallest {
                remap.push(cursor.symbol_offset(), number);
                *alive = cursor.advance()?;
            }
        }
        number = number
            .checked_add(1)
            .ok_or_else(|| IndexWriteError::SymbolOrder(smallest.clone()))?;
    }
    remaps.iter_mut().for_each(Remap::shrink);
    let series = cursors.into_iter().map(SymbolCursor::into_series);
    Ok(series.zip(remaps).collect())
}
