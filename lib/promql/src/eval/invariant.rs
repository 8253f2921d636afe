//! Which expressions have the same value at every step, and which rows cannot come to have the same labels.

use sabre_model::MatchKind;
use sabre_model::selector::METRIC_NAME;

use crate::ast::{Expr, Operator, VectorSelector};
use crate::function::{Function, ValueType};

/// Whether an expression has the same value at every step. The parameter of an aggregation does not count, as in
/// Prometheus.
pub(super) fn is_invariant(expr: &Expr) -> bool {
    match expr {
        Expr::Vector(e) => e.at.is_some(),
        Expr::Matrix(e) => e.selector.at.is_some(),
        Expr::Subquery(e) => e.at.is_some(),
        Expr::Aggregate(e) => is_invariant(&e.expr),
        Expr::Binary(e) => is_invariant(&e.lhs) && is_invariant(&e.rhs),
        Expr::Call(e) => !e.function.depends_on_time() && e.args.iter().all(is_invariant),
        Expr::Paren(e) => is_invariant(&e.expr),
        Expr::Unary(e) => is_invariant(&e.expr),
        Expr::Number(_) | Expr::String(_) => true,
    }
}

/// Whether all series of a vector have the same name, or none: then they stay different without it.
pub(super) fn has_one_name(expr: &Expr) -> bool {
    match expr {
        Expr::Vector(e) => selects_one_name(e),
        Expr::Matrix(e) => selects_one_name(&e.selector),
        Expr::Subquery(e) => has_one_name(&e.expr),
        Expr::Paren(e) => has_one_name(&e.expr),
        Expr::Unary(e) => e.negative || has_one_name(&e.expr),
        Expr::Aggregate(e) if e.op.picks_series() => has_one_name(&e.expr),
        Expr::Aggregate(e) => {
            let named = !e.without && e.grouping.iter().any(|label| label == METRIC_NAME);
            let makes_name = matches!(&e.param, Some(Expr::String(label)) if label.value == METRIC_NAME);
            !named && !makes_name
        }
        Expr::Binary(e) => {
            let includes = e.matching.as_ref().is_some_and(|matching| {
                matching
                    .include
                    .iter()
                    .chain(&matching.labels)
                    .any(|l| l == METRIC_NAME)
            });
            if includes {
                return false;
            }
            match e.op {
                Operator::Or => false,
                Operator::And | Operator::Unless => has_one_name(&e.lhs),
                _ if e.return_bool || e.op.changes_metric() => true,
                _ => [&e.lhs, &e.rhs]
                    .into_iter()
                    .all(|side| side.value_type() == ValueType::Scalar || has_one_name(side)),
            }
        }
        Expr::Call(e) => match e.function {
            Function::LabelReplace | Function::LabelJoin => {
                let names = matches!(e.args.get(1), Some(Expr::String(label)) if label.value == METRIC_NAME);
                !names && e.args.first().is_some_and(has_one_name)
            }
            Function::Sort
            | Function::SortDesc
            | Function::SortByLabel
            | Function::SortByLabelDesc
            | Function::LastOverTime
            | Function::FirstOverTime => e.args.first().is_some_and(has_one_name),
            Function::Info => false,
            _ => true,
        },
        Expr::Number(_) | Expr::String(_) => true,
    }
}

fn selects_one_name(selector: &VectorSelector) -> bool {
    selector.matchers.iter().any(|matcher| {
        matcher.name() == METRIC_NAME && matcher.kind() == MatchKind::Eq && !matcher.value().is_empty()
    })
}
