//! Samples of a series out of the chunks of all its replicas.
//!
//! Stores take the labels off that tell replicas apart, so what comes is one series with chunks that overlap. They are
//! distributed over as few lists without overlap as will do (`split`), which need not be the replicas that were;
//! each is decoded by itself, resets of counters added up, and cut to the times of the query; then the lists are made
//! one. All of it happens piece by piece, on the thread that evaluates the series.
//!
//! Which sample comes from which list is Thanos' choice to the sample: see the golden answers.

mod chain;
mod chunk;
mod list;
mod penalty;
mod split;

use sabre_promql::source::{
    AggregateChoice, ChunkSource, HistogramMeans, SampleBuffer, SampleSource, SourceError,
};
use sabre_proto::thanos::AggrChunk;

use chunk::Chunks;
use list::List;
use penalty::Merge;
use split::split;

/// The greatest number of chunks of a series that may overlap at a time.
pub const MAX_REPLICAS: usize = 256;

/// So many samples are handed on at once.
const SAMPLES_AT_ONCE: usize = 1024;

/// How replicas are made one (`--deduplication.func`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DedupFunc {
    /// Stay with a replica until it has a gap.
    #[default]
    Penalty,
    /// All samples of all replicas, of equal times one.
    Chain,
}

/// What is wanted of the chunks of a series.
#[derive(Clone, Copy, Debug)]
pub struct SampleOptions {
    /// What stands for the samples of downsampled chunks.
    pub choice: AggregateChoice,
    /// How means of downsampled native histograms are made.
    pub means: HistogramMeans,
    /// Whether the values are those of a counter for a function that minds resets.
    pub is_counter: bool,
    /// Replicas are cut to these times in milliseconds, both included.
    pub times: (i64, i64),
    /// How replicas are made one; without it, of overlapping chunks the earlier one counts.
    pub dedup: Option<DedupFunc>,
}

impl SampleOptions {
    /// What a function wants, by its name in the hints of a selector; means are made as Thanos makes them.
    pub fn for_function(func: &str, times: (i64, i64), dedup: Option<DedupFunc>) -> SampleOptions {
        SampleOptions {
            choice: AggregateChoice::for_function(func),
            means: HistogramMeans::AsThanos,
            is_counter: matches!(func, "increase" | "rate" | "irate" | "resets"),
            times,
            dedup,
        }
    }
}

/// A place in an order of samples; before the first one at the beginning.
trait Samples: Send {
    /// Whether it is at a sample.
    fn is_alive(&self) -> bool;

    /// Time of the sample in milliseconds.
    fn t(&self) -> i64;

    /// Its value, if it is a float.
    fn float(&self) -> Option<f64>;

    /// Appends it.
    fn push_to(&self, buffer: &mut SampleBuffer);

    /// Moves on to the next sample.
    fn advance(&mut self) -> Result<(), SourceError>;

    /// Moves on to the first sample at `t` or later, which may be the present one.
    fn seek(&mut self, t: i64) -> Result<(), SourceError> {
        while self.is_alive() && self.t() < t {
            self.advance()?;
        }
        Ok(())
    }

    /// Lifts a counter to go on from `before`, if it is below.
    fn lift(&mut self, before: f64) -> Result<(), SourceError>;

    /// Times of floats behind the present sample, as far as they are at hand.
    fn upcoming(&self) -> &[i64] {
        &[]
    }

    /// Appends the first `count` of the upcoming samples; the last of them is the present one then.
    fn give(&mut self, _count: usize, _buffer: &mut SampleBuffer) {}

    /// Appends samples behind the present one as long as it is plain which they are, at most so many; the last of them is
    /// the present one then. It does what [`Self::advance`] and [`Self::push_to`] would do again and again.
    fn give_run(&mut self, _most: usize, _buffer: &mut SampleBuffer) -> usize {
        0
    }
}

impl Samples for Box<dyn Samples> {
    fn is_alive(&self) -> bool {
        (**self).is_alive()
    }

    fn t(&self) -> i64 {
        (**self).t()
    }

    fn float(&self) -> Option<f64> {
        (**self).float()
    }

    fn push_to(&self, buffer: &mut SampleBuffer) {
        (**self).push_to(buffer);
    }

    fn advance(&mut self) -> Result<(), SourceError> {
        (**self).advance()
    }

    fn seek(&mut self, t: i64) -> Result<(), SourceError> {
        (**self).seek(t)
    }

    fn lift(&mut self, before: f64) -> Result<(), SourceError> {
        (**self).lift(before)
    }

    fn give_run(&mut self, most: usize, buffer: &mut SampleBuffer) -> usize {
        (**self).give_run(most, buffer)
    }
}

/// Gives samples in pieces.
struct Pieces<S>(S);

impl<S: Samples> SampleSource for Pieces<S> {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        let mut given = 0;
        while given < SAMPLES_AT_ONCE {
            self.0.advance()?;
            if !self.0.is_alive() {
                return Ok(given > 0);
            }
            self.0.push_to(buffer);
            given += 1;
            given += self.0.give_run(SAMPLES_AT_ONCE - given, buffer);
        }
        Ok(true)
    }
}

/// Reads the samples of a series, whose chunks are sorted by `(min_time, max_time)`.
///
/// # Errors
/// If more than [`MAX_REPLICAS`] chunks overlap. Damage to a chunk shows when it is read.
pub fn samples(
    chunks: Vec<AggrChunk>,
    options: &SampleOptions,
) -> Result<Box<dyn SampleSource + Send>, SourceError> {
    let Some(func) = options.dedup else {
        return Ok(Box::new(decoded(chunks, options)));
    };
    let mut lists = split(chunks)?.into_iter();
    let Some(first) = lists.next() else {
        return Ok(Box::new(decoded(Vec::new(), options)));
    };
    let Some(second) = lists.next() else {
        return Ok(Box::new(decoded(first, options)));
    };
    let list = |chunks| List::new(decoded(chunks, options), options);
    match func {
        DedupFunc::Chain => {
            let all = [first, second].into_iter().chain(lists).map(list).collect();
            Ok(Box::new(Pieces(chain::Chain::new(all)?)))
        }
        DedupFunc::Penalty => {
            let two = Merge::new(list(first), list(second))?;
            let Some(third) = lists.next() else {
                return Ok(Box::new(Pieces(two)));
            };
            let mut all: Box<dyn Samples> = Box::new(Merge::new(two, list(third))?);
            for chunks in lists {
                all = Box::new(Merge::new(all, list(chunks))?);
            }
            Ok(Box::new(Pieces(all)))
        }
    }
}

fn decoded(chunks: Vec<AggrChunk>, options: &SampleOptions) -> ChunkSource<Chunks> {
    ChunkSource::with_choice(Chunks::new(chunks), options.choice).with_means(options.means)
}

#[cfg(test)]
mod tests;
