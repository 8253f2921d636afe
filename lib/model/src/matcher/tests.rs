use proptest::prelude::*;

use crate::go_regex::{Captures, RegexErrorKind, translate};

use super::*;

fn re(value: &str) -> Matcher {
    Matcher::new(MatchKind::Re, "x", value).unwrap_or_else(|error| panic!("{error}"))
}

fn uses_engine(value: &str) -> bool {
    Expression::new(value).unwrap().is_regex()
}

#[test]
fn kinds_have_their_wire_numbers() {
    let kinds = [MatchKind::Eq, MatchKind::Neq, MatchKind::Re, MatchKind::Nre];
    for (number, kind) in (0..).zip(kinds) {
        assert_eq!(
            (kind.to_wire(), MatchKind::from_wire(number)),
            (number, Some(kind))
        );
    }
    assert_eq!((MatchKind::from_wire(4), MatchKind::from_wire(-1)), (None, None));
}

#[test]
fn a_label_that_is_missing_has_the_empty_value() {
    let table = [
        (MatchKind::Eq, "", true),
        (MatchKind::Eq, "a", false),
        (MatchKind::Neq, "", false),
        (MatchKind::Neq, "a", true),
        (MatchKind::Re, "", true),
        (MatchKind::Re, "a|", true),
        (MatchKind::Re, ".+", false),
        (MatchKind::Nre, ".+", true),
        (MatchKind::Nre, ".*", false),
    ];
    for (kind, value, empty) in table {
        assert_eq!(
            Matcher::new(kind, "x", value).unwrap().matches_empty(),
            empty,
            "{kind:?} {value}"
        );
    }
}

#[test]
fn sets_of_labels_are_matched_by_the_label_of_the_name() {
    let lset = Labels::from_pairs([("x", "a"), ("y", "b")]).unwrap();
    assert!(re("a|b").matches_lset(&lset) && !re("b").matches_lset(&lset));
    assert!(Matcher::equal("z", "").matches_lset(&lset) && !Matcher::equal("z", "a").matches_lset(&lset));
}

#[test]
fn finite_expressions_are_lists() {
    let table: [(&str, &[&str]); 20] = [
        ("", &[""]),
        ("a", &["a"]),
        ("b|a|b", &["a", "b"]),
        ("(a|b)", &["a", "b"]),
        ("(?:a|b)", &["a", "b"]),
        ("a|", &["", "a"]),
        ("^a$|^b$", &["a", "b"]),
        ("^(a|b)$", &["a", "b"]),
        ("^(?:^a|b$)$", &["a", "b"]),
        (r"10\.0\.0\.1|10\.0\.0\.2", &["10.0.0.1", "10.0.0.2"]),
        (r"a\|b", &["a|b"]),
        (r"\Qa|b\E", &["a|b"]),
        ("pod-[0-2]", &["pod-0", "pod-1", "pod-2"]),
        ("(a|b)(c|d)", &["ac", "ad", "bc", "bd"]),
        ("(abc|abd)e?", &["abc", "abce", "abd", "abde"]),
        ("x{2,3}", &["xx", "xxx"]),
        ("x{0}", &[""]),
        ("(?i)up", &["UP", "Up", "uP", "up"]),
        ("é|猫", &["é", "猫"]),
        (r"[^\x{0}-\x{10ffff}]", &[]),
    ];
    for (value, literals) in table {
        assert_eq!(re(value).literals().unwrap(), literals, "{value}");
        assert!(!uses_engine(value));
    }
    assert_eq!(
        Matcher::new(MatchKind::Nre, "x", "b|a")
            .unwrap()
            .literals()
            .unwrap(),
        ["a", "b"]
    );
    assert_eq!(Matcher::equal("x", "a").literals(), None);
}

#[test]
fn lists_that_would_be_long_are_none() {
    for value in [
        "[a-z]{2}",
        "[0-9]{3}",
        r"\pL",
        "x{257}",
        "x*",
        "(a|b){9}",
        "(?i)kubernetes-nodes",
        r"\bx",
        "a^b",
    ] {
        assert_eq!(re(value).literals(), None, "{value}");
    }
    assert_eq!(re("(a|b){8}").literals().unwrap().len(), 256);
}

#[test]
fn lists_that_are_written_out_may_be_long() {
    // As dashboards make them from the values of a variable.
    let mut pods: Vec<String> = (0..20_000).map(|i| format!("namespace/pod-{i}.x")).collect();
    let value = format!("({})", pods.join("|").replace('.', r"\."));
    let matcher = re(&value);
    assert!(matcher.matches("namespace/pod-19999.x") && !matcher.matches("namespace/pod-20000.x"));
    pods.sort();
    assert_eq!(matcher.literals().unwrap(), pods);
    assert_eq!(matcher.prefix(), Some("namespace/pod-"));
    // One text before a list makes it no longer.
    let short: Vec<String> = (0..1_000).map(|i| i.to_string()).collect();
    assert_eq!(
        re(&format!("^pod-({})$", short.join("|")))
            .literals()
            .unwrap()
            .len(),
        1_000
    );
}

#[test]
fn many_small_classes_are_not_multiplied_out() {
    let value = "[a-p][a-p]x|".repeat(5_000);
    assert_eq!(re(&value).literals(), None);
    assert!(re(&value).matches("ppx") && re(&value).matches("") && !re(&value).matches("qqx"));
}

#[test]
fn one_long_text_before_a_long_list_is_not_multiplied_out() {
    let list: Vec<String> = (0..5_000).map(|i| i.to_string()).collect();
    let value = format!("{}[a-b]?({})", "y".repeat(10_000), list.join("|"));
    assert_eq!(re(&value).literals(), None);
    let value = format!("{}({})", "y".repeat(10_000), list.join("|"));
    assert_eq!(re(&value).literals(), None);
    assert!(re(&value).matches(&format!("{}4999", "y".repeat(10_000))));
}

#[test]
fn texts_with_gaps_need_no_engine() {
    let table: [(&str, &[&str], &[&str]); 12] = [
        (".*", &["", "a", "\n"], &[]),
        (".+", &["a", "\n"], &[""]),
        ("^.*$", &["", "a"], &[]),
        (".{2,}", &["ab", "éü"], &["", "é"]),
        ("api-.*", &["api-", "api-1"], &["api", "xapi-1"]),
        ("api-.+", &["api-1", "api-é"], &["api-"]),
        (".*-api", &["-api", "x-api"], &["x-api-1"]),
        (
            ".+foo.+",
            &["xfoox", "foofoox", "xfoofoo"],
            &["foo", "xfoo", "foox"],
        ),
        ("a.*b.*a", &["aba", "axbxa"], &["ab", "aa", "a"]),
        ("a.*a", &["aa", "aba"], &["a"]),
        (".*a.*.+b", &["axb", "aaxb", "ab-b"], &["ab", "b"]),
        ("(foo)(.*)", &["foo", "foobar"], &["fo"]),
    ];
    for (value, matching, others) in table {
        assert!(!uses_engine(value), "{value}");
        for text in matching {
            assert!(re(value).matches(text), "{value} {text}");
        }
        for text in others {
            assert!(!re(value).matches(text), "{value} {text}");
        }
    }
    for value in ["(?-s).*", "a.b", "a.{1,2}", "a.*|b.*", "a.*(?i)bc", ".*[0-9]"] {
        assert!(uses_engine(value), "{value}");
    }
}

#[test]
fn everything_and_everything_but_empty_are_told_apart() {
    for value in [".*", "(.*)", "^.*$", ".*.*", "(?s:.*)", ".*?", "(?:.*)"] {
        assert!(
            re(value).is_match_all() && !re(value).is_match_nonempty(),
            "{value}"
        );
    }
    for value in [".+", "(.+)", "^.+$", ".*.+", ".{1,}", ".+?"] {
        assert!(
            re(value).is_match_nonempty() && !re(value).is_match_all(),
            "{value}"
        );
    }
    // Without s a dot leaves out line feeds, so this is not everything.
    for value in ["(?-s).*", "a.*", ".*a", "", ".", ".{2,}"] {
        assert!(
            !re(value).is_match_nonempty() && !re(value).is_match_all(),
            "{value}"
        );
    }
    assert!(Matcher::new(MatchKind::Nre, "x", ".*").unwrap().is_match_all());
    assert!(!Matcher::equal("x", ".*").is_match_all());
}

#[test]
fn prefixes_are_known() {
    let table = [
        ("api-.*", Some("api-")),
        ("api-[0-9]+", Some("api-")),
        ("^api-[0-9]+$", Some("api-")),
        ("(?:api-a.*x|api-b.*)", Some("api-")),
        ("api-1|api-2", Some("api-")),
        ("ab|ac.*", Some("a")),
        // é and è share their first byte.
        ("é.*x|è.*y", None),
        ("(?i)api-.*", None),
        ("a*b", None),
        (".*", None),
        ("x|", None),
    ];
    for (value, prefix) in table {
        assert_eq!(re(value).prefix(), prefix, "{value}");
        assert_eq!(
            Matcher::new(MatchKind::Nre, "x", value).unwrap().prefix(),
            prefix,
            "{value}"
        );
    }
    assert_eq!(Matcher::equal("x", "abc").prefix(), None);
}

#[test]
fn displays_as_prometheus_does() {
    let matcher = Matcher::new(MatchKind::Nre, "job", "a\"|\n").unwrap();
    assert_eq!(matcher.to_string(), r#"job!~"a\"|\n""#);
    assert_eq!(Matcher::equal("my.job", "x").to_string(), r#""my.job"="x""#);
}

#[test]
fn errors_name_the_matcher_the_place_and_the_limit() {
    let error = Matcher::new(MatchKind::Re, "job", "a(b").unwrap_err();
    let text = "matcher job=~\"a(b\": error parsing regexp: missing closing ): `a(b` (at offset 0)";
    assert_eq!(error.to_string(), text);
    let error = Matcher::new(MatchKind::Re, "job", "x.".repeat(100_000)).unwrap_err();
    assert_eq!(*error.regex_error().kind(), RegexErrorKind::TooLong);
    assert!(error.to_string().len() < 700, "{error}");
    assert!(Matcher::new(MatchKind::Eq, "job", "a(b").is_ok());
}

#[test]
fn inverted_matchers_match_the_rest() {
    for kind in [MatchKind::Eq, MatchKind::Neq, MatchKind::Re, MatchKind::Nre] {
        let matcher = Matcher::new(kind, "x", "a.*").unwrap();
        for text in ["", "a", "a.*", "b"] {
            assert_ne!(matcher.matches(text), matcher.inverted().matches(text));
        }
        assert_eq!(matcher.inverted().inverted(), matcher);
    }
}

/// One of some texts.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Expressions that are likely to have a fast path, or to be just beyond one.
fn expressions() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => "[abk]{1,2}",
        2 => one_of(&[".*", ".+", ".", ".*?", ".{2,}", "(?-s:.*)"]),
        2 => one_of(&["|", "(", ")", "(?i)", "(?i:a)", "^", "$"]),
        1 => one_of(&["?", "{0,2}", "{2}", "*", "+"]),
        1 => one_of(&["[ab]", "[^a]", "\\.", "\\n", "\\b", "é", "è"]),
    ];
    let free = prop::collection::vec(token, 0..7).prop_map(|tokens| tokens.concat());
    prop_oneof![free.clone(), free.prop_map(|inner| format!("({inner})"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn fast_paths_match_what_the_engine_matches(
        pattern in expressions(),
        values in prop::collection::vec("[abkK.éè\\n]{0,5}", 1..8),
    ) {
        let Ok(matcher) = Matcher::new(MatchKind::Re, "x", pattern.as_str()) else {
            prop_assert!(translate(&pattern, Captures::Drop).is_err());
            return Ok(());
        };
        let engine = translate(&pattern, Captures::Drop).unwrap().compile(&pattern).unwrap();
        for value in values.iter().map(String::as_str).chain([""]) {
            let found = engine.is_match(value);
            prop_assert_eq!(matcher.matches(value), found, "{} on {:?}", &matcher, value);
            prop_assert_ne!(matcher.inverted().matches(value), found);
            if let Some(literals) = matcher.literals() {
                prop_assert_eq!(literals.iter().any(|literal| literal == value), found);
            }
            prop_assert!(!found || value.starts_with(matcher.prefix().unwrap_or("")));
            prop_assert!(found || !matcher.is_match_all());
            prop_assert!(!matcher.is_match_nonempty() || found != value.is_empty());
        }
        for literal in matcher.literals().unwrap_or_default() {
            prop_assert!(engine.is_match(literal), "{} on {:?}", &matcher, literal);
        }
        prop_assert!(matcher.literals().unwrap_or_default().is_sorted_by(|a, b| a < b));
    }
}
