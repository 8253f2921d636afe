//! `tools bucket inspect`: the blocks of a bucket as a table.

use std::cmp::Ordering;
use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use sabre_block::filter::FilterChain;
use sabre_model::Labels;
use sabre_model::duration::{GoDuration, format_go};
use sabre_model::time::format_rfc3339_ms;
use sabre_runtime::flags::Flags;
use sabre_tsdb::meta::BlockMeta;

use crate::bucket::{self, CONCURRENCY};
use crate::error::ToolError;
use crate::run::within;

const COLUMNS: [&str; 13] = [
    "ULID",
    "FROM",
    "UNTIL",
    "RANGE",
    "UNTIL-DOWN",
    "#SERIES",
    "#SAMPLES",
    "#CHUNKS",
    "COMP-LEVEL",
    "COMP-FAILED",
    "LABELS",
    "RESOLUTION",
    "SOURCE",
];
const HOUR_MS: i64 = 3_600_000;
/// The ranges from which on blocks are downsampled, by their resolution.
const DOWNSAMPLED_FROM_MS: [(i64, i64); 2] = [(0, 40 * HOUR_MS), (300_000, 240 * HOUR_MS)];

/// A cell, with what it is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    text: String,
    /// Numbers sort as such.
    number: Option<i128>,
}

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let wanted = selected(&flags.list("selector")?)?;
    let sort_by = columns(&flags.list("sort-by")?)?;
    let form = flags.text("output")?.to_owned();
    let bucket = bucket::open(flags)?;
    let view = within(
        flags,
        bucket::look(&bucket, FilterChain::default(), CONCURRENCY, now_ms),
    )
    .await?;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for meta in &view.metas {
        let labels = meta.ext_labels();
        if wanted.iter().all(|(name, value)| labels.get(name) == Some(value)) {
            rows.push(row(meta, &labels));
        }
    }
    rows.sort_by(|a, b| {
        let mut orders = sort_by
            .iter()
            .map(|column| compare(a.get(*column), b.get(*column)));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    write(&rows, &form, out)?;
    bucket::is_complete(&view)
}

fn compare(a: Option<&Cell>, b: Option<&Cell>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.number.cmp(&b.number).then_with(|| a.text.cmp(&b.text)),
        _ => Ordering::Equal,
    }
}

/// The labels that a block must have: `name="value"` each.
fn selected(matchers: &[String]) -> Result<Vec<(String, String)>, ToolError> {
    let mut wanted = Vec::new();
    for matcher in matchers {
        let pair = matcher.split_once('=');
        let value = pair.and_then(|(_, value)| value.strip_prefix('"')?.strip_suffix('"'));
        let (Some((name, _)), Some(value)) = (pair, value) else {
            return Err(ToolError::Unusable {
                flag: "selector",
                what: format!("{matcher:?} is not of the form name=\"value\""),
            });
        };
        wanted.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(wanted)
}

fn columns(names: &[String]) -> Result<Vec<usize>, ToolError> {
    let mut columns = Vec::new();
    for name in names {
        match COLUMNS
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
        {
            Some(column) => columns.push(column),
            None => {
                return Err(ToolError::Unusable {
                    flag: "sort-by",
                    what: format!("there is no column {name}, there are {}", COLUMNS.join(", ")),
                });
            }
        }
    }
    Ok(columns)
}

fn row(meta: &BlockMeta, labels: &Labels) -> Vec<Cell> {
    let text = |text: String| Cell { text, number: None };
    let time = |ms: i64| Cell {
        text: format_rfc3339_ms(ms),
        number: Some(ms.into()),
    };
    let duration = |ms: i64| Cell {
        text: format_go(GoDuration::from_ms(ms)),
        number: Some(ms.into()),
    };
    let count = |count: u64| Cell {
        text: thousands(count),
        number: Some(count.into()),
    };
    let range_ms = meta.max_time.saturating_sub(meta.min_time);
    let resolution_ms = meta.resolution_ms();
    let limit = DOWNSAMPLED_FROM_MS
        .iter()
        .find(|(resolution, _)| *resolution == resolution_ms);
    let until_down = match limit {
        Some((_, limit_ms)) => duration(limit_ms.saturating_sub(range_ms)),
        None => text("-".to_owned()),
    };
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        text(meta.ulid.to_string()),
        time(meta.min_time),
        time(meta.max_time),
        duration(range_ms),
        until_down,
        count(meta.stats.num_series),
        count(meta.stats.num_samples),
        count(meta.stats.num_chunks),
        Cell {
            text: meta.compaction.level.to_string(),
            number: Some(meta.compaction.level.into()),
        },
        text(meta.compaction.failed.to_string()),
        text(labels.join(",")),
        duration(resolution_ms),
        text(
            meta.thanos
                .as_ref()
                .map_or_else(String::new, |thanos| thanos.source.clone()),
        ),
    ]
}

/// A number with commas between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write(rows: &[Vec<Cell>], form: &str, out: &mut (dyn Write + Send)) -> Result<(), ToolError> {
    let texts = |row: &Vec<Cell>| row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
    if form == "table" {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(COLUMNS);
        for row in rows {
            table.add_row(texts(row));
        }
        writeln!(out, "{table}")?;
        return Ok(());
    }
    let separator = if form == "tsv" { "\t" } else { "," };
    writeln!(out, "{}", COLUMNS.join(separator))?;
    for row in rows {
        let fields: Vec<String> = texts(row).iter().map(|text| quoted(text, separator)).collect();
        writeln!(out, "{}", fields.join(separator))?;
    }
    Ok(())
}

/// A field as CSV has it: in quotes where it holds a separator, a quote or a line break.
fn quoted(text: &str, separator: &str) -> String {
    let needs = text.contains(separator) || text.contains(['"', '\n', '\r']);
    if needs {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fields_and_selectors() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(quoted("a=b,c=\"d\"", ","), "\"a=b,c=\"\"d\"\"\"");
        assert_eq!(quoted("a,b", "\t"), "a,b");
        let wanted = selected(&["cluster=\"eu1\"".to_owned()]).unwrap();
        assert_eq!(wanted, [("cluster".to_owned(), "eu1".to_owned())]);
        assert!(selected(&["cluster=eu1".to_owned()]).is_err());
        assert!(columns(&["from".to_owned(), "nothing".to_owned()]).is_err());
    }
}
