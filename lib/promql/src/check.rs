//! Checks the types of a query, as Prometheus does and with its words.

use sabre_model::selector::METRIC_NAME;

use crate::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, VectorSelector};
use crate::function::{Function, ValueType, Variadic};
use crate::go_text::quoted;
use crate::parser::error::{Failure, Parsed};
use crate::position::PosRange;

/// Checks `expr`, which was read from `query`, and settles how binary operators match.
pub(crate) fn check(query: &str, expr: &mut Expr) -> Parsed<()> {
    Checker { query }.expr(expr).map(drop)
}

struct Checker<'q> {
    query: &'q str,
}

fn fail<T>(pos: PosRange, message: impl Into<String>) -> Parsed<T> {
    Err(Failure::at(pos, message))
}

impl Checker<'_> {
    /// Checks an expression and returns its type.
    fn expr(&self, expr: &mut Expr) -> Parsed<ValueType> {
        match expr {
            Expr::Aggregate(e) => self.aggregate(e)?,
            Expr::Binary(e) => self.binary(e)?,
            Expr::Call(e) => self.call(e)?,
            Expr::Paren(e) => drop(self.expr(&mut e.expr)?),
            Expr::Unary(e) => {
                let found = self.expr(&mut e.expr)?;
                if found != ValueType::Scalar && found != ValueType::Vector {
                    let found = quoted(found.documented());
                    return fail(
                        expr.pos(),
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                        ),
                    );
                }
            }
            Expr::Subquery(e) => {
                let found = self.expr(&mut e.expr)?;
                if found != ValueType::Vector {
                    let found = found.as_str();
                    return fail(
                        expr.pos(),
                        format!("subquery is only allowed on instant vector, got {found} instead"),
                    );
                }
            }
            Expr::Matrix(e) => check_selector(&e.selector, false)?,
            Expr::Vector(e) => check_selector(e, false)?,
            Expr::Number(_) | Expr::String(_) => {}
        }
        Ok(expr.value_type())
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, context: &str) -> Parsed<()> {
        let found = self.expr(expr)?;
        check_type(expr.pos(), wanted, found, context)
    }

    fn aggregate(&self, e: &mut Aggregate) -> Parsed<()> {
        self.expect(&mut e.expr, ValueType::Vector, "aggregation expression")?;
        let wanted = match e.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        match &mut e.param {
            Some(param) => self.expect(param, wanted, "aggregation parameter"),
            None => Ok(()),
        }
    }

    fn binary(&self, e: &mut Binary) -> Parsed<()> {
        let left = self.expr(&mut e.lhs)?;
        let right = self.expr(&mut e.rhs)?;
        if e.return_bool && !e.op.is_comparison() {
            return fail(
                self.operator_pos(e),
                "bool modifier can only be used on comparison operators",
            );
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if e.op.is_comparison() && !e.return_bool && scalars {
            return fail(
                self.operator_pos(e),
                "comparisons between scalars must use BOOL modifier",
            );
        }
        self.matching(e)?;
        for (operand, found) in [(&e.lhs, left), (&e.rhs, right)] {
            if found != ValueType::Scalar && found != ValueType::Vector {
                return fail(
                    operand.pos(),
                    "binary expression must contain only scalar and instant vector types",
                );
            }
        }
        check_cardinality(e, left, right)
    }

    fn matching(&self, e: &mut Binary) -> Parsed<()> {
        let pos = self.operator_pos(e);
        let Some(matching) = &mut e.matching else {
            return Ok(());
        };
        if e.op.is_set() && matching.card == Cardinality::OneToOne {
            matching.card = Cardinality::ManyToMany;
        }
        if matching.on
            && let Some(label) = matching
                .labels
                .iter()
                .find(|label| matching.include.contains(label))
        {
            return fail(
                pos,
                format!(
                    "label {} must not occur in ON and GROUP clause at once",
                    quoted(label)
                ),
            );
        }
        Ok(())
    }

    /// Where the operator and its modifiers stand.
    fn operator_pos(&self, e: &Binary) -> PosRange {
        let (start, end) = (e.lhs.pos().end, e.rhs.pos().start);
        let between = self.query.get(start..end).unwrap_or("");
        let space = [' ', '\t', '\n', '\r'];
        let skipped = between.len() - between.trim_start_matches(space).len();
        PosRange::new(start + skipped, end)
    }

    fn call(&self, e: &mut Call) -> Parsed<()> {
        let signature = e.function.signature();
        let name = quoted(e.function.name());
        check_count(e)?;
        if e.function == Function::Info {
            check_info(e)?;
        }
        for (i, arg) in e.args.iter_mut().enumerate() {
            let wanted = match signature.args.get(i).or(signature.args.last()) {
                Some(wanted) => *wanted,
                None => return Ok(()),
            };
            let found = match &*arg {
                Expr::Vector(selector) if e.function == Function::Info && i == 1 => {
                    check_selector(selector, true)?;
                    ValueType::Vector
                }
                _ => self.expr(arg)?,
            };
            check_type(arg.pos(), wanted, found, &format!("call to function {name}"))?;
        }
        Ok(())
    }
}

fn check_type(pos: PosRange, wanted: ValueType, found: ValueType, context: &str) -> Parsed<()> {
    if wanted == found {
        return Ok(());
    }
    let (wanted, found) = (wanted.documented(), found.documented());
    fail(pos, format!("expected type {wanted} in {context}, got {found}"))
}

fn check_count(e: &Call) -> Parsed<()> {
    let signature = e.function.signature();
    let (wanted, found) = (signature.args.len(), e.args.len());
    let name = quoted(e.function.name());
    let (how, wanted) = match signature.variadic {
        Variadic::No if found != wanted => ("", wanted),
        Variadic::Optional | Variadic::Any if found + 1 < wanted => ("at least ", wanted - 1),
        Variadic::Optional if found > wanted => ("at most ", wanted),
        _ => return Ok(()),
    };
    fail(
        e.pos,
        format!("expected {how}{wanted} argument(s) in call to {name}, got {found}"),
    )
}

/// The second argument of `info` is a selector without a name.
fn check_info(e: &Call) -> Parsed<()> {
    let Some(selector) = e.args.get(1) else {
        return Ok(());
    };
    check_type(
        e.pos,
        ValueType::Vector,
        selector.value_type(),
        "call to function \"info\"",
    )?;
    match selector {
        Expr::Vector(found) if !found.name.is_empty() => fail(
            selector.pos(),
            "expected label selectors only, got vector selector instead",
        ),
        Expr::Vector(_) => Ok(()),
        _ => fail(selector.pos(), "expected label selectors only"),
    }
}

fn check_cardinality(e: &mut Binary, left: ValueType, right: ValueType) -> Parsed<()> {
    let pos = e.pos();
    let op = quoted(e.op.as_str());
    let vectors = left == ValueType::Vector && right == ValueType::Vector;
    if let Some(matching) = &e.matching {
        if !vectors && !matching.labels.is_empty() {
            return fail(pos, "vector matching only allowed between instant vectors");
        }
        let grouped = matches!(matching.card, Cardinality::OneToMany | Cardinality::ManyToOne);
        if vectors && e.op.is_set() && grouped {
            return fail(pos, format!("no grouping allowed for {op} operation"));
        }
    }
    if !vectors {
        e.matching = None;
        if e.op.is_set() {
            return fail(
                pos,
                format!("set operator {op} not allowed in binary scalar expression"),
            );
        }
    }
    Ok(())
}

fn check_selector(selector: &VectorSelector, may_match_all: bool) -> Parsed<()> {
    if !selector.name.is_empty() {
        let inner = selector.matchers.split_last().map_or(&[][..], |(_, inner)| inner);
        if let Some(second) = inner.iter().find(|matcher| matcher.name() == METRIC_NAME) {
            let (first, second) = (quoted(&selector.name), quoted(second.value()));
            return fail(
                selector.pos,
                format!("metric name must not be set twice: {first} or {second}"),
            );
        }
        return Ok(());
    }
    if !may_match_all && selector.matchers.iter().all(|matcher| matcher.matches("")) {
        return fail(
            selector.pos,
            "vector selector must contain at least one non-empty matcher",
        );
    }
    Ok(())
}
