//! Series in memory, for tests and small data.

use std::collections::BTreeMap;
use std::sync::Arc;

use sabre_model::{Labels, Matcher};

use super::{
    ChunkSource, Queryable, RawChunk, SampleBuffer, SampleSource, SelectHints, Series, SeriesItem, SeriesSet,
    SourceError,
};

/// What is held of a series.
#[derive(Clone, Debug)]
pub enum MemorySamples {
    /// Decoded samples.
    Decoded(Arc<SampleBuffer>),
    /// Chunks as they are in a block, in the order of time.
    Chunks(Arc<[RawChunk]>),
}

/// Series by labels.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    series: BTreeMap<Labels, MemorySamples>,
}

struct Decoded {
    samples: Option<Arc<SampleBuffer>>,
}

impl MemoryStorage {
    /// Without series.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// Adds a series; one with the same labels is replaced.
    pub fn insert(&mut self, labels: Labels, samples: MemorySamples) {
        self.series.insert(labels, samples);
    }

    /// The series with these labels.
    pub fn get(&self, labels: &Labels) -> Option<&MemorySamples> {
        self.series.get(labels)
    }

    /// All series in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &MemorySamples)> {
        self.series.iter()
    }
}

impl Queryable for MemoryStorage {
    fn select<'q>(&'q self, matchers: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError> {
        let matchers = matchers.to_vec();
        let range = (hints.start_ms, hints.end_ms);
        let found = self
            .series
            .iter()
            .filter(move |(labels, _)| matchers.iter().all(|matcher| matcher.matches_lset(labels)));
        Ok(Box::new(found.map(move |(labels, samples)| {
            let samples: Box<dyn SampleSource + Send + 'q> = match samples {
                MemorySamples::Decoded(samples) => Box::new(Decoded {
                    samples: Some(Arc::clone(samples)),
                }),
                MemorySamples::Chunks(chunks) => {
                    let chunks = chunks
                        .iter()
                        .filter(move |chunk| chunk.mint <= range.1 && chunk.maxt >= range.0)
                        .map(|chunk| Ok(chunk.clone()));
                    Box::new(ChunkSource::new(chunks))
                }
            };
            Ok(SeriesItem::Series(Series {
                labels: labels.clone(),
                samples,
            }))
        })))
    }
}

impl SampleSource for Decoded {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        let Some(samples) = self.samples.take() else {
            return Ok(false);
        };
        buffer.timestamps.extend_from_slice(&samples.timestamps);
        buffer.values.extend_from_slice(&samples.values);
        buffer.histograms.extend_from_slice(&samples.histograms);
        Ok(true)
    }
}
