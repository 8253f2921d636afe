//! Label sets: sorted by name, every name once.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use xxhash_rust::xxh64::Xxh64;

use crate::quote::GoQuoted;

#[cfg(test)]
mod tests;

/// Ends every name and every value in the input of [`Labels::hash`]; no UTF-8 text contains it.
const HASH_SEPARATOR: u8 = 0xff;

/// The most text (names and values together) one label set may hold: 1 GiB.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// The name, such as `job`.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A set of labels, sorted by name (bytewise), every name once.
///
/// Sets compare pairwise, name first, then value; where one is a prefix of the other, the shorter comes first.
/// That is the order of series in indexes and in StoreAPI answers. All names and values lie in one piece of
/// text, so a set costs two allocations however many labels it has.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// name, value, name, value … without anything between.
    text: Box<str>,
    /// Where each of those pieces ends in `text`.
    ends: Box<[u32]>,
}

/// Why a list of labels is not a label set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelsError {
    /// A name is there twice.
    #[error("label {name:?} is there more than once")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Labels said to be sorted are not.
    #[error("label {name:?} follows label {after:?}, labels must be sorted by name")]
    Unsorted {
        /// The name that comes too late.
        name: String,
        /// The name before it.
        after: String,
    },
    /// Names and values are longer than one set may hold.
    #[error("names and values of a label set are longer than {MAX_TEXT_BYTES} bytes")]
    TooLong,
}

/// The labels of a set in order, as `(name, value)`.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    text: &'a str,
    start: usize,
    ends: std::slice::Iter<'a, u32>,
}

/// Fills a [`Labels`]; the caller keeps the order.
#[derive(Default)]
struct Packer {
    text: String,
    ends: Vec<u32>,
}

impl Labels {
    /// Builds a set from pairs in any order; a name that comes twice is an error.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Labels, LabelsError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut pairs: Vec<(String, String)> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        pairs.sort_unstable();
        Labels::from_sorted(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }

    /// Builds a set from pairs that are sorted by name; that they are is checked.
    pub fn from_sorted<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Labels, LabelsError> {
        let pairs = pairs.into_iter();
        let mut packer = Packer::with_capacity(pairs.size_hint().0);
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            if let Some(after) = previous {
                match after.cmp(name) {
                    Ordering::Less => {}
                    Ordering::Equal => {
                        return Err(LabelsError::Duplicate {
                            name: name.to_owned(),
                        });
                    }
                    Ordering::Greater => {
                        return Err(LabelsError::Unsorted {
                            name: name.to_owned(),
                            after: after.to_owned(),
                        });
                    }
                }
            }
            if packer
                .text
                .len()
                .saturating_add(name.len())
                .saturating_add(value.len())
                > MAX_TEXT_BYTES
            {
                return Err(LabelsError::TooLong);
            }
            packer.push(name, value);
            previous = Some(name);
        }
        Ok(packer.finish())
    }

    /// The labels in order, as `(name, value)`.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            text: &self.text,
            start: 0,
            ends: self.ends.iter(),
        }
    }

    /// The value of the label `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .take_while(|(n, _)| *n <= name)
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether the set has no labels.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of memory that the set holds besides itself.
    pub fn heap_bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }

    /// XXH64 (seed 0) of every name and every value, each followed by a byte 0xff.
    pub fn hash(&self) -> u64 {
        let mut hasher = Xxh64::new(0);
        for (name, value) in self.iter() {
            hasher.update(name.as_bytes());
            hasher.update(&[HASH_SEPARATOR]);
            hasher.update(value.as_bytes());
            hasher.update(&[HASH_SEPARATOR]);
        }
        hasher.digest()
    }

    /// The set without the labels called `names`.
    pub fn without(&self, names: &[impl AsRef<str>]) -> Labels {
        let mut packer = Packer::with_capacity(self.len());
        for (name, value) in self.iter() {
            if !names.iter().any(|n| n.as_ref() == name) {
                packer.push(name, value);
            }
        }
        packer.finish()
    }

    /// The labels of both sets; where both have a name, the value is that of `top`.
    pub fn overlaid(&self, top: &Labels) -> Labels {
        let mut packer = Packer::with_capacity(self.len() + top.len());
        let (mut low, mut high) = (self.iter().peekable(), top.iter().peekable());
        loop {
            let order = match (low.peek(), high.peek()) {
                (Some((l, _)), Some((h, _))) => l.cmp(h),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order == Ordering::Equal {
                low.next();
            }
            let from = if order == Ordering::Less {
                &mut low
            } else {
                &mut high
            };
            match from.next() {
                Some((name, value)) => packer.push(name, value),
                None => return packer.finish(),
            }
        }
    }

    /// The set with the label `name` set to `value`.
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut one = Packer::with_capacity(1);
        one.push(name, value);
        self.overlaid(&one.finish())
    }

    /// The labels as a map.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    /// The labels as a list in order.
    pub fn to_vec(&self) -> Vec<Label> {
        self.iter()
            .map(|(n, v)| Label {
                name: n.to_owned(),
                value: v.to_owned(),
            })
            .collect()
    }
}

/// The name of the compaction group of a block: resolution and external labels, as Thanos writes it.
///
/// ```
/// # use sabre_model::{Labels, group_key};
/// let lset = Labels::from_pairs([("cluster", "eu1")])?;
/// assert_eq!(group_key(0, &lset), "0@1319708470537487294");
/// # Ok::<(), sabre_model::LabelsError>(())
/// ```
pub fn group_key(resolution_ms: i64, lset: &Labels) -> String {
    format!("{resolution_ms}@{}", lset.hash())
}

impl Packer {
    fn with_capacity(labels: usize) -> Packer {
        // The hint comes from an iterator that may mislead: more than a usual set is not prepared for.
        Packer {
            text: String::new(),
            ends: Vec::with_capacity(labels.min(64) * 2),
        }
    }

    fn push(&mut self, name: &str, value: &str) {
        for piece in [name, value] {
            self.text.push_str(piece);
            // Checked constructors stop at 1 GiB, and a merge of two such sets still fits.
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }

    fn finish(self) -> Labels {
        Labels {
            text: self.text.into_boxed_str(),
            ends: self.ends.into_boxed_slice(),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let name_end = *self.ends.next()? as usize;
        let value_end = *self.ends.next()? as usize;
        let name = self.text.get(self.start..name_end)?;
        let value = self.text.get(name_end..value_end)?;
        self.start = value_end;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ends.len() / 2;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Labels {
        Labels::from(&map)
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(map: &BTreeMap<String, String>) -> Labels {
        let mut packer = Packer::with_capacity(map.len());
        for (name, value) in map {
            packer.push(name, value);
        }
        packer.finish()
    }
}

impl TryFrom<Vec<Label>> for Labels {
    type Error = LabelsError;

    fn try_from(labels: Vec<Label>) -> Result<Labels, LabelsError> {
        Labels::from_pairs(labels.into_iter().map(|label| (label.name, label.value)))
    }
}

impl fmt::Display for Labels {
    /// `{a="b", "not.plain"="c"}`, as Prometheus prints label sets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_name(name) {
                write!(f, "{name}={}", GoQuoted(value))?;
            } else {
                write!(f, "{}={}", GoQuoted(name), GoQuoted(value))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a label name needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    /// From a map of strings; null is the empty set, and of a key that comes twice the last counts, as in Go.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        let map = Option::<BTreeMap<String, String>>::deserialize(deserializer)?;
        Ok(map.map(Labels::from).unwrap_or_default())
    }
}
