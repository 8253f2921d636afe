//! `tools bucket verify`: reads blocks to the last sample, and looks for blocks that overlap.

use std::collections::BTreeSet;
use std::io::Write;

use sabre_block::View;
use sabre_block::filter::FilterChain;
use sabre_block::layout::block_of_dir;
use sabre_compactor::BlockVerifier;
use sabre_compactor::plan::{BlockInfo, groups, overlapping_run};
use sabre_model::BlockId;
use sabre_model::time::format_rfc3339_ms;
use sabre_objstore::SharedBucket;
use sabre_runtime::flags::{Flags, groups as flag_groups};
use sabre_tsdb::meta::BlockMeta;

use crate::bucket::{self, CONCURRENCY};
use crate::error::ToolError;

const ISSUES: [&str; 3] = ["index_known_issues", "overlapped_blocks", "duplicated_compaction"];

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let issues = flags.list("issues")?;
    if let Some(unknown) = issues.iter().find(|issue| !ISSUES.contains(&issue.as_str())) {
        return Err(ToolError::Unusable {
            flag: "issues",
            what: format!("{unknown} is none of {}", ISSUES.join(", ")),
        });
    }
    let ids = ids(&flags.list("id")?)?;
    let bucket = bucket::open(flags)?;
    let view = bucket::look(&bucket, FilterChain::default(), CONCURRENCY, now_ms).await?;
    let mut found = 0_usize;
    for issue in &issues {
        found += match issue.as_str() {
            "index_known_issues" => {
                let budget = flag_groups::budget(flags)?;
                let verifier = BlockVerifier::new(SharedBucket::clone(&bucket), budget);
                read_blocks(&verifier, &view, &ids, out).await?
            }
            "overlapped_blocks" => overlapping(&view, out)?,
            _ => duplicated(&view, out)?,
        };
    }
    match found {
        0 => Ok(()),
        found => Err(ToolError::Found(format!("{found} issues found"))),
    }
}

/// The ids of `--id`.
pub(crate) fn ids(texts: &[String]) -> Result<BTreeSet<BlockId>, ToolError> {
    let mut ids = BTreeSet::new();
    for text in texts {
        match block_of_dir(text) {
            Some(id) => ids.insert(id),
            None => {
                return Err(ToolError::Unusable {
                    flag: "id",
                    what: format!("{text:?} is not the name of a block"),
                });
            }
        };
    }
    Ok(ids)
}

async fn read_blocks(
    verifier: &BlockVerifier,
    view: &View,
    ids: &BTreeSet<BlockId>,
    out: &mut (dyn Write + Send),
) -> Result<usize, ToolError> {
    let mut found = 0;
    let is_wanted = |block: &BlockId| ids.is_empty() || ids.contains(block);
    for block in ids.iter().filter(|block| view.listing.get(**block).is_none()) {
        writeln!(out, "{block} is not in the bucket")?;
        found += 1;
    }
    for (block, error) in view.failures.iter().filter(|(block, _)| is_wanted(block)) {
        writeln!(out, "{block} not verified: {error}")?;
        found += 1;
    }
    for (block, incomplete) in view.incomplete.iter().filter(|(block, _)| is_wanted(block)) {
        writeln!(out, "{block} broken: {incomplete}")?;
        found += 1;
    }
    for meta in view.metas.iter().filter(|meta| is_wanted(&meta.ulid)) {
        match verifier.verify(view, meta).await {
            Ok(report) => {
                let mut notes = report.wrong_stats.clone();
                if report.chunks_at_end > 0 {
                    notes.push(format!(
                        "{} chunks begin at the end of the block",
                        report.chunks_at_end
                    ));
                }
                let verdict = if notes.is_empty() { "ok" } else { "odd" };
                found += usize::from(!notes.is_empty());
                writeln!(
                    out,
                    "{} {verdict}: {} series, {} chunks, {} samples{}",
                    meta.ulid,
                    report.series,
                    report.chunks,
                    report.samples,
                    notes.iter().map(|note| format!("; {note}")).collect::<String>()
                )?;
            }
            Err(error) => {
                found += 1;
                writeln!(out, "{} broken: {error}", meta.ulid)?;
            }
        }
    }
    Ok(found)
}

fn overlapping(view: &View, out: &mut (dyn Write + Send)) -> Result<usize, ToolError> {
    let mut found = 0;
    for group in groups(&BlockInfo::all(view), false) {
        let mut rest: Vec<&BlockInfo> = group.blocks.iter().collect();
        loop {
            let run: Vec<BlockId> = overlapping_run(&rest).iter().map(|block| block.id()).collect();
            if run.is_empty() {
                break;
            }
            found += 1;
            let names: Vec<String> = run.iter().map(ToString::to_string).collect();
            let first = rest.iter().find(|block| run.contains(&block.id()));
            let from = first.map_or(0, |block| block.meta.min_time);
            writeln!(
                out,
                "group {} overlap from {}: {}",
                group.key,
                format_rfc3339_ms(from),
                names.join(" ")
            )?;
            rest.retain(|block| !run.contains(&block.id()));
        }
    }
    Ok(found)
}

/// Blocks of a group that are the same compaction done twice.
fn duplicated(view: &View, out: &mut (dyn Write + Send)) -> Result<usize, ToolError> {
    let mut found = 0;
    for group in groups(&BlockInfo::all(view), false) {
        for (n, one) in group.blocks.iter().enumerate() {
            let others = group.blocks.iter().skip(n + 1);
            for other in others.filter(|other| is_same(&one.meta, &other.meta)) {
                found += 1;
                writeln!(
                    out,
                    "group {} the same compaction twice: {} {}",
                    group.key,
                    one.id(),
                    other.id()
                )?;
            }
        }
    }
    Ok(found)
}

fn is_same(a: &BlockMeta, b: &BlockMeta) -> bool {
    (a.min_time, a.max_time, a.compaction.level) == (b.min_time, b.max_time, b.compaction.level)
        && a.compaction.sources == b.compaction.sources
        && a.stats == b.stats
}
