//! Makes the data directories of the demo: the blocks a Prometheus would have cut, and its newest data.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sabre_block::local_writer::LocalBlockWriter;
use sabre_model::BlockId;
use sabre_tsdb::{
    chunk::{ChunkEncoder, EncodedChunk},
    meta::{BlockMeta, Compaction},
};

use super::workload::{Scraper, Series};

/// Prometheus cuts a block every two hours, on the clock.
pub(crate) const BLOCK_MS: i64 = 7_200_000;

/// What is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) from_ms: i64,
    /// Now: blocks end before this, and the head has it.
    pub(crate) to_ms: i64,
    /// The newest sample of the head is just before this.
    pub(crate) head_to_ms: i64,
    pub(crate) scraper: Scraper,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    /// `--tsdb.path`: the blocks that are to be shipped.
    pub(crate) tsdb: PathBuf,
    /// What Prometheus has in memory: a block too, but not where the sidecar looks.
    pub(crate) head: PathBuf,
}

/// What was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub(crate) blocks: usize,
    pub(crate) samples: u64,
}

/// Writes all blocks. `progress` hears how many of how many are done, and says whether to go on.
pub(crate) fn make(
    dir: &DataDir,
    recipe: &Recipe,
    mut series: Vec<Series>,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Made> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    for dir in [&dir.tsdb, &dir.head] {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let mut ranges = ranges(recipe.from_ms, recipe.to_ms);
    if let Some((_, head_to_ms)) = ranges.last_mut() {
        *head_to_ms = recipe.head_to_ms.max(*head_to_ms);
    }
    let mut made = Made::default();
    for (number, (mint, maxt)) in ranges.iter().enumerate() {
        let is_head = number + 1 == ranges.len();
        let parent = if is_head { &dir.head } else { &dir.tsdb };
        let meta = write_block(parent, recipe, &mut series, (*mint, *maxt))?;
        made.blocks += usize::from(!is_head);
        made.samples += meta.stats.num_samples;
        if !progress(number + 1, ranges.len()) {
            bail!("stopped");
        }
    }
    Ok(made)
}

/// The ranges of the blocks and, last, of the head: cut where the clock says.
fn ranges(from_ms: i64, to_ms: i64) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    let mut mint = from_ms - from_ms.rem_euclid(BLOCK_MS);
    while mint + BLOCK_MS < to_ms {
        ranges.push((mint, mint + BLOCK_MS));
        mint += BLOCK_MS;
    }
    ranges.push((mint, to_ms));
    ranges
}

fn write_block(
    parent: &Path,
    recipe: &Recipe,
    series: &mut [Series],
    (mint, maxt): (i64, i64),
) -> Result<BlockMeta> {
    // Prometheus cuts a block when its end is some time ago.
    let created_ms = u64::try_from(maxt + BLOCK_MS / 2).unwrap_or_default();
    let id = BlockId::from_parts(created_ms.min((1 << 48) - 1), rand::random());
    let labels: Vec<_> = series.iter().map(|series| series.labels.clone()).collect();
    let symbols = labels
        .iter()
        .flat_map(|labels| labels.iter())
        .flat_map(|(name, value)| [name, value]);
    let mut writer = LocalBlockWriter::create(parent, id, symbols)?;
    for (series, labels) in series.iter_mut().zip(&labels) {
        let chunks = encode(series, recipe, mint, maxt)?;
        if !chunks.is_empty() {
            writer.add_series(labels, &chunks)?;
        }
    }
    let meta = BlockMeta {
        min_time: mint,
        max_time: maxt,
        compaction: Compaction {
            level: 1,
            sources: vec![id],
            ..Compaction::default()
        },
        version: 1,
        ..BlockMeta::default()
    };
    let (meta, _) = writer.finish(meta)?;
    Ok(meta)
}

fn encode(series: &mut Series, recipe: &Recipe, mint: i64, maxt: i64) -> Result<Vec<EncodedChunk>> {
    let mut encoder = ChunkEncoder::new();
    let mut chunks = Vec::new();
    for t in recipe.scraper.times(mint, maxt) {
        chunks.extend(encoder.push(series.scrape(t))?);
    }
    chunks.extend(encoder.finish());
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_on_the_clock_and_the_head_is_last() {
        assert_eq!(
            ranges(BLOCK_MS + 5, 3 * BLOCK_MS + 7),
            [
                (BLOCK_MS, 2 * BLOCK_MS),
                (2 * BLOCK_MS, 3 * BLOCK_MS),
                (3 * BLOCK_MS, 3 * BLOCK_MS + 7)
            ]
        );
        assert_eq!(
            ranges(0, BLOCK_MS),
            [(0, BLOCK_MS)],
            "a head that is exactly full is still the head"
        );
    }
}
