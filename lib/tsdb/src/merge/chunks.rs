//! One list of chunks out of several.

use super::chain_run::WINDOW_CHUNKS;
use super::error::MergeError;
use super::heap::Heap;
use super::run::{Progress, Run};
use crate::segment::SeriesChunk;

/// What becomes of chunks of a series that overlap. Equal ones are always dropped but for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverlapRule {
    /// They are an error.
    Refuse,
    /// Every timestamp is kept, each once: for replicas that have the same samples.
    OneToOne,
    /// One of them is used as long as it has no gap: for replicas that scrape on their own.
    Penalty,
}

/// What a merge does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeStep {
    /// It wants the next chunk of this source: [`ChunkMerge::push`] it, or that there is none.
    Pull(usize),
    /// The next chunk of the result.
    Emit(SeriesChunk),
    /// All chunks were given.
    Done,
}

/// Merges the chunks of one series out of several sources.
///
/// A chunk that overlaps no other comes out as it went in. One chunk of each source is held, and beside these only
/// what overlaps at the time.
#[derive(Debug)]
pub struct ChunkMerge {
    rule: OverlapRule,
    /// How many chunks are looked at before samples are chained.
    window_chunks: usize,
    sources: Vec<Source>,
    heap: Heap<Head>,
    /// How many sources were asked for their first chunk.
    begun: usize,
    /// The source whose next chunk is wanted, once all have begun.
    wanted: Option<usize>,
    state: State,
}

#[derive(Debug, Default)]
struct Source {
    /// The chunk that is in the heap.
    head: Option<SeriesChunk>,
    last_mint: Option<i64>,
}

/// A chunk in the heap.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Head {
    mint: i64,
    maxt: i64,
    source: Unordered,
}

/// The source is not compared.
#[derive(Debug, Clone, Copy)]
struct Unordered(usize);

impl PartialEq for Unordered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl PartialOrd for Unordered {
    fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
        Some(std::cmp::Ordering::Equal)
    }
}

#[derive(Debug)]
enum State {
    Idle,
    /// A chunk that may overlap the next one.
    Single(SeriesChunk),
    Running(Box<Running>),
}

#[derive(Debug)]
struct Running {
    run: Run,
    /// The chunk taken last.
    last: SeriesChunk,
    /// End of the run as far as it is known.
    maxt: i64,
    emitted: usize,
}

impl ChunkMerge {
    /// Merges the sources 0 to `sources` − 1, whose order matters where chunks have the same time range.
    pub fn new(rule: OverlapRule, sources: usize) -> Self {
        Self {
            rule,
            window_chunks: WINDOW_CHUNKS,
            sources: (0..sources).map(|_| Source::default()).collect(),
            heap: Heap::default(),
            begun: 0,
            wanted: None,
            state: State::Idle,
        }
    }

    /// Goes on until something is wanted or there is something to give.
    ///
    /// # Errors
    ///
    /// If chunks overlap against the rule, or cannot be read or written. The merge cannot go on then.
    pub fn step(&mut self) -> Result<MergeStep, MergeError> {
        loop {
            if let Some(source) = self.wanted() {
                return Ok(MergeStep::Pull(source));
            }
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle => match self.pop() {
                    Some(chunk) => self.state = State::Single(chunk),
                    None => return Ok(MergeStep::Done),
                },
                State::Single(chunk) => {
                    if let Some(step) = self.compare(chunk)? {
                        return Ok(step);
                    }
                }
                State::Running(running) => {
                    if let Some(chunk) = self.run(running)? {
                        return Ok(MergeStep::Emit(chunk));
                    }
                }
            }
        }
    }

    /// Gives the chunk that is wanted; `None` if the source has no more.
    ///
    /// # Errors
    ///
    /// If it was not asked for, or starts before the one before it.
    pub fn push(&mut self, source: usize, chunk: Option<SeriesChunk>) -> Result<(), MergeError> {
        let source_index = source;
        let unasked = MergeError::Unasked { source_index };
        if self.wanted() != Some(source) {
            return Err(unasked);
        }
        if self.wanted.take().is_none() {
            self.begun += 1;
        }
        let Some(chunk) = chunk else { return Ok(()) };
        let (mint, maxt) = (chunk.mint, chunk.maxt);
        let place = self.sources.get_mut(source).ok_or(unasked)?;
        if let Some(after_mint) = place.last_mint.filter(|&last| last > mint) {
            return Err(MergeError::Unsorted {
                source_index,
                mint,
                maxt,
                after_mint,
            });
        }
        place.last_mint = Some(mint);
        place.head = Some(chunk);
        let source = Unordered(source);
        self.heap.push(Head { mint, maxt, source });
        Ok(())
    }

    /// Number of bytes of chunks that are held, or a little more.
    pub fn pending_bytes(&self) -> usize {
        let heads = self.sources.iter().filter_map(|source| source.head.as_ref());
        let heads: usize = heads.map(SeriesChunk::len_bytes).sum();
        heads
            + match &self.state {
                State::Idle => 0,
                State::Single(chunk) => chunk.len_bytes(),
                State::Running(running) => running.last.len_bytes() + running.run.held_bytes(),
            }
    }

    fn wanted(&self) -> Option<usize> {
        let first = (self.begun < self.sources.len()).then_some(self.begun);
        first.or(self.wanted)
    }

    /// Takes the first chunk in time, and asks for that behind it.
    fn pop(&mut self) -> Option<SeriesChunk> {
        let source = self.heap.pop()?.source.0;
        self.wanted = Some(source);
        self.sources.get_mut(source)?.head.take()
    }

    /// The first chunk in time, if it starts at `maxt` or before.
    fn overlapping(&self, maxt: i64) -> Option<&SeriesChunk> {
        let head = self.heap.peek().filter(|head| head.mint <= maxt)?;
        self.sources.get(head.source.0)?.head.as_ref()
    }

    /// Compares a chunk with the next one: gives it if they do not overlap.
    fn compare(&mut self, chunk: SeriesChunk) -> Result<Option<MergeStep>, MergeError> {
        let Some(next) = self.overlapping(chunk.maxt) else {
            return Ok(Some(MergeStep::Emit(chunk)));
        };
        if next.is_same(&chunk) {
            self.pop();
            self.state = State::Single(chunk);
            return Ok(None);
        }
        let run = match self.rule {
            OverlapRule::OneToOne => Run::one_to_one(&chunk, self.window_chunks)?,
            OverlapRule::Penalty => Run::penalty(&chunk)?,
            OverlapRule::Refuse => {
                return Err(MergeError::Overlap {
                    mint: next.mint,
                    maxt: next.maxt,
                    other_maxt: chunk.maxt,
                });
            }
        };
        self.state = State::Running(Box::new(Running {
            run,
            maxt: chunk.maxt,
            last: chunk,
            emitted: 0,
        }));
        Ok(None)
    }

    /// Goes on with a run: takes its next chunk, gives a chunk, or ends it.
    fn run(&mut self, mut running: Box<Running>) -> Result<Option<SeriesChunk>, MergeError> {
        let next = self.overlapping(running.maxt);
        let next_mint = next.map(|next| next.mint);
        match running.run.step(next_mint)? {
            Progress::Chunk(chunk) => {
                running.emitted += 1;
                self.state = State::Running(running);
                Ok(Some(chunk))
            }
            Progress::NeedsNext => {
                if next.is_some_and(|next| next.is_same(&running.last)) {
                    self.pop();
                } else if let Some(next) = self.pop() {
                    running.run.add(&next)?;
                    running.maxt = running.maxt.max(next.maxt);
                    running.last = next;
                }
                self.state = State::Running(running);
                Ok(None)
            }
            Progress::End => {
                self.settle_ties(running.emitted);
                Ok(None)
            }
        }
    }

    /// Moves the heads as they would have been moved if the chunks of a run but the first had gone through the
    /// heap: that is what Prometheus does, and it decides which of equal chunks comes first later on.
    fn settle_ties(&mut self, emitted: usize) {
        for _ in 1..emitted {
            self.heap.push(Head {
                mint: i64::MIN,
                maxt: i64::MIN,
                source: Unordered(usize::MAX),
            });
            self.heap.pop();
        }
    }
}

/// Merges the chunks of one series out of `sources`, and hands them to `sink` in the order of time.
///
/// # Errors
///
/// The first error of a source, of the merge or of the sink.
pub fn merge_chunks<I, E>(
    rule: OverlapRule,
    mut sources: Vec<I>,
    mut sink: impl FnMut(SeriesChunk) -> Result<(), E>,
) -> Result<(), E>
where
    I: Iterator<Item = Result<SeriesChunk, E>>,
    E: From<MergeError>,
{
    let merge = ChunkMerge::new(rule, sources.len());
    drive(merge, &mut sources, &mut sink)
}

fn drive<I, E>(
    mut merge: ChunkMerge,
    sources: &mut [I],
    sink: &mut impl FnMut(SeriesChunk) -> Result<(), E>,
) -> Result<(), E>
where
    I: Iterator<Item = Result<SeriesChunk, E>>,
    E: From<MergeError>,
{
    loop {
        match merge.step()? {
            MergeStep::Pull(source) => {
                let chunk = sources.get_mut(source).and_then(Iterator::next).transpose()?;
                merge.push(source, chunk)?;
            }
            MergeStep::Emit(chunk) => sink(chunk)?,
            MergeStep::Done => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
