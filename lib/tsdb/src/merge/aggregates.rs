//! Deduplication by penalty of chunks of aggregates, each aggregate by itself.

use std::collections::VecDeque;

use super::cursor::FloatCursor;
use super::error::MergeError;
use super::fold::{Fold, History};
use super::run::Progress;
use crate::chunk::aggregate::{Aggregate, AggregateChunk, SubChunk};
use crate::chunk::xor::XorAppender;
use crate::chunk::{AppendError, ChunkError, EncodedChunk, Encoding, Sample, Value, encode_stream};
use crate::segment::SeriesChunk;

/// The most chunks that are merged at once, and their bytes: all of them are held.
const MAX_CHUNKS: usize = 4096;
const MAX_BYTES: usize = 64 << 20;

/// Chunks of aggregates that overlap. They are collected, and merged when all are there: which list is used
/// depends on all of them.
#[derive(Debug)]
pub(super) struct AggregatesRun {
    first: SeriesChunk,
    others: Vec<SeriesChunk>,
    bytes: usize,
    merged: Option<VecDeque<SeriesChunk>>,
}

/// A merged list of samples, and whether it has ended.
type Samples = Option<Fold<FloatCursor>>;

impl AggregatesRun {
    pub(super) fn new(first: SeriesChunk) -> Self {
        Self {
            bytes: first.len_bytes(),
            first,
            others: Vec::new(),
            merged: None,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        let merged = self.merged.iter().flatten().map(SeriesChunk::len_bytes);
        merged.fold(self.bytes, usize::saturating_add)
    }

    /// Takes the next chunk of the run; one of samples is left out.
    pub(super) fn add(&mut self, chunk: &SeriesChunk) -> Result<(), MergeError> {
        if chunk.encoding() != Ok(Encoding::Aggregate) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(chunk.len_bytes());
        if self.others.len() >= MAX_CHUNKS || self.bytes > MAX_BYTES {
            return Err(MergeError::TooManyOverlaps {
                mint: chunk.mint,
                limit: self.others.len(),
            });
        }
        self.others.push(chunk.clone());
        Ok(())
    }

    pub(super) fn step(&mut self, next_mint: Option<i64>) -> Result<Progress, MergeError> {
        if let Some(merged) = &mut self.merged {
            return Ok(merged.pop_front().map_or(Progress::End, Progress::Chunk));
        }
        if next_mint.is_some() {
            return Ok(Progress::NeedsNext);
        }
        let maxt = self
            .others
            .iter()
            .map(|chunk| chunk.maxt)
            .fold(self.first.maxt, i64::max);
        let mint = self.first.mint;
        let merged = self.merge().map_err(|error| error.named(mint, maxt))?;
        self.merged = Some(merged);
        self.others.clear();
        self.bytes = 0;
        self.step(next_mint)
    }

    fn merge(&self) -> Result<VecDeque<SeriesChunk>, AggregatesError> {
        let parse = |chunk| AggregateChunk::parse(SeriesChunk::data(chunk)).map_err(ChunkError::from);
        let others = self.others.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if !others.iter().any(|chunk| chunk.get(Aggregate::Count).is_some()) {
            return Ok([self.first.clone()].into());
        }
        let first = parse(&self.first)?;
        let lists = |aggregate| {
            let parts = others
                .iter()
                .chain([&first])
                .filter_map(move |chunk| chunk.get(aggregate));
            merge_parts(parts)
        };
        let counts = lists(Aggregate::Count)?;
        let mut rests = [
            (Aggregate::Sum, lists(Aggregate::Sum)?),
            (Aggregate::Min, lists(Aggregate::Min)?),
            (Aggregate::Max, lists(Aggregate::Max)?),
            (Aggregate::Counter, lists(Aggregate::Counter)?),
        ];
        let mut merged = VecDeque::new();
        for count in encode_counts(counts)? {
            merged.push_back(beside(&count, &mut rests)?);
        }
        Ok(merged)
    }
}

/// What is wrong with the chunks of a run, before it is known which they are.
#[derive(Debug)]
enum AggregatesError {
    Chunk(ChunkError),
    Append(i64, AppendError),
    Histograms,
}

impl From<ChunkError> for AggregatesError {
    fn from(error: ChunkError) -> Self {
        Self::Chunk(error)
    }
}

impl AggregatesError {
    fn named(self, mint: i64, maxt: i64) -> MergeError {
        match self {
            Self::Chunk(source) => MergeError::Chunk { mint, maxt, source },
            Self::Append(t, source) => MergeError::Append { t, source },
            Self::Histograms => MergeError::HistogramAggregates { mint, maxt },
        }
    }
}

/// Merges the lists of one aggregate, from the first to the last.
fn merge_parts<'a>(parts: impl Iterator<Item = SubChunk<'a>>) -> Result<Samples, AggregatesError> {
    let mut merged: Samples = None;
    for part in parts {
        if part.encoding != Encoding::Xor {
            return Err(AggregatesError::Histograms);
        }
        let list = FloatCursor::new(part.data.to_vec().into());
        match &mut merged {
            None => merged = Some(Fold::new(list)),
            Some(fold) => {
                let alive = fold.advance()?;
                fold.push(list, alive, History::NONE)?;
            }
        }
    }
    Ok(merged)
}

fn encode_counts(counts: Samples) -> Result<Vec<EncodedChunk>, AggregatesError> {
    let Some(mut counts) = counts else {
        return Ok(Vec::new());
    };
    let mut samples = Vec::new();
    while counts.advance()? {
        samples.push(Sample {
            t: counts.t(),
            value: Value::Float(counts.float()),
        });
    }
    let t = samples.last().map_or(0, |sample| sample.t);
    encode_stream(samples).map_err(|error| AggregatesError::Append(t, error))
}

/// Puts what the other aggregates have in the time of `count` beside it.
fn beside(count: &EncodedChunk, rests: &mut [(Aggregate, Samples)]) -> Result<SeriesChunk, AggregatesError> {
    let mut encoded = Vec::with_capacity(rests.len());
    for (aggregate, samples) in rests {
        let data = match samples {
            Some(samples) => encode_part(*aggregate, samples, count.mint, count.maxt)?,
            None => None,
        };
        encoded.push((*aggregate, data));
    }
    let mut chunk = AggregateChunk::default();
    let part = |data| SubChunk {
        encoding: Encoding::Xor,
        data,
    };
    chunk.set(Aggregate::Count, Some(part(&count.data)));
    for (aggregate, data) in &encoded {
        chunk.set(*aggregate, data.as_deref().map(part));
    }
    let data = chunk.encode();
    Ok(SeriesChunk::encode(
        count.mint,
        count.maxt,
        Encoding::Aggregate,
        &data,
    ))
}

/// The samples of `mint` to `maxt`, if there are any. The first sample behind them is passed, and so lost to the
/// next chunk.
fn encode_part(
    aggregate: Aggregate,
    samples: &mut Fold<FloatCursor>,
    mint: i64,
    maxt: i64,
) -> Result<Option<Vec<u8>>, AggregatesError> {
    let mut chunk = XorAppender::new();
    let (mut last_t, mut last_value) = (0, 0.0);
    while samples.advance()? {
        let t = samples.t();
        if t < mint {
            continue;
        }
        if t > maxt {
            break;
        }
        (last_t, last_value) = (t, samples.float());
        chunk
            .append(last_t, last_value)
            .map_err(|error| AggregatesError::Append(t, error))?;
    }
    if last_t == 0 && last_value == 0.0 {
        return Ok(None);
    }
    if aggregate == Aggregate::Counter {
        chunk
            .append(last_t, last_value)
            .map_err(|error| AggregatesError::Append(last_t, error))?;
    }
    Ok(Some(chunk.finish()))
}
