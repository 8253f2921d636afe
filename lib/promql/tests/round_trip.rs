//! Generated queries, printed and read again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use sabre_promql::function::{Function, ValueType};
use sabre_promql::{ParseOptions, parse};

use support::generate::{Generator, Vocabulary};
use support::random::Random;

/// The tree without the places in the text.
fn shape(expr: &sabre_promql::ast::Expr) -> String {
    let text = format!("{expr:?}");
    let mut shape = String::new();
    let mut rest = text.as_str();
    while let Some(at) = ["start: ", "end: "]
        .iter()
        .filter_map(|key| rest.find(key).map(|at| at + key.len()))
        .min()
    {
        shape.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    shape + rest
}

#[test]
fn generated_trees_are_printed_and_read_to_the_same_trees() {
    let cases = std::env::var("SABRE_PROMQL_CASES").map_or(20_000, |cases| cases.parse().unwrap());
    let functions = Function::ALL
        .iter()
        .copied()
        .filter(|function| function.signature().returns == ValueType::Vector)
        .collect::<Vec<_>>();
    for seed in 0..cases {
        let mut random = Random::new(seed);
        let mut generator = Generator {
            random: &mut random,
            vocabulary: Vocabulary {
                metrics: &["foo", "bar_total", "a:b", "sum", "offset", "start", "nan_rate"],
                labels: &["a", "le", "by", "on", "instance", "ünï.code"],
                values: &["", "x", "a|b", "x\n\"", ".+", "\u{e9}"],
                times: (1_000_000, 5_000_000),
                ranges_s: &[1, 60, 300, 3600, 86_400, 604_800],
                functions: functions.clone(),
            },
        };
        let expr = generator.query(4);
        let printed = expr.to_string();
        let again = parse(&printed, ParseOptions::all())
            .unwrap_or_else(|error| panic!("seed {seed}: {printed}: {error}"));
        assert_eq!(again.to_string(), printed, "seed {seed}");
        assert_eq!(shape(&again), shape(&expr), "seed {seed}: {printed}");
    }
}

/// The fuzz target panics where a query and what is printed of it differ.
#[test]
fn the_seeds_of_the_fuzz_target_are_read_and_read_again() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/promql_query");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        sabre_promql::fuzz::query(&std::fs::read(entry.unwrap().path()).unwrap());
        seeds += 1;
    }
    assert!(seeds >= 24, "{seeds} seeds");
}
