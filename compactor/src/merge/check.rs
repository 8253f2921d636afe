//! Reads a block to the last sample, and counts.

use sabre_model::BlockId;
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};
use sabre_tsdb::chunk::{ChunkError, Encoding, decode_samples};
use sabre_tsdb::index::SpillingSymbolsWriter;
use sabre_tsdb::merge::SeriesOrder;
use sabre_tsdb::meta::Stats;
use sabre_tsdb::segment::SeriesChunk;

use super::error::JobError;
use super::run::disorder;
use super::series::SeriesSource;
use crate::source::{Health, SourceReaders, merge_symbols};

/// What a block holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) stats: Stats,
    pub(crate) health: Health,
    pub(crate) read_bytes: u64,
}

/// Reads a block on a thread that may block.
pub(crate) fn check(block: BlockId, readers: SourceReaders) -> Result<Findings, JobError> {
    let cursor = readers.symbols.begin()?;
    let none: &mut [SpillingSymbolsWriter<std::fs::File>] = &mut [];
    let mut series = merge_symbols(vec![cursor], none, u64::MAX)?;
    let Some((reader, remap)) = series.pop() else {
        return Ok(Findings::default());
    };
    let mut source = SeriesSource::new(block, reader, remap, readers.chunks, readers.rules);
    let mut order = SeriesOrder::new(1);
    let mut findings = Findings::default();
    let mut having = Vec::new();
    while let Some(labels) = source.next_series()? {
        order
            .push(0, Some(labels))
            .map_err(|error| disorder(&source, &error))?;
        order.pop(&mut having);
        findings.stats.num_series += 1;
        while let Some(chunk) = source.next_chunk()? {
            let samples = check_chunk(&chunk).map_err(|what| JobError::Chunks {
                blocks: vec![block],
                what: format!("series at offset {}: {what}", source.offset()),
            })?;
            findings.stats.num_chunks += 1;
            findings.stats.num_samples += samples;
        }
    }
    findings.health = source.health();
    findings.read_bytes = source.read_bytes();
    Ok(findings)
}

/// Decodes a chunk and compares its samples with the time range that the index has of it. Returns how many there are.
fn check_chunk(chunk: &SeriesChunk) -> Result<u64, String> {
    let Ok(encoding) = chunk.encoding() else {
        // Of a later version: carried along, not judged.
        return Ok(0);
    };
    let at = |error: ChunkError| format!("chunk of {} to {}: {error}", chunk.mint, chunk.maxt);
    if encoding == Encoding::Aggregate {
        return check_aggregates(chunk).map_err(at);
    }
    let samples = decode_samples(encoding, chunk.data()).map_err(at)?;
    let (first, last) = (
        samples.first().map(|sample| sample.t),
        samples.last().map(|sample| sample.t),
    );
    if first != Some(chunk.mint) || last != Some(chunk.maxt) {
        return Err(format!(
            "chunk of {} to {} holds samples of {first:?} to {last:?}",
            chunk.mint, chunk.maxt
        ));
    }
    if !samples.is_sorted_by(|a, b| a.t < b.t) {
        return Err(format!(
            "samples of the chunk of {} to {} are not in order",
            chunk.mint, chunk.maxt
        ));
    }
    Ok(samples.len() as u64)
}

fn check_aggregates(chunk: &SeriesChunk) -> Result<u64, ChunkError> {
    let parts = AggregateChunk::parse(chunk.data())?;
    let mut counted = 0;
    for aggregate in Aggregate::ALL {
        let Some(part) = parts.get(aggregate) else {
            continue;
        };
        let samples = decode_samples(part.encoding, part.data)?;
        if aggregate == Aggregate::Count {
            counted = samples.len() as u64;
        }
    }
    Ok(counted)
}
