//! One sample for each timestamp, of any number of lists of samples.

use super::cursor::Cursor;
use super::heap::Heap;
use crate::chunk::{AppendError, ChunkEncoder, ChunkError, EncodedChunk};

/// Merges lists as Prometheus chains them.
///
/// It stays with a list as long as that is the first in time; of equal timestamps another list than that which is
/// used wins.
#[derive(Debug)]
pub(super) struct Chain<C> {
    current: Option<C>,
    others: Heap<Head<C>>,
    last_t: i64,
    /// Whether the sample came from another list than the one before.
    changed: bool,
}

/// A list at a sample, and the time of that: by this alone lists are compared.
#[derive(Debug)]
struct Head<C> {
    t: i64,
    list: C,
}

impl<C: Cursor> Head<C> {
    fn of(list: C) -> Self {
        Self { t: list.t(), list }
    }
}

impl<C> PartialEq for Head<C> {
    fn eq(&self, other: &Self) -> bool {
        self.t == other.t
    }
}

impl<C> PartialOrd for Head<C> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.t.partial_cmp(&other.t)
    }
}

impl<C: Cursor> Chain<C> {
    /// Merges lists that are before their first samples; the first of them is the one used at first.
    pub(super) fn new(lists: Vec<C>) -> Result<Self, ChunkError> {
        let mut lists = lists.into_iter();
        let current = lists.next();
        let mut others = Heap::default();
        for mut list in lists {
            if list.advance()? {
                others.push(Head::of(list));
            }
        }
        Ok(Self {
            current,
            others,
            last_t: i64::MIN,
            changed: false,
        })
    }

    /// Number of lists that are not at their end.
    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(self.current.is_some())
    }

    /// Number of bytes that are held.
    pub(super) fn held_bytes(&self) -> usize {
        let others = self.others.iter().map(|head| &head.list);
        others
            .chain(&self.current)
            .map(Cursor::held_bytes)
            .fold(0, usize::saturating_add)
    }

    /// Time of the sample.
    pub(super) fn t(&self) -> i64 {
        self.current.as_ref().map_or(self.last_t, Cursor::t)
    }

    /// Encodes the sample.
    pub(super) fn push_to(&self, encoder: &mut ChunkEncoder) -> Result<Option<EncodedChunk>, AppendError> {
        match &self.current {
            Some(current) => current.push_to(encoder, self.changed),
            None => Ok(None),
        }
    }

    /// Moves on to the next sample; false behind the last.
    pub(super) fn advance(&mut self) -> Result<bool, ChunkError> {
        self.changed = false;
        loop {
            let Some(current) = &mut self.current else {
                return Ok(false);
            };
            if current.advance()? {
                let t = current.t();
                if t == self.last_t {
                    continue;
                }
                if self.others.peek().is_none_or(|top| t < top.t) {
                    self.last_t = t;
                    return Ok(true);
                }
                self.others.extend_from(self.current.take());
            }
            self.current = self.others.pop().map(|head| head.list);
            self.changed = true;
            match &self.current {
                Some(current) if current.t() != self.last_t => {
                    self.last_t = current.t();
                    return Ok(true);
                }
                _ => {}
            }
        }
    }

    /// Adds a list that is before its first sample. If the sample at which the chain is was not given yet
    /// (`waiting`), the chain may be at another one afterwards; true if it is at one.
    pub(super) fn add(&mut self, mut list: C, waiting: bool) -> Result<bool, ChunkError> {
        if list.advance()? {
            self.others.push(Head::of(list));
        }
        if waiting {
            self.others.extend_from(self.current.take());
        }
        if waiting || self.current.is_none() {
            self.current = self.others.pop().map(|head| head.list);
            self.changed = true;
            self.last_t = self.t();
            return Ok(self.current.is_some());
        }
        Ok(false)
    }
}

impl<C: Cursor> Heap<Head<C>> {
    fn extend_from(&mut self, list: Option<C>) {
        if let Some(list) = list {
            self.push(Head::of(list));
        }
    }
}
