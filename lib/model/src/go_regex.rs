//! Go's regular expressions (RE2 syntax) on the `regex` crate.
//!
//! The two engines match alike, their syntaxes do not: Go reads `a{b}`, `a{,5}` and `\Q…\E`, keeps `\d`, `\w`, `\s` and
//! `\b` to ASCII and knows no `&&`, `--`, `~~` and nested brackets in classes; it refuses `a**` and `x{1001}`. So an
//! expression is parsed by Go's rules here and printed again in the syntax of the crate.
//!
//! An expression comes from a query or a configuration, that is from anybody. Its length, its nesting, the sum of its
//! parts and the size of the compiled program have limits, and an error names the one that was met.
//!
//! Where the engines know different editions of Unicode, characters that only one of them knows can differ in `\p` and
//! in `(?i)`.

mod class;
mod cursor;
mod error;
mod escape;
mod names;
mod parse;
mod pieces;
mod print;
mod syntax;
mod template;
mod weight;

#[cfg(test)]
mod tests;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

pub(crate) use error::shortened;
pub use error::{RegexError, RegexErrorKind};
pub(crate) use weight::program_weight;

/// The longest expression.
pub const MAX_PATTERN_BYTES: usize = 64 << 10;

/// How deep groups, repetitions, sequences and alternatives may be nested. Compilers recurse as deep.
pub const MAX_NESTING: usize = 250;

/// The most that the parts of an expression may weigh together: a character is 1, a class of Unicode [`UNICODE_WEIGHT`].
pub const MAX_WEIGHT: usize = 128 << 10;

/// The greatest size of a compiled program.
pub const MAX_PROGRAM_BYTES: usize = 10 << 20;

/// What a class of Unicode such as `\pL` weighs: it has hundreds of ranges.
const UNICODE_WEIGHT: usize = 512;

/// One level of ours is at most four of the crate's: a group, what it holds, and a flag group with its content.
const CRATE_NESTING: u32 = (MAX_NESTING * 4 + 16) as u32;

/// An expression in the syntax of the `regex` crate, not anchored.
#[derive(Debug)]
pub(crate) struct Translated {
    text: String,
    /// The names of the groups that capture, in order; those without a name are `None`.
    groups: Vec<Option<String>>,
}

/// Whether groups capture what they match, which costs time and matters only for templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Captures {
    Keep,
    Drop,
}

/// Parses an expression of Go. A dot matches line ends too, as everywhere in Prometheus.
pub(crate) fn translate(pattern: &str, captures: Captures) -> Result<Translated, RegexError> {
    let parsed = parse::parse(pattern)?;
    let text = print::print(&parsed.node, captures);
    Ok(Translated {
        text,
        groups: parsed.groups,
    })
}

impl Translated {
    /// What the expression means, for finding fast paths.
    pub(crate) fn to_hir(&self, pattern: &str) -> Result<Hir, RegexError> {
        ParserBuilder::new()
            .nest_limit(CRATE_NESTING)
            .build()
            .parse(&self.text)
            .map_err(|source| RegexError::engine(pattern, source.to_string()))
    }

    /// The program that matches whole texts only.
    pub(crate) fn compile(&self, pattern: &str) -> Result<Regex, RegexError> {
        let anchored = format!("\\A(?:{})\\z", self.text);
        RegexBuilder::new(&anchored)
            .nest_limit(CRATE_NESTING)
            .size_limit(MAX_PROGRAM_BYTES)
            .build()
            .map_err(|source| match source {
                regex::Error::CompiledTooBig(_) => {
                    RegexError::new(RegexErrorKind::ProgramTooLarge, pattern, 0)
                }
                other => RegexError::engine(pattern, other.to_string()),
            })
    }
}

/// An expression of Go that must match the whole of a text, with groups for templates; a dot matches line ends too.
#[derive(Clone, Debug)]
pub struct GoRegex {
    pattern: String,
    regex: Regex,
    groups: Vec<Option<String>>,
    weight: usize,
}

impl GoRegex {
    /// Compiles an expression.
    pub fn new(pattern: impl Into<String>) -> Result<GoRegex, RegexError> {
        let pattern = pattern.into();
        let translated = translate(&pattern, Captures::Keep)?;
        let weight = program_weight(&translated.to_hir(&pattern)?);
        let regex = translated.compile(&pattern)?;
        Ok(GoRegex {
            weight,
            pattern,
            regex,
            groups: translated.groups,
        })
    }

    /// The expression as given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// About how many states the compiled program has: what it took to compile, and takes to hold.
    pub fn program_weight(&self) -> usize {
        self.weight
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Matches the whole text; what the groups caught fills templates.
    pub fn captures<'t>(&self, text: &'t str) -> Option<GoCaptures<'_, 't>> {
        self.regex.captures(text).map(|caught| GoCaptures {
            groups: &self.groups,
            caught,
        })
    }
}

/// What the groups of a [`GoRegex`] caught in a text.
#[derive(Debug)]
pub struct GoCaptures<'r, 't> {
    groups: &'r [Option<String>],
    caught: regex::Captures<'t>,
}

impl<'t> GoCaptures<'_, 't> {
    /// What the group with this number caught; group 0 is the whole text.
    pub fn get(&self, number: usize) -> Option<&'t str> {
        self.caught.get(number).map(|found| found.as_str())
    }

    /// What the first group with this name that took part in the match caught.
    pub fn name(&self, name: &str) -> Option<&'t str> {
        let named = self
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.as_deref() == Some(name));
        named.map(|(i, _)| i + 1).find_map(|number| self.get(number))
    }

    /// Fills a template as Go's `Expand` does: `$1`, `$name`, `${name}`, and `$$` for a dollar. A group that is not
    /// there is empty; a dollar that starts none of these stands for itself.
    pub fn expand(&self, template: &str) -> String {
        template::expand(template, self)
    }
}
