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
    left: Side<L>,
    right: Side<R>,
    use_left: bool,
    /// Time of the sample that was given last.
    last_t: Option<i64>,
}

/// One of them.
///
/// Where the other side goes on without a gap it does not matter where exactly this one is, so it is moved on only when
/// that does matter: mostly never, and then over whole chunks at once.
struct Side<S> {
    samples: S,
    penalty_ms: i64,
    /// The latest time that it was to be moved on to.
    due: i64,
}

impl<S: Samples> Side<S> {
    fn new(mut samples: S) -> Result<Side<S>, SourceError> {
        samples.advance()?;
        Ok(Side {
            samples,
            penalty_ms: 0,
            due: i64::MIN,
        })
    }

    /// Notes where it has to be after the sample at `last_t`.
    #[inline]
    fn note(&mut self, last_t: i64) {
        let due = last_t.saturating_add(1).saturating_add(self.penalty_ms);
        self.due = self.due.max(due);
    }

    /// Moves on to where it has to be.
    #[inline]
    fn settle(&mut self) -> Result<(), SourceError> {
        self.samples.seek(self.due)
    }

    /// No sample of it is earlier than this, once it is where it has to be.
    #[inline]
    fn earliest(&self) -> i64 {
        if self.samples.is_alive() {
            self.due.max(self.samples.t())
        } else {
            i64::MAX
        }
    }
}

/// Twice the interval between two samples.
#[inline]
fn penalty_ms(last_t: i64, t: i64) -> i64 {
    t.saturating_sub(last_t).saturating_mul(2)
}

/// Gives samples of `used` while they come before all that `other` has. Of samples at the same time that of the left side
/// counts.
fn give_run<U: Samples, O: Samples>(
    used: &mut Side<U>,
    other: &mut Side<O>,
    is_left: bool,
    start: (i64, usize),
    buffer: &mut SampleBuffer,
) -> Option<(i64, usize)> {
    let (mut last_t, most) = start;
    let (mut count, mut penalty, mut earliest) = (0, other.penalty_ms, other.earliest());
    for &t in used.samples.upcoming().iter().take(most) {
        earliest = earliest.max(last_t.saturating_add(1).saturating_add(penalty));
        if t <= last_t || t > earliest || (t == earliest && !is_left) {
            break;
        }
        penalty = penalty_ms(last_t, t);
        last_t = t;
        count += 1;
    }
    if count == 0 {
        return None;
    }
    used.samples.give(count, buffer);
    used.penalty_ms = 0;
    // As it was before the last sample: what that one asks for is noted with the next.
    other.due = other.due.max(earliest);
    other.penalty_ms = penalty;
    Some((last_t, count))
}

impl<L: Samples, R: Samples> Merge<L, R> {
    /// Starts before the first sample.
    pub(super) fn new(left: L, right: R) -> Result<Merge<L, R>, SourceError> {
        Ok(Merge {
            left: Side::new(left)?,
            right: Side::new(right)?,
            use_left: true,
            last_t: None,
        })
    }

    /// Moves on in the side that is used, if its next sample comes before all that the other has.
    #[inline]
    fn goes_on(&mut self, last_t: i64) -> Result<bool, SourceError> {
        let t;
        if self.use_left {
            self.left.settle()?;
            t = self.left.samples.t();
            if !self.left.samples.is_alive() || t > self.right.earliest() {
                return Ok(false);
            }
            (self.left.penalty_ms, self.right.penalty_ms) = (0, penalty_ms(last_t, t));
        } else {
            self.right.settle()?;
            t = self.right.samples.t();
            if !self.right.samples.is_alive() || t >= self.left.earliest() {
                return Ok(false);
            }
            (self.left.penalty_ms, self.right.penalty_ms) = (penalty_ms(last_t, t), 0);
        }
        self.last_t = Some(t);
        Ok(true)
    }

    /// Chooses between the sides, which are where they have to be.
    fn choose(&mut self) {
        let (left, right) = (&mut self.left, &mut self.right);
        match (left.samples.is_alive(), right.samples.is_alive()) {
            (false, is_alive) => {
                self.use_left = false;
                if is_alive {
                    self.last_t = Some(right.samples.t());
                    right.penalty_ms = 0;
                }
            }
            (true, false) => {
                self.use_left = true;
                self.last_t = Some(left.samples.t());
                left.penalty_ms = 0;
            }
            (true, true) => {
                let (left_t, right_t) = (left.samples.t(), right.samples.t());
                self.use_left = left_t <= right_t;
                let chosen_t = left_t.min(right_t);
                let penalty_ms = self
                    .last_t
                    .map_or(FIRST_PENALTY_MS, |last_t| penalty_ms(last_t, chosen_t));
                (left.penalty_ms, right.penalty_ms) = match self.use_left {
                    true => (0, penalty_ms),
                    false => (penalty_ms, 0),
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
            self.left.samples.is_alive()
        } else {
            self.right.samples.is_alive()
        }
    }

    #[inline]
    fn t(&self) -> i64 {
        if self.use_left {
            self.left.samples.t()
        } else {
            self.right.samples.t()
        }
    }

    #[inline]
    fn float(&self) -> Option<f64> {
        if self.use_left {
            self.left.samples.float()
        } else {
            self.right.samples.float()
        }
    }

    #[inline]
    fn push_to(&self, buffer: &mut SampleBuffer) {
        if self.use_left {
            self.left.samples.push_to(buffer);
        } else {
            self.right.samples.push_to(buffer);
        }
    }

    fn advance(&mut self) -> Result<(), SourceError> {
        // Of the very first sample too, although it was not given: a side that begins earlier is lifted to it.
        let (before, used_left) = (self.float(), self.use_left);
        if let Some(last_t) = self.last_t {
            self.left.note(last_t);
            self.right.note(last_t);
            if self.goes_on(last_t)? {
                return Ok(());
            }
            self.left.settle()?;
            self.right.settle()?;
        }
        self.choose();
        if self.use_left != used_left
            && let Some(before) = before
        {
            self.left.samples.lift(before)?;
            self.right.samples.lift(before)?;
        }
        Ok(())
    }

    fn lift(&mut self, before: f64) -> Result<(), SourceError> {
        // A side is lifted by how far the sample is below at which it has to be.
        self.left.settle()?;
        self.right.settle()?;
        self.left.samples.lift(before)?;
        self.right.samples.lift(before)
    }

    fn give_run(&mut self, most: usize, buffer: &mut SampleBuffer) -> usize {
        let Some(last_t) = self.last_t else { return 0 };
        let (left, right) = (&mut self.left, &mut self.right);
        let run = match self.use_left {
            true => give_run(left, right, true, (last_t, most), buffer),
            false => give_run(right, left, false, (last_t, most), buffer),
        };
        let Some((last_t, count)) = run else { return 0 };
        self.last_t = Some(last_t);
        count
    }
}
