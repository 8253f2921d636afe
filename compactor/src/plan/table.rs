//! A plan as a table for people: what, why, when, how many bytes.

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use sabre_model::{BlockId, duration::format_model, size::format_bytes, time::format_rfc3339_ms};

use super::action::{Action, MarkReason};
use super::block::BlockInfo;
use super::cleaning::PARTIAL_UPLOAD_AGE_MS;
use super::group::resolution_name;
use super::simulate::is_planned;
use super::young::Young;

/// Of many blocks the first few are named.
const NAMED_BLOCKS: usize = 4;

/// What a row of the table says.
struct Row {
    what: &'static str,
    blocks: String,
    why: String,
    when: String,
    size_bytes: u64,
}

/// Renders a plan as of `now_ms`, and which blocks were too young for it.
pub fn render(actions: &[Action], young: &Young, now_ms: i64) -> String {
    match (actions.is_empty(), young.is_empty()) {
        (true, true) => "nothing to do".to_owned(),
        (true, false) => format!("nothing to do; {young}"),
        (false, true) => table(actions, now_ms),
        (false, false) => format!("{}\n{young}", table(actions, now_ms)),
    }
}

fn table(actions: &[Action], now_ms: i64) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["what", "blocks", "why", "when", "bytes"]);
    for action in actions {
        let Row {
            what,
            blocks,
            why,
            when,
            size_bytes,
        } = row(action, now_ms);
        table.add_row([what.to_owned(), blocks, why, when, format_bytes(size_bytes)]);
    }
    table.to_string()
}

fn row(action: &Action, now_ms: i64) -> Row {
    let now = || "now".to_owned();
    match action {
        Action::Compact { group, plan, step } => Row {
            what: if plan.is_vertical {
                "merge overlaps"
            } else {
                "compact"
            },
            blocks: names(&plan.sources),
            why: format!(
                "{} blocks of group {group} make {} from {}",
                plan.sources.len(),
                format_model(plan.max_time().saturating_sub(plan.min_time())),
                format_rfc3339_ms(plan.min_time())
            ),
            when: match step {
                0 => now(),
                step => format!("after {step} others of the group"),
            },
            size_bytes: plan.size_bytes(),
        },
        Action::MarkNoCompact(mark) => Row {
            what: "mark no-compact",
            blocks: mark.block.to_string(),
            why: format!("{}: {}", mark.reason, mark.details),
            when: now(),
            size_bytes: 0,
        },
        Action::LeaveOverlap { group, overlap } => Row {
            what: "leave overlap",
            blocks: overlap
                .blocks
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
            why: format!(
                "blocks of group {group} overlap from {}: mark one no-compact or for deletion, or allow vertical compaction",
                format_rfc3339_ms(overlap.min_time)
            ),
            when: "until mended".to_owned(),
            size_bytes: 0,
        },
        Action::Downsample(plan) => Row {
            what: "downsample",
            blocks: name(plan.block.id()),
            why: format!(
                "{} of data at {} have no data at {}",
                format_model(plan.block.range_ms()),
                resolution_name(plan.block.meta.resolution_ms()),
                resolution_name(plan.to_ms)
            ),
            when: now(),
            size_bytes: plan.block.size_bytes,
        },
        Action::Wait(kept) => Row {
            what: "wait",
            blocks: kept.block.id().to_string(),
            why: format!(
                "past its retention, but its data at {} is still due",
                resolution_name(kept.waits_for_ms)
            ),
            when: "until downsampled".to_owned(),
            size_bytes: kept.block.size_bytes,
        },
        Action::Avoid { block, why, until_ms } => Row {
            what: "leave broken block",
            blocks: block.id().to_string(),
            why: why.clone(),
            when: format!("tried again {}", format_rfc3339_ms(*until_ms)),
            size_bytes: block.size_bytes,
        },
        Action::LeaveUnclear {
            block,
            size_bytes,
            why,
        } => Row {
            what: "leave unclear block",
            blocks: block.to_string(),
            why: why.clone(),
            when: "looked at by every sync".to_owned(),
            size_bytes: *size_bytes,
        },
        deleting => deletion_row(deleting, now_ms),
    }
}

fn deletion_row(action: &Action, now_ms: i64) -> Row {
    let ago = |since_ms: i64| format_model(now_ms.saturating_sub(since_ms).max(0));
    let (what, blocks, why, size_bytes) = match action {
        Action::MarkForDeletion {
            block,
            size_bytes,
            reason,
        } => {
            let why = match reason {
                MarkReason::Retention(kept_ms) => format!("past the retention of {}", format_model(*kept_ms)),
                MarkReason::Garbage => "outdated: another block has all its sources".to_owned(),
            };
            ("mark for deletion", block.to_string(), why, *size_bytes)
        }
        Action::Delete {
            block,
            size_bytes,
            marked_ms,
        } => {
            let why = format!("marked for deletion {} ago", ago(*marked_ms));
            ("delete", block.to_string(), why, *size_bytes)
        }
        Action::DeletePartial {
            block,
            size_bytes,
            changed_ms,
        } => {
            let limit = format_model(PARTIAL_UPLOAD_AGE_MS);
            let why = format!("no meta.json, unchanged for {} (limit {limit})", ago(*changed_ms));
            ("delete partial upload", block.to_string(), why, *size_bytes)
        }
        Action::AbortUpload(upload) => {
            let why = format!("begun {} ago and not finished", ago(upload.started_ms));
            ("abort upload", upload.key.clone(), why, 0)
        }
        _ => ("", String::new(), String::new(), 0),
    };
    Row {
        what,
        blocks,
        why,
        when: "now".to_owned(),
        size_bytes,
    }
}

fn names(blocks: &[BlockInfo]) -> String {
    let mut lines: Vec<String> = blocks
        .iter()
        .take(NAMED_BLOCKS)
        .map(|block| name(block.id()))
        .collect();
    let others = blocks.len().saturating_sub(NAMED_BLOCKS);
    if others > 0 {
        lines.push(format!("and {others} more"));
    }
    lines.join("\n")
}

/// A block by its name; one that is only planned has none yet.
fn name(block: BlockId) -> String {
    match is_planned(block) {
        true => "(result of an earlier row)".to_owned(),
        false => block.to_string(),
    }
}
