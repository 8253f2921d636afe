//! Chunks that overlap, deduplicated by penalty.

use super::cursor::Cursor;
use super::error::MergeError;
use super::fold::{Fold, History};
use super::run::{Encoded, MAX_LISTS, in_run};
use crate::chunk::{ChunkEncoder, ChunkError};
use crate::segment::SeriesChunk;

/// Takes chunks, gives samples. A chunk joins where its time comes: before that it has no say.
#[derive(Debug)]
pub(super) struct PenaltyRun<C> {
    mint: i64,
    maxt: i64,
    /// Chunks encoded otherwise are left out.
    encoding: u8,
    fold: Fold<C>,
    history: History,
    state: PenaltyState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PenaltyState {
    /// The last sample was given.
    Given,
    /// The fold is at a sample that was not given yet.
    Waiting,
    /// There are no more samples in the chunks taken.
    Exhausted,
}

impl<C: Cursor> PenaltyRun<C> {
    pub(super) fn new(first: &SeriesChunk, fold: Fold<C>) -> Self {
        Self {
            mint: first.mint,
            maxt: first.maxt,
            encoding: first.encoding_byte(),
            fold,
            history: History::NONE,
            state: PenaltyState::Given,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.fold.held_bytes()
    }

    /// Takes the next chunk of the run.
    pub(super) fn add(
        &mut self,
        chunk: &SeriesChunk,
        open: impl FnOnce(&SeriesChunk) -> Result<C, MergeError>,
    ) -> Result<(), MergeError> {
        self.maxt = self.maxt.max(chunk.maxt);
        if chunk.encoding_byte() != self.encoding {
            return Ok(());
        }
        if self.fold.height() >= MAX_LISTS {
            return Err(MergeError::TooManyOverlaps {
                mint: chunk.mint,
                limit: MAX_LISTS,
            });
        }
        let error = in_run(self.mint, self.maxt);
        self.settle().map_err(&error)?;
        let alive = self.state == PenaltyState::Waiting;
        self.fold
            .push(open(chunk)?, alive, self.history)
            .map_err(&error)?;
        self.state = PenaltyState::Given;
        self.settle().map_err(&error)
    }

    /// Makes sure that the next sample, if there is one, is waiting.
    #[inline]
    fn settle(&mut self) -> Result<(), ChunkError> {
        if self.state == PenaltyState::Given {
            self.state = match self.fold.advance()? {
                true => PenaltyState::Waiting,
                false => PenaltyState::Exhausted,
            };
        }
        Ok(())
    }

    /// Encodes samples until a chunk is whole.
    pub(super) fn step(
        &mut self,
        encoder: &mut ChunkEncoder,
        next_mint: Option<i64>,
    ) -> Result<Encoded, MergeError> {
        loop {
            if self.state == PenaltyState::Given {
                let whole = self.fold.give_simple(&mut self.history, next_mint, encoder);
                let t = self.fold.t();
                if let Some(chunk) = whole.map_err(|source| MergeError::Append { t, source })? {
                    return Ok(Encoded::Chunk(chunk));
                }
            }
            self.settle().map_err(in_run(self.mint, self.maxt))?;
            let exhausted = self.state == PenaltyState::Exhausted;
            let t = self.fold.t();
            if next_mint.is_some_and(|mint| exhausted || mint < t || mint < self.history.right_seek()) {
                return Ok(Encoded::NeedsNext);
            }
            if exhausted {
                return Ok(Encoded::End);
            }
            self.state = PenaltyState::Given;
            self.history.push(t);
            let whole = self.fold.push_to(encoder);
            if let Some(chunk) = whole.map_err(|source| MergeError::Append { t, source })? {
                return Ok(Encoded::Chunk(chunk));
            }
        }
    }
}
