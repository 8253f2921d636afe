//! Reads queries: a parser by precedence, whose errors are those of Prometheus 3.9.
//!
//! Prometheus' parser is generated from a grammar. What it says about a token that does not fit depends on the
//! innermost construct under way that has something to say; here each of those constructs adds its words to a
//! failure that has none yet ([`Failure::within`]). Only the first error is reported, as there.

mod aggregate;
mod binary;
mod duration;
pub(crate) mod error;
mod modifier;
mod number;
mod primary;
mod selector;

#[cfg(test)]
mod tests;

pub use error::ParseError;
use error::{Failure, Parsed};

use sabre_model::Matcher;

use crate::ast::Expr;
use crate::check;
use crate::lexer::{LexError, Lexer};
use crate::position::PosRange;
use crate::token::{Kind, Token};

/// The longest query that is read.
pub const MAX_QUERY_BYTES: usize = 1 << 20;

/// How deep expressions may nest; `1+1+1` nests as `(1+1)+1` does.
pub const MAX_DEPTH: usize = 400;

/// What all regular expressions of a query may weigh together, in states of their programs, each with
/// [`REGEX_WEIGHT`] besides: a fraction of a second to compile, and some ten megabytes.
pub const MAX_REGEX_WEIGHT: usize = 1 << 19;

/// What an expression weighs that needs no program.
const REGEX_WEIGHT: usize = 32;

/// What is said where there are more.
pub(crate) const TOO_MANY_REGEXES: &str =
    "the regular expressions of the query are too many or too large together: use fewer or simpler ones";

/// What is allowed in a query beyond what is stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Experimental functions and aggregations.
    pub experimental_functions: bool,
    /// Arithmetic of durations.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
}

impl ParseOptions {
    /// Everything.
    pub fn all() -> ParseOptions {
        ParseOptions {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
        }
    }
}

/// Reads a query and checks its types.
///
/// # Errors
///
/// With Prometheus' text, and the place in the query.
pub fn parse(query: &str, options: ParseOptions) -> Result<Expr, ParseError> {
    let parsed = read(query, options, |parser| {
        if parser.peek()?.kind == Kind::Eof {
            return Err(Failure::at(PosRange::default(), "no expression found in input"));
        }
        let expr = parser.expression(0)?.expr;
        parser.expect_end()?;
        Ok(expr)
    });
    let mut expr = parsed?;
    check::check(query, &mut expr).map_err(|failure| failure.into_error(query))?;
    Ok(expr)
}

/// Reads a selector of series, such as the HTTP API takes as `match[]`, into its conditions.
///
/// # Errors
///
/// With Prometheus' text, and the place in the selector.
pub fn parse_selector(selector: &str) -> Result<Vec<Matcher>, ParseError> {
    read(selector, ParseOptions::default(), |parser| {
        let token = parser.next()?;
        let selector = parser.vector_selector(token)?;
        parser.expect_end()?;
        Ok(selector.matchers)
    })
}

fn read<T>(
    query: &str,
    options: ParseOptions,
    parse: impl FnOnce(&mut Parser<'_>) -> Parsed<T>,
) -> Result<T, ParseError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(ParseError::too_long(query.len()));
    }
    let mut parser = Parser {
        lexer: Lexer::new(query),
        ahead: None,
        options,
        depth: 0,
        last_end: 0,
        duration_operators: 0,
        regex_weight: 0,
    };
    parse(&mut parser).map_err(|failure| failure.into_error(query))
}

/// An expression and how deep it nests.
struct Nested {
    expr: Expr,
    depth: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Result<Token<'a>, LexError>>,
    options: ParseOptions,
    /// How deep the parser itself has recursed.
    depth: usize,
    /// Where the last token taken ends.
    last_end: usize,
    /// How many operators between durations there were.
    duration_operators: usize,
    /// What the expressions of all matchers weigh so far.
    regex_weight: usize,
}

impl Nested {
    fn flat(expr: Expr) -> Nested {
        Nested { expr, depth: 1 }
    }
}

impl<'a> Parser<'a> {
    /// The next token, which stays where it is.
    fn peek(&mut self) -> Parsed<Token<'a>> {
        let lexer = &mut self.lexer;
        let ahead = self.ahead.get_or_insert_with(|| lexer.next_token());
        ahead.as_ref().copied().map_err(Failure::from)
    }

    fn next(&mut self) -> Parsed<Token<'a>> {
        let token = self.peek()?;
        self.ahead = None;
        self.last_end = token.end();
        Ok(token)
    }

    fn next_if(&mut self, kind: Kind) -> Parsed<Option<Token<'a>>> {
        if self.peek()?.kind != kind {
            return Ok(None);
        }
        self.next().map(Some)
    }

    fn expect(&mut self, kind: Kind) -> Parsed<Token<'a>> {
        let token = self.next()?;
        if token.kind == kind {
            return Ok(token);
        }
        Err(Failure::unexpected(token))
    }

    fn expect_end(&mut self) -> Parsed<()> {
        self.expect(Kind::Eof).map(drop)
    }

    /// Enters a construct that may hold itself.
    fn deeper<T>(&mut self, pos: PosRange, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        check_depth(self.depth, pos)?;
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}

fn check_depth(depth: usize, pos: PosRange) -> Parsed<()> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    Err(Failure::at(
        pos,
        format!("expression nests deeper than {MAX_DEPTH} levels"),
    ))
}
