//! Scripts with values that were worked out by hand.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::path::Path;

use sabre_promql::ast::Expr;
use sabre_promql::function::Function;
use sabre_promql::{ParseOptions, parse};

fn run(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    support::script::run(name, &text)
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(concat!(stringify!($name), ".txt"));
        })*

        /// All scripts there are.
        const SCRIPTS: &[&str] = &[$(concat!(stringify!($name), ".txt"),)*];
    };
}

scripts! { selectors extended operators matching aggregations maths over_time rates histograms classic_histograms labels remarks info }

#[test]
fn every_function_operator_and_aggregation_has_a_script() {
    let mut left: Vec<String> = Function::ALL
        .iter()
        .map(|function| format!("{function:?}"))
        .collect();
    let operators = "Add Sub Mul Div Mod Pow Atan2 Eq Neq Lte Lss Gte Gtr And Or Unless";
    let aggregations =
        "Avg Bottomk Count CountValues Group Max Min Quantile Stddev Stdvar Sum Topk Limitk LimitRatio";
    let matchings = "OneToOne ManyToOne OneToMany ManyToMany";
    left.extend(
        [operators, aggregations, matchings]
            .join(" ")
            .split(' ')
            .map(str::to_owned),
    );
    for script in SCRIPTS {
        for query in run(script) {
            if let Ok(expr) = parse(&query, ParseOptions::all()) {
                visit(&expr, &mut left);
            }
        }
    }
    assert!(left.is_empty(), "no script has {left:?}");
}

fn visit(expr: &Expr, left: &mut Vec<String>) {
    let mut seen = |name: String| left.retain(|other| *other != name);
    match expr {
        Expr::Call(e) => seen(format!("{:?}", e.function)),
        Expr::Aggregate(e) => seen(format!("{:?}", e.op)),
        Expr::Binary(e) => {
            seen(format!("{:?}", e.op));
            if let Some(matching) = &e.matching {
                seen(format!("{:?}", matching.card));
            }
        }
        _ => {}
    }
    expr.children().into_iter().for_each(|child| visit(child, left));
}
