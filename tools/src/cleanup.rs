//! `tools bucket cleanup`: deletes what is marked long enough and uploads that were given up, once.

use std::io::Write;
use std::sync::Arc;

use sabre_compactor::plan::{Action, render};
use sabre_compactor::{Compactor, CompactorConfig};
use sabre_runtime::clock;
use sabre_runtime::flags::{Flags, groups};
use sabre_runtime::metrics::Registry;

use crate::bucket;
use crate::error::ToolError;

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let mut config = CompactorConfig::without_data_dir();
    config.policy.delete_delay_ms = flags.duration_ms("delete-delay")?;
    config.consistency_delay_ms = flags.duration_ms("consistency-delay")?;
    config.meta_fetch_concurrency = flags.count("block-sync-concurrency")?;
    config.selector = bucket::selector(flags)?;
    let bucket = bucket::open(flags)?;
    let budget = groups::budget(flags)?;
    let compactor = Compactor::new(bucket, config, budget, &Registry::new(), Arc::new(clock::now_ms));
    let actions = compactor.plan().await.map_err(ToolError::Found)?;
    let cleaning: Vec<Action> = actions.into_iter().filter(is_cleaning).collect();
    writeln!(out, "{}", render(&cleaning, now_ms))?;
    if flags.bool("dry-run")? {
        return Ok(());
    }
    compactor.clean_once().await.map_err(ToolError::Found)
}

fn is_cleaning(action: &Action) -> bool {
    matches!(
        action,
        Action::Delete { .. } | Action::DeletePartial { .. } | Action::AbortUpload(_)
    )
}
