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
        check_name(target, "destination", call)?;
        self.relabelled(call, grid, sink, |row| {
            let value = row.labels.get(source).unwrap_or("");
            if let Some(caught) = regex.captures(value) {
                let value = caught.expand(template);
                set(row, target, &value);
            }
        })
    }

    pub(super) fn label_join(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let (target, separator) = (text(call, 1), text(call, 2));
        let sources: Vec<&str> = (3..call.args.len()).map(|i| text(call, i)).collect();
        for source in &sources {
            check_name(source, "source", call)?;
        }
        check_name(target, "destination", call)?;
        self.relabelled(call, grid, sink, |row| {
            let values: Vec<&str> = sources
                .iter()
                .map(|source| row.labels.get(source).unwrap_or(""))
                .collect();
            let value = values.join(separator);
            set(row, target, &value);
        })
    }

    fn relabelled(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
        change: impl Fn(&mut Row),
    ) -> Evaluated<()> {
        let Some(vector) = call.args.first() else {
            return Ok(());
        };
        let around = Around::function(call.function);
        self.merged(grid, sink, |sink| {
            self.vector(vector, grid, &around, &mut |mut row| {
                change(&mut row);
                sink(row)
            })
        })
    }
}
