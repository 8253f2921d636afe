//! Entry points for fuzzing: each takes any bytes and must not panic.

use crate::duration::{self, GoDuration};
use crate::go_regex::{Captures, GoRegex, translate};
use crate::matcher::{MatchKind, Matcher};
use crate::relabel::{self, RelabelConfig};
use crate::selector;
use crate::time::TimeOrDuration;
use crate::{BlockId, Labels};

/// Durations, times and sizes, which must come back when printed.
pub fn duration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(duration) = duration::parse_go(text) {
        assert_eq!(duration::parse_go(&duration.to_string()), Ok(duration));
    }
    if let Ok(ms) = duration::parse_model(text) {
        assert_eq!(duration::parse_model(&duration::format_model(ms)), Ok(ms));
    }
    let _ = duration::parse_either(text).map(|ms| GoDuration::from_ms(ms).to_string());
    let _ = TimeOrDuration::parse(text).map(|time| (time.resolve(0), time.to_string()));
    let _ = crate::size::parse_bytes(text).map(crate::size::format_bytes);
    let _ = BlockId::parse(text).map(|id| id.to_string());
}

/// An expression and, after a NUL, a value: the fast paths must match what the engine matches.
pub fn regex(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (pattern, value) = text.split_once('\0').unwrap_or((text, ""));
    let Ok(matcher) = Matcher::new(MatchKind::Re, "x", pattern) else {
        return;
    };
    let Ok(engine) = translate(pattern, Captures::Drop).and_then(|translated| translated.compile(pattern))
    else {
        // A list that is written out can be longer than the engine's limits.
        return;
    };
    for value in [value, "", pattern] {
        let found = engine.is_match(value);
        assert_eq!(matcher.matches(value), found, "{matcher} on {value:?}");
        assert!(!found || value.starts_with(matcher.prefix().unwrap_or("")));
        assert!(
            matcher
                .literals()
                .is_none_or(|list| list.iter().any(|text| text == value) == found)
        );
    }
    if let Ok(regex) = GoRegex::new(pattern)
        && let Some(captures) = regex.captures(value)
    {
        assert_eq!(captures.expand("$0"), value);
        let _ = captures.expand(pattern);
    }
}

/// A selector or a matcher, which must come back when printed.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let matchers = selector::parse_selector(text).unwrap_or_default();
    for matcher in matchers.into_iter().chain(selector::parse_matcher(text)) {
        assert_eq!(selector::parse_matcher(&matcher.to_string()), Ok(matcher));
    }
}

/// One step of relabelling in seven lines (action, source labels by commas, separator, expression, modulus, target,
/// replacement), and a value for the labels `a` and `b`.
pub fn relabel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or("").to_owned();
    let Ok(config) = RelabelConfig::from_texts([(); 7].map(|()| next())) else {
        return;
    };
    let value = next();
    let Ok(lset) = Labels::from_pairs([("a", value.as_str()), ("b", value.as_str())]) else {
        return;
    };
    if let Some(kept) = relabel::keep(&[config], lset) {
        assert!(kept.iter().is_sorted_by(|a, b| a.0 < b.0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_panics(data in prop::collection::vec(any::<u8>(), 0..40), text in "[-a-c0-9.*+?|(){}\\[\\]\"\\n\\x00=~hdms]{0,40}") {
            for data in [data.as_slice(), text.as_bytes()] {
                super::duration(data);
                super::regex(data);
                super::selector(data);
                super::relabel(data);
            }
        }

        #[test]
        fn relabel_reads_its_lines(action in prop::sample::select(vec!["keep", "hashmod", "replace", "labelmap", "lowercase"]), regex in prop::sample::select(vec!["(.*)", "a", ""]), value in "\\PC{0,4}") {
            super::relabel(format!("{action}\na,b\n-\n{regex}\n3\nt\n\n{value}").as_bytes());
        }
    }
}
