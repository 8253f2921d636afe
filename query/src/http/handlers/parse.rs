//! `parse_query` and `format_query`.

use axum::{http::HeaderMap, response::Response};
use sabre_promql::{
    ParseOptions,
    ast::{At, Duration, Expr, MatrixSelector, Subquery, VectorMatching, VectorSelector},
    function::Variadic,
    go_text::format_f,
    parse as parse_promql, pretty,
};
use serde_json::{Value, json};

use crate::http::{failure::ApiFailure, form::Form, json::document::Document, reply};

const NANOS_PER_MS: i64 = 1_000_000;

/// The query as a text in the usual form, over several lines if it is long.
pub(super) async fn format(headers: HeaderMap, form: Form) -> Result<Response, ApiFailure> {
    let expr = parsed(&form)?;
    let text = Value::String(pretty(&expr));
    Ok(reply::send(Document::json(&text, &[]), &[], &headers))
}

/// The query as a tree.
pub(super) async fn parse(headers: HeaderMap, form: Form) -> Result<Response, ApiFailure> {
    let tree = tree(&parsed(&form)?);
    Ok(reply::send(Document::json(&tree, &[]), &[], &headers))
}

/// What is experimental is read too: nothing is evaluated.
fn parsed(form: &Form) -> Result<Expr, ApiFailure> {
    let query = form.first("query").unwrap_or_default();
    parse_promql(query, ParseOptions::all()).map_err(|error| {
        let text = format!("invalid parameter \"query\": {error}");
        ApiFailure::bad_data(text)
    })
}

/// As Prometheus gives it to its page. It nests no deeper than the parser allows.
fn tree(expr: &Expr) -> Value {
    match expr {
        Expr::Aggregate(e) => json!({
            "type": "aggregation",
            "op": e.op.as_str(),
            "expr": tree(&e.expr),
            "param": e.param.as_ref().map(tree),
            "grouping": e.grouping,
            "without": e.without,
        }),
        Expr::Binary(e) => json!({
            "type": "binaryExpr",
            "op": e.op.as_str(),
            "lhs": tree(&e.lhs),
            "rhs": tree(&e.rhs),
            "matching": e.matching.as_ref().map(matching),
            "bool": e.return_bool,
        }),
        Expr::Call(e) => {
            let signature = e.function.signature();
            let arguments: Vec<&str> = signature.args.iter().map(|kind| kind.as_str()).collect();
            json!({
                "type": "call",
                "func": {
                    "name": e.function.name(),
                    "argTypes": arguments,
                    "variadic": variadic(signature.variadic),
                    "returnType": signature.returns.as_str(),
                },
                "args": e.args.iter().map(tree).collect::<Vec<_>>(),
            })
        }
        Expr::Matrix(e) => matrix(e),
        Expr::Subquery(e) => subquery(e),
        Expr::Number(e) => json!({ "type": "numberLiteral", "val": format_f(e.value) }),
        Expr::Paren(e) => json!({ "type": "parenExpr", "expr": tree(&e.expr) }),
        Expr::String(e) => json!({ "type": "stringLiteral", "val": e.value }),
        Expr::Unary(e) => json!({
            "type": "unaryExpr",
            "op": if e.negative { "-" } else { "+" },
            "expr": tree(&e.expr),
        }),
        Expr::Vector(e) => selector("vectorSelector", e),
    }
}

fn matrix(e: &MatrixSelector) -> Value {
    let mut tree = selector("matrixSelector", &e.selector);
    if let Some(members) = tree.as_object_mut() {
        members.insert("range".to_owned(), json!(ms(&e.range)));
    }
    tree
}

fn subquery(e: &Subquery) -> Value {
    json!({
        "type": "subquery",
        "expr": tree(&e.expr),
        "range": ms(&e.range),
        "offset": ms(&e.offset),
        "step": ms(&e.step),
        "timestamp": timestamp(e.at),
        "startOrEnd": start_or_end(e.at),
    })
}

fn selector(kind: &str, e: &VectorSelector) -> Value {
    let matchers = e.matchers.iter().map(|matcher| {
        json!({
            "name": matcher.name(),
            "value": matcher.value(),
            "type": matcher.kind().operator(),
        })
    });
    json!({
        "type": kind,
        "name": e.name,
        "offset": ms(&e.offset),
        "matchers": matchers.collect::<Vec<_>>(),
        "timestamp": timestamp(e.at),
        "startOrEnd": start_or_end(e.at),
    })
}

fn matching(matching: &VectorMatching) -> Value {
    use sabre_promql::ast::Cardinality;
    json!({
        "card": match matching.card {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        },
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
    })
}

/// Durations that are computed are known when the query is evaluated; until then they count as zero, as in Prometheus.
fn ms(duration: &Duration) -> i64 {
    match duration {
        Duration::Known(ns) => ns / NANOS_PER_MS,
        Duration::Computed(_) => 0,
    }
}

fn timestamp(at: Option<At>) -> Option<i64> {
    match at {
        Some(At::Time(ms)) => Some(ms),
        _ => None,
    }
}

fn start_or_end(at: Option<At>) -> Option<&'static str> {
    match at {
        Some(At::Start) => Some("start"),
        Some(At::End) => Some("end"),
        _ => None,
    }
}

/// Prometheus' numbers: how many arguments may be left out, -1 for any number more.
fn variadic(variadic: Variadic) -> i64 {
    match variadic {
        Variadic::No => 0,
        Variadic::Optional => 1,
        Variadic::Any => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(query: &str) -> Value {
        tree(&parse_promql(query, ParseOptions::all()).unwrap())
    }

    #[test]
    fn a_tree_has_the_members_of_prometheus() {
        let tree = tree_of(
            "-sum by (job) (rate(up{job=~\"a.*\"}[5m] offset 1m)) > bool on (job) group_left (x) 2 * y",
        );
        assert_eq!(tree["type"], "binaryExpr");
        assert_eq!(tree["bool"], true);
        assert_eq!(tree["matching"]["card"], "many-to-one");
        let sum = &tree["lhs"]["expr"];
        assert_eq!(sum["op"], "sum");
        assert_eq!(sum["grouping"][0], "job");
        let call = &sum["expr"];
        assert_eq!(call["func"]["name"], "rate");
        assert_eq!(call["func"]["argTypes"][0], "matrix");
        assert_eq!(call["args"][0]["range"], 300_000);
        assert_eq!(call["args"][0]["offset"], 60_000);
        assert_eq!(call["args"][0]["matchers"][0]["type"], "=~");
        assert_eq!(tree["rhs"]["lhs"]["val"], "2");
        let at = tree_of("up[1h:5m] @ end()");
        assert_eq!(
            (&at["type"], &at["startOrEnd"], &at["step"]),
            (&json!("subquery"), &json!("end"), &json!(300_000))
        );
    }
}
