use super::*;
use crate::function::Function;

fn error(query: &str) -> String {
    parse(query, ParseOptions::default()).unwrap_err().to_string()
}

fn printed(query: &str) -> String {
    parse(query, ParseOptions::all())
        .unwrap_or_else(|error| panic!("{query}: {error}"))
        .to_string()
}

/// How operators nest, shown with parentheses.
fn nesting(query: &str) -> String {
    fn show(expr: &Expr) -> String {
        match expr {
            Expr::Binary(e) => format!("({} {} {})", show(&e.lhs), e.op.as_str(), show(&e.rhs)),
            Expr::Unary(e) => format!("{}({})", if e.negative { "-" } else { "+" }, show(&e.expr)),
            other => other.to_string(),
        }
    }
    show(&parse(query, ParseOptions::all()).unwrap())
}

#[test]
fn operators_bind_as_in_prometheus() {
    assert_eq!(nesting("1 + 2 * 3 ^ 2 ^ x"), "(1 + (2 * (3 ^ (2 ^ x))))");
    assert_eq!(nesting("a - b - c"), "((a - b) - c)");
    assert_eq!(nesting("-a ^ 2"), "-((a ^ 2))");
    assert_eq!(nesting("-a * b"), "(-(a) * b)");
    assert_eq!(nesting("a ^ -b ^ c * d"), "((a ^ -((b ^ c))) * d)");
    assert_eq!(nesting("a or b and c unless d"), "(a or ((b and c) unless d))");
    assert_eq!(nesting("a < b + c atan2 d"), "(a < (b + (c atan2 d)))");
    assert_eq!(nesting("a + b offset 5m"), "(a + b offset 5m)");
    assert_eq!(nesting("a offset -2 ^ 2"), "(a offset -2s ^ 2)");
}

#[test]
fn queries_are_printed_as_prometheus_prints_them() {
    for (query, wanted) in [
        ("sum(foo)without(a,)", "sum without (a) (foo)"),
        ("SUM BY (\"b.c\",a) (foo)", "sum by (\"b.c\", a) (foo)"),
        (
            "foo{b='x',a!~\"y\"}[90m]offset 1w@5",
            "foo{a!~\"y\",b=\"x\"}[1h30m] @ 5.000 offset 1w",
        ),
        ("{__name__=\"a\",\"q\"}", "{__name__=\"a\",__name__=\"q\"}"),
        ("a==bool on()group_left(x)b", "a == bool on () group_left (x) b"),
        ("topk(-.5,a)", "topk(-0.5, a)"),
        ("foo[5m+2*step()]", "foo[5m + 2 * step()]"),
        ("foo[min(5m,(1h))]", "foo[min(5m, 1h)]"),
        ("rate(foo[5m]smoothed)", "rate(foo[5m] smoothed)"),
        ("010+0x1f+1_000+5m", "8 + 31 + 1000 + 5m"),
        ("sum(foo)[1h:]@end()", "sum(foo)[1h:] @ end()"),
    ] {
        assert_eq!(printed(query), wanted);
    }
}

#[test]
fn a_token_that_does_not_fit_is_named_with_what_was_expected() {
    for (query, wanted) in [
        ("1 +", "1:4: parse error: unexpected end of input"),
        (
            "sum(1 1)",
            "1:7: parse error: unexpected number \"1\" in aggregation",
        ),
        (
            "sum by (a) by",
            "1:12: parse error: unexpected <by> in aggregation",
        ),
        ("rate(1 1)", "1:8: parse error: unexpected number \"1\""),
        (
            "sum(a) by (1)",
            "1:12: parse error: unexpected number \"1\" in grouping opts, expected label",
        ),
        (
            "sum(a) by (a b)",
            "1:14: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
        ),
        (
            "a{,}",
            "1:3: parse error: unexpected \",\" in label matching, expected identifier or \"}\"",
        ),
        (
            "a{b}",
            "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator",
        ),
        (
            "a{b=c}",
            "1:5: parse error: unexpected identifier \"c\" in label matching, expected string",
        ),
        (
            "a{b=\"c\" d}",
            "1:9: parse error: unexpected identifier \"d\" in label matching, expected \",\" or \"}\"",
        ),
        (
            "a[]",
            "1:3: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, or step()",
        ),
        (
            "a[5m 1h]",
            "1:6: parse error: unexpected duration \"1h\" in subquery or range, expected \":\" or \"]\"",
        ),
        (
            "a[5m:1m 2m]",
            "1:9: parse error: unexpected duration \"2m\" in subquery selector, expected \"]\"",
        ),
        (
            "a @ b",
            "1:5: parse error: unexpected identifier \"b\" in @, expected timestamp",
        ),
        (
            "a 'long long long'",
            "1:3: parse error: unexpected string \"'long long\"...",
        ),
    ] {
        assert_eq!(error(query), wanted, "{query}");
    }
}

#[test]
fn broken_tokens_are_named() {
    for (query, wanted) in [
        ("a{", "1:3: parse error: unexpected end of input inside braces"),
        ("(a", "1:3: parse error: unclosed left parenthesis"),
        ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("a[5m", "1:5: parse error: unclosed left bracket"),
        (
            "a[:5m]",
            "1:4: parse error: unexpected colon before duration in duration expression",
        ),
        ("'a", "1:1: parse error: unterminated quoted string"),
        ("`a", "1:1: parse error: unterminated raw string"),
        ("\"\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        ("5mm", "1:1: parse error: bad number or duration syntax: \"5mm\""),
        ("5hs", "1:1: parse error: unknown unit \"hs\" in duration \"5hs\""),
        ("a =~ b", "1:3: parse error: unexpected character after '=': '~'"),
        ("a ! b", "1:3: parse error: unexpected character after '!': ' '"),
        (
            "a{b~c}",
            "1:4: parse error: unexpected character inside braces: '~'",
        ),
        ("\n é", "2:2: parse error: unexpected character: 'é'"),
    ] {
        assert_eq!(error(query), wanted, "{query}");
    }
}

#[test]
fn wrong_types_are_named() {
    for (query, wanted) in [
        (
            "1 == 1",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "a + bool 1",
            "1:3: parse error: bool modifier can only be used on comparison operators",
        ),
        (
            "a and 1",
            "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
        ),
        (
            "a + on(x) 1",
            "1:1: parse error: vector matching only allowed between instant vectors",
        ),
        (
            "a and on(x) group_left b",
            "1:1: parse error: no grouping allowed for \"and\" operation",
        ),
        (
            "a + on(x) group_left(x) b",
            "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        (
            "-\"a\"",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        (
            "rate(a)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "round(a,1,2)",
            "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
        ),
        (
            "label_join(a)",
            "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1",
        ),
        (
            "time(1)",
            "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1",
        ),
        (
            "topk(\"a\", b)",
            "1:6: parse error: expected type scalar in aggregation parameter, got string",
        ),
        (
            "{a=\"\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "a{__name__=\"b\"}",
            "1:1: parse error: metric name must not be set twice: \"a\" or \"b\"",
        ),
        (
            "1[5m:]",
            "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        (
            "a offset 1m offset 1m",
            "1:1: parse error: offset may not be set multiple times",
        ),
        (
            "(a) @ 5",
            "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "a @ inf",
            "1:1: parse error: timestamp out of bounds for @ modifier: +Inf",
        ),
        (
            "a{b=~\"(\"}",
            "1:3: parse error: error parsing regexp: missing closing ): `(`",
        ),
    ] {
        assert_eq!(error(query), wanted, "{query}");
    }
}

/// Refuses a query until this is enabled, and this alone enables it.
fn is_gated(query: &str, gate: ParseOptions, wanted: &str) {
    assert_eq!(error(query), wanted, "{query}");
    let rest = ParseOptions {
        experimental_functions: !gate.experimental_functions,
        duration_expressions: !gate.duration_expressions,
        extended_range_selectors: !gate.extended_range_selectors,
    };
    let refused = parse(query, rest).unwrap_err();
    assert_eq!(refused.to_string(), wanted, "{query}");
    assert!(parse(query, gate).is_ok(), "{query}");
}

#[test]
fn every_experimental_function_is_refused_until_enabled() {
    let gate = ParseOptions {
        experimental_functions: true,
        ..ParseOptions::default()
    };
    // Those that Prometheus 3.9 calls experimental.
    let calls = [
        "double_exponential_smoothing(a[5m], 0.5, 0.5)",
        "first_over_time(a[5m])",
        "info(a)",
        "mad_over_time(a[5m])",
        "sort_by_label(a, \"b\")",
        "sort_by_label_desc(a, \"b\")",
        "ts_of_first_over_time(a[5m])",
        "ts_of_last_over_time(a[5m])",
        "ts_of_max_over_time(a[5m])",
        "ts_of_min_over_time(a[5m])",
    ];
    let mut names = Vec::new();
    for call in calls {
        let name = call.split('(').next().unwrap();
        is_gated(
            call,
            gate,
            &format!("1:1: parse error: function \"{name}\" is not enabled"),
        );
        names.push(name);
    }
    let marked = Function::ALL.iter().filter(|f| f.signature().experimental);
    assert_eq!(marked.map(|f| f.name()).collect::<Vec<_>>(), names);
    for call in ["limitk(1, a)", "limit_ratio(0.5, a)", "limitk by (b) (1, a)"] {
        let name = call.split(['(', ' ']).next().unwrap();
        let wanted = format!(
            "1:1: parse error: {name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
        );
        is_gated(call, gate, &wanted);
    }
}

#[test]
fn every_duration_expression_is_refused_until_enabled() {
    let gate = ParseOptions {
        duration_expressions: true,
        ..ParseOptions::default()
    };
    for (query, at) in [
        ("a[5m+5m]", "1:3"),
        ("a[5m-1m]", "1:3"),
        ("a[5m*2]", "1:3"),
        ("a[5m/2]", "1:3"),
        ("a[5m%2m]", "1:3"),
        ("a[2^3]", "1:3"),
        ("a[(5m)]", "1:4"),
        ("a[5m:1m+1m]", "1:6"),
        ("a offset (5m+1m)", "1:11"),
    ] {
        is_gated(
            query,
            gate,
            &format!("{at}: parse error: experimental duration expression is not enabled"),
        );
    }
}

#[test]
fn every_modifier_of_ranges_is_refused_until_enabled() {
    let gate = ParseOptions {
        extended_range_selectors: true,
        ..ParseOptions::default()
    };
    for query in [
        "a anchored",
        "a smoothed",
        "a[5m] anchored",
        "a[5m] smoothed",
        "a smoothed offset 5m",
        "a[5m] anchored @ 5",
    ] {
        let name = if query.contains("anchored") {
            "anchored"
        } else {
            "smoothed"
        };
        let wanted = format!("1:1: parse error: {name} modifier is experimental and not enabled");
        is_gated(query, gate, &wanted);
    }
}

#[test]
fn deep_and_long_queries_are_refused() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH - 2), ParseOptions::default()).is_ok());
    assert!(error(&nested(MAX_DEPTH + 1)).contains("nests deeper than 400 levels"));
    let chain = |length: usize| format!("1{}", "+1".repeat(length));
    assert!(parse(&chain(MAX_DEPTH - 2), ParseOptions::default()).is_ok());
    assert!(error(&chain(MAX_DEPTH)).contains("nests deeper"));
    assert!(error(&"-".repeat(1 << 20)).contains("nests deeper"));
    assert!(error(&format!("a[{}1m]", "-".repeat(1 << 19))).contains("nests deeper"));
    assert!(error(&" ".repeat(MAX_QUERY_BYTES + 1)).contains("is longer than"));
}

/// The time that this thread has run, whatever else the machine does; 0 where that is not told.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().map_or(0, |ns| ns.parse().unwrap())
}

#[test]
fn a_megabyte_takes_less_than_a_second() {
    let long = |piece: &str, start: &str, end: &str| {
        format!("{start}{}{end}", piece.repeat((1 << 20) / piece.len() - 10))
    };
    for query in [
        long("+1", "1", ""),
        long("(", "", ""),
        long("a{b=\"c\"} or ", "", "a"),
        long(",a", "sum by (x", ") (a)"),
        long(",b=\"c\"", "a{x=\"y\"", "}"),
        long(",\"b\"", "label_join(a,\"x\",\"y\"", ")"),
        long("a", "", ""),
        long("#\n", "", "a"),
        long("1", "", ""),
    ] {
        let before = cpu_ns();
        let _ = parse(&query, ParseOptions::all());
        let taken = cpu_ns() - before;
        assert!(taken < 1_000_000_000, "{taken} ns for {}…", &query[..20]);
    }
}

/// What an expression costs is counted, so that a query of many is refused long before all are compiled.
#[test]
fn a_megabyte_of_expressions_is_refused_by_what_they_weigh() {
    let query = |pattern: &str, count: usize| {
        let matchers: Vec<String> = (0..count).map(|_| format!("b=~\"{pattern}\"")).collect();
        format!("a{{{}}}", matchers.join(","))
    };
    let refused = |query: &str| {
        let error = parse(query, ParseOptions::default()).unwrap_err();
        assert!(error.message().contains("use fewer or simpler ones"), "{error}");
        // All before that place were compiled.
        query[..error.pos().start].matches("=~").count()
    };
    for (pattern, most) in [
        // Without a program, with a small one, with a large one.
        ("x|y", 16_400),
        (".+x", 16_400),
        ("[ab]+x", 16_400),
        ("\\\\pL+", 260),
        ("(\\\\pL{3}){3}", 40),
    ] {
        let long = query(pattern, (1 << 20) / (pattern.len() + 7));
        let compiled = refused(&long);
        assert!(compiled <= most, "{compiled} of {pattern}");
        assert!(compiled > 5, "{compiled} of {pattern}");
        // As many in selectors of their own.
        let one = query(pattern, 1);
        let all = vec![one.as_str(); most + 1];
        refused(&format!("absent({})", balanced(&all)));
    }
    // What people ask.
    let pods: Vec<String> = (0..2000).map(|n| format!("pod-{n}-.*")).collect();
    parse(&query(&pods.join("|"), 3), ParseOptions::default()).unwrap();
    parse(&query("api-[0-9a-f]+-.*", 300), ParseOptions::default()).unwrap();
}

/// All of them in one expression that is not deep.
fn balanced(all: &[&str]) -> String {
    match all {
        [one] => (*one).to_owned(),
        _ => {
            let (left, right) = all.split_at(all.len() / 2);
            format!("({}) or ({})", balanced(left), balanced(right))
        }
    }
}

#[test]
fn selectors_are_read_alone() {
    let matchers = parse_selector("up{job=\"a\"}").unwrap();
    assert_eq!(matchers.len(), 2);
    assert_eq!(parse_selector("{}").unwrap().len(), 0);
    assert!(parse_selector("up offset 5m").is_err());
    assert!(parse_selector("sum(up)").is_err());
}

/// Pieces of queries, which chance puts together more often to something than letters.
const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    "!=",
    "=~",
    "!~",
    "==",
    ">=",
    "<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    " offset ",
    " by ",
    " without ",
    " on ",
    " ignoring ",
    " group_left ",
    " bool ",
    " and ",
    " or ",
    " unless ",
    " atan2 ",
    "sum",
    "topk",
    "count_values",
    "rate",
    "up",
    "foo",
    "a:b",
    "\"x\"",
    "'y'",
    "`z`",
    "5",
    "5m",
    "Inf",
    "NaN",
    "0.0001",
    "9223372036",
    "1e300",
    "step()",
    ":",
    "0x1f",
    "1e3",
    ".5",
    "inf",
    "NaN",
    "start",
    "end()",
    "start()",
    "step()",
    "min",
    "max",
    " anchored ",
    " smoothed ",
    "job=\"a\"",
    "le",
    ":",
    "5m:1m",
    "\n",
    "#c\n",
    "info",
    "label_replace",
    "-5m",
    "1h30m",
    "time()",
    "\"",
    "\\",
    "é",
    "\u{fffd}",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 5000, ..Default::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        crate::fuzz::query(text.as_bytes());
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..14)) {
        crate::fuzz::query(pieces.concat().as_bytes());
    }
}
