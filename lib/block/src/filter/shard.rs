//! Sharding of stores by the external labels of blocks: `--selector.relabel-config`.

use sabre_model::relabel::{self, RelabelConfig};
use sabre_tsdb::meta::BlockMeta;

/// The label by which a relabel config sees the id of a block.
const BLOCK_ID_LABEL: &str = "__block_id";

/// Whether relabelling keeps the block: an empty label set counts as dropped.
pub fn is_of_shard(meta: &BlockMeta, configs: &[RelabelConfig]) -> bool {
    is_of_shard_without(meta, configs, &[])
}

/// As [`is_of_shard`], when the rules do not see the labels called `hidden`.
pub(super) fn is_of_shard_without(meta: &BlockMeta, configs: &[RelabelConfig], hidden: &[String]) -> bool {
    let labels = meta
        .ext_labels()
        .without(hidden)
        .with(BLOCK_ID_LABEL, &meta.ulid.to_string());
    relabel::keep(configs, labels).is_some_and(|labels| !labels.is_empty())
}
