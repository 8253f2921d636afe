//! What an expression of a matcher needs: a list, comparisons, or the engine.

use regex::Regex;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::go_regex::{Captures, RegexError, program_weight, translate};

use super::glob::Glob;
use super::literals;

/// A compiled expression that matches whole values.
#[derive(Debug)]
pub(super) struct Expression {
    plan: Plan,
    /// What all matching values start with; can be empty.
    prefix: String,
    /// About how many states the program has that was compiled.
    weight: usize,
}

/// How values are compared.
#[derive(Debug)]
enum Plan {
    /// One of these, which are sorted and unique.
    Literals(Vec<String>),
    /// Texts with gaps between them.
    Glob(Glob),
    /// All others.
    Regex(Regex),
}

impl Expression {
    pub(super) fn new(pattern: &str) -> Result<Expression, RegexError> {
        if let Some(literals) = literals::written_out(pattern) {
            return Ok(Expression::from_literals(literals));
        }
        let translated = translate(pattern, Captures::Drop)?;
        let hir = without_edges(&translated.to_hir(pattern)?, true, true);
        if let Some(literals) = literals::enumerate(&hir, pattern.len()) {
            return Ok(Expression::from_literals(literals));
        }
        if let Some(glob) = Glob::from_hir(&hir) {
            let prefix = glob.head().to_owned();
            return Ok(Expression {
                plan: Plan::Glob(glob),
                prefix,
                weight: 0,
            });
        }
        Ok(Expression {
            weight: program_weight(&hir),
            plan: Plan::Regex(translated.compile(pattern)?),
            prefix: common_prefix(&hir),
        })
    }

    fn from_literals(mut literals: Vec<String>) -> Expression {
        literals.sort_unstable();
        literals.dedup();
        literals.shrink_to_fit();
        let prefix = match (literals.first(), literals.last()) {
            // Of a sorted list the first and the last have in common what all have.
            (Some(first), Some(last)) => {
                let same = first.chars().zip(last.chars()).take_while(|(a, b)| a == b);
                same.map(|(c, _)| c).collect()
            }
            _ => String::new(),
        };
        Expression {
            plan: Plan::Literals(literals),
            prefix,
            weight: 0,
        }
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        match &self.plan {
            Plan::Literals(literals) => literals
                .binary_search_by(|literal| literal.as_str().cmp(value))
                .is_ok(),
            Plan::Glob(glob) => glob.is_match(value),
            Plan::Regex(regex) => value.starts_with(&self.prefix) && regex.is_match(value),
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn literals(&self) -> Option<&[String]> {
        match &self.plan {
            Plan::Literals(literals) => Some(literals),
            _ => None,
        }
    }

    pub(super) fn prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }

    pub(super) fn is_match_all(&self) -> bool {
        matches!(&self.plan, Plan::Glob(glob) if glob.min_chars_of_anything() == Some(0))
    }

    pub(super) fn is_match_nonempty(&self) -> bool {
        matches!(&self.plan, Plan::Glob(glob) if glob.min_chars_of_anything() == Some(1))
    }

    /// Whether the expression needs the engine.
    #[cfg(test)]
    pub(super) fn is_regex(&self) -> bool {
        matches!(self.plan, Plan::Regex(_))
    }
}

/// The expression without the `^` that stand at its start and the `$` that stand at its end: it is anchored anyway.
fn without_edges(hir: &Hir, at_start: bool, at_end: bool) -> Hir {
    match hir.kind() {
        HirKind::Look(Look::Start) if at_start => Hir::empty(),
        HirKind::Look(Look::End) if at_end => Hir::empty(),
        HirKind::Capture(capture) => without_edges(&capture.sub, at_start, at_end),
        HirKind::Alternation(parts) => Hir::alternation(
            parts
                .iter()
                .map(|part| without_edges(part, at_start, at_end))
                .collect(),
        ),
        HirKind::Concat(parts) => {
            let leading = parts
                .iter()
                .take_while(|part| at_start && is_look(part, Look::Start))
                .count();
            let rest = parts.get(leading..).unwrap_or_default();
            let trailing = rest
                .iter()
                .rev()
                .take_while(|part| at_end && is_look(part, Look::End))
                .count();
            let rest = rest
                .get(..rest.len().saturating_sub(trailing))
                .unwrap_or_default();
            let last = rest.len().saturating_sub(1);
            let parts = rest.iter().enumerate();
            Hir::concat(
                parts
                    .map(|(i, part)| without_edges(part, at_start && i == 0, at_end && i == last))
                    .collect(),
            )
        }
        _ => hir.clone(),
    }
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// What all values start with that an expression matches.
fn common_prefix(hir: &Hir) -> String {
    let sequence = Extractor::new().kind(ExtractKind::Prefix).extract(hir);
    let bytes = sequence.longest_common_prefix().unwrap_or_default();
    // What two characters have in common can be a part of them.
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    };
    whole.to_owned()
}
