//! Deduplication by penalty, of any number of lists of samples.
//!
//! Two lists become one by staying with that which is used, unless it has a gap of twice the last interval. Three
//! become one by merging the third with the result of the first two, and so on: a pile of merges, of which each
//! has the one below as its left side and a list of its own as its right.

use super::cursor::{Cursor, Decoded, FloatCursor};
use crate::chunk::{AppendError, ChunkEncoder, ChunkError, EncodedChunk};

/// Before there was a gap to measure, the other side has to be this far ahead to be used.
const FIRST_PENALTY_MS: i64 = 5000;

/// The pile. Levels that have nothing to decide any more are taken out of it.
#[derive(Debug)]
pub(super) struct Fold<C> {
    base: C,
    /// The sample that came last where the base stands for a level that is gone: samples up to it are skipped.
    base_after: Option<i64>,
    levels: Vec<Level<C>>,
    /// Whether a level has lost a side.
    thin: bool,
}

/// A merge of what is below with a list of its own.
#[derive(Debug)]
struct Level<C> {
    right: C,
    left_alive: bool,
    right_alive: bool,
    choice: Choice,
}

/// The side that was chosen last, and what that means for the next choice.
#[derive(Debug, Clone, Copy)]
struct Choice {
    left_penalty_ms: i64,
    right_penalty_ms: i64,
    /// Time of the sample that came last.
    last_t: i64,
    /// Whether it came from the left side.
    use_left: bool,
}

/// A place in two lists that are decoded.
#[derive(Debug, Clone, Copy)]
struct Pair {
    left: usize,
    right: usize,
    choice: Choice,
}

/// What a level knows that has given samples of its left side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct History {
    last_t: i64,
    penalty_ms: i64,
}

impl History {
    /// Of a level that has given nothing.
    pub(super) const NONE: Self = Self {
        last_t: i64::MIN,
        penalty_ms: 0,
    };

    /// Adds a sample.
    #[inline]
    pub(super) fn push(&mut self, t: i64) {
        self.penalty_ms = penalty_ms(self.last_t, t);
        self.last_t = t;
    }

    /// The earliest time at which the right side may have a sample without being looked at.
    #[inline]
    pub(super) fn right_seek(&self) -> i64 {
        seek_target(self.last_t, self.penalty_ms)
    }
}

#[inline]
fn penalty_ms(last_t: i64, t: i64) -> i64 {
    if last_t == i64::MIN {
        FIRST_PENALTY_MS
    } else {
        t.saturating_sub(last_t).saturating_mul(2)
    }
}

#[inline]
fn seek_target(last_t: i64, penalty_ms: i64) -> i64 {
    last_t.saturating_add(1).saturating_add(penalty_ms)
}

impl Fold<FloatCursor> {
    /// Value of the sample.
    #[inline]
    pub(super) fn float(&self) -> f64 {
        self.current(self.levels.len()).float()
    }
}

impl<C: Cursor> Fold<C> {
    /// Starts with one list, before its first sample.
    pub(super) fn new(base: C) -> Self {
        Self {
            base,
            base_after: None,
            levels: Vec::new(),
            thin: false,
        }
    }

    /// Number of merges.
    pub(super) fn height(&self) -> usize {
        self.levels.len()
    }

    /// Number of bytes that are held.
    pub(super) fn held_bytes(&self) -> usize {
        let levels = self.levels.iter().map(|level| level.right.held_bytes());
        levels.fold(self.base.held_bytes(), usize::saturating_add)
    }

    /// Time of the sample.
    #[inline]
    pub(super) fn t(&self) -> i64 {
        self.t_of(self.levels.len())
    }

    /// Encodes the sample.
    #[inline]
    pub(super) fn push_to(&self, encoder: &mut ChunkEncoder) -> Result<Option<EncodedChunk>, AppendError> {
        self.current(self.levels.len()).push_to(encoder, false)
    }

    /// Moves on to the next sample; false behind the last.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool, ChunkError> {
        let alive = self.next(self.levels.len())?;
        if self.thin {
            self.collapse();
        }
        Ok(alive)
    }

    /// Gives samples to `encoder` until a chunk is whole, or what comes next is not simple; `next_mint` is the start of
    /// the list that is to join next. It is what [`Self::advance`] and [`Self::push_to`] do sample by sample, in the case
    /// that is by far the most common: one merge of two lists, both alive and decoded.
    pub(super) fn give_simple(
        &mut self,
        history: &mut History,
        next_mint: Option<i64>,
        encoder: &mut ChunkEncoder,
    ) -> Result<Option<EncodedChunk>, AppendError> {
        let [level] = self.levels.as_mut_slice() else {
            return Ok(None);
        };
        if self.thin || !level.left_alive || !level.right_alive {
            return Ok(None);
        }
        let (Some(left), Some(right)) = (self.base.decoded(), level.right.decoded()) else {
            return Ok(None);
        };
        let mut pair = Pair {
            left: 0,
            right: 0,
            choice: level.choice,
        };
        let mut next = || {
            let (next, t, value) = pair.next(left, right)?;
            if next_mint.is_some_and(|mint| mint < t || mint < history.right_seek()) {
                return None;
            }
            pair = next;
            history.push(t);
            Some((t, value))
        };
        let mut whole = Ok(None);
        while encoder.fill_floats(&mut next) {
            let Some((t, value)) = next() else { break };
            whole = encoder.push_float(t, value);
            if !matches!(whole, Ok(None)) {
                break;
            }
        }
        level.choice = pair.choice;
        level.right.pass(pair.right);
        self.base.pass(pair.left);
        whole
    }

    /// Merges all there is with one more list, which is before its first sample. The pile has been advanced, with
    /// the result `left_alive`; `history` is what came out of it before.
    pub(super) fn push(
        &mut self,
        mut right: C,
        left_alive: bool,
        history: History,
    ) -> Result<(), ChunkError> {
        let right_alive = right.advance()?;
        self.levels.push(Level {
            right,
            left_alive,
            right_alive,
            choice: Choice {
                left_penalty_ms: 0,
                right_penalty_ms: history.penalty_ms,
                last_t: history.last_t,
                use_left: true,
            },
        });
        self.thin |= !left_alive || !right_alive;
        Ok(())
    }

    /// Time of the sample of the pile up to `height`, which has been advanced.
    #[inline]
    fn t_of(&self, height: usize) -> i64 {
        let top = height.checked_sub(1).and_then(|top| self.levels.get(top));
        top.map_or_else(|| self.base.t(), |level| level.choice.last_t)
    }

    /// The list that has the sample of the pile up to `height`.
    #[inline]
    fn current(&self, height: usize) -> &C {
        let levels = self.levels.get(..height).unwrap_or_default();
        for level in levels.iter().rev() {
            if !level.choice.use_left {
                return &level.right;
            }
        }
        &self.base
    }

    fn next(&mut self, height: usize) -> Result<bool, ChunkError> {
        let Some(below) = height.checked_sub(1) else {
            return self.next_of_base();
        };
        let Some(level) = self.levels.get_mut(below) else {
            return Ok(false);
        };
        let (left_alive, left_target) = (level.left_alive, level.choice.left_target());
        if level.right_alive {
            level.right_alive = level.right.seek(level.choice.right_target())?;
        }
        let left_alive = left_alive && self.seek(below, left_target)?;
        let left_t = self.t_of(below);
        let Some(level) = self.levels.get_mut(below) else {
            return Ok(false);
        };
        level.left_alive = left_alive;
        self.thin |= !left_alive || !level.right_alive;
        Ok(level.choose(left_t))
    }

    fn next_of_base(&mut self) -> Result<bool, ChunkError> {
        let Some(after) = self.base_after else {
            return self.base.advance();
        };
        let alive = self.base.seek(after.saturating_add(1))?;
        self.base_after = Some(self.base.t());
        Ok(alive)
    }

    /// Moves the pile up to `height` on to the first sample at `t` or later.
    #[inline]
    fn seek(&mut self, height: usize, t: i64) -> Result<bool, ChunkError> {
        if height == 0 {
            return self.base.seek(t);
        }
        while self.t_of(height) < t {
            if !self.next(height)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes out the levels that only pass on what one side gives.
    fn collapse(&mut self) {
        self.thin = false;
        let came_last = self.levels.last().map(|level| level.choice.last_t);
        if let Some(last) = self.levels.iter().rposition(|level| !level.left_alive)
            && let Some(level) = self.levels.drain(..=last).next_back()
        {
            self.base = level.right;
        }
        self.levels.retain(|level| level.right_alive);
        if self.levels.is_empty() {
            self.base_after = came_last;
        }
    }
}

impl<C: Cursor> Level<C> {
    /// Chooses a side, the left one of which is at `left_t`; false if neither is alive.
    #[inline]
    fn choose(&mut self, left_t: i64) -> bool {
        let choice = &mut self.choice;
        match (self.left_alive, self.right_alive) {
            (true, true) => choice.choose(left_t, self.right.t()),
            (true, false) => {
                choice.use_left = true;
                choice.last_t = left_t;
                choice.left_penalty_ms = 0;
            }
            (false, alive) => {
                choice.use_left = false;
                if alive {
                    choice.last_t = self.right.t();
                    choice.right_penalty_ms = 0;
                }
                return alive;
            }
        }
        true
    }
}

impl Choice {
    /// The least time that the next sample of the left side may have.
    #[inline(always)]
    fn left_target(&self) -> i64 {
        seek_target(self.last_t, self.left_penalty_ms)
    }

    #[inline(always)]
    fn right_target(&self) -> i64 {
        seek_target(self.last_t, self.right_penalty_ms)
    }

    /// Chooses between two sides that are alive.
    #[inline(always)]
    fn choose(&mut self, left_t: i64, right_t: i64) {
        self.use_left = left_t <= right_t;
        if self.use_left {
            self.right_penalty_ms = penalty_ms(self.last_t, left_t);
            self.left_penalty_ms = 0;
            self.last_t = left_t;
        } else {
            self.left_penalty_ms = penalty_ms(self.last_t, right_t);
            self.right_penalty_ms = 0;
            self.last_t = right_t;
        }
    }
}

impl Pair {
    /// The place of the next sample, its time and its value; `None` if a list ends before, or ends in it.
    #[inline(always)]
    fn next(mut self, left: Decoded<'_>, right: Decoded<'_>) -> Option<(Self, i64, f64)> {
        let behind = |timestamps: &[i64], mut place: usize, target: i64| loop {
            let t = *timestamps.get(place)?;
            if t >= target {
                return Some((place, t));
            }
            place += 1;
        };
        let (right_t, left_t);
        (self.right, right_t) = behind(right.timestamps, self.right, self.choice.right_target())?;
        (self.left, left_t) = behind(left.timestamps, self.left, self.choice.left_target())?;
        self.choice.choose(left_t, right_t);
        let value = if self.choice.use_left {
            left.values.get(self.left)?
        } else {
            right.values.get(self.right)?
        };
        Some((self, self.choice.last_t, *value))
    }
}
