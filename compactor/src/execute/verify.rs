//! A block read again by itself, to the last sample: is it really broken?

use sabre_block::View;
use sabre_model::BlockId;
use std::sync::Arc;

use sabre_tsdb::meta::BlockMeta;

use super::job::JobContext;
use crate::merge::{self, Findings, JobError};
use crate::source::{self, Feeds, SourceBlock, Windows};

/// What is read ahead of a block that is verified.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// Reads all of a block that a compaction would, and decodes every chunk. An error is one of the block, or says that it
/// could not be read now.
pub(crate) async fn verify_block(
    context: &JobContext,
    view: &View,
    meta: &Arc<BlockMeta>,
) -> Result<Findings, JobError> {
    let limit_bytes = context.budget.limit_bytes() / context.options.concurrency.max(1) as u64;
    let windows = Windows::share(READ_AHEAD_BYTES.min(limit_bytes), 1);
    let _reserved = context.budget.reserve(windows.total_bytes(1)).await?;
    let source = SourceBlock::new(Arc::clone(meta), view);
    let block: BlockId = meta.ulid;
    let opened = source::open(&context.bucket, source).await?;
    let mut feeds = Feeds::default();
    let readers = opened.start(
        &context.bucket,
        &mut feeds,
        windows,
        context.options.accepts_label_order,
    );
    let checking = sabre_runtime::blocking(move || merge::check(block, readers));
    let (checked, ()) = futures::future::join(checking, feeds.run()).await;
    checked?
}
