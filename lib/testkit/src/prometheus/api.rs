//! What is asked with GET: configuration, flags, the metrics page, labels and series.

use std::collections::BTreeSet;

use sabre_model::{Labels, Matcher, selector};
use serde_json::{Value, json};
use url::Url;

use super::State;
use crate::s3::{Answer, Recorded};

/// The parameters of a question about labels or series.
struct Question {
    /// Of each `match[]`: series that match any of these lists are meant; all if there is none.
    selectors: Vec<Vec<Matcher>>,
    mint_ms: i64,
    maxt_ms: i64,
    /// Zero for no limit.
    limit: usize,
}

pub(super) fn answer(state: &State, request: &Recorded) -> Answer {
    let Ok(url) = Url::parse(&format!("http://prometheus{}", request.target)) else {
        return failure(400, "the target is no URL");
    };
    let question = match Question::read(&url) {
        Ok(question) => question,
        Err(problem) => return failure(400, &problem),
    };
    match url.path() {
        "/metrics" => metrics(state),
        "/api/v1/status/flags" => success(&json!(state.flags), 0),
        "/api/v1/status/buildinfo" => success(&json!({"version": "3.5.0"}), 0),
        "/api/v1/status/config" => config(state),
        "/api/v1/labels" => {
            let names: BTreeSet<&str> = question
                .select(state)
                .flat_map(|labels| labels.iter().map(|(name, _)| name))
                .collect();
            success(&json!(names), question.limit)
        }
        "/api/v1/series" if question.selectors.is_empty() => failure(400, "no match[] parameter provided"),
        "/api/v1/series" => {
            let sets: Vec<_> = question.select(state).map(Labels::to_map).collect();
            success(&json!(sets), question.limit)
        }
        other => match other
            .strip_prefix("/api/v1/label/")
            .and_then(|rest| rest.strip_suffix("/values"))
        {
            Some(name) => {
                let values: BTreeSet<&str> = question
                    .select(state)
                    .filter_map(|labels| labels.get(name))
                    .collect();
                success(&json!(values), question.limit)
            }
            None => Answer::new(404).body("404 page not found\n"),
        },
    }
}

impl Question {
    fn read(url: &Url) -> Result<Self, String> {
        let mut question = Self {
            selectors: Vec::new(),
            mint_ms: i64::MIN,
            maxt_ms: i64::MAX,
            limit: 0,
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "match[]" => question
                    .selectors
                    .push(selector::parse_selector(&value).map_err(|error| error.to_string())?),
                "start" => question.mint_ms = milliseconds(&value)?,
                "end" => question.maxt_ms = milliseconds(&value)?,
                "limit" => question.limit = value.parse().map_err(|_| format!("limit {value:?}"))?,
                _ => {}
            }
        }
        Ok(question)
    }

    fn select<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Labels> {
        let in_range = |t: i64| (self.mint_ms..=self.maxt_ms).contains(&t);
        let series = state
            .series
            .iter()
            .filter(move |(_, samples)| samples.iter().any(|sample| in_range(sample.t)));
        series.map(|(labels, _)| labels).filter(|labels| {
            let matches = |matchers: &Vec<Matcher>| matchers.iter().all(|one| one.matches_lset(labels));
            self.selectors.is_empty() || self.selectors.iter().any(matches)
        })
    }
}

fn milliseconds(seconds: &str) -> Result<i64, String> {
    let seconds: f64 = seconds.parse().map_err(|_| format!("time {seconds:?}"))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the nearest i64 is what is wanted"
    )]
    Ok((seconds * 1000.0) as i64)
}

/// The answer of every call, its list cut to `limit` entries unless that is zero.
fn success(data: &Value, limit: usize) -> Answer {
    let data = match data {
        Value::Array(list) if limit > 0 => json!(list.iter().take(limit).collect::<Vec<_>>()),
        other => other.clone(),
    };
    let body = json!({"status": "success", "data": data}).to_string();
    Answer::new(200)
        .header("content-type", "application/json")
        .body(body)
}

fn failure(status: u16, problem: &str) -> Answer {
    let body = json!({"status": "error", "errorType": "bad_data", "error": problem}).to_string();
    Answer::new(status)
        .header("content-type", "application/json")
        .body(body)
}

fn config(state: &State) -> Answer {
    let mut yaml = String::from("global:\n  scrape_interval: 15s\n");
    if !state.external_labels.is_empty() {
        yaml.push_str("  external_labels:\n");
    }
    for (name, value) in &state.external_labels {
        yaml.push_str(&format!("    {name}: {}\n", json!(value)));
    }
    success(&json!({ "yaml": yaml }), 0)
}

fn metrics(state: &State) -> Answer {
    let times = state.series.values().filter_map(|samples| samples.first());
    let lowest = times.map(|sample| sample.t).min();
    // MaxInt64 milliseconds is how Prometheus says that it has nothing.
    let seconds = lowest.map_or(9.223_372_036_854_775e15, |ms| ms as f64 / 1000.0);
    Answer::new(200).body(format!("prometheus_tsdb_lowest_timestamp_seconds {seconds}\n"))
}
