//! What all parts of one call share.

use std::sync::Arc;

use sabre_runtime::budget::Budget;

use crate::{
    block::ServedBlock,
    index_cache::IndexCache,
    label_table::LabelTable,
    late_memory::LateMemory,
    limits::RequestLimits,
    overlay::Overlay,
    postings_cost::CostRule,
    small_lane::SmallLane,
    stats::RequestStats,
    warm::{WarmKey, WarmLabels},
};

/// What all parts of one call share.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    /// Memory of the call.
    pub(crate) budget: Budget,
    /// Memory kept for calls of few series.
    pub(crate) small_lane: SmallLane,
    /// Memory for what it did not reckon with.
    pub(crate) late: LateMemory,
    /// What it may touch.
    pub(crate) limits: Arc<RequestLimits>,
    /// What it touched.
    pub(crate) stats: Arc<RequestStats>,
    /// What earlier calls read of indexes.
    pub(crate) cache: Arc<IndexCache>,
    /// When postings lists are left out; never if `None`.
    pub(crate) cost_rule: Option<CostRule>,
    /// What earlier calls learnt of labels.
    pub(crate) warm: Arc<WarmLabels>,
    /// Labels that leave the answer.
    pub(crate) removed_labels: Arc<[String]>,
}

impl CallContext {
    /// What is known of the labels of a block.
    pub(crate) fn label_table(&self, block: &ServedBlock) -> LabelTable {
        let overlay = Overlay::new(&block.external, &self.removed_labels);
        LabelTable::new(Arc::new(overlay), self.warm.get(&self.warm_key(block)))
    }

    /// Keeps what was learnt of the labels of a block, if that is worth it.
    pub(crate) fn keep_labels(&self, block: &ServedBlock, table: LabelTable) {
        if let Some(labels) = table.into_known(self.warm.most_bytes()) {
            self.warm.keep(self.warm_key(block), labels);
        }
    }

    fn warm_key(&self, block: &ServedBlock) -> WarmKey {
        WarmKey {
            block: block.id(),
            removed_labels: Arc::clone(&self.removed_labels),
        }
    }
}
