//! Instant queries over the golden samples give what a real querier answered.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use sabre_promql::value::QueryResult;
use sabre_promql::{EvalOptions, QueryError, query_instant};
use sabre_testkit::answers;
use sabre_testkit::golden::golden;
use serde_json::Value as Json;

fn parameter<'p>(params: &'p str, name: &str) -> Option<&'p str> {
    // Values are not encoded, so a query may have an ampersand of its own: none of the recorded ones has.
    params
        .split('&')
        .find_map(|param| param.strip_prefix(name)?.strip_prefix('='))
}

fn compare(query: &str, ours: Result<QueryResult, QueryError>, record: &Json) -> Result<(), String> {
    let body = &record["body"];
    let ours = match ours {
        Ok(result) if record["status"] == 200 => result,
        Err(error) if record["status"] != 200 => {
            let is_parse = matches!(error, QueryError::Parse(_));
            let wanted = if is_parse { "bad_data" } else { "execution" };
            return if body["errorType"] == wanted {
                Ok(())
            } else {
                Err(format!("{error}: {wanted}"))
            };
        }
        Ok(_) => return Err(format!("an answer instead of {}", body["error"])),
        Err(error) => return Err(error.to_string()),
    };
    if ours.annotations.is_empty() == answers::has_remarks(body) {
        let remarks = ours.annotations.iter();
        let found: Vec<_> = remarks.map(|remark| remark.to_text(query)).collect();
        return Err(format!(
            "remarks {found:?} against {} {}",
            body["warnings"], body["infos"]
        ));
    }
    answers::compare(query, &ours.value, &body["data"])
}

#[test]
fn recorded_instant_answers_without_deduplication_are_given() {
    let Some(golden) = golden() else { return };
    let storage = support::golden::storage(&golden, &["raw/raw2h-a", "raw/raw2h-b", "raw/raw2d"]);
    let (mut checked, mut wrong) = (0, Vec::new());
    for line in golden.lines("http.jsonl.zst").unwrap() {
        let record: Json = serde_json::from_str(&line).unwrap();
        let params = record["params"].as_str().unwrap();
        if record["path"] != "/api/v1/query" || parameter(params, "dedup") != Some("false") {
            continue;
        }
        let query = parameter(params, "query").unwrap();
        let time: f64 = parameter(params, "time").unwrap().parse().unwrap();
        let answer = query_instant(&storage, query, (time * 1000.0) as i64, &EvalOptions::default());
        checked += 1;
        if let Err(difference) = compare(query, answer, &record) {
            wrong.push(format!("{query} at {time}: {difference}"));
        }
    }
    eprintln!("{checked} answers compared");
    assert_eq!(checked, 133);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
