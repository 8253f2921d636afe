//! What is carried from window to window, so that a step does not look at all samples again.

use std::collections::VecDeque;

use crate::eval::window::View;
use crate::histogram::Compactor;

/// State of one series under one function.
#[derive(Debug, Default)]
pub(in crate::eval) struct RangeState {
    /// The number of floats seen.
    seen: u64,
    /// Floats that are smaller than the one before them: their number, and the one before.
    resets: VecDeque<(u64, f64)>,
    /// Floats that are the extreme once all before them have left the window.
    extremes: VecDeque<(u64, f64)>,
    /// How changes of histograms lose their empty buckets.
    pub(super) compactor: Compactor,
}

impl RangeState {
    /// The values before the resets in the window, in their order.
    pub(super) fn resets(&mut self, view: &View<'_>) -> impl Iterator<Item = f64> + '_ {
        let first = view.first;
        let end = first + view.values.len() as u64;
        // What lies between the last window and this one was never in a window together with what is in this one.
        let known = self.seen.max(first + 1);
        for number in known..end {
            let at = (number - first) as usize;
            let (previous, current) = (view.values.get(at - 1), view.values.get(at));
            if let (Some(previous), Some(current)) = (previous, current)
                && current < previous
            {
                self.resets.push_back((number, *previous));
            }
        }
        self.seen = self.seen.max(end);
        while self.resets.front().is_some_and(|(number, _)| *number <= first) {
            self.resets.pop_front();
        }
        self.resets.iter().map(|(_, previous)| *previous)
    }

    /// The greatest or smallest value of the window; NaN only if there is nothing else.
    pub(super) fn extreme(&mut self, view: &View<'_>, greatest: bool) -> f64 {
        let first = view.first;
        let end = first + view.values.len() as u64;
        let beats = |a: f64, b: f64| if greatest { a > b } else { a < b };
        for number in self.seen.max(first)..end {
            let value = view
                .values
                .get((number - first) as usize)
                .copied()
                .unwrap_or(f64::NAN);
            if value.is_nan() {
                continue;
            }
            // Of equal values the earlier one stays in front.
            while self
                .extremes
                .back()
                .is_some_and(|(_, other)| beats(value, *other))
            {
                self.extremes.pop_back();
            }
            self.extremes.push_back((number, value));
        }
        self.seen = self.seen.max(end);
        while self.extremes.front().is_some_and(|(number, _)| *number < first) {
            self.extremes.pop_front();
        }
        match self.extremes.front() {
            Some((_, value)) => *value,
            None => view.values.last().copied().unwrap_or(f64::NAN),
        }
    }
}
