//! Reading a block to the last sample, for operators.

use std::sync::Arc;

use sabre_block::View;
use sabre_objstore::SharedBucket;
use sabre_runtime::budget::Budget;
use sabre_tsdb::meta::BlockMeta;

use crate::execute::{JobContext, JobOptions, verify_block};

/// Reads blocks to the last sample.
#[derive(Debug, Clone)]
pub struct BlockVerifier(JobContext);

/// What was found in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockReport {
    /// Series.
    pub series: u64,
    /// Chunks.
    pub chunks: u64,
    /// Samples; in a block of aggregates those of the counts.
    pub samples: u64,
    /// Chunks that begin at the very end of the block, which is too late by one.
    pub chunks_at_end: u64,
    /// Chunks with the time range of the one before.
    pub duplicate_chunks: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// What `meta.json` counts otherwise, in words; empty if nothing.
    pub wrong_stats: Vec<String>,
}

impl BlockVerifier {
    /// Reads blocks of `bucket`, within `budget`.
    pub fn new(bucket: SharedBucket, budget: Budget) -> Self {
        Self(JobContext {
            bucket,
            budget,
            options: Arc::new(JobOptions::default()),
        })
    }

    /// Reads a block.
    ///
    /// # Errors
    /// What is broken, with file, section and offset; or that it could not be read.
    pub async fn verify(&self, view: &View, meta: &Arc<BlockMeta>) -> Result<BlockReport, String> {
        let findings = verify_block(&self.0, view, meta).await;
        let findings = findings.map_err(|error| error.to_string())?;
        let (counted, stated) = (&findings.stats, &meta.stats);
        let mut wrong_stats = Vec::new();
        for (what, counted, stated) in [
            ("series", counted.num_series, stated.num_series),
            ("chunks", counted.num_chunks, stated.num_chunks),
            ("samples", counted.num_samples, stated.num_samples),
        ] {
            if counted != stated {
                wrong_stats.push(format!(
                    "meta.json counts {stated} {what}, the block has {counted}"
                ));
            }
        }
        Ok(BlockReport {
            series: counted.num_series,
            chunks: counted.num_chunks,
            samples: counted.num_samples,
            chunks_at_end: findings.health.at_end,
            duplicate_chunks: findings.health.duplicates,
            read_bytes: findings.read_bytes,
            wrong_stats,
        })
    }
}
