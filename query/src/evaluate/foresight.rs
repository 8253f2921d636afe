//! Which series a query is going to ask for: what it asks for when it is evaluated over nothing.
//!
//! So nothing need be known here of how the evaluator comes to its selects. A guess that is wrong costs a request for
//! nothing, and no answer depends on it.

use parking_lot::Mutex;
use sabre_model::Matcher;
use sabre_promql::ast::Expr;
use sabre_promql::source::{Queryable, SelectHints, SeriesSet, SourceError};
use sabre_promql::{ParseOptions, parse};

/// Longer queries are not looked at: reading one again takes time of its own.
const MOST_BYTES: usize = 8 << 10;

/// A select that is to come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Foreseen {
    pub(super) matchers: Vec<Matcher>,
    pub(super) hints: SelectHints,
}

/// Has no series, and notes which it is asked for, up to some number.
#[derive(Debug)]
pub(super) struct Nothing {
    most: usize,
    seen: Mutex<Vec<Foreseen>>,
}

impl Nothing {
    pub(super) fn new(most: usize) -> Nothing {
        Nothing {
            most,
            seen: Mutex::default(),
        }
    }

    /// What it was asked for, in that order, each select once.
    pub(super) fn seen(self) -> Vec<Foreseen> {
        self.seen.into_inner()
    }
}

impl Queryable for Nothing {
    fn select<'q>(&'q self, matchers: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError> {
        let mut seen = self.seen.lock();
        let foreseen = Foreseen {
            matchers: matchers.to_vec(),
            hints: hints.clone(),
        };
        if !seen.contains(&foreseen) {
            seen.push(foreseen);
        }
        match seen.len() < self.most {
            true => Ok(Box::new(std::iter::empty())),
            false => Err(SourceError::new("as much was seen as is wanted")),
        }
    }
}

/// Whether it is worth a look: there are several selectors, and nothing that takes long even over nothing, as a subquery
/// of constants does.
pub(super) fn is_worth_a_look(expression: &str, options: ParseOptions) -> bool {
    if expression.len() > MOST_BYTES {
        return false;
    }
    let Ok(expr) = parse(expression, options) else {
        return false;
    };
    let (mut selectors, mut rest) = (0, vec![&expr]);
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::Subquery(_) => return false,
            Expr::Vector(_) | Expr::Matrix(_) => selectors += 1,
            _ => rest.extend(expr.children()),
        }
    }
    selectors > 1
}

#[cfg(test)]
mod tests {
    use sabre_promql::{EvalOptions, query_range};

    use super::*;

    fn seen(query: &str, most: usize) -> Vec<String> {
        let nothing = Nothing::new(most);
        let _ = query_range(&nothing, query, 0, 600_000, 60_000, &EvalOptions::default());
        let text = |foreseen: Foreseen| {
            let matchers: Vec<String> = foreseen.matchers.iter().map(Matcher::to_string).collect();
            format!("{} {}", foreseen.hints.func, matchers.join(","))
        };
        nothing.seen().into_iter().map(text).collect()
    }

    #[test]
    fn selects_are_seen_in_the_order_in_which_they_come() {
        let query = "sum(rate(a[5m])) / on () (count(b) or absent(c))";
        let all = [
            r#"count __name__="b""#,
            r#"absent __name__="c""#,
            r#"rate __name__="a""#,
        ];
        assert_eq!(seen(query, 9), all);
        assert_eq!(seen(query, 2), all[..2]);
        assert_eq!(seen("a + a", 9), [r#" __name__="a""#]);
    }

    #[test]
    fn what_could_take_long_is_not_looked_at() {
        let worth = |query: &str| is_worth_a_look(query, ParseOptions::default());
        assert!(worth("a / b") && worth("rate(a[5m]) > 2 * b"));
        assert!(!worth("a") && !worth("a / 2") && !worth("a /"));
        assert!(!worth("a / b + sum_over_time(vector(1)[1d:1s])"));
        assert!(!worth(&format!("a / b{}", " ".repeat(MOST_BYTES))));
    }
}
