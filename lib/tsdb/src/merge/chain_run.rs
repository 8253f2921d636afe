//! Chunks that overlap, chained: one sample for each timestamp.

use super::chain::Chain;
use super::cursor::AnyCursor;
use super::error::MergeError;
use super::run::{Encoded, MAX_LISTS, in_run};
use crate::chunk::ChunkEncoder;
use crate::segment::SeriesChunk;

/// How many chunks a run that keeps every sample looks at before it begins, and how many bytes of them at most.
pub(super) const WINDOW_CHUNKS: usize = 4096;
const WINDOW_BYTES: usize = 4 << 20;

/// Takes chunks, gives samples.
#[derive(Debug)]
pub(super) struct ChainRun {
    mint: i64,
    maxt: i64,
    state: ChainState,
    /// Whether the chain is at a sample that was not given yet.
    waiting: bool,
    window_chunks: usize,
}

#[derive(Debug)]
enum ChainState {
    /// Chunks are collected, the first one apart.
    Collecting {
        first: SeriesChunk,
        others: Vec<SeriesChunk>,
        bytes: usize,
    },
    Running(Chain<AnyCursor>),
}

impl ChainRun {
    pub(super) fn new(first: SeriesChunk, window_chunks: usize) -> Self {
        Self {
            mint: first.mint,
            maxt: first.maxt,
            state: ChainState::Collecting {
                bytes: first.len_bytes(),
                first,
                others: Vec::new(),
            },
            waiting: false,
            window_chunks,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            ChainState::Collecting { bytes, .. } => *bytes,
            ChainState::Running(chain) => chain.held_bytes(),
        }
    }

    pub(super) fn add(&mut self, chunk: &SeriesChunk) -> Result<(), MergeError> {
        self.maxt = self.maxt.max(chunk.maxt);
        match &mut self.state {
            ChainState::Collecting { others, bytes, .. } => {
                *bytes = bytes.saturating_add(chunk.len_bytes());
                others.push(chunk.clone());
                Ok(())
            }
            ChainState::Running(chain) if chain.len() >= WINDOW_CHUNKS + MAX_LISTS => {
                Err(MergeError::TooManyOverlaps {
                    mint: chunk.mint,
                    limit: WINDOW_CHUNKS + MAX_LISTS,
                })
            }
            ChainState::Running(chain) => {
                let alive = chain
                    .add(AnyCursor::open(chunk)?, self.waiting)
                    .map_err(in_run(self.mint, self.maxt))?;
                self.waiting = alive;
                Ok(())
            }
        }
    }

    /// Encodes samples until a chunk is whole.
    ///
    /// The exact order of equal timestamps depends on all chunks of the run, so it begins with as many as can
    /// be held; those behind them join where their time comes.
    pub(super) fn step(
        &mut self,
        encoder: &mut ChunkEncoder,
        next_mint: Option<i64>,
    ) -> Result<Encoded, MergeError> {
        if let ChainState::Collecting { first, others, bytes } = &self.state {
            if next_mint.is_some() && others.len() < self.window_chunks && *bytes < WINDOW_BYTES {
                return Ok(Encoded::NeedsNext);
            }
            let lists = others.iter().chain([first]).map(AnyCursor::open);
            let chain = Chain::new(lists.collect::<Result<_, _>>()?);
            self.state = ChainState::Running(chain.map_err(in_run(self.mint, self.maxt))?);
        }
        let ChainState::Running(chain) = &mut self.state else {
            return Ok(Encoded::End);
        };
        loop {
            if !self.waiting {
                self.waiting = chain.advance().map_err(in_run(self.mint, self.maxt))?;
            }
            if next_mint.is_some_and(|mint| !self.waiting || mint <= chain.t()) {
                return Ok(Encoded::NeedsNext);
            }
            if !self.waiting {
                return Ok(Encoded::End);
            }
            self.waiting = false;
            let t = chain.t();
            let whole = chain.push_to(encoder);
            if let Some(chunk) = whole.map_err(|source| MergeError::Append { t, source })? {
                return Ok(Encoded::Chunk(chunk));
            }
        }
    }
}
