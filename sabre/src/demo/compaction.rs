//! The compactor of the demo: runs once, and a table shows what shrank.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use sabre_block::layout::{META_FILE, split_key};
use sabre_model::duration::format_model;
use sabre_objstore::{BucketExt, SharedBucket};
use sabre_runtime::metrics::Registry;
use sabre_tsdb::meta::BlockMeta;

use super::{
    Stage,
    screen::{Screen, grouped, shell_line, short_size},
};

const MAX_META_BYTES: u64 = 1 << 20;
const MAX_OBJECTS: usize = 1 << 20;

/// What blocks of one resolution add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    blocks: u64,
    series: u64,
    samples: u64,
    size_bytes: u64,
}

/// Merges the replicas, compacts and downsamples, and prints what it did to the bucket.
pub(crate) async fn run(stage: &Stage<'_>, bucket: &str, data_dir: &str, has_replicas: bool) -> Result<()> {
    let screen = stage.screen;
    let opened = sabre_objstore::config::from_yaml(bucket, "demo")?;
    let before = add_up(&opened).await?;
    let mut line = vec![
        "sabre".to_owned(),
        "compact".to_owned(),
        format!("--data-dir={data_dir}"),
        format!("--objstore.config={bucket}"),
        "--consistency-delay=0s".to_owned(),
        // No store reads this bucket yet.
        "--delete-delay=0s".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
    ];
    if has_replicas {
        line.push("--deduplication.replica-label=replica".to_owned());
        line.push("--deduplication.func=penalty".to_owned());
    }
    screen.line(&format!("$ {}", shell_line(&line)));
    let flags = stage
        .app
        .parse(&line)
        .map_err(|error| anyhow::anyhow!(error.text))?
        .flags;
    // The compactor ends the token it is given when it is done.
    let (done, registry, at_work) = (stage.stop.child_token(), Registry::new(), stage.crew.join());
    // A task of its own: it is told to stop and waited for, never dropped halfway.
    let compactor = tokio::spawn(async move {
        let _at_work = at_work;
        sabre_compactor::run::run(&flags, registry, done, None).await
    });
    compactor
        .await?
        .map_err(|error| anyhow::anyhow!(error))
        .context("the compactor")?;
    print(&before, &add_up(&opened).await?, screen);
    Ok(())
}

/// Adds up the blocks of a bucket that are not marked for deletion, by resolution.
async fn add_up(bucket: &SharedBucket) -> Result<BTreeMap<i64, Sum>> {
    let mut sizes: BTreeMap<_, (u64, bool)> = BTreeMap::new();
    for entry in bucket.list_all("", true, MAX_OBJECTS).await? {
        let Some(object) = entry.into_object() else {
            continue;
        };
        let Some((block, file)) = split_key(&object.key) else {
            continue;
        };
        let (size_bytes, is_marked) = sizes.entry(block).or_default();
        *size_bytes += object.size_bytes;
        *is_marked |= file == sabre_tsdb::meta::DeletionMark::FILE_NAME;
    }
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    for (block, (size_bytes, is_marked)) in sizes {
        if is_marked {
            continue;
        }
        let key = sabre_block::layout::key(block, META_FILE);
        let meta = BlockMeta::parse(&bucket.get_all(&key, MAX_META_BYTES).await?)?;
        let sum = sums.entry(meta.resolution_ms()).or_default();
        sum.blocks += 1;
        sum.series += meta.stats.num_series;
        sum.samples += meta.stats.num_samples;
        sum.size_bytes += size_bytes;
    }
    Ok(sums)
}

fn print(before: &BTreeMap<i64, Sum>, after: &BTreeMap<i64, Sum>, screen: &Screen) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "resolution",
        "",
        "blocks",
        "series entries",
        "samples",
        "bytes",
    ]);
    let resolutions: std::collections::BTreeSet<i64> = before.keys().chain(after.keys()).copied().collect();
    for resolution_ms in resolutions {
        let name = match resolution_ms {
            0 => "raw".to_owned(),
            ms => format_model(ms),
        };
        for (when, sums) in [("before", before), ("after", after)] {
            let Some(sum) = sums.get(&resolution_ms) else {
                continue;
            };
            table.add_row([
                name.clone(),
                when.to_owned(),
                grouped(sum.blocks),
                grouped(sum.series),
                grouped(sum.samples),
                short_size(sum.size_bytes),
            ]);
        }
    }
    screen.line(&table.to_string());
    if let (Some(before), Some(after)) = (before.get(&0), after.get(&0)) {
        let times = before.size_bytes as f64 / after.size_bytes.max(1) as f64;
        screen.line(&format!(
            "replicas became one, blocks of 2 h became longer ones with one index each: raw data takes {times:.1} times less"
        ));
    }
}
