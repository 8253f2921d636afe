//! The union of several symbol tables.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::error::Corruption;
use crate::index::{Symbols, SymbolsBuilder};

/// What errors call the result.
const SECTION: &str = "index symbols";

/// The union of symbol tables, and what became of the references of each.
#[derive(Debug)]
pub struct MergedSymbols {
    /// All symbols, each once.
    pub builder: SymbolsBuilder,
    /// By source.
    pub remaps: Vec<SymbolRemap>,
}

/// From the references of one table to the numbers of the merged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolRemap(Remap);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remap {
    /// By number: all there is for an index of version 2.
    Numbers(Vec<u32>),
    /// Old reference and new number, ascending: in version 1 references are offsets.
    Offsets(Vec<(u32, u32)>),
}

impl SymbolRemap {
    /// The number in the merged table; `None` for a reference to no symbol.
    pub fn get(&self, reference: u32) -> Option<u32> {
        match &self.0 {
            Remap::Numbers(numbers) => numbers.get(reference as usize).copied(),
            Remap::Offsets(pairs) => {
                let found = pairs
                    .binary_search_by_key(&reference, |(offset, _)| *offset)
                    .ok()?;
                pairs.get(found).map(|(_, number)| *number)
            }
        }
    }

    /// Number of bytes it takes.
    pub fn len_bytes(&self) -> usize {
        match &self.0 {
            Remap::Numbers(numbers) => size_of_val(numbers.as_slice()),
            Remap::Offsets(pairs) => size_of_val(pairs.as_slice()),
        }
    }

    fn push(&mut self, reference: u32, number: u32) {
        match &mut self.0 {
            Remap::Numbers(numbers) if numbers.len() == reference as usize => numbers.push(number),
            Remap::Numbers(numbers) => {
                let pairs = (0..).zip(numbers.iter().copied());
                self.0 = Remap::Offsets(pairs.chain([(reference, number)]).collect());
            }
            Remap::Offsets(pairs) => pairs.push((reference, number)),
        }
    }
}

/// Merges symbol tables. Numbers of the merged table order as the symbols do.
///
/// # Errors
///
/// If the union takes more than the 4 GiB of a table.
pub fn merge_symbols<D: AsRef<[u8]>>(sources: &[&Symbols<D>]) -> Result<MergedSymbols, Corruption> {
    let mut builder = SymbolsBuilder::new();
    let mut remaps = vec![SymbolRemap(Remap::Numbers(Vec::new())); sources.len()];
    let mut rests: Vec<_> = sources.iter().map(|symbols| symbols.iter()).collect();
    let mut heap = BinaryHeap::with_capacity(sources.len());
    for (source, rest) in rests.iter_mut().enumerate() {
        heap.extend(
            rest.next()
                .map(|(reference, symbol)| Reverse((symbol, source, reference))),
        );
    }
    let mut last: Option<(&str, u32)> = None;
    while let Some(mut head) = heap.peek_mut() {
        let Reverse((symbol, source, reference)) = *head;
        let number = match last {
            Some((text, number)) if text == symbol => number,
            _ => builder
                .push(symbol)
                .ok_or_else(|| Corruption::at(SECTION, 0, "the merged table takes more than 4 GiB"))?,
        };
        last = Some((symbol, number));
        if let Some(remap) = remaps.get_mut(source) {
            remap.push(reference, number);
        }
        match rests.get_mut(source).and_then(Iterator::next) {
            Some((reference, symbol)) => *head = Reverse((symbol, source, reference)),
            None => {
                PeekMut::pop(head);
            }
        }
    }
    Ok(MergedSymbols { builder, remaps })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::Version;

    fn table(symbols: &[&str], version: Version) -> Symbols {
        let mut builder = SymbolsBuilder::new();
        for symbol in symbols {
            builder.push(symbol).unwrap();
        }
        let table = builder.build(5).unwrap();
        Symbols::parse(table.section().to_vec(), 5, version).unwrap()
    }

    #[test]
    fn references_follow_their_symbols() {
        let numbers = table(&["", "a", "c"], Version::V2);
        let offsets = table(&["a", "b"], Version::V1);
        let empty = table(&[], Version::V2);
        let merged = merge_symbols(&[&numbers, &offsets, &empty]).unwrap();
        let union = merged.builder.build(5).unwrap();
        assert!(union.iter().map(|(_, text)| text).eq(["", "a", "b", "c"]));
        let [first, second, third] = merged.remaps.as_slice() else {
            panic!("three sources")
        };
        assert_eq!(
            [0, 1, 2, 3].map(|old| first.get(old)),
            [Some(0), Some(1), Some(3), None]
        );
        // The first text of a table of version 1 lies behind length and number: 5 + 8.
        assert_eq!([13, 14, 15].map(|old| second.get(old)), [Some(1), None, Some(2)]);
        assert_eq!((third.get(0), third.len_bytes()), (None, 0));
    }

    proptest! {
        #[test]
        fn all_symbols_come_once(
            tables in proptest::collection::vec(proptest::collection::btree_set("[a-c]{0,3}", 0..9), 0..5),
        ) {
            let union: std::collections::BTreeSet<String> = tables.iter().flatten().cloned().collect();
            let tables: Vec<Symbols> = tables
                .iter()
                .map(|texts| table(&texts.iter().map(String::as_str).collect::<Vec<_>>(), Version::V2))
                .collect();
            let merged = merge_symbols(&tables.iter().collect::<Vec<_>>()).unwrap();
            let all = merged.builder.build(5).unwrap();
            prop_assert!(all.iter().map(|(_, text)| text.to_owned()).eq(union));
            for (table, remap) in tables.iter().zip(&merged.remaps) {
                for (reference, text) in table.iter() {
                    prop_assert_eq!(all.get(remap.get(reference).unwrap()), Ok(text));
                }
            }
        }
    }
}
