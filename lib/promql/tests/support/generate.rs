//! Random queries of right types.

use sabre_model::selector::METRIC_NAME;
use sabre_model::{MatchKind, Matcher};
use sabre_promql::ast::{
    Aggregate, AggregateOp, At, Binary, Call, Cardinality, Duration, Expr, MatrixSelector, NumberLiteral,
    Operator, Paren, StringLiteral, Subquery, Unary, VectorMatching, VectorSelector,
};
use sabre_promql::function::{Function, ValueType, Variadic};
use sabre_promql::position::PosRange;

use super::random::Random;

/// What queries may contain.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    pub(crate) metrics: &'static [&'static str],
    pub(crate) labels: &'static [&'static str],
    pub(crate) values: &'static [&'static str],
    /// Start and end of the data in milliseconds, for `@`.
    pub(crate) times: (i64, i64),
    pub(crate) ranges_s: &'static [i64],
    pub(crate) functions: Vec<Function>,
}

const P: PosRange = PosRange { start: 0, end: 0 };

const ARITHMETIC: [Operator; 7] = [
    Operator::Add,
    Operator::Sub,
    Operator::Mul,
    Operator::Div,
    Operator::Mod,
    Operator::Pow,
    Operator::Atan2,
];
const COMPARISON: [Operator; 6] = [
    Operator::Eq,
    Operator::Neq,
    Operator::Lss,
    Operator::Lte,
    Operator::Gtr,
    Operator::Gte,
];
const SET: [Operator; 3] = [Operator::And, Operator::Or, Operator::Unless];
const AGGREGATES: [AggregateOp; 14] = [
    AggregateOp::Sum,
    AggregateOp::Avg,
    AggregateOp::Count,
    AggregateOp::Min,
    AggregateOp::Max,
    AggregateOp::Group,
    AggregateOp::Stddev,
    AggregateOp::Stdvar,
    AggregateOp::Topk,
    AggregateOp::Bottomk,
    AggregateOp::Quantile,
    AggregateOp::CountValues,
    AggregateOp::Limitk,
    AggregateOp::LimitRatio,
];

/// Makes queries.
pub(crate) struct Generator<'r> {
    pub(crate) random: &'r mut Random,
    pub(crate) vocabulary: Vocabulary,
}

impl Generator<'_> {
    /// An expression that is a query by itself.
    pub(crate) fn query(&mut self, depth: usize) -> Expr {
        match self.random.below(12) {
            0 => self.scalar(depth),
            _ => self.vector(depth),
        }
    }

    pub(crate) fn number(&mut self) -> Expr {
        let value = self.random.pick(&[
            0.0,
            1.0,
            2.0,
            3.5,
            0.5,
            0.25,
            10.0,
            -1.0,
            100.0,
            1e-3,
            f64::INFINITY,
            f64::NAN,
        ]);
        Expr::Number(NumberLiteral {
            value,
            is_duration: false,
            pos: P,
        })
    }

    fn scalar(&mut self, depth: usize) -> Expr {
        if depth == 0 || self.random.once_in(2) {
            return self.number();
        }
        match self.random.below(5) {
            0 => call(Function::Time, vec![]),
            1 => call(Function::Pi, vec![]),
            2 => call(Function::Scalar, vec![self.vector(depth - 1)]),
            3 => self.paren_or(depth, Generator::scalar),
            _ => {
                let comparison = self.random.once_in(3);
                let op = if comparison {
                    self.random.pick(&COMPARISON)
                } else {
                    self.random.pick(&ARITHMETIC)
                };
                let (lhs, rhs) = (self.scalar(depth - 1), self.scalar(depth - 1));
                binary(op, lhs, rhs, None, comparison)
            }
        }
    }

    fn paren_or(&mut self, depth: usize, make: fn(&mut Self, usize) -> Expr) -> Expr {
        let expr = make(self, depth - 1);
        Expr::Paren(Box::new(Paren { expr, pos: P }))
    }

    pub(crate) fn selector(&mut self) -> VectorSelector {
        let mut matchers = Vec::new();
        let name = self.random.pick(self.vocabulary.metrics);
        for _ in 0..self.random.pick(&[0, 0, 0, 1, 1, 2]) {
            let label = self.random.pick(self.vocabulary.labels);
            let kind = self
                .random
                .pick(&[MatchKind::Eq, MatchKind::Neq, MatchKind::Re, MatchKind::Nre]);
            let value = self.random.pick(self.vocabulary.values);
            matchers.push(Matcher::new(kind, label, value).unwrap());
        }
        matchers.sort_by_key(ToString::to_string);
        matchers.push(Matcher::equal(METRIC_NAME, name));
        let (offset, at) = self.shift();
        VectorSelector {
            name: name.to_owned(),
            matchers,
            offset,
            at,
            anchored: false,
            smoothed: false,
            pos: P,
        }
    }

    fn shift(&mut self) -> (Duration, Option<At>) {
        let offset = match self.random.below(8) {
            0 => seconds(self.random.pick(self.vocabulary.ranges_s)),
            1 => seconds(-self.random.pick(self.vocabulary.ranges_s)),
            _ => Duration::ZERO,
        };
        let at = match self.random.below(16) {
            0 => Some(At::Start),
            1 => Some(At::End),
            2 => {
                let (start, end) = self.vocabulary.times;
                let seconds = self.random.below(((end - start) / 1000) as usize) as i64;
                Some(At::Time(start / 1000 * 1000 + seconds * 1000))
            }
            _ => None,
        };
        (offset, at)
    }

    fn matrix(&mut self, depth: usize) -> Expr {
        let range = seconds(self.random.pick(self.vocabulary.ranges_s));
        if depth == 0 || !self.random.once_in(4) {
            let selector = self.selector();
            return Expr::Matrix(Box::new(MatrixSelector {
                selector,
                range,
                end: 0,
            }));
        }
        let (offset, at) = self.shift();
        let step = match self.random.below(3) {
            0 => Duration::ZERO,
            _ => seconds(self.random.pick(&[15, 30, 60, 97])),
        };
        let expr = atom(self.vector(depth - 1));
        Expr::Subquery(Box::new(Subquery {
            expr,
            range,
            step,
            offset,
            at,
            end: 0,
        }))
    }

    /// An expression that is a vector.
    pub(crate) fn vector(&mut self, depth: usize) -> Expr {
        if depth == 0 {
            return Expr::Vector(Box::new(self.selector()));
        }
        match self.random.below(10) {
            0 | 1 => {
                let mut selector = self.selector();
                selector.smoothed = self.random.once_in(12);
                Expr::Vector(Box::new(selector))
            }
            2..=4 => self.call(depth),
            5 | 6 => self.aggregate(depth),
            7 => {
                let expr = atom(self.vector(depth - 1));
                let negative = !self.random.once_in(4);
                Expr::Unary(Box::new(Unary {
                    negative,
                    expr,
                    start: 0,
                }))
            }
            8 if self.random.once_in(3) => self.paren_or(depth, Generator::vector),
            _ => self.binary(depth),
        }
    }

    fn binary(&mut self, depth: usize) -> Expr {
        let kind = self.random.below(3);
        if kind == 0 {
            let op = self.random.pick(&SET);
            let (lhs, rhs) = (self.vector(depth - 1), self.vector(depth - 1));
            let matching = self.matching(Cardinality::ManyToMany);
            return binary(op, lhs, rhs, Some(matching), false);
        }
        let op = if kind == 1 {
            self.random.pick(&ARITHMETIC)
        } else {
            self.random.pick(&COMPARISON)
        };
        let return_bool = kind == 2 && self.random.once_in(3);
        match self.random.below(4) {
            0 => {
                let (lhs, rhs) = (self.vector(depth - 1), self.scalar(depth - 1));
                binary(op, lhs, rhs, None, return_bool)
            }
            1 => {
                let (lhs, rhs) = (self.scalar(depth - 1), self.vector(depth - 1));
                binary(op, lhs, rhs, None, return_bool)
            }
            _ => {
                let card = self.random.pick(&[
                    Cardinality::OneToOne,
                    Cardinality::OneToOne,
                    Cardinality::ManyToOne,
                    Cardinality::OneToMany,
                ]);
                let matching = self.matching(card);
                let (lhs, rhs) = (self.vector(depth - 1), self.vector(depth - 1));
                binary(op, lhs, rhs, Some(matching), return_bool)
            }
        }
    }

    fn matching(&mut self, card: Cardinality) -> VectorMatching {
        let grouped = matches!(card, Cardinality::ManyToOne | Cardinality::OneToMany);
        let mut matching = VectorMatching {
            card,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
        };
        if grouped || self.random.once_in(2) {
            matching.on = self.random.once_in(2);
            matching.labels = self.some_labels();
        }
        if grouped && self.random.once_in(2) {
            let include = self.some_labels();
            matching.include = include
                .into_iter()
                .filter(|l| !matching.labels.contains(l))
                .collect();
        }
        matching
    }

    fn some_labels(&mut self) -> Vec<String> {
        let mut labels = Vec::new();
        for label in self.vocabulary.labels {
            if self.random.once_in(3) {
                labels.push((*label).to_owned());
            }
        }
        labels
    }

    fn aggregate(&mut self, depth: usize) -> Expr {
        let op = self.random.pick(&AGGREGATES);
        let param = match op {
            AggregateOp::CountValues => Some(self.string(&["v", "le", "a"])),
            op if op.has_parameter() => Some(if self.random.once_in(4) {
                self.scalar(depth - 1)
            } else {
                self.number()
            }),
            _ => None,
        };
        let without = self.random.once_in(3);
        let grouping = self.some_labels();
        let expr = self.vector(depth - 1);
        Expr::Aggregate(Box::new(Aggregate {
            op,
            param,
            expr,
            grouping,
            without,
            pos: P,
        }))
    }

    fn string(&mut self, of: &[&str]) -> Expr {
        Expr::String(StringLiteral {
            value: self.random.pick(of).to_owned(),
            pos: P,
        })
    }

    fn call(&mut self, depth: usize) -> Expr {
        let function = self.random.pick(&self.vocabulary.functions);
        let signature = function.signature();
        let mut count = signature.args.len();
        match signature.variadic {
            Variadic::No => {}
            Variadic::Optional if self.random.once_in(2) => count -= 1,
            Variadic::Any => count += self.random.below(3),
            Variadic::Optional => {}
        }
        let mut args = Vec::new();
        for i in 0..count {
            let wanted = *signature.args.get(i).or(signature.args.last()).unwrap();
            args.push(match wanted {
                ValueType::Vector if function == Function::Info && i == 1 => self.label_selector(),
                ValueType::Scalar => self.scalar(depth - 1),
                ValueType::Vector => self.vector(depth - 1),
                ValueType::Matrix => {
                    let mut matrix = self.matrix(depth - 1);
                    self.extend(function, &mut matrix);
                    matrix
                }
                ValueType::String => self.function_string(function, i),
            });
        }
        call(function, args)
    }

    /// Makes some ranges anchored or smoothed, mostly where that is allowed.
    fn extend(&mut self, function: Function, matrix: &mut Expr) {
        use Function::{Changes, Delta, Increase, Rate, Resets};
        let allowed = matches!(function, Changes | Delta | Increase | Rate | Resets);
        let Expr::Matrix(matrix) = matrix else { return };
        match self.random.below(if allowed { 6 } else { 60 }) {
            0 => matrix.selector.anchored = true,
            1 => matrix.selector.smoothed = true,
            _ => {}
        }
    }

    /// A selector without a name, as `info` takes it.
    fn label_selector(&mut self) -> Expr {
        let mut selector = self.selector();
        selector.name = String::new();
        (selector.offset, selector.at) = (Duration::ZERO, None);
        selector.matchers.pop();
        let name = match self.random.below(6) {
            0 => Some(Matcher::equal(METRIC_NAME, "build_info")),
            1 => Some(Matcher::new(MatchKind::Re, METRIC_NAME, ".+_info").unwrap()),
            2 => Some(Matcher::new(MatchKind::Neq, METRIC_NAME, "target_info").unwrap()),
            _ => None,
        };
        selector.matchers.extend(name);
        if selector.matchers.is_empty() {
            // Printed, nothing at all would be left of it.
            selector
                .matchers
                .push(Matcher::new(MatchKind::Re, "a", ".*").unwrap());
        }
        selector.matchers.sort_by_key(ToString::to_string);
        Expr::Vector(Box::new(selector))
    }

    fn function_string(&mut self, function: Function, i: usize) -> Expr {
        match (function, i) {
            (Function::LabelReplace, 2) => self.string(&["$1", "x-$1", "", "${1}y"]),
            (Function::LabelReplace, 4) => self.string(&["(.*)", "x(.*)", "(a|b)", ".*", "q"]),
            (Function::LabelJoin, 2) => self.string(&["-", "", "/"]),
            _ => {
                let labels = self.vocabulary.labels;
                self.string(&[labels, &["new", METRIC_NAME]].concat())
            }
        }
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::Known(seconds * 1_000_000_000)
}

fn call(function: Function, args: Vec<Expr>) -> Expr {
    Expr::Call(Box::new(Call {
        function,
        args,
        pos: P,
    }))
}

/// An operand: in parentheses where the printed text would be read otherwise.
fn atom(expr: Expr) -> Expr {
    match expr {
        Expr::Binary(_) | Expr::Unary(_) => Expr::Paren(Box::new(Paren { expr, pos: P })),
        Expr::Number(number) if number.value.is_sign_negative() || number.value.is_infinite() => {
            Expr::Paren(Box::new(Paren { expr, pos: P }))
        }
        expr => expr,
    }
}

fn binary(op: Operator, lhs: Expr, rhs: Expr, matching: Option<VectorMatching>, return_bool: bool) -> Expr {
    Expr::Binary(Box::new(Binary {
        op,
        lhs: atom(lhs),
        rhs: atom(rhs),
        matching,
        return_bool,
    }))
}
