use super::*;
use crate::{ParseOptions, parse};

fn printed(query: &str) -> String {
    pretty(&parse(query, ParseOptions::all()).unwrap())
}

/// A selector of so many bytes.
fn selector(bytes: usize) -> String {
    let text = format!("m{{a=\"{}\"}}", "x".repeat(bytes - 7));
    assert_eq!(text.len(), bytes);
    text
}

#[test]
fn what_fits_stays_on_one_line() {
    assert_eq!(printed("sum  by(a)(rate(m[5m]))"), "sum by (a) (rate(m[5m]))");
    let argument = selector(100 - "abs()".len());
    assert_eq!(printed(&format!("abs({argument})")), format!("abs({argument})"));
    let argument = selector(101 - "abs()".len());
    assert_eq!(
        printed(&format!("abs({argument})")),
        format!("abs(\n  {argument}\n)")
    );
}

#[test]
fn selectors_and_literals_are_never_cut() {
    let long = selector(300);
    assert_eq!(printed(&long), long);
    assert_eq!(printed(&format!("-{long}")), format!("-{long}"));
    assert_eq!(
        printed(&format!("rate({long}[5m])")),
        format!("rate(\n  {long}[5m]\n)")
    );
    let text = format!("\"{}\"", "x".repeat(200));
    assert_eq!(printed(&text), text);
}

#[test]
fn aggregations_have_their_parameter_on_a_line_of_its_own() {
    let long = selector(95);
    assert_eq!(
        printed(&format!("topk without(b, c) (5, {long})")),
        format!("topk without (b, c) (\n  5,\n  {long}\n)")
    );
    assert_eq!(
        printed(&format!("sum(abs({long}))")),
        format!("sum(\n  abs({long})\n)")
    );
    assert_eq!(
        printed(&format!("sum(count by(a)({long}))")),
        format!("sum(\n  count by (a) (\n    {long}\n  )\n)")
    );
}

#[test]
fn the_sides_of_an_operator_stand_further_in_than_it_does() {
    let (a, b) = (selector(60), selector(61));
    assert_eq!(
        printed(&format!("{a} > bool on(x) group_left(y) {b}")),
        format!("  {a}\n> bool on (x) group_left (y)\n  {b}")
    );
    assert_eq!(
        printed(&format!("{a} + {b} - {a}")),
        format!("    {a}\n  +\n    {b}\n-\n  {a}")
    );
    assert_eq!(
        printed(&format!("sum({a} * 2 / {b})")),
        format!("sum(\n    {a} * 2\n  /\n    {b}\n)")
    );
}

#[test]
fn parentheses_signs_and_subqueries() {
    let (a, b) = (selector(60), selector(61));
    assert_eq!(
        printed(&format!("({a} and {b})")),
        format!("(\n    {a}\n  and\n    {b}\n)")
    );
    assert_eq!(
        printed(&format!("-({a} and {b})")),
        format!("-(\n    {a}\n  and\n    {b}\n)")
    );
    // The power is taken first.
    assert_eq!(printed(&format!("-{a} ^ {b}")), format!("-{a}\n^\n  {b}"));
    assert_eq!(
        printed(&format!("({a} or {b})[1h:5m] @ end() offset 1m")),
        format!("(\n    {a}\n  or\n    {b}\n)[1h:5m] @ end() offset 1m")
    );
    assert_eq!(
        printed(&format!("max_over_time(rate({a}[5m])[1h:])  + {b}")),
        format!("  max_over_time(rate({a}[5m])[1h:])\n+\n  {b}")
    );
}

#[test]
fn a_subquery_that_fits_is_not_moved_in() {
    let (short, long) = (selector(50), selector(90));
    // All but the subquery is, as in Prometheus.
    assert_eq!(
        printed(&format!(
            "quantile_over_time(scalar({short}), rate({short}[5m])[1h:5m])"
        )),
        format!("quantile_over_time(\n  scalar({short}),\nrate({short}[5m])[1h:5m]\n)")
    );
    assert_eq!(
        printed(&format!("sum(max_over_time({long}[1h:]))")),
        format!("sum(\n  max_over_time(\n{long}[1h:]\n  )\n)")
    );
    assert_eq!(
        printed(&format!("max_over_time(({long}[1h:]) )")),
        format!("max_over_time(\n  ({long}[1h:])\n)")
    );
    // One that does not fit is moved in like all else.
    let longer = selector(96);
    assert_eq!(
        printed(&format!("max_over_time({longer}[1h:])")),
        format!("max_over_time(\n  {longer}[1h:]\n)")
    );
}

#[test]
fn what_is_printed_means_the_same() {
    let (a, b) = (selector(70), selector(71));
    for query in [
        format!("sum by (x) (rate({a}[5m])) / ignoring (y) group_right (z) (count({b}) - 1)"),
        format!("histogram_quantile(0.9, sum by (le) (rate({a}[5m] offset 1h)))"),
        format!("label_replace({a}, \"x\", \"$1\", \"y\", \"(.*)\") unless -{b}"),
    ] {
        let expr = parse(&query, ParseOptions::all()).unwrap();
        let read = parse(&pretty(&expr), ParseOptions::all()).unwrap();
        assert_eq!(read.to_string(), expr.to_string());
    }
}

#[test]
fn what_would_grow_too_long_is_printed_in_one_line() {
    let chain = vec![selector(60); 50].join(" + ");
    let expr = parse(&chain, ParseOptions::all()).unwrap();
    assert_eq!(pretty_within(&expr, chain.len() + 1000), chain);
    let several = pretty(&expr);
    assert!(several.len() > chain.len() + 1000);
    assert!(several.ends_with(&format!("\n+\n  {}", selector(60))));
}

#[test]
fn the_deepest_query_is_printed() {
    let deepest = |depth: usize| format!("{}{}{}", "(".repeat(depth), selector(101), ")".repeat(depth));
    let depth = (1..1000)
        .rev()
        .find(|&depth| parse(&deepest(depth), ParseOptions::all()).is_ok())
        .unwrap();
    assert!(depth > 300);
    let text = printed(&deepest(depth));
    assert_eq!(text.lines().count(), 2 * depth + 1);
    assert_eq!(text.replace(['\n', ' '], ""), deepest(depth));
}
