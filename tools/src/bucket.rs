//! The bucket as tools look at it: once, with all marks.

use sabre_block::fetcher::{FetcherMetrics, FetcherOptions};
use sabre_block::filter::{FilterChain, TimePartition};
use sabre_block::mark::MarkKind;
use sabre_block::{MetaFetcher, View};
use sabre_model::relabel::{self, RelabelConfig};
use sabre_objstore::SharedBucket;
use sabre_objstore::config::from_yaml_for_tool;
use sabre_runtime::flags::Flags;
use sabre_runtime::yaml;

use crate::error::ToolError;

/// Opens the bucket of `--objstore.config`.
pub(crate) fn open(flags: &Flags) -> Result<SharedBucket, ToolError> {
    let text = flags.content("objstore.config")?.unwrap_or_default();
    Ok(from_yaml_for_tool(&text, "tools")?)
}

/// The rules of `--selector.relabel-config`.
pub(crate) fn selector(flags: &Flags) -> Result<Vec<RelabelConfig>, ToolError> {
    let rules = match flags.content("selector.relabel-config")? {
        Some(text) => yaml::from_str_strict("--selector.relabel-config", &text)?,
        None => Vec::new(),
    };
    relabel::validate_for_blocks(&rules)?;
    Ok(rules)
}

/// The part of time of `--min-time` and `--max-time`.
pub(crate) fn time_partition(flags: &Flags) -> Result<TimePartition, ToolError> {
    Ok(TimePartition {
        min_time: flags.time("min-time")?,
        max_time: flags.time("max-time")?,
    })
}

/// Looks at the blocks that pass `filters`.
pub(crate) async fn look(
    bucket: &SharedBucket,
    filters: FilterChain,
    concurrency: usize,
    now_ms: i64,
) -> Result<View, ToolError> {
    let options = FetcherOptions {
        concurrency,
        marks: MarkKind::ALL.to_vec(),
        ..FetcherOptions::default()
    };
    let bucket = SharedBucket::clone(bucket);
    let fetcher = MetaFetcher::new(bucket, options, filters, FetcherMetrics::default());
    Ok(fetcher.sync(now_ms).await?)
}

/// That all blocks could be looked at: what is shown of a bucket is all there is, or the tool fails, as Thanos' does.
pub(crate) fn is_complete(view: &View) -> Result<(), ToolError> {
    match view.failures.first_key_value() {
        None => Ok(()),
        Some((_, error)) => Err(ToolError::Found(format!(
            "{} blocks could not be looked at, the first because: {error}",
            view.failures.len()
        ))),
    }
}

/// How many metas are read at once, where no flag says it.
pub(crate) const CONCURRENCY: usize = 32;
