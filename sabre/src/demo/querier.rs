//! The demo's querier: asked over Prometheus' HTTP API, as Grafana asks it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use sabre_model::time::format_rfc3339_ms;
use sabre_runtime::clock;
use serde_json::Value;

use super::{
    chart,
    http::get,
    screen::{Screen, grouped},
};

/// The graph's columns and lines.
const COLUMNS: i64 = 72;
const LINES: usize = 7;
const DAY_SECONDS: i64 = 86_400;
const MS_PER_SECOND: i64 = 1_000;

/// How long a querier may take to know its endpoints.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// What is asked, if there is such a metric: the first that is there.
const QUESTIONS: [(&str, &str); 2] = [
    ("http_requests_total", "sum(rate(http_requests_total[15m]))"),
    ("up", "sum(up)"),
];

/// Waits until the querier knows this many endpoints, and prints them.
pub(crate) async fn wait_for_endpoints(http: SocketAddr, wanted: usize, screen: &Screen) -> Result<i64> {
    let waiting = async {
        loop {
            let stores = api(http, "stores", &[]).await?;
            let known = endpoints(&stores);
            if known.len() >= wanted {
                return Ok::<_, anyhow::Error>(known);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, waiting)
        .await
        .context("the querier did not get to know its endpoints, its log says why")??;
    let mut newest_ms = i64::MIN;
    for (kind, address, _, maxt) in &known {
        screen.line(&format!("the querier asks the {kind} at {address}"));
        newest_ms = newest_ms.max(*maxt);
    }
    Ok(newest_ms.min(clock::now_ms()))
}

/// Kind, address, first and last time of all that answered.
fn endpoints(stores: &Value) -> Vec<(String, String, i64, i64)> {
    let mut known = Vec::new();
    for (kind, list) in stores.as_object().into_iter().flatten() {
        for endpoint in list.as_array().into_iter().flatten() {
            let name = at(endpoint, "/name").as_str().unwrap_or_default().to_owned();
            let time = |name: &str| at(endpoint, name).as_i64().unwrap_or_default();
            if kind != "unknown" && at(endpoint, "/lastError").is_null() {
                known.push((kind.clone(), name, time("/minTime"), time("/maxTime")));
            }
        }
    }
    known
}

/// Asks for a day that ends at `end_ms`, and draws the answer.
pub(crate) async fn ask(http: SocketAddr, end_ms: i64, screen: &Screen) -> Result<()> {
    let names = api(http, "label/__name__/values", &[]).await?;
    let has = |name: &str| {
        let names = names.as_array().into_iter().flatten();
        names.into_iter().any(|known| known == name)
    };
    let question = QUESTIONS.iter().find(|(metric, _)| has(metric));
    let Some((_, query)) = question else {
        screen.line("none of the metrics that the demo asks for is there");
        return Ok(());
    };
    let end = end_ms / MS_PER_SECOND;
    let step = DAY_SECONDS / COLUMNS;
    let start = end - step * (COLUMNS - 1);
    let range = [
        ("query", (*query).to_owned()),
        ("start", start.to_string()),
        ("end", end.to_string()),
        ("step", step.to_string()),
        ("stats", "all".to_owned()),
    ];
    let begun = tokio::time::Instant::now();
    let data = api(http, "query_range", &range).await?;
    let took_ms = begun.elapsed().as_millis();
    let values = values(at(&data, "/result/0"), start, step);
    if values.iter().all(|value| value.is_nan()) {
        bail!("the querier has no samples for {query}");
    }
    screen.line(&format!("{query}, the last day, replicas made one:"));
    screen.line("");
    for line in chart::draw(&values, LINES) {
        screen.line(&line);
    }
    let time = |seconds: i64| format_rfc3339_ms(seconds * MS_PER_SECOND);
    screen.line(&format!("    from {} until {}", time(start), time(end)));
    screen.line("");
    let number = |name: &str| {
        let cost = at(&data, &format!("/stats/sabre/{name}"));
        grouped(cost.as_u64().unwrap_or_default())
    };
    screen.line(&format!(
        "{} samples of {} series, in {took_ms} ms",
        number("samples"),
        number("series")
    ));
    Ok(())
}

/// The values of a series on the columns of the graph.
fn values(series: &Value, start: i64, step: i64) -> Vec<f64> {
    let count = usize::try_from(COLUMNS).unwrap_or_default();
    let mut values = vec![f64::NAN; count];
    for pair in at(series, "/values").as_array().into_iter().flatten() {
        let (Some(t), Some(value)) = (at(pair, "/0").as_f64(), at(pair, "/1").as_str()) else {
            continue;
        };
        let column = (t as i64 - start) / step;
        let column = usize::try_from(column).ok().and_then(|at| values.get_mut(at));
        if let (Some(column), Ok(value)) = (column, value.parse()) {
            *column = value;
        }
    }
    values
}

/// What stands at a place of an answer, null if nothing does.
fn at<'v>(value: &'v Value, place: &str) -> &'v Value {
    value.pointer(place).unwrap_or(&Value::Null)
}

/// Asks below `/api/v1`, and takes the answer out of its envelope.
async fn api(http: SocketAddr, path: &str, parameters: &[(&str, String)]) -> Result<Value> {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let (_, body) = get(http, &format!("/api/v1/{path}?{query}")).await?;
    let mut answer: Value = serde_json::from_slice(&body).with_context(|| format!("the answer to {path}"))?;
    if at(&answer, "/status") != "success" {
        bail!("the querier answered {path} with {}", at(&answer, "/error"));
    }
    Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_endpoints_that_answered_count() {
        let stores = json!({
            "sidecar": [
                { "name": "a:1", "lastError": null, "minTime": 1, "maxTime": 2 },
                { "name": "b:1", "lastError": "refused", "minTime": 1, "maxTime": 2 },
            ],
            "unknown": [{ "name": "c:1", "lastError": null, "minTime": 1, "maxTime": 2 }],
        });
        assert_eq!(
            endpoints(&stores),
            [("sidecar".to_owned(), "a:1".to_owned(), 1, 2)]
        );
    }

    #[test]
    fn values_stand_in_their_columns() {
        let series = json!({ "values": [[100, "1"], [130.0, "2.5"], [9e9, "3"], ["x", 1]] });
        let values = values(&series, 100, 10);
        assert_eq!((values[0], values[3]), (1.0, 2.5));
        assert!(values[1].is_nan());
    }

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(percent_encoded("sum(a[5m])"), "sum%28a%5B5m%5D%29");
    }
}
