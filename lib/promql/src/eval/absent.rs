//! `absent` and `absent_over_time`.

use sabre_model::selector::METRIC_NAME;
use sabre_model::{Labels, MatchKind, Matcher};

use super::evaluator::{Around, Evaluator, Sink};
use super::{Grid, Row};
use crate::ast::{Call, Expr};
use crate::error::Evaluated;
use crate::function::Function;

impl Evaluator<'_> {
    pub(super) fn absent(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(arg) = call.args.first() else {
            return Ok(());
        };
        let mut absent = vec![1.0; grid.count];
        self.vector(arg, grid, &Around::function(call.function), &mut |row| {
            note_presence(&row, &mut absent);
            Ok(())
        })?;
        emit(arg, absent, sink)
    }

    pub(super) fn absent_over_time(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let mut absent = vec![1.0; grid.count];
        // A series that has any sample in a range is present.
        let presence = Call {
            function: Function::PresentOverTime,
            args: vec![arg.clone()],
            pos: arg.pos(),
        };
        self.range_rows(&presence, arg, grid, &mut |row| {
            note_presence(&row, &mut absent);
            Ok(())
        })?;
        emit(arg, absent, sink)
    }
}

fn note_presence(row: &Row, absent: &mut [f64]) {
    for (step, place) in absent.iter_mut().enumerate() {
        if row.has(step) {
            *place = super::row::NOTHING;
        }
    }
}

fn emit(arg: &Expr, absent: Vec<f64>, sink: Sink<'_>) -> Evaluated<()> {
    let mut row = Row::empty(labels_of(arg), 0);
    row.floats = absent;
    if row.is_empty() {
        return Ok(());
    }
    sink(row)
}

/// The labels that a selector asks for by `=`, unless it says more about them.
fn labels_of(arg: &Expr) -> Labels {
    let matchers: &[Matcher] = match arg {
        Expr::Vector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    // Of a label that is asked for twice, only what comes before the first `=` does not count.
    let mut labels: Vec<(&str, Option<&str>)> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        let is_equal = matcher.kind() == MatchKind::Eq;
        match labels.iter_mut().find(|(name, _)| *name == matcher.name()) {
            Some((_, value)) => *value = None,
            None if is_equal => labels.push((matcher.name(), Some(matcher.value()))),
            None => {}
        }
    }
    let known = labels
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    Labels::from_pairs(known).unwrap_or_default()
}
