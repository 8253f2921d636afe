//! Tables for a terminal or a log.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::{
    execute::{Outcome, Report},
    plan::{Plan, What},
    restore::Restored,
    status::Status,
};

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.iter().map(|text| text.to_uppercase()));
    table
}

/// A table without spaces at the ends of its lines.
fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
        text.push('\n');
    }
    text
}

fn kind(what: What) -> &'static str {
    match what {
        What::Index => "index",
        What::Snapshot => "snapshot",
    }
}

/// What would be done, and why.
pub(crate) fn plan_table(plan: &Plan) -> String {
    let mut rows = table(&["what", "name", "do", "why"]);
    for entry in &plan.entries {
        rows.add_row([kind(entry.what), &entry.name, entry.step.words(), &entry.why]);
    }
    format!("day {}\n\n{}", plan.day, trimmed(&rows))
}

/// What was done, and why.
pub(crate) fn report_table(report: &Report) -> String {
    let mut rows = table(&["what", "name", "do", "why", "result"]);
    for reported in &report.entries {
        let entry = &reported.entry;
        let result = match &reported.outcome {
            Outcome::Nothing => String::new(),
            Outcome::Done(detail) => format!("done: {detail}"),
            Outcome::Held(detail) => format!("held back: {detail}"),
            Outcome::Failed(detail) => format!("FAILED: {detail}"),
            Outcome::NotTried(detail) => format!("not tried: {detail}"),
        };
        rows.add_row([
            kind(entry.what),
            &entry.name,
            entry.step.words(),
            &entry.why,
            &result,
        ]);
    }
    let mut text = format!("day {}\n\n", report.day);
    for finding in &report.findings {
        text.push_str(&format!("note: {finding}\n"));
    }
    text.push_str(&trimmed(&rows));
    text.push_str(&format!("\n{}", summary(report)));
    text
}

/// How many of each, one line a step.
pub(crate) fn summary(report: &Report) -> String {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for reported in &report.entries {
        let result = match &reported.outcome {
            Outcome::Nothing => "",
            Outcome::Done(_) => "done",
            Outcome::Held(_) => "held back",
            Outcome::Failed(_) => "failed",
            Outcome::NotTried(_) => "not tried",
        };
        *counts.entry((reported.entry.step.words(), result)).or_default() += 1;
    }
    let mut rows = table(&["do", "result", "number"]);
    for ((step, result), count) in counts {
        rows.add_row([Cell::new(step), Cell::new(result), right(count.to_string())]);
    }
    let word = match report.exit_code() {
        0 => "all is done",
        1 => "failed",
        _ => "done in part",
    };
    format!("{}\n{word}\n", trimmed(&rows))
}

/// What there is.
pub(crate) fn status_table(status: &Status) -> String {
    let mut text = format!("day {}, {}\n\n", status.day, status.engine);
    for finding in &status.findings {
        text.push_str(&format!("note: {finding}\n"));
    }
    let mut rows = table(&["what", "name", "age", "state", "documents", "size", "due", "why"]);
    for row in &status.rows {
        rows.add_row([
            Cell::new(kind(row.what)),
            Cell::new(&row.name),
            right(row.age_days.to_string()),
            Cell::new(&row.state),
            row.docs
                .map_or_else(|| Cell::new(""), |docs| right(docs.to_string())),
            row.size_bytes
                .map_or_else(|| Cell::new(""), |bytes| right(size(bytes))),
            Cell::new(row.due),
            Cell::new(&row.why),
        ]);
    }
    text.push_str(&trimmed(&rows));
    for gap in &status.gaps {
        text.push_str(&format!(
            "gap: {} is neither in the cluster nor in a good snapshot\n",
            gap.index
        ));
    }
    text
}

/// What was restored.
pub(crate) fn restored_table(restored: &[Restored]) -> String {
    let mut rows = table(&["snapshot", "index", "documents"]);
    for one in restored {
        let documents = match &one.outcome {
            Ok(count) => right(count.to_string()),
            Err(why) => Cell::new(format!("FAILED: {why}")),
        };
        rows.add_row([Cell::new(&one.snapshot), Cell::new(&one.index), documents]);
    }
    trimmed(&rows)
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Bytes with a unit, three digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
    let mut value = bytes as f64 / 1024.0;
    for unit in UNITS {
        if value < 1000.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} EiB")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
