//! What a request asks of this Prometheus: its matchers without those on external labels.

use sabre_model::{Labels, MatchKind, Matcher};

/// What is left of the matchers.
#[derive(Debug)]
pub(crate) enum Selected {
    /// A matcher contradicts an external label: the answer is empty.
    Nothing,
    /// The matchers for Prometheus.
    Matching(Vec<Matcher>),
}

/// Evaluates matchers on external labels here and keeps the others.
pub(crate) fn select(matchers: Vec<Matcher>, external: &Labels) -> Selected {
    let mut rest = Vec::with_capacity(matchers.len());
    for matcher in matchers {
        match external.get(matcher.name()).filter(|value| !value.is_empty()) {
            None => rest.push(matcher),
            Some(value) if matcher.matches(value) => {}
            Some(_) => return Selected::Nothing,
        }
    }
    Selected::Matching(rest)
}

/// The matchers as a selector that Prometheus' HTTP API reads.
pub(crate) fn selector(matchers: &[Matcher]) -> String {
    let mut text = String::from("{");
    for (position, matcher) in matchers.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        quote_name(matcher.name(), &mut text);
        text.push_str(match matcher.kind() {
            MatchKind::Eq => "=",
            MatchKind::Neq => "!=",
            MatchKind::Re => "=~",
            MatchKind::Nre => "!~",
        });
        quote(matcher.value(), &mut text);
    }
    text.push('}');
    text
}

fn quote_name(name: &str, out: &mut String) {
    let legacy = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(legacy) {
        out.push_str(name);
    } else {
        quote(name, out);
    }
}

fn quote(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(kind: MatchKind, name: &str, value: &str) -> Matcher {
        Matcher::new(kind, name, value).unwrap()
    }

    #[test]
    fn matchers_on_external_labels_are_evaluated_here() {
        let external = Labels::from_pairs([("cluster", "eu1")]).unwrap();
        let (hit, miss) = (
            matcher(MatchKind::Re, "cluster", "eu.*"),
            matcher(MatchKind::Neq, "cluster", "eu1"),
        );
        let job = matcher(MatchKind::Eq, "job", "a");
        match select(vec![hit.clone(), job.clone()], &external) {
            Selected::Matching(rest) => assert_eq!(selector(&rest), r#"{job="a"}"#),
            Selected::Nothing => panic!("it matches"),
        }
        assert!(matches!(select(vec![job, miss], &external), Selected::Nothing));
        assert!(matches!(select(vec![hit], &external), Selected::Matching(rest) if rest.is_empty()));
    }

    #[test]
    fn selectors_are_quoted_for_prometheus() {
        let matchers = [
            matcher(MatchKind::Neq, "a", "x\"y\\z\n"),
            matcher(MatchKind::Nre, "http.status", "5.."),
            matcher(MatchKind::Re, "b", "c|d"),
        ];
        assert_eq!(
            selector(&matchers),
            r#"{a!="x\"y\\z\n","http.status"!~"5..",b=~"c|d"}"#
        );
    }
}
