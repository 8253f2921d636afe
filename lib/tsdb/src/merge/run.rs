//! Chunks that overlap, made into chunks that do not.

use super::aggregates::AggregatesRun;
use super::chain::Chain;
use super::cursor::{AnyCursor, Cursor, FloatCursor};
use super::error::MergeError;
use super::fold::{Fold, History};
use crate::chunk::{ChunkEncoder, ChunkError, EncodedChunk, Encoding, Sample};
use crate::segment::SeriesChunk;

/// How many chunks a run that keeps every sample looks at before it begins, and how many bytes of them at most.
pub(super) const WINDOW_CHUNKS: usize = 4096;
const WINDOW_BYTES: usize = 4 << 20;

/// How many lists of samples may be merged at one time.
const MAX_LISTS: usize = 1000;

/// What became of an attempt to go on.
#[derive(Debug)]
pub(super) enum Progress {
    /// A chunk is whole.
    Chunk(SeriesChunk),
    /// The next chunk that belongs to the run has to be known first.
    NeedsNext,
    /// All chunks were given.
    End,
}

/// Chunks that overlap one another, each of them at least one other, the first of them the first in time.
#[derive(Debug)]
pub(super) struct Run {
    kind: Kind,
    encoder: Option<ChunkEncoder>,
}

#[derive(Debug)]
enum Kind {
    Chain(ChainRun),
    Floats(PenaltyRun<FloatCursor>),
    Others(PenaltyRun<AnyCursor>),
    Aggregates(AggregatesRun),
}

impl Run {
    /// Begins a run that keeps every sample once, and looks at up to `window_chunks` chunks before it begins.
    pub(super) fn one_to_one(first: &SeriesChunk, window_chunks: usize) -> Result<Self, MergeError> {
        AnyCursor::open(first)?;
        Ok(Self::of(Kind::Chain(ChainRun::new(first.clone(), window_chunks))))
    }

    /// Begins a run that stays with one of the chunks as long as it has no gap.
    pub(super) fn penalty(first: &SeriesChunk) -> Result<Self, MergeError> {
        let kind = match first.encoding() {
            Ok(Encoding::Xor) => {
                let fold = Fold::new(FloatCursor::new(first.shared_data()));
                Kind::Floats(PenaltyRun::new(first, fold))
            }
            Ok(Encoding::Aggregate) => Kind::Aggregates(AggregatesRun::new(first.clone())),
            _ => Kind::Others(PenaltyRun::new(first, Fold::new(AnyCursor::open(first)?))),
        };
        Ok(Self::of(kind))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            encoder: Some(ChunkEncoder::new()),
        }
    }

    /// Number of bytes of chunks that are held.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.kind {
            Kind::Chain(run) => run.held_bytes(),
            Kind::Floats(run) => run.fold.held_bytes(),
            Kind::Others(run) => run.fold.held_bytes(),
            Kind::Aggregates(run) => run.held_bytes(),
        }
    }

    /// Takes the next chunk of the run.
    pub(super) fn add(&mut self, chunk: &SeriesChunk) -> Result<(), MergeError> {
        match &mut self.kind {
            Kind::Chain(run) => run.add(chunk),
            Kind::Floats(run) => run.add(chunk, |chunk| Ok(FloatCursor::new(chunk.shared_data()))),
            Kind::Others(run) => run.add(chunk, AnyCursor::open),
            Kind::Aggregates(run) => run.add(chunk),
        }
    }

    /// Goes on to the next whole chunk. `next_mint` is the start of the next chunk of the run, if there is one.
    pub(super) fn step(&mut self, next_mint: Option<i64>) -> Result<Progress, MergeError> {
        if let Kind::Aggregates(run) = &mut self.kind {
            return run.step(next_mint);
        }
        let Some(encoder) = &mut self.encoder else {
            return Ok(Progress::End);
        };
        loop {
            let sample = match &mut self.kind {
                Kind::Chain(run) => run.next(next_mint)?,
                Kind::Floats(run) => run.next(next_mint)?,
                Kind::Others(run) => run.next(next_mint)?,
                Kind::Aggregates(_) => Next::End,
            };
            let whole = match sample {
                Next::Sample(sample) => {
                    let t = sample.t;
                    encoder
                        .push(sample)
                        .map_err(|source| MergeError::Append { t, source })?
                }
                Next::Unknown => return Ok(Progress::NeedsNext),
                Next::End => {
                    let last = self.encoder.take().and_then(ChunkEncoder::finish);
                    return Ok(last.map_or(Progress::End, |chunk| Progress::Chunk(framed(&chunk))));
                }
            };
            if let Some(chunk) = whole {
                return Ok(Progress::Chunk(framed(&chunk)));
            }
        }
    }
}

fn framed(chunk: &EncodedChunk) -> SeriesChunk {
    SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data)
}

/// The next sample of a run.
#[derive(Debug)]
enum Next {
    Sample(Sample),
    /// It depends on a chunk not yet taken.
    Unknown,
    End,
}

/// Names the first chunk of the run in an error that a broken chunk gave.
fn in_run(mint: i64, maxt: i64) -> impl Fn(ChunkError) -> MergeError {
    move |source| MergeError::Chunk { mint, maxt, source }
}

/// One sample for each timestamp.
#[derive(Debug)]
struct ChainRun {
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
    fn new(first: SeriesChunk, window_chunks: usize) -> Self {
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

    fn held_bytes(&self) -> usize {
        match &self.state {
            ChainState::Collecting { bytes, .. } => *bytes,
            ChainState::Running(chain) => chain.held_bytes(),
        }
    }

    fn add(&mut self, chunk: &SeriesChunk) -> Result<(), MergeError> {
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

    /// The exact order of equal timestamps depends on all chunks of the run, so it begins with as many as can
    /// be held; those behind them join where their time comes.
    fn next(&mut self, next_mint: Option<i64>) -> Result<Next, MergeError> {
        let chain = match &mut self.state {
            ChainState::Collecting { others, bytes, .. }
                if next_mint.is_some() && others.len() < self.window_chunks && *bytes < WINDOW_BYTES =>
            {
                return Ok(Next::Unknown);
            }
            ChainState::Collecting { first, others, .. } => {
                let lists = others.iter().chain([&*first]).map(AnyCursor::open);
                let chain = Chain::new(lists.collect::<Result<_, _>>()?);
                self.state = ChainState::Running(chain.map_err(in_run(self.mint, self.maxt))?);
                return self.next(next_mint);
            }
            ChainState::Running(chain) => chain,
        };
        if !self.waiting {
            self.waiting = chain.advance().map_err(in_run(self.mint, self.maxt))?;
        }
        match next_mint {
            Some(mint) if !self.waiting || mint <= chain.t() => Ok(Next::Unknown),
            _ if self.waiting => {
                self.waiting = false;
                Ok(Next::Sample(chain.sample()))
            }
            _ => Ok(Next::End),
        }
    }
}

/// Deduplication by penalty. A chunk joins where its time comes: before that it has no say.
#[derive(Debug)]
struct PenaltyRun<C> {
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
    fn new(first: &SeriesChunk, fold: Fold<C>) -> Self {
        Self {
            mint: first.mint,
            maxt: first.maxt,
            encoding: first.encoding_byte(),
            fold,
            history: History::NONE,
            state: PenaltyState::Given,
        }
    }

    fn add(
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

    #[inline]
    fn next(&mut self, next_mint: Option<i64>) -> Result<Next, MergeError> {
        self.settle().map_err(in_run(self.mint, self.maxt))?;
        let exhausted = self.state == PenaltyState::Exhausted;
        if let Some(mint) = next_mint
            && (exhausted || mint < self.fold.t() || mint < self.history.right_seek())
        {
            return Ok(Next::Unknown);
        }
        if exhausted {
            return Ok(Next::End);
        }
        self.state = PenaltyState::Given;
        let t = self.fold.t();
        self.history.push(t);
        Ok(Next::Sample(Sample {
            t,
            value: self.fold.value(),
        }))
    }
}
