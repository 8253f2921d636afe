//! All samples of all lists, of equal times one.

use sabre_promql::source::{SampleBuffer, SourceError};

use super::Samples;
use super::list::List;

/// Lists made one. Of samples of equal times that of the list counts whose turn it is.
pub(super) struct Chain {
    /// Those that are at a sample that was not looked at.
    waiting: Vec<List>,
    current: Option<List>,
    last_t: Option<i64>,
}

impl Chain {
    /// Starts before the first sample.
    pub(super) fn new(lists: Vec<List>) -> Result<Chain, SourceError> {
        let mut lists = lists.into_iter();
        let current = lists.next();
        let mut waiting = Vec::new();
        for mut list in lists {
            list.advance()?;
            if list.is_alive() {
                waiting.push(list);
            }
        }
        Ok(Chain {
            waiting,
            current,
            last_t: None,
        })
    }

    /// The place of the list that waits with the earliest sample.
    fn earliest(&self) -> Option<usize> {
        let times = self.waiting.iter().map(List::t).enumerate();
        times.min_by_key(|(_, t)| *t).map(|(at, _)| at)
    }

    fn earliest_t(&self) -> Option<i64> {
        self.waiting.iter().map(List::t).min()
    }
}

impl Samples for Chain {
    fn is_alive(&self) -> bool {
        self.current.as_ref().is_some_and(List::is_alive)
    }

    fn t(&self) -> i64 {
        self.current.as_ref().map_or(i64::MAX, List::t)
    }

    fn float(&self) -> Option<f64> {
        self.current.as_ref().and_then(List::float)
    }

    fn push_to(&self, buffer: &mut SampleBuffer) {
        if let Some(current) = &self.current {
            current.push_to(buffer);
        }
    }

    fn advance(&mut self) -> Result<(), SourceError> {
        loop {
            let Some(mut current) = self.current.take() else {
                return Ok(());
            };
            current.advance()?;
            let is_new = Some(current.t()) != self.last_t;
            let is_next = self.earliest_t().is_none_or(|t| current.t() < t);
            if current.is_alive() && (!is_new || is_next) {
                self.last_t = Some(current.t());
                self.current = Some(current);
                if is_new {
                    return Ok(());
                }
                continue;
            }
            if current.is_alive() {
                self.waiting.push(current);
            }
            let Some(earliest) = self.earliest() else {
                return Ok(());
            };
            let current = self.waiting.swap_remove(earliest);
            let t = Some(current.t());
            self.current = Some(current);
            if t != self.last_t {
                self.last_t = t;
                return Ok(());
            }
        }
    }

    fn lift(&mut self, _: f64) -> Result<(), SourceError> {
        Ok(())
    }
}
