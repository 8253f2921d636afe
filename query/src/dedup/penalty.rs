//! Two orders of samples made one: stay with that which is used, unless it has a gap.
//!
//! The other one has to be ahead by twice the last interval to be used, so that replicas scraped at different times
//! do not alternate. A counter that is used next may be behind that which was used last, which would look like a reset:
//! it is lifted. Three are made one as the third with the result of the first two, and so on.

use sabre_promql::source::{SampleBuffer, SourceError};

use super::Samples;

/// Before there was an interval to measure, the other side has to be this far ahead to be used.
const FIRST_PENALTY_MS: i64 = 5000;

/// Two made one.
pub(super) struct Merge<L, R> {
    left: L,
    right: R,
    use_left: bool,
    /// Time of the sample that was given last.
    last_t: Option<i64>,
    left_penalty_ms: i64,
    right_penalty_ms: i64,
}

impl<L: Samples, R: Samples> Merge<L, R> {
    /// Starts before the first sample.
    pub(super) fn new(mut left: L, mut right: R) -> Result<Merge<L, R>, SourceError> {
        left.advance()?;
        right.advance()?;
        Ok(Merge {
            left,
            right,
            use_left: true,
            last_t: None,
            left_penalty_ms: 0,
            right_penalty_ms: 0,
        })
    }

    fn choose(&mut self) {
        match (self.left.is_alive(), self.right.is_alive()) {
            (false, is_alive) => {
                self.use_left = false;
                if is_alive {
                    self.last_t = Some(self.right.t());
                    self.right_penalty_ms = 0;
                }
            }
            (true, false) => {
                self.use_left = true;
                self.last_t = Some(self.left.t());
                self.left_penalty_ms = 0;
            }
            (true, true) => {
                let (left_t, right_t) = (self.left.t(), self.right.t());
                self.use_left = left_t <= right_t;
                let chosen_t = left_t.min(right_t);
                let penalty_ms = self.last_t.map_or(FIRST_PENALTY_MS, |last_t| {
                    chosen_t.saturating_sub(last_t).saturating_mul(2)
                });
                (self.left_penalty_ms, self.right_penalty_ms) = if self.use_left {
                    (0, penalty_ms)
                } else {
                    (penalty_ms, 0)
                };
                self.last_t = Some(chosen_t);
            }
        }
    }
}

impl<L: Samples, R: Samples> Samples for Merge<L, R> {
    #[inline]
    fn is_alive(&self) -> bool {
        if self.use_left {
            self.left.is_alive()
        } else {
            self.right.is_alive()
        }
    }

    #[inline]
    fn t(&self) -> i64 {
        if self.use_left {
            self.left.t()
        } else {
            self.right.t()
        }
    }

    #[inline]
    fn float(&self) -> Option<f64> {
        if self.use_left {
            self.left.float()
        } else {
            self.right.float()
        }
    }

    #[inline]
    fn push_to(&self, buffer: &mut SampleBuffer) {
        if self.use_left {
            self.left.push_to(buffer);
        } else {
            self.right.push_to(buffer);
        }
    }

    fn advance(&mut self) -> Result<(), SourceError> {
        // Of the very first sample too, although it was not given: a side that begins earlier is lifted to it.
        let (before, used_left) = (self.float(), self.use_left);
        if let Some(last_t) = self.last_t {
            let next_t = last_t.saturating_add(1);
            self.left.seek(next_t.saturating_add(self.left_penalty_ms))?;
            self.right.seek(next_t.saturating_add(self.right_penalty_ms))?;
        }
        self.choose();
        if self.use_left != used_left
            && let Some(before) = before
        {
            self.lift(before);
        }
        Ok(())
    }

    fn lift(&mut self, before: f64) {
        self.left.lift(before);
        self.right.lift(before);
    }
}
