//! The tokens of PromQL, and how errors call them.

use crate::go_text::{quoted, quoted_start};
use crate::position::PosRange;

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Eql,
    Colon,
    Comma,
    Comment,
    Duration,
    Eof,
    Identifier,
    LeftBrace,
    LeftBracket,
    LeftParen,
    MetricIdentifier,
    Number,
    RightBrace,
    RightBracket,
    RightParen,
    String,
    EqlRegex,
    NeqRegex,
    At,
    /// An operator between two expressions; `Sub` and `Add` stand before one too.
    Operator(Operator),
    Aggregator(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
}

/// The operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eq,
    /// `!=`
    Neq,
    /// `<=`
    Lte,
    /// `<`
    Lss,
    /// `>=`
    Gte,
    /// `>`
    Gtr,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

/// The aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `avg`
    Avg,
    /// `bottomk`
    Bottomk,
    /// `count`
    Count,
    /// `count_values`
    CountValues,
    /// `group`
    Group,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `quantile`
    Quantile,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `sum`
    Sum,
    /// `topk`
    Topk,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Preprocessor {
    Start,
    End,
    Step,
}

/// A token: its kind, its text, and where it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

impl Operator {
    /// How PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Sub => "-",
            Operator::Mul => "*",
            Operator::Div => "/",
            Operator::Mod => "%",
            Operator::Pow => "^",
            Operator::Atan2 => "atan2",
            Operator::Eq => "==",
            Operator::Neq => "!=",
            Operator::Lte => "<=",
            Operator::Lss => "<",
            Operator::Gte => ">=",
            Operator::Gtr => ">",
            Operator::And => "and",
            Operator::Or => "or",
            Operator::Unless => "unless",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Operator::Eq | Operator::Neq | Operator::Lte | Operator::Lss | Operator::Gte | Operator::Gtr
        )
    }

    /// Whether it works on sets of series.
    pub fn is_set(self) -> bool {
        matches!(self, Operator::And | Operator::Or | Operator::Unless)
    }

    /// Whether the result is another quantity than the operands are, so that the metric's name goes.
    pub fn changes_metric(self) -> bool {
        !self.is_comparison() && !self.is_set()
    }

    /// How strongly it binds.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Operator::Or => 1,
            Operator::And | Operator::Unless => 2,
            operator if operator.is_comparison() => 3,
            Operator::Add | Operator::Sub => 4,
            Operator::Pow => 6,
            _ => 5,
        }
    }
}

impl AggregateOp {
    /// How PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregateOp::Avg => "avg",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Count => "count",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Group => "group",
            AggregateOp::Max => "max",
            AggregateOp::Min => "min",
            AggregateOp::Quantile => "quantile",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Sum => "sum",
            AggregateOp::Topk => "topk",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(
            self,
            Topk | Bottomk | CountValues | Quantile | Limitk | LimitRatio
        )
    }

    /// Whether it picks series of its input rather than making new ones.
    pub fn picks_series(self) -> bool {
        use AggregateOp::{Bottomk, LimitRatio, Limitk, Topk};
        matches!(self, Topk | Bottomk | Limitk | LimitRatio)
    }

    pub(crate) fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

/// The words that are more than names, in lower case.
const WORDS: [(&str, Kind); 33] = [
    ("and", Kind::Operator(Operator::And)),
    ("or", Kind::Operator(Operator::Or)),
    ("unless", Kind::Operator(Operator::Unless)),
    ("atan2", Kind::Operator(Operator::Atan2)),
    ("sum", Kind::Aggregator(AggregateOp::Sum)),
    ("avg", Kind::Aggregator(AggregateOp::Avg)),
    ("count", Kind::Aggregator(AggregateOp::Count)),
    ("min", Kind::Aggregator(AggregateOp::Min)),
    ("max", Kind::Aggregator(AggregateOp::Max)),
    ("group", Kind::Aggregator(AggregateOp::Group)),
    ("stddev", Kind::Aggregator(AggregateOp::Stddev)),
    ("stdvar", Kind::Aggregator(AggregateOp::Stdvar)),
    ("topk", Kind::Aggregator(AggregateOp::Topk)),
    ("bottomk", Kind::Aggregator(AggregateOp::Bottomk)),
    ("count_values", Kind::Aggregator(AggregateOp::CountValues)),
    ("quantile", Kind::Aggregator(AggregateOp::Quantile)),
    ("limitk", Kind::Aggregator(AggregateOp::Limitk)),
    ("limit_ratio", Kind::Aggregator(AggregateOp::LimitRatio)),
    ("offset", Kind::Keyword(Keyword::Offset)),
    ("smoothed", Kind::Keyword(Keyword::Smoothed)),
    ("anchored", Kind::Keyword(Keyword::Anchored)),
    ("by", Kind::Keyword(Keyword::By)),
    ("without", Kind::Keyword(Keyword::Without)),
    ("on", Kind::Keyword(Keyword::On)),
    ("ignoring", Kind::Keyword(Keyword::Ignoring)),
    ("group_left", Kind::Keyword(Keyword::GroupLeft)),
    ("group_right", Kind::Keyword(Keyword::GroupRight)),
    ("bool", Kind::Keyword(Keyword::Bool)),
    ("start", Kind::Preprocessor(Preprocessor::Start)),
    ("end", Kind::Preprocessor(Preprocessor::End)),
    ("step", Kind::Preprocessor(Preprocessor::Step)),
    ("inf", Kind::Number),
    ("nan", Kind::Number),
];

/// What a word is; `None` for a name.
pub(crate) fn word_kind(word: &str) -> Option<Kind> {
    WORDS
        .iter()
        .find(|(text, _)| text.eq_ignore_ascii_case(word))
        .map(|(_, kind)| *kind)
}

impl Token<'_> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn pos(&self) -> PosRange {
        PosRange::new(self.start, self.end())
    }

    /// How errors call it.
    pub(crate) fn description(&self) -> String {
        let class = match self.kind {
            Kind::Eof => return "end of input".to_owned(),
            Kind::Identifier => return format!("identifier {}", quoted(self.text)),
            Kind::MetricIdentifier => return format!("metric identifier {}", quoted(self.text)),
            Kind::Keyword(_) => return format!("<{}>", self.text),
            Kind::Operator(_) | Kind::EqlRegex | Kind::NeqRegex | Kind::At => {
                return format!("<op:{}>", self.text);
            }
            Kind::Aggregator(_) => return format!("<aggr:{}>", self.text),
            Kind::String => "string ",
            Kind::Number => "number ",
            Kind::Duration => "duration ",
            _ => "",
        };
        if self.text.len() > 10 {
            return format!("{class}{}...", quoted_start(self.text, 10));
        }
        format!("{class}{}", quoted(self.text))
    }
}
