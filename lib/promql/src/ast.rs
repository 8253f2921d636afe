//! What a query means, as a tree.

mod duration;

pub use duration::{Duration, DurationExpr};

use sabre_model::Matcher;

use crate::function::{Function, ValueType};
use crate::position::PosRange;
pub use crate::token::{AggregateOp, Operator};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `sum by (job) (…)`
    Aggregate(Box<Aggregate>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `rate(…)`
    Call(Box<Call>),
    /// `up[5m]`
    Matrix(Box<MatrixSelector>),
    /// `up[1h:5m]`
    Subquery(Box<Subquery>),
    /// `1.5`, `5m`
    Number(NumberLiteral),
    /// `(…)`
    Paren(Box<Paren>),
    /// `"text"`
    String(StringLiteral),
    /// `-a`
    Unary(Box<Unary>),
    /// `up{job="a"}`
    Vector(Box<VectorSelector>),
}

/// An aggregation over series.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which one.
    pub op: AggregateOp,
    /// Its parameter, where it takes one.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// The labels to group by, or without, as written.
    pub grouping: Vec<String>,
    /// Whether `grouping` is what groups do not look at.
    pub without: bool,
    /// Where it stands.
    pub pos: PosRange,
}

/// Two expressions with an operator between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: Operator,
    /// The left operand.
    pub lhs: Expr,
    /// The right operand.
    pub rhs: Expr,
    /// How series find each other; `None` unless both operands are vectors.
    pub matching: Option<VectorMatching>,
    /// Whether a comparison gives 0 and 1.
    pub return_bool: bool,
}

/// How many series of one side go with how many of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// One with one.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the series of two vectors find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorMatching {
    /// How many with how many.
    pub card: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` are those of `on`.
    pub on: bool,
    /// The labels taken from the side of the one.
    pub include: Vec<String>,
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub pos: PosRange,
}

/// The time of `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A selector of the newest sample of series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name before the braces, empty where there is none.
    pub name: String,
    /// All conditions; the one on `name` is the last.
    pub matchers: Vec<Matcher>,
    /// How far back.
    pub offset: Duration,
    /// `@`
    pub at: Option<At>,
    /// Whether ranges begin at a sample.
    pub anchored: bool,
    /// Whether values are interpolated.
    pub smoothed: bool,
    /// Where it stands.
    pub pos: PosRange,
}

/// A selector of the samples of a time range.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series.
    pub selector: VectorSelector,
    /// How long the range is.
    pub range: Duration,
    /// Where it ends.
    pub end: usize,
}

/// An expression evaluated at many times.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How long the range is.
    pub range: Duration,
    /// The time between evaluations; zero where it is not given.
    pub step: Duration,
    /// How far back.
    pub offset: Duration,
    /// `@`
    pub at: Option<At>,
    /// Where it ends.
    pub end: usize,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value; of a duration the seconds.
    pub value: f64,
    /// Whether it was written as a duration.
    pub is_duration: bool,
    /// Where it stands.
    pub pos: PosRange,
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// What it says.
    pub value: String,
    /// Where it stands.
    pub pos: PosRange,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// What they hold.
    pub expr: Expr,
    /// Where they stand.
    pub pos: PosRange,
}

/// An expression with a sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether the sign is `-`.
    pub negative: bool,
    /// What follows it.
    pub expr: Expr,
    /// Where the sign stands.
    pub start: usize,
}

impl Expr {
    /// Where the expression stands.
    pub fn pos(&self) -> PosRange {
        match self {
            Expr::Aggregate(e) => e.pos,
            Expr::Binary(e) => e.pos(),
            Expr::Call(e) => e.pos,
            Expr::Matrix(e) => e.pos(),
            Expr::Subquery(e) => PosRange::new(e.expr.pos().start, e.end),
            Expr::Number(e) => e.pos,
            Expr::Paren(e) => e.pos,
            Expr::String(e) => e.pos,
            Expr::Unary(e) => PosRange::new(e.start, e.expr.pos().end),
            Expr::Vector(e) => e.pos,
        }
    }

    /// What the expression gives.
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Aggregate(_) | Expr::Vector(_) => ValueType::Vector,
            Expr::Binary(e) => {
                let scalars =
                    e.lhs.value_type() == ValueType::Scalar && e.rhs.value_type() == ValueType::Scalar;
                if scalars {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            Expr::Call(e) => e.function.signature().returns,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Number(_) => ValueType::Scalar,
            Expr::Paren(e) => e.expr.value_type(),
            Expr::String(_) => ValueType::String,
            Expr::Unary(e) => e.expr.value_type(),
        }
    }

    /// The expression within all parentheses around it.
    pub fn unwrapped(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// The expressions directly within this one, in the order of the text.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Aggregate(e) => e.param.iter().chain([&e.expr]).collect(),
            Expr::Binary(e) => vec![&e.lhs, &e.rhs],
            Expr::Call(e) => e.args.iter().collect(),
            Expr::Subquery(e) => vec![&e.expr],
            Expr::Paren(e) => vec![&e.expr],
            Expr::Unary(e) => vec![&e.expr],
            Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Vector(_) => Vec::new(),
        }
    }
}

impl Binary {
    /// Where it stands.
    pub fn pos(&self) -> PosRange {
        self.lhs.pos().to(self.rhs.pos())
    }
}

impl MatrixSelector {
    /// Where it stands.
    pub fn pos(&self) -> PosRange {
        PosRange::new(self.selector.pos.start, self.end)
    }
}

impl VectorMatching {
    /// One with one, by all labels.
    pub fn one_to_one() -> VectorMatching {
        VectorMatching {
            card: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
        }
    }
}
