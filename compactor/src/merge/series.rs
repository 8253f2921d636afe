//! The series of one source, their labels as numbers of the merged symbols.

use sabre_block::BlockError;
use sabre_block::layout::INDEX_FILE;
use sabre_model::BlockId;
use sabre_tsdb::Corruption;
use sabre_tsdb::index::{ChunkMeta, SeriesEntry};
use sabre_tsdb::merge::Trim;
use sabre_tsdb::segment::SeriesChunk;

use super::error::JobError;
use crate::source::{ChunkReader, Health, HealthRules, Remap, SeriesReader};

/// Labels of a series as numbers of the merged symbols.
pub(crate) type LabelRefs = Vec<(u32, u32)>;

/// Reads the series of a source.
#[derive(Debug)]
pub(crate) struct SeriesSource {
    block: BlockId,
    series: SeriesReader,
    remap: Remap,
    chunks: ChunkReader,
    rules: HealthRules,
    health: Health,
    trim: Trim,
    entry: SeriesEntry,
    /// Chunks of the series that was read last and not been asked for.
    metas: std::vec::IntoIter<ChunkMeta>,
    offset: u64,
}

impl SeriesSource {
    pub(crate) fn new(
        block: BlockId,
        series: SeriesReader,
        remap: Remap,
        chunks: ChunkReader,
        rules: HealthRules,
    ) -> Self {
        Self {
            block,
            series,
            remap,
            chunks,
            rules,
            health: Health::default(),
            trim: Trim::new(rules.min_time, rules.max_time.saturating_sub(1), Vec::new()),
            entry: SeriesEntry::default(),
            metas: Vec::new().into_iter(),
            offset: 0,
        }
    }

    pub(crate) fn block(&self) -> BlockId {
        self.block
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Where the series that was read last is in the index.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.series.read_bytes().saturating_add(self.chunks.read_bytes())
    }

    /// Reads the next series and returns its labels.
    pub(crate) fn next_series(&mut self) -> Result<Option<LabelRefs>, JobError> {
        let Some(offset) = self.series.next_into(&mut self.entry)? else {
            return Ok(None);
        };
        self.offset = offset;
        self.health.series += 1;
        self.health.chunks += self.entry.chunks.len() as u64;
        let mut labels = LabelRefs::with_capacity(self.entry.labels.len());
        for (name, value) in &self.entry.labels {
            let number = |reference: u32| {
                self.remap.get(reference).ok_or_else(|| {
                    let what = format!("reference {reference} to no symbol");
                    BlockError::new(
                        self.block,
                        INDEX_FILE,
                        Corruption::at("index series", offset, what),
                    )
                })
            };
            labels.push((number(*name)?, number(*value)?));
        }
        let names_ascend = labels.is_sorted_by(|a, b| a.0 < b.0);
        let checked = self.health.check(&self.rules, &mut self.entry, names_ascend);
        checked.map_err(|(defect, what)| JobError::Unhealthy {
            block: self.block,
            defect,
            what: format!("series at offset {offset} {what}"),
        })?;
        if !names_ascend {
            labels.sort_unstable();
        }
        self.metas = std::mem::take(&mut self.entry.chunks).into_iter();
        Ok(Some(labels))
    }

    /// How many chunks of the series are left to be read.
    pub(crate) fn chunks_left(&self) -> usize {
        self.metas.len()
    }

    /// Reads the next chunk of the series; what of it lies at the end of the block or behind is taken off.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<SeriesChunk>, JobError> {
        for meta in self.metas.by_ref() {
            let chunk = self.chunks.read(&meta)?;
            if chunk.maxt < self.rules.max_time {
                return Ok(Some(chunk));
            }
            let trimmed = self.trim.apply(chunk).map_err(|error| JobError::Chunks {
                blocks: vec![self.block],
                what: error.to_string(),
            })?;
            if trimmed.is_some() {
                return Ok(trimmed);
            }
        }
        Ok(None)
    }
}
