//! The best few of many values. The heap is that of Go's library, so that of equal values the same ones are kept.

use std::sync::Arc;

use crate::ast::AggregateOp;
use crate::eval::row::Cell;
use crate::eval::sorting::value_order;

/// A value of a series.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) cell: Cell,
    pub(super) series: usize,
}

/// Candidates with the worst in front.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    candidates: Vec<Candidate>,
}

impl Candidate {
    pub(super) fn new(cell: Cell, series: usize) -> Candidate {
        Candidate { cell, series }
    }

    fn value(&self) -> f64 {
        match &self.cell {
            Cell::Float(value) => *value,
            Cell::Histogram(histogram) => {
                debug_assert!(Arc::strong_count(histogram) > 0);
                0.0
            }
        }
    }
}

/// Whether `a` is worse than `b`; NaN is the worst.
fn is_worse(a: &Candidate, b: &Candidate, smallest: bool) -> bool {
    let (a, b) = (a.value(), b.value());
    a.is_nan() || if smallest { a > b } else { a < b }
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Keeps a candidate behind the others.
    pub(super) fn keep(&mut self, candidate: Candidate) -> bool {
        self.candidates.push(candidate);
        true
    }

    /// Keeps the candidate if it is among the best `k`, in which case one of the others may go.
    pub(super) fn offer(&mut self, candidate: Candidate, k: usize, smallest: bool) -> bool {
        if self.candidates.len() < k {
            self.candidates.push(candidate);
            self.up(self.candidates.len() - 1, smallest);
            return true;
        }
        let Some(worst) = self.candidates.first_mut() else {
            return false;
        };
        let value = candidate.value();
        let beats = if smallest {
            worst.value() > value
        } else {
            worst.value() < value
        };
        if k == 0 || !(beats || (worst.value().is_nan() && !value.is_nan())) {
            return false;
        }
        *worst = candidate;
        self.down(0, smallest);
        true
    }

    fn worse_at(&self, a: usize, b: usize, smallest: bool) -> bool {
        match (self.candidates.get(a), self.candidates.get(b)) {
            (Some(a), Some(b)) => is_worse(a, b, smallest),
            _ => false,
        }
    }

    fn up(&mut self, mut at: usize, smallest: bool) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.worse_at(at, parent, smallest) {
                return;
            }
            self.candidates.swap(parent, at);
            at = parent;
        }
    }

    fn down(&mut self, mut at: usize, smallest: bool) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.candidates.len() {
                return;
            }
            let child = if self.worse_at(right, left, smallest) {
                right
            } else {
                left
            };
            if !self.worse_at(child, at, smallest) {
                return;
            }
            self.candidates.swap(at, child);
            at = child;
        }
    }

    /// The candidates, the best first.
    pub(super) fn into_order(mut self, op: AggregateOp) -> Vec<Candidate> {
        if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
            let descending = op == AggregateOp::Topk;
            self.candidates
                .sort_by(|a, b| value_order(a.value(), b.value(), descending));
        }
        self.candidates
    }
}
