//! A compaction: several blocks become one, and, where that is due at once, its downsampled block too.

use std::sync::Arc;

use sabre_block::mark::{self, MarkKind};
use sabre_block::{BlockError, View};
use sabre_model::BlockId;
use sabre_tsdb::merge::OverlapRule;
use sabre_tsdb::meta::{BlockMeta, DeletionMark};

use super::job::{self, Done, JobContext, Written};
use super::meta;
use crate::Clock;
use crate::downsampling;
use crate::merge::{JobError, JobProgress, SeriesWork, Transform};
use crate::plan::{CompactionPlan, Group};
use crate::source::{Health, SourceBlock};

/// What is to be carried out.
#[derive(Debug)]
pub(crate) struct Compaction<'a> {
    pub(crate) group: &'a Group,
    pub(crate) plan: &'a CompactionPlan,
    pub(crate) rule: OverlapRule,
    /// The resolution that is made of the result in the same pass, in milliseconds.
    pub(crate) downsample_to_ms: Option<i64>,
    /// Names of the results.
    pub(crate) ids: [BlockId; 2],
}

/// What a compaction made.
#[derive(Debug)]
pub(crate) struct Compacted {
    /// The block, if it holds anything.
    pub(crate) block: Option<BlockMeta>,
    /// The downsampled block, if one was made.
    pub(crate) downsampled: Option<BlockMeta>,
    /// What was seen of the sources.
    pub(crate) health: Vec<(BlockId, Health)>,
}

/// Carries a plan out. `clock` tells the time when it is asked.
pub(crate) async fn compact(
    context: &JobContext,
    view: &View,
    compaction: &Compaction<'_>,
    progress: Arc<JobProgress>,
    clock: &Clock,
) -> Result<Compacted, JobError> {
    let Compaction {
        group,
        plan,
        rule,
        downsample_to_ms,
        ids: [id, downsampled_id],
    } = compaction;
    let sources = plan
        .sources
        .iter()
        .map(|block| SourceBlock::new(Arc::clone(&block.meta), view));
    let then: Option<Arc<dyn SeriesWork>> = downsample_to_ms.map(downsampling::work);
    let ids = match then {
        Some(_) => vec![*id, *downsampled_id],
        None => vec![*id],
    };
    let transform = Transform::Merge {
        rule: *rule,
        is_vertical: plan.is_vertical,
        then,
    };
    let Done { written, health } = job::run(context, sources.collect(), transform, &ids, progress).await?;
    let mut written = written.into_iter();
    let mut compacted = Compacted {
        block: None,
        downsampled: None,
        health,
    };
    let Some(result) = written.next().filter(|result| !result.is_empty()) else {
        return Ok(compacted);
    };
    let extensions = meta::group_extensions(&group.blocks);
    let mut block = meta::compacted(
        &plan.sources,
        group.labels.clone(),
        group.resolution_ms,
        extensions,
    );
    publish(context, &mut block, &result, false, clock).await?;
    // The raw block first: from there on any compactor can make the rest.
    if let (Some(to_ms), Some(result)) = (
        downsample_to_ms,
        written.next().filter(|result| !result.is_empty()),
    ) {
        let mut coarse = meta::downsampled(&block, *to_ms);
        publish(context, &mut coarse, &result, true, clock).await?;
        compacted.downsampled = Some(coarse);
    }
    compacted.block = Some(block);
    Ok(compacted)
}

/// Writes `meta.json` of a result.
pub(super) async fn publish(
    context: &JobContext,
    block: &mut BlockMeta,
    written: &Written,
    is_downsampled: bool,
    clock: &Clock,
) -> Result<(), JobError> {
    meta::complete(block, written, is_downsampled);
    let published = meta::publish(&context.bucket, block, clock()).await;
    published.map_err(JobError::Upload)
}

/// Marks blocks for deletion. Thanos' words say why.
pub(crate) async fn mark_for_deletion(
    context: &JobContext,
    block: BlockId,
    details: &str,
    now_ms: i64,
) -> Result<mark::Written, BlockError> {
    let deletion = DeletionMark {
        id: block,
        details: details.to_owned(),
        deletion_time_s: now_ms.div_euclid(1000),
    };
    let written = mark::write(&*context.bucket, &deletion).await?;
    tracing::info!(%block, mark = MarkKind::Deletion.file_name(), details, "block is marked");
    Ok(written)
}
