//! `tools bucket cleanup`: deletes what is marked long enough and uploads that were given up, once.

use std::io::Write;
use std::sync::Arc;

use sabre_compactor::plan::{Action, render};
use sabre_compactor::{Compactor, CompactorConfig};
use sabre_objstore::SharedBucket;
use sabre_runtime::clock;
use sabre_runtime::flags::{Flags, groups};
use sabre_runtime::metrics::Registry;

use crate::bucket;
use crate::error::ToolError;

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let compactor = compactor(flags, bucket::open(flags)?)?;
    let actions = compactor.plan().await.map_err(ToolError::Found)?;
    let cleaning: Vec<Action> = actions.into_iter().filter(is_cleaning).collect();
    writeln!(out, "{}", render(&cleaning, &compactor.young(), now_ms))?;
    if flags.bool("dry-run")? {
        return Ok(());
    }
    compactor.clean_once().await.map_err(ToolError::Found)
}

/// A compactor that knows no work but what the flags say of cleaning.
fn compactor(flags: &Flags, bucket: SharedBucket) -> Result<Compactor, ToolError> {
    let mut config = CompactorConfig::without_data_dir();
    config.policy.delete_delay_ms = flags.duration_ms("delete-delay")?;
    config.consistency_delay_ms = flags.duration_ms("consistency-delay")?;
    config.meta_fetch_concurrency = flags.count("block-sync-concurrency")?;
    config.selector = bucket::selector(flags)?;
    let budget = groups::budget(flags)?;
    let clock = Arc::new(clock::now_ms);
    Ok(Compactor::new(bucket, config, budget, &Registry::new(), clock))
}

fn is_cleaning(action: &Action) -> bool {
    matches!(
        action,
        Action::Delete { .. } | Action::DeletePartial { .. } | Action::AbortUpload(_)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sabre_objstore::{Bucket as _, MemoryBucket, Operation};
    use sabre_runtime::flags::parse_groups;
    use sabre_testkit::blocks::BlockBuilder;
    use sabre_testkit::fault::{Fault, FaultBucket, Rule};

    use super::*;

    fn flags(concurrency: usize) -> Flags {
        let bucket = crate::flags::command().commands.remove(0);
        let cleanup = bucket.commands.into_iter().find(|tool| tool.name == "cleanup");
        let mut all = bucket.groups.clone();
        all.extend(cleanup.unwrap().groups);
        all.extend(groups::global());
        let concurrency = format!("--block-sync-concurrency={concurrency}");
        parse_groups(&all, &[concurrency.as_str(), "--sabre.memory-budget=64MiB"]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_metas_are_read_at_once_as_the_flag_says() {
        for concurrency in [1, 3] {
            let memory = MemoryBucket::new("test");
            for n in 1..=5 {
                let block = BlockBuilder::new(n)
                    .counters(1, 0..60_000, 60_000)
                    .build()
                    .unwrap();
                for (path, content) in &block.files {
                    let key = format!("{}/{path}", block.meta.ulid);
                    memory.put(&key, content.clone()).await.unwrap();
                }
            }
            let faulty = FaultBucket::new(Arc::new(memory));
            faulty.add(Rule::next(Operation::Get, Fault::Hang).times(usize::MAX));
            let compactor = compactor(&flags(concurrency), Arc::new(faulty.clone())).unwrap();
            // Time passes when nothing is left that could go on.
            let plan = tokio::time::timeout(Duration::from_secs(1), compactor.plan());
            assert!(plan.await.is_err(), "no meta ever comes");
            assert_eq!(faulty.count(Operation::Get), concurrency);
        }
    }
}
