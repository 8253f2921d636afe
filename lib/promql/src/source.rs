//! Where the series of a query come from.

mod choice;
mod chunks;
mod memory;

#[cfg(test)]
mod tests;

pub use choice::{AggregateChoice, HistogramMeans};
pub use chunks::{ChunkSource, EncodedPart, RawChunk, StoredChunk};
pub use memory::{MemorySamples, MemoryStorage};

use std::sync::Arc;

use sabre_model::{Labels, Matcher};

use crate::histogram::{FloatHistogram, Layout};

/// A source of series.
pub trait Queryable: Sync {
    /// Finds the series that satisfy all matchers, with at least the samples of the time range of the hints.
    ///
    /// Series should come sorted by labels: sums are made in the order in which they come. Nothing need be read before
    /// the series is asked for.
    ///
    /// # Errors
    ///
    /// If the series cannot be had at all; an error later is an item of the set.
    fn select<'q>(&'q self, matchers: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError>;
}

/// The series found, one by one.
pub type SeriesSet<'q> = Box<dyn Iterator<Item = Result<SeriesItem<'q>, SourceError>> + 'q>;

/// A series, or something to be told with the result.
pub enum SeriesItem<'q> {
    /// A series.
    Series(Series<'q>),
    /// A warning, such as that a store did not answer.
    Warning(String),
}

/// A series whose samples are still to be read.
pub struct Series<'q> {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub samples: Box<dyn SampleSource + Send + 'q>,
}

/// Samples of a series, piece by piece and in the order of time.
pub trait SampleSource {
    /// Appends the next samples, such as those of a chunk, and says whether there were any.
    ///
    /// # Errors
    ///
    /// If they cannot be read; there are no more then.
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError>;
}

/// Samples of a series: floats and histograms, each in ascending order of time.
#[derive(Clone, Debug, Default)]
pub struct SampleBuffer {
    /// Times of the floats in milliseconds.
    pub timestamps: Vec<i64>,
    /// The floats.
    pub values: Vec<f64>,
    /// Times in milliseconds and histograms.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
    /// Histograms that nobody looks at any more; the next ones are decoded into them.
    spare: Vec<Arc<FloatHistogram>>,
    /// The layout that was decoded last: the next one mostly is the same.
    layout: Option<Arc<Layout>>,
}

/// So many histograms are kept for the next ones: those of two chunks.
const MAX_SPARE: usize = 256;

/// What a selector is going to need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelectHints {
    /// The first time needed, in milliseconds, included.
    pub start_ms: i64,
    /// The last time needed, in milliseconds, included.
    pub end_ms: i64,
    /// The first time that any selector of the query needs, in milliseconds. Series are cut here before replicas are
    /// made one.
    pub query_start_ms: i64,
    /// The last time that any selector of the query needs, in milliseconds.
    pub query_end_ms: i64,
    /// The time between evaluations in milliseconds; 0 for one evaluation.
    pub step_ms: i64,
    /// The length of the range in milliseconds; 0 for an instant selector.
    pub range_ms: i64,
    /// The function or aggregation directly around the selector, empty where there is none.
    pub func: &'static str,
    /// Whether `grouping` are labels to group by, not without.
    pub by: bool,
    /// The labels of the aggregation directly around the selector.
    pub grouping: Vec<String>,
}

/// Why series cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// An error that is a text.
    pub fn new(message: impl Into<String>) -> SourceError {
        SourceError {
            message: message.into(),
            source: None,
        }
    }

    /// An error for another one, which callers find as its source.
    pub fn from_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
        let error = error.into();
        SourceError {
            message: error.to_string(),
            source: Some(error),
        }
    }
}

impl SampleBuffer {
    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.forget_histograms(self.histograms.len());
    }

    /// Throws the first histograms away; what nobody else holds is used again.
    pub(crate) fn forget_histograms(&mut self, count: usize) {
        for (_, histogram) in self.histograms.drain(..count.min(self.histograms.len())) {
            if self.spare.len() < MAX_SPARE && Arc::strong_count(&histogram) == 1 {
                self.spare.push(histogram);
            }
        }
    }

    /// A histogram to decode into, which nobody else holds.
    fn spare_histogram(&mut self) -> Arc<FloatHistogram> {
        while let Some(mut spare) = self.spare.pop() {
            if Arc::get_mut(&mut spare).is_some() {
                return spare;
            }
        }
        Arc::default()
    }

    /// The memory that the buffer takes, histograms by what one usually takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        const HISTOGRAM_BYTES: usize = 400;
        self.timestamps.capacity() * size_of::<(i64, f64)>()
            + (self.histograms.capacity() + self.spare.len()) * HISTOGRAM_BYTES
    }

    /// Appends a float.
    pub fn push(&mut self, t: i64, value: f64) {
        self.timestamps.push(t);
        self.values.push(value);
    }
}

impl std::fmt::Debug for Series<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SeriesItem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeriesItem::Series(series) => series.fmt(f),
            SeriesItem::Warning(text) => write!(f, "Warning({text:?})"),
        }
    }
}
