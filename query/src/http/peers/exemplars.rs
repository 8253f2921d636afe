//! Exemplars of all peers: those of one series together, each once.

use std::collections::BTreeMap;

use sabre_model::{Labels, Matcher};
use sabre_promql::{ParseOptions, ast::Expr, parse};
use sabre_proto::thanos::{ExemplarData, ExemplarsRequest, ExemplarsResponse, exemplars_response};
use serde_json::{Number, Value, json};

use super::{
    Call, Gathered,
    gather::{Question, Said, gather},
    json,
    shapes::EXEMPLARS,
    without_replica,
};
use crate::{
    endpoints::{Api, Endpoint, Pool},
    fanout::without_own,
    http::{failure::ApiFailure, json::text},
};

/// What exemplars are wanted.
#[derive(Clone, Debug)]
pub(crate) struct WantedExemplars {
    /// The conditions of each selector of the query.
    pub(crate) selectors: Vec<Vec<Matcher>>,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

impl WantedExemplars {
    /// What a query asks for behind a querier with labels of its `own`, which nobody behind it knows.
    ///
    /// # Errors
    /// The text is no query.
    pub(crate) fn of(query: &str, own: &Labels, times_ms: (i64, i64)) -> Result<Self, ApiFailure> {
        let expr = parse(query, ParseOptions::all());
        let expr = expr.map_err(|error| ApiFailure::bad_data(error.to_string()))?;
        let selectors = selectors(&expr);
        Ok(Self {
            selectors: selectors
                .iter()
                .filter_map(|matchers| without_own(matchers, own))
                .collect(),
            start_ms: times_ms.0,
            end_ms: times_ms.1,
        })
    }
}

/// Asks all peers.
pub(crate) async fn ask(
    pool: &Pool,
    call: &Call,
    wanted: &WantedExemplars,
    replica_labels: &[String],
) -> Result<Gathered<Value>, ApiFailure> {
    let gathered = fetch(pool, call, wanted).await?;
    Ok(Gathered {
        items: merged(gathered.items, replica_labels),
        warnings: gathered.warnings,
        charge: gathered.charge,
    })
}

/// Exemplars as all peers say them.
pub(crate) async fn fetch(
    pool: &Pool,
    call: &Call,
    wanted: &WantedExemplars,
) -> Result<Gathered<ExemplarData>, ApiFailure> {
    let message = |endpoint: &Endpoint| {
        let peer = endpoint.peer()?;
        // A querier asks on by external labels; Prometheus does not know its own.
        let keeps = peer.component == "query";
        Some(ExemplarsRequest {
            query: query_for(&wanted.selectors, &peer.label_sets, keeps)?,
            start: wanted.start_ms,
            end: wanted.end_ms,
            partial_response_strategy: call.strategy(),
        })
    };
    let read = |response: ExemplarsResponse| match response.result {
        Some(exemplars_response::Result::Data(data)) => Said::Item(data),
        Some(exemplars_response::Result::Warning(warning)) => Said::Warning(warning),
        None => Said::Nothing,
    };
    let question = Question {
        api: Api::Exemplars,
        path: "/thanos.Exemplars/Exemplars",
        shape: &EXEMPLARS,
        read,
    };
    gather(pool, call, question, message).await
}

/// The conditions of all selectors within an expression.
pub(super) fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Vector(selector) => found.push(selector.matchers.clone()),
            Expr::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
            other => open.extend(other.children().into_iter().rev()),
        }
    }
    found
}

/// The query for a peer with these external labels: a sum of the selectors that may match there, without conditions on
/// external labels unless it `keeps` them. `None` if nothing may match.
pub(super) fn query_for(selectors: &[Vec<Matcher>], external: &[Labels], keeps: bool) -> Option<String> {
    let may_match = |matchers: &[Matcher], set: &Labels| {
        let mut known = matchers
            .iter()
            .filter_map(|matcher| set.get(matcher.name()).map(|value| (matcher, value)));
        known.all(|(matcher, value)| matcher.matches(value))
    };
    let is_external = |matcher: &Matcher| external.iter().any(|set| set.get(matcher.name()).is_some());
    let mut parts = Vec::new();
    for matchers in selectors {
        if !external.is_empty() && !external.iter().any(|set| may_match(matchers, set)) {
            continue;
        }
        let kept = matchers.iter().filter(|matcher| keeps || !is_external(matcher));
        let kept: Vec<String> = kept.map(ToString::to_string).collect();
        parts.push(format!("{{{}}}", kept.join(",")));
    }
    (!parts.is_empty()).then(|| parts.join("+"))
}

/// By series without replica labels; exemplars by time, labels and value.
pub(super) fn merged(all: Vec<ExemplarData>, replica_labels: &[String]) -> Vec<Value> {
    let mut by_series: BTreeMap<Labels, Vec<(i64, Labels, f64)>> = BTreeMap::new();
    for data in all.into_iter().filter(|data| !data.exemplars.is_empty()) {
        let series = without_replica(data.series_labels.as_ref(), replica_labels);
        let known = by_series.entry(series).or_default();
        for exemplar in data.exemplars {
            let labels = without_replica(exemplar.labels.as_ref(), &[]);
            known.push((exemplar.ts, labels, exemplar.value));
        }
    }
    let series = by_series.into_iter().map(|(series, mut exemplars)| {
        exemplars.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)).then_with(|| a.2.total_cmp(&b.2)));
        exemplars.dedup_by(|a, b| (a.0, &a.1, a.2.to_bits()) == (b.0, &b.1, b.2.to_bits()));
        let exemplars = exemplars.iter().map(|(t, labels, value)| {
            let mut number = Vec::new();
            text::float(&mut number, *value);
            let number = String::from_utf8_lossy(&number);
            json!({
                "labels": json::labels(labels),
                "timestamp": seconds(*t),
                "value": number.trim_matches('"'),
            })
        });
        json!({
            "seriesLabels": json::labels(&series),
            "exemplars": exemplars.collect::<Vec<_>>(),
        })
    });
    series.collect()
}

fn seconds(ms: i64) -> Value {
    match ms % 1000 {
        0 => Value::from(ms / 1000),
        _ => Number::from_f64(ms as f64 / 1000.0).map_or(Value::Null, Value::Number),
    }
}
