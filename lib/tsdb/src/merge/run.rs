//! Chunks that overlap, made into chunks that do not.

use super::aggregates::AggregatesRun;
use super::chain_run::ChainRun;
use super::cursor::{AnyCursor, FloatCursor};
use super::error::MergeError;
use super::fold::Fold;
use super::penalty_run::PenaltyRun;
use crate::chunk::{ChunkEncoder, ChunkError, EncodedChunk, Encoding};
use crate::segment::SeriesChunk;

/// How many lists of samples may be merged at one time.
pub(super) const MAX_LISTS: usize = 1000;

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
            Kind::Floats(run) => run.held_bytes(),
            Kind::Others(run) => run.held_bytes(),
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
        let encoded = match &mut self.kind {
            Kind::Chain(run) => run.step(encoder, next_mint)?,
            Kind::Floats(run) => run.step(encoder, next_mint)?,
            Kind::Others(run) => run.step(encoder, next_mint)?,
            Kind::Aggregates(_) => Encoded::End,
        };
        Ok(match encoded {
            Encoded::Chunk(chunk) => {
                let framed = framed(&chunk);
                encoder.reuse(chunk.data);
                Progress::Chunk(framed)
            }
            Encoded::NeedsNext => Progress::NeedsNext,
            Encoded::End => {
                let last = self.encoder.take().and_then(ChunkEncoder::finish);
                last.map_or(Progress::End, |chunk| Progress::Chunk(framed(&chunk)))
            }
        })
    }
}

fn framed(chunk: &EncodedChunk) -> SeriesChunk {
    SeriesChunk::encode(chunk.mint, chunk.maxt, chunk.encoding, &chunk.data)
}

/// How far a run was encoded.
#[derive(Debug)]
pub(super) enum Encoded {
    /// A chunk is whole.
    Chunk(EncodedChunk),
    /// What comes next depends on a chunk not yet taken.
    NeedsNext,
    /// All samples are with the encoder.
    End,
}

/// Names the first chunk of the run in an error that a broken chunk gave.
pub(super) fn in_run(mint: i64, maxt: i64) -> impl Fn(ChunkError) -> MergeError {
    move |source| MergeError::Chunk { mint, maxt, source }
}
