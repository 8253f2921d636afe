use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> Vec<String> {
    let matchers = parse_selector(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    matchers.iter().map(Matcher::to_string).collect()
}

#[test]
fn reads_selectors() {
    let table: [(&str, &[&str]); 12] = [
        ("up", &[r#"__name__="up""#]),
        (" job:up:rate5m\t", &[r#"__name__="job:up:rate5m""#]),
        ("{}", &[]),
        ("up{}", &[r#"__name__="up""#]),
        (r#"{job="a"}"#, &[r#"job="a""#]),
        (
            r#"up { job = "a" , pod=~"x-.*", }"#,
            &[r#"__name__="up""#, r#"job="a""#, r#"pod=~"x-.*""#],
        ),
        (r#"{a!="1",b!~"2",c=""}"#, &[r#"a!="1""#, r#"b!~"2""#, r#"c="""#]),
        (r#"{__name__=~"a|b"}"#, &[r#"__name__=~"a|b""#]),
        (
            r#"{"my.metric", "my label"='x'}"#,
            &[r#"__name__="my.metric""#, r#""my label"="x""#],
        ),
        (r#"{job="a", "up"}"#, &[r#"job="a""#, r#"__name__="up""#]),
        (
            r#"{__name__="up",__name__!="x"}"#,
            &[r#"__name__="up""#, r#"__name__!="x""#],
        ),
        (
            "{a=\"\\\"\\n\\x41\\u00e9\",b='\\'\"',c=`\\d\"`}",
            &[r#"a="\"\nAé""#, r#"b="'\"""#, r#"c="\\d\"""#],
        ),
    ];
    for (text, matchers) in table {
        assert_eq!(shown(text), matchers, "{text}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let table = [
        ("", "expected a metric name or {, found the end (at offset 0)"),
        ("1up", "expected a metric name or {, found '1' (at offset 0)"),
        ("up{", "expected a label name or }, found the end (at offset 3)"),
        ("{job}", "expected =, !=, =~ or !~, found '}' (at offset 4)"),
        ("{job=a}", "expected a value in quotes, found 'a' (at offset 5)"),
        (
            r#"{job=="a"}"#,
            "expected a value in quotes, found '=' (at offset 5)",
        ),
        (r#"{job="a" b="c"}"#, "expected , or }, found 'b' (at offset 9)"),
        (r#"{job="a"} x"#, "expected the end, found 'x' (at offset 10)"),
        (
            r#"{,job="a"}"#,
            "expected a label name or }, found ',' (at offset 1)",
        ),
        (
            r#"{a:b="c"}"#,
            "expected =, !=, =~ or !~, found ':' (at offset 2)",
        ),
        (r#"{job="a"#, "quoted text has no end (at offset 5)"),
        ("{job=\"a\nb\"}", "quoted text has no end (at offset 5)"),
        (
            r#"{job="a\q"}"#,
            "unknown escape \\q in quoted text (at offset 7)",
        ),
        (
            r#"up{__name__="up"}"#,
            "metric name must not be set twice (at offset 3)",
        ),
        (
            r#"up{__name__!="x"}"#,
            "metric name must not be set twice (at offset 3)",
        ),
        (
            r#"{__name__!="x", "up"}"#,
            "metric name must not be set twice (at offset 16)",
        ),
        (r#"up{"up"}"#, "metric name must not be set twice (at offset 3)"),
        (
            r#"{job=~"a**"}"#,
            "matcher job=~\"a**\": error parsing regexp: invalid nested repetition operator: `**` (at offset 1) \
             (at offset 6)",
        ),
    ];
    for (text, error) in table {
        assert_eq!(parse_selector(text).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn reads_one_matcher() {
    for text in [
        r#"job="a""#,
        r#"job!="a""#,
        r#"job=~"a|b""#,
        r#"job!~"a.+""#,
        r#""a b"="c""#,
    ] {
        assert_eq!(parse_matcher(text).unwrap().to_string(), text);
    }
    assert_eq!(parse_matcher("job").unwrap_err().offset(), 3);
    assert_eq!(parse_matcher(r#"job="a","#).unwrap_err().offset(), 7);
    assert_eq!(
        parse_matcher(r#"="a""#).unwrap_err().to_string(),
        "expected a label name, found '=' (at offset 0)"
    );
}

proptest! {
    #[test]
    fn printed_matchers_are_read_again(name in "[a-z_]{1,4}|.{0,4}", value in ".{0,12}", negative: bool) {
        let kind = if negative { MatchKind::Neq } else { MatchKind::Eq };
        let matcher = Matcher::new(kind, name, value).unwrap();
        prop_assert_eq!(&parse_matcher(&matcher.to_string()).unwrap(), &matcher);
        let other = Matcher::equal("x", "y");
        prop_assert_eq!(parse_selector(&format!("{{{other}, {matcher}}}")).unwrap(), [other, matcher]);
    }

    #[test]
    fn parser_is_total(text in "[a-c{}=~!\"'`,\\\\ x0-9.*+(|)]{0,24}|.{0,16}") {
        let _ = (parse_selector(&text), parse_matcher(&text));
    }
}
