//! `tools bucket ls`: the blocks of a bucket, one a line.

use std::io::Write;

use sabre_block::View;
use sabre_block::filter::FilterChain;
use sabre_model::duration::{GoDuration, format_go};
use sabre_model::time::format_rfc3339_ms;
use sabre_runtime::flags::Flags;
use sabre_tsdb::meta::BlockMeta;
use serde_json::Value;

use crate::bucket::{self, CONCURRENCY};
use crate::error::ToolError;
use crate::run::within;

/// How a block is shown.
enum Form {
    Name,
    Wide,
    Json,
    Template(Vec<Part>),
}

/// A part of a template.
enum Part {
    Text(String),
    /// A field, such as `.Stats.NumSamples`, by its names.
    Field(Vec<String>),
}

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let form = Form::parse(flags.text("output")?)?;
    let excludes_marked = flags.bool("exclude-delete")?;
    let filters = FilterChain {
        time_partition: Some(bucket::time_partition(flags)?),
        shard: bucket::selector(flags)?,
        ..FilterChain::default()
    };
    let bucket = bucket::open(flags)?;
    let view = within(flags, bucket::look(&bucket, filters, CONCURRENCY, now_ms)).await?;
    let mut count = 0_usize;
    for meta in &view.metas {
        if excludes_marked && view.marks.deletion.contains_key(&meta.ulid) {
            continue;
        }
        form.write(meta, out)?;
        count += 1;
    }
    tell_rest(&view);
    tracing::info!(blocks = count, "ls done");
    bucket::is_complete(&view)
}

/// Blocks that cannot be shown, and why.
fn tell_rest(view: &View) {
    for (block, partial) in &view.partial {
        tracing::warn!(%block, reason = ?partial.reason, "no usable meta.json");
    }
    for (block, error) in &view.failures {
        tracing::warn!(%block, %error, "could not be looked at");
    }
    for meta in &view.incomplete_metas {
        tracing::warn!(block = %meta.ulid, "files are missing");
    }
}

impl Form {
    fn parse(text: &str) -> Result<Self, ToolError> {
        match text {
            "" => Ok(Self::Name),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            template => parse_template(template).map(Self::Template),
        }
    }

    fn write(&self, meta: &BlockMeta, out: &mut (dyn Write + Send)) -> Result<(), ToolError> {
        match self {
            Self::Name => writeln!(out, "{}", meta.ulid)?,
            Self::Wide => writeln!(out, "{}", wide(meta))?,
            Self::Json => out.write_all(&meta.to_json())?,
            Self::Template(parts) => writeln!(out, "{}", fill(parts, meta)?)?,
        }
        Ok(())
    }
}

fn wide(meta: &BlockMeta) -> String {
    let range_ms = meta.max_time.saturating_sub(meta.min_time);
    format!(
        "{} -- {} - {} Diff: {}, Compaction: {}, Downsample: {}, Source: {}",
        meta.ulid,
        format_rfc3339_ms(meta.min_time),
        format_rfc3339_ms(meta.max_time),
        format_go(GoDuration::from_ms(range_ms)),
        meta.compaction.level,
        meta.resolution_ms(),
        meta.thanos.as_ref().map_or("", |thanos| thanos.source.as_str())
    )
}

/// Of Go's templates fields are understood, which is what they are used for here.
fn parse_template(text: &str) -> Result<Vec<Part>, ToolError> {
    let unusable = |what: String| ToolError::Unusable { flag: "output", what };
    if !text.contains("{{") {
        return Err(unusable(format!(
            "{text:?} is none of wide and json, and no template"
        )));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((field, behind)) = behind.split_once("}}") else {
            return Err(unusable("a template without the end of a field".to_owned()));
        };
        let path = field.trim().strip_prefix('.');
        let names: Option<Vec<String>> = path.map(|path| path.split('.').map(str::to_owned).collect());
        let Some(names) = names.filter(|names| names.iter().all(|name| !name.is_empty() && is_word(name)))
        else {
            return Err(unusable(format!(
                "only fields such as {{{{.ULID}}}} are understood, not {field:?}"
            )));
        };
        parts.push(Part::Text(before.to_owned()));
        parts.push(Part::Field(names));
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn fill(parts: &[Part], meta: &BlockMeta) -> Result<String, ToolError> {
    let json: Value = serde_json::from_slice(&meta.to_json()).unwrap_or_default();
    let mut filled = String::new();
    for part in parts {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Field(names) => match field(&json, names) {
                Some(Value::String(text)) => filled.push_str(text),
                Some(value) => filled.push_str(&value.to_string()),
                None => {
                    return Err(ToolError::Unusable {
                        flag: "output",
                        what: format!("a block has no field {}", names.join(".")),
                    });
                }
            },
        }
    }
    Ok(filled)
}

/// Finds a field by its names in Go, which differ from those in the file by case and underscores.
fn field<'a>(json: &'a Value, names: &[String]) -> Option<&'a Value> {
    const ZERO: &Value = &Value::Null;
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let mut value = json;
    for (depth, name) in names.iter().enumerate() {
        let fields = value.as_object()?;
        let found = fields.iter().find(|(key, _)| plain(key) == plain(name));
        match found {
            Some((_, found)) => value = found,
            // Zero values are not written.
            None if depth > 0 => return Some(ZERO),
            None => return None,
        }
    }
    Some(value)
}
