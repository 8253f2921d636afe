//! From the symbol references of one index to the numbers of the merged table.

use sabre_tsdb::index::Version;

/// Of so many symbols of a source the merged number of one is kept, where maps are small.
const SAMPLING: usize = 64;
const WORD_BITS: usize = 64;

/// Numbers of the merged symbols by reference of the source.
///
/// Both orders are the same, so the map is also the set of those merged symbols that the source has. Where maps shall
/// be small it is kept as that set, a bit for each merged symbol.
#[derive(Debug)]
pub(crate) enum Remap {
    /// By number; an index of version 2.
    Numbers(Vec<u32>),
    /// The set; an index of version 2.
    Set(NumberSet),
    /// By offset in the file, ascending; an index of version 1.
    Offsets(Vec<(u32, u32)>),
}

/// A set of numbers, in which the n-th is found.
#[derive(Debug, Default)]
pub(crate) struct NumberSet {
    words: Vec<u64>,
    count: usize,
    /// The numbers 0, 64, 128 … of the set.
    samples: Vec<u32>,
}

impl Remap {
    /// An empty map; `is_small` chooses the form that takes less memory.
    pub(crate) fn new(version: Version, is_small: bool) -> Self {
        match (version, is_small) {
            (Version::V1, _) => Self::Offsets(Vec::new()),
            (Version::V2, false) => Self::Numbers(Vec::new()),
            (Version::V2, true) => Self::Set(NumberSet::default()),
        }
    }

    /// Adds the next symbol of the source.
    pub(crate) fn push(&mut self, offset: u64, number: u32) {
        match self {
            Self::Numbers(numbers) => numbers.push(number),
            Self::Set(set) => set.push(number),
            // Offsets beyond 32 bits cannot be referred to.
            Self::Offsets(pairs) => pairs.extend(u32::try_from(offset).ok().map(|offset| (offset, number))),
        }
    }

    /// The merged number of a reference; `None` if it refers to nothing.
    pub(crate) fn get(&self, reference: u32) -> Option<u32> {
        match self {
            Self::Numbers(numbers) => numbers.get(reference as usize).copied(),
            Self::Set(set) => set.nth(reference as usize),
            Self::Offsets(pairs) => {
                let at = pairs
                    .binary_search_by_key(&reference, |(offset, _)| *offset)
                    .ok()?;
                pairs.get(at).map(|(_, number)| *number)
            }
        }
    }

    /// Gives back what growing took too much.
    pub(crate) fn shrink(&mut self) {
        match self {
            Self::Numbers(numbers) => numbers.shrink_to_fit(),
            Self::Set(set) => {
                set.words.shrink_to_fit();
                set.samples.shrink_to_fit();
            }
            Self::Offsets(pairs) => pairs.shrink_to_fit(),
        }
    }
}

impl NumberSet {
    /// Adds a number greater than all before.
    fn push(&mut self, number: u32) {
        let (word, bit) = (number as usize / WORD_BITS, number as usize % WORD_BITS);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
        if self.count.is_multiple_of(SAMPLING) {
            self.samples.push(number);
        }
        self.count += 1;
    }

    fn nth(&self, n: usize) -> Option<u32> {
        if n >= self.count {
            return None;
        }
        let sample = *self.samples.get(n / SAMPLING)? as usize;
        let mut left = n % SAMPLING;
        let mut at = sample / WORD_BITS;
        let mut word = self.words.get(at)? & (u64::MAX << (sample % WORD_BITS));
        loop {
            let ones = word.count_ones() as usize;
            if left < ones {
                for _ in 0..left {
                    word &= word.wrapping_sub(1);
                }
                let number = at * WORD_BITS + word.trailing_zeros() as usize;
                return u32::try_from(number).ok();
            }
            left -= ones;
            at += 1;
            word = *self.words.get(at)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_name_symbols_of_version_1() {
        let mut remap = Remap::new(Version::V1, true);
        for (offset, number) in [(9, 0), (12, 3), (40, 4), (u64::MAX, 5)] {
            remap.push(offset, number);
        }
        assert_eq!(
            [12, 40, 13].map(|offset| remap.get(offset)),
            [Some(3), Some(4), None]
        );
    }

    proptest! {
        #[test]
        fn both_forms_are_the_same_map(numbers in proptest::collection::btree_set(0..5_000_u32, 0..400)) {
            let mut forms = [Remap::new(Version::V2, false), Remap::new(Version::V2, true)];
            for form in &mut forms {
                for number in &numbers {
                    form.push(0, *number);
                }
                form.shrink();
                for (n, number) in numbers.iter().enumerate() {
                    prop_assert_eq!(form.get(n as u32), Some(*number));
                }
                prop_assert_eq!(form.get(numbers.len() as u32), None);
            }
        }
    }
}
