//! `label_replace` and `label_join`.

use sabre_model::go_regex::GoRegex;
use sabre_model::selector::METRIC_NAME;

use crate::ast::{Call, Expr};
use crate::error::{Evaluated, QueryError};
use crate::eval::evaluator::{Around, Evaluator, Sink};
use crate::eval::labels::with;
use crate::eval::{Grid, Row};

/// The text that an argument is.
fn text(call: &Call, i: usize) -> &str {
    match call.args.get(i).map(Expr::unwrapped) {
        Some(Expr::String(text)) => &text.value,
        _ => "",
    }
}

fn check_name(name: &str, what: &str, call: &Call) -> Evaluated<()> {
    if !name.is_empty() {
        return Ok(());
    }
    let function = call.function.name();
    Err(QueryError::evaluation(format!(
        "invalid {what} label name in {function}(): {name}"
    )))
}

/// What it takes to set a label of a row to so many bytes: the text, and the labels with it beside those without.
fn set_bytes(row: &Row, length: usize) -> usize {
    row.labels.heap_bytes().saturating_add(length.saturating_mul(2))
}

/// Sets a label of a row.
fn set(row: &mut Row, label: &str, value: &str) {
    row.labels = with(&row.labels, label, value);
    if label == METRIC_NAME {
        row.drop_name = false;
    }
}

impl Evaluator<'_> {
    pub(super) fn label_replace(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let (target, template, source, pattern) =
            (text(call, 1), text(call, 2), text(call, 3), text(call, 4));
        let regex = GoRegex::new(pattern).map_err(|_| {
            QueryError::evaluation(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        self.count_regex(regex.program_weight())?;
        check_name(target, "destination", call)?;
        // Each reference of the template gives at most the whole value.
        let references = template.bytes().filter(|byte| *byte == b'$').count();
        let mut reserved = self.reservation();
        self.relabelled(call, grid, sink, |row| {
            let value = row.labels.get(source).unwrap_or("");
            let Some(caught) = regex.captures(value) else {
                return Ok(());
            };
            let most = references
                .saturating_mul(value.len())
                .saturating_add(template.len());
            reserved.set(set_bytes(row, most))?;
            let value = caught.expand(template);
            set(row, target, &value);
            Ok(())
        })
    }

    pub(super) fn label_join(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let (target, separator) = (text(call, 1), text(call, 2));
        let sources: Vec<&str> = (3..call.args.len()).map(|i| text(call, i)).collect();
        for source in &sources {
            check_name(source, "source", call)?;
        }
        check_name(target, "destination", call)?;
        let separators = separator.len().saturating_mul(sources.len());
        let mut reserved = self.reservation();
        self.relabelled(call, grid, sink, |row| {
            let value_of = |source: &&str| row.labels.get(source).unwrap_or("");
            let lengths = sources.iter().map(|source| value_of(source).len());
            let length = lengths.fold(separators, usize::saturating_add);
            let list = size_of::<&str>().saturating_mul(sources.len());
            reserved.set(set_bytes(row, length).saturating_add(list))?;
            let values: Vec<&str> = sources.iter().map(value_of).collect();
            let value = values.join(separator);
            set(row, target, &value);
            Ok(())
        })
    }

    fn relabelled(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
        mut change: impl FnMut(&mut Row) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let Some(vector) = call.args.first() else {
            return Ok(());
        };
        let around = Around::function(call.function);
        self.merged(grid, sink, |sink| {
            self.vector(vector, grid, &around, &mut |mut row| {
                change(&mut row)?;
                sink(row)
            })
        })
    }
}
