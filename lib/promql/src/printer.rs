//! Prints queries as Prometheus does.

use std::fmt::{self, Display, Formatter, Write as _};

use sabre_model::MatchKind;
use sabre_model::duration::format_model;
use sabre_model::quote::GoQuoted;
use sabre_model::selector::METRIC_NAME;

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Duration, DurationExpr, Expr, MatrixSelector, Subquery,
    VectorMatching, VectorSelector,
};
use crate::go_text::format_f;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Aggregate(e) => e.fmt(f),
            Expr::Binary(e) => e.fmt(f),
            Expr::Call(e) => {
                write!(f, "{}(", e.function.name())?;
                for (i, arg) in e.args.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_str(")")
            }
            Expr::Matrix(e) => e.fmt(f),
            Expr::Subquery(e) => e.fmt(f),
            Expr::Number(e) => write_number(f, e.value, e.is_duration),
            Expr::Paren(e) => write!(f, "({})", e.expr),
            Expr::String(e) => write!(f, "{}", GoQuoted(&e.value)),
            Expr::Unary(e) => write!(f, "{}{}", if e.negative { "-" } else { "+" }, e.expr),
            Expr::Vector(e) => e.fmt(f),
        }
    }
}

fn write_number(f: &mut Formatter<'_>, value: f64, is_duration: bool) -> fmt::Result {
    if is_duration {
        f.write_str(&format_duration((value * 1e9) as i64))
    } else {
        f.write_str(&format_f(value))
    }
}

/// Nanoseconds in Prometheus' units, what is below a millisecond cut off.
fn format_duration(ns: i64) -> String {
    let ms = ns / 1_000_000;
    let sign = if ns < 0 && ms == 0 { "-" } else { "" };
    format!("{sign}{}", format_model(ms))
}

fn write_labels(f: &mut Formatter<'_>, labels: &[String]) -> fmt::Result {
    for (i, label) in labels.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        if is_legacy_metric_name(label) {
            f.write_str(label)?;
        } else {
            write!(f, "{}", GoQuoted(label))?;
        }
    }
    Ok(())
}

fn is_legacy_metric_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

/// An aggregation up to its parenthesis.
pub(crate) struct Grouped<'e>(pub(crate) &'e Aggregate);

/// An operator with all that belongs to it but its sides.
pub(crate) struct Operation<'e>(pub(crate) &'e Binary);

/// What stands behind the expression of a subquery.
pub(crate) struct SubqueryTimes<'e>(pub(crate) &'e Subquery);

impl Display for Grouped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Grouped(aggregate) = self;
        f.write_str(aggregate.op.as_str())?;
        if aggregate.without || !aggregate.grouping.is_empty() {
            f.write_str(if aggregate.without { " without (" } else { " by (" })?;
            write_labels(f, &aggregate.grouping)?;
            f.write_str(") ")?;
        }
        Ok(())
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", Grouped(self))?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Operation(binary) = self;
        let return_bool = if binary.return_bool { " bool" } else { "" };
        write!(f, "{}{return_bool}", binary.op.as_str())?;
        match &binary.matching {
            Some(matching) => write_matching(f, matching),
            None => Ok(()),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.lhs, Operation(self), self.rhs)
    }
}

fn write_matching(f: &mut Formatter<'_>, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.card {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        _ => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        write_labels(f, &matching.labels)?;
        f.write_str(")")?;
    }
    if let Some(group) = group {
        write!(f, " group_{group} (")?;
        write_labels(f, &matching.include)?;
        f.write_str(")")?;
    }
    Ok(())
}

fn write_at(f: &mut Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Time(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
    }
}

fn write_offset(f: &mut Formatter<'_>, offset: &Duration) -> fmt::Result {
    if offset.is_zero() {
        return Ok(());
    }
    write!(f, " offset {offset}")
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Known(ns) => f.write_str(&format_duration(*ns)),
            Duration::Computed(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Literal {
                value, is_duration, ..
            } => write_number(f, *value, *is_duration),
            DurationExpr::Step(_) => f.write_str("step()"),
            DurationExpr::Extreme { max, args, .. } => {
                let name = if *max { "max" } else { "min" };
                write!(f, "{name}({}, {})", args.0, args.1)
            }
            DurationExpr::Negated { expr, .. } => write!(f, "-{expr}"),
            DurationExpr::Binary { op, args } => write!(f, "{} {} {}", args.0, op.as_str(), args.1),
            DurationExpr::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_selected(f, self)?;
        write_at(f, self.at)?;
        f.write_str(extension(self))?;
        write_offset(f, &self.offset)
    }
}

fn extension(selector: &VectorSelector) -> &'static str {
    match (selector.anchored, selector.smoothed) {
        (true, _) => " anchored",
        (_, true) => " smoothed",
        _ => "",
    }
}

/// Writes name and conditions.
fn write_selected(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    f.write_str(&selector.name)?;
    let is_name = |matcher: &sabre_model::Matcher| {
        matcher.name() == METRIC_NAME
            && matcher.kind() == MatchKind::Eq
            && matcher.value() == selector.name
            && !selector.name.is_empty()
    };
    let others = selector.matchers.iter().filter(|matcher| !is_name(matcher));
    let mut texts: Vec<String> = others.map(ToString::to_string).collect();
    if texts.is_empty() {
        return Ok(());
    }
    texts.sort();
    f.write_char('{')?;
    f.write_str(&texts.join(","))?;
    f.write_char('}')
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_selected(f, &self.selector)?;
        write!(f, "[{}]{}", self.range, extension(&self.selector))?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

impl Display for SubqueryTimes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SubqueryTimes(subquery) = self;
        write!(f, "[{}:", subquery.range)?;
        if !subquery.step.is_zero() {
            write!(f, "{}", subquery.step)?;
        }
        f.write_str("]")?;
        write_at(f, subquery.at)?;
        write_offset(f, &subquery.offset)
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, SubqueryTimes(self))
    }
}
