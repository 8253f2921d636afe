//! How large a compiled program is, before it is compiled.

use regex_syntax::hir::{Class, Hir, HirKind};

/// States of a range of characters beyond ASCII: each is a few sequences of bytes.
const STATES_OF_RANGE: usize = 4;

/// About how many states the program of an expression has.
pub(crate) fn program_weight(hir: &Hir) -> usize {
    let states = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges().iter();
            let states = ranges.map(|range| {
                if range.end().is_ascii() {
                    1
                } else {
                    STATES_OF_RANGE
                }
            });
            states.sum()
        }
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Capture(capture) => program_weight(&capture.sub),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min).max(1);
            program_weight(&repetition.sub).saturating_mul(copies as usize)
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(program_weight).fold(0, usize::saturating_add)
        }
    };
    states.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use crate::go_regex::GoRegex as Regex;

    fn weight(pattern: &str) -> usize {
        Regex::new(pattern).unwrap().program_weight()
    }

    #[test]
    fn classes_and_repetitions_count_for_what_becomes_of_them() {
        assert!(weight("abc") < 10);
        assert!(weight("(abc){20}") >= 60);
        assert!(weight(r"\pL") > 2000);
        assert!(weight(r"(\pL{3}){3}") > 9 * 2000);
        assert!(weight("x{2,}") < 10);
        assert!(
            weight("(?i)name") <= 4 * 3 + 2,
            "letters of both cases are not dear"
        );
    }
}
