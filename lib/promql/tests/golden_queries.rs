//! Every query that a real querier answered is read, or refused as it refused it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what goes wrong fails the test"
)]

use sabre_promql::{ParseOptions, parse};
use sabre_testkit::golden::golden;
use serde_json::Value;

/// The query among the parameters of a request.
fn query_of(params: &str) -> Option<&str> {
    params.split('&').find_map(|param| param.strip_prefix("query="))
}

#[test]
fn recorded_queries_are_read_or_refused_with_the_recorded_text() {
    let Some(golden) = golden() else { return };
    let (mut read, mut refused) = (0, 0);
    for line in golden.lines("http.jsonl.zst").unwrap() {
        let record: Value = serde_json::from_str(&line).unwrap();
        if !record["path"].as_str().unwrap().contains("/query") {
            continue;
        }
        let Some(query) = query_of(record["params"].as_str().unwrap()) else {
            continue;
        };
        let text = record["body"]["error"].as_str().unwrap_or("");
        match parse(query, ParseOptions::default()) {
            Ok(_) => {
                assert!(!text.contains("parse error"), "{query}: read, but {text}");
                read += 1;
            }
            Err(error) => {
                assert_eq!(error.to_string(), text, "{query}");
                assert_eq!(record["body"]["errorType"], "bad_data", "{query}");
                refused += 1;
            }
        }
    }
    assert!(read > 700 && refused > 40, "{read} read, {refused} refused");
}
