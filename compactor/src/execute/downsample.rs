//! Downsampling of a block by itself.

use std::sync::Arc;

use sabre_block::View;
use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

use super::compact::publish;
use super::job::{self, Done, JobContext};
use super::meta;
use crate::Clock;
use crate::downsampling;
use crate::merge::{JobError, JobProgress, Transform};
use crate::plan::DownsamplePlan;
use crate::source::SourceBlock;

/// Downsamples a block into a new one called `id`; `None` if nothing is left of it.
pub(crate) async fn downsample(
    context: &JobContext,
    view: &View,
    plan: &DownsamplePlan,
    id: BlockId,
    progress: Arc<JobProgress>,
    clock: &Clock,
) -> Result<Option<BlockMeta>, JobError> {
    let source = SourceBlock::new(Arc::clone(&plan.block.meta), view);
    let work = downsampling::work(plan.to_ms);
    let Done { written, .. } = job::run(context, vec![source], Transform::Map(work), &[id], progress).await?;
    let Some(result) = written.into_iter().next().filter(|result| !result.is_empty()) else {
        return Ok(None);
    };
    let mut block = meta::downsampled(&plan.block.meta, plan.to_ms);
    publish(context, &mut block, &result, true, clock).await?;
    Ok(Some(block))
}
