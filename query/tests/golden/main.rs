//! Requests that a real querier answered, answered by the engine over the same blocks.
//!
//! What is about the form of HTTP requests alone is left to the tests of the HTTP API.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

mod blocks;
mod compare;
mod source;

use std::sync::Arc;

use futures::StreamExt;
use sabre_query::evaluate::{
    Engine, EngineConfig, QueryFailure, QueryRequest, QueryTimes, RequestContext, Resolution, SeriesRequest,
};
use sabre_testkit::golden::golden;
use serde_json::Value as Json;

/// A request as recorded: names and values are not encoded, and no value has an ampersand.
struct Recorded {
    path: String,
    params: Vec<(String, String)>,
    record: Json,
}

/// How a recorded request went.
enum Outcome {
    Equal,
    /// It is about the form of the request.
    OfHttp,
    Differs(String),
}

impl Recorded {
    fn parse(line: &str) -> Recorded {
        let record: Json = serde_json::from_str(line).unwrap();
        let params = record["params"].as_str().unwrap().split('&');
        let pair = |param: &str| {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            (name.to_owned(), value.to_owned())
        };
        Recorded {
            path: record["path"].as_str().unwrap().to_owned(),
            params: params.map(pair).collect(),
            record,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.params.iter().filter(|(n, _)| n == name);
        all.next().map(|(_, value)| value.as_str())
    }

    /// Milliseconds; `Err` for what is no number of seconds.
    fn time_ms(&self, name: &str) -> Result<i64, Outcome> {
        let Some(text) = self.get(name) else { return Ok(0) };
        let seconds: f64 = text.parse().map_err(|_| Outcome::OfHttp)?;
        Ok((seconds * 1000.0) as i64)
    }

    fn context(&self) -> Result<RequestContext, Outcome> {
        Ok(RequestContext {
            dedup: match self.get("dedup") {
                None => true,
                Some(text) => text.parse().map_err(|_| Outcome::OfHttp)?,
            },
            ..RequestContext::default()
        })
    }

    fn resolution(&self) -> Result<Option<Resolution>, Outcome> {
        Ok(Some(Resolution::Ms(match self.get("max_source_resolution") {
            None => return Ok(None),
            Some("0s") => 0,
            Some("5m") => 300_000,
            Some("1h") => 3_600_000,
            Some(_) => return Err(Outcome::OfHttp),
        })))
    }

    fn query(&self) -> Result<QueryRequest, Outcome> {
        let times = if self.path == "/api/v1/query" {
            QueryTimes::Instant {
                time_ms: self.time_ms("time")?,
            }
        } else {
            QueryTimes::Range {
                start_ms: self.time_ms("start")?,
                end_ms: self.time_ms("end")?,
                step_ms: self.time_ms("step")?,
            }
        };
        Ok(QueryRequest {
            expression: self.get("query").unwrap_or_default().to_owned(),
            times,
            lookback_delta_ms: None,
            max_source_resolution: self.resolution()?,
            limit: 0,
            wants_times: false,
            context: self.context()?,
        })
    }

    fn series(&self) -> Result<SeriesRequest, Outcome> {
        let matchers = self.params.iter().filter(|(name, _)| name == "match[]");
        Ok(SeriesRequest {
            matchers: matchers
                .map(|(_, text)| sabre_promql::parse_selector(text).unwrap())
                .collect(),
            start_ms: self.time_ms("start")?,
            end_ms: self.time_ms("end")?,
            limit: 0,
            context: self.context()?,
        })
    }

    async fn run(&self, engine: &Engine) -> Outcome {
        match self.compared(engine).await {
            Ok(Ok(())) => Outcome::Equal,
            Ok(Err(difference)) => Outcome::Differs(difference),
            Err(outcome) => outcome,
        }
    }

    async fn compared(&self, engine: &Engine) -> Result<Result<(), String>, Outcome> {
        if self.path.starts_with("/api/v1/query") {
            let query = self.query()?;
            return Ok(compare::query(
                &query.expression,
                engine.query(&query).await,
                &self.record,
            ));
        }
        let asked = self.series()?;
        let found: Result<Json, QueryFailure> = if self.path == "/api/v1/series" {
            let answer = engine.series(&asked).await;
            answer.map(|answer| {
                answer
                    .series
                    .iter()
                    .map(|labels| Json::from_iter(labels.to_map()))
                    .collect()
            })
        } else if self.path == "/api/v1/labels" {
            engine
                .label_names(&asked)
                .await
                .map(|names| Json::from(names.values))
        } else {
            let label = self.path.split('/').nth(4).unwrap().to_owned();
            engine
                .label_values(&label, &asked)
                .await
                .map(|names| Json::from(names.values))
        };
        Ok(compare::data(found, &self.record))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_requests_are_answered_alike() {
    let Some(golden) = golden() else { return };
    let source = Arc::new(source::GoldenStore::open(
        &golden,
        &["thanos/plain", "thanos/long"],
    ));
    let engine = Engine::new(
        source,
        EngineConfig {
            replica_labels: vec!["replica".to_owned()],
            auto_downsampling: true,
            ..EngineConfig::default()
        },
    );
    let recorded: Vec<Recorded> = golden
        .lines("http.jsonl.zst")
        .unwrap()
        .iter()
        .map(|line| Recorded::parse(line))
        .collect();
    let runs = recorded
        .iter()
        .map(async |recorded| (recorded, recorded.run(&engine).await));
    let outcomes: Vec<_> = futures::stream::iter(runs).buffered(4).collect().await;
    let (mut equal, mut of_http, mut wrong) = (0, 0, Vec::new());
    for (recorded, outcome) in outcomes {
        match outcome {
            Outcome::Equal => equal += 1,
            Outcome::OfHttp => of_http += 1,
            Outcome::Differs(difference) => {
                wrong.push(format!("{} {:?}: {difference}", recorded.path, recorded.params));
            }
        }
    }
    eprintln!(
        "{equal} answers equal, {} differ, {of_http} are about HTTP alone",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((equal, of_http), (864, 3));
}
