//! Queries over a small fleet, answered by the querier through a sidecar and by the Prometheus behind that sidecar itself,
//! in the version that there is: those are asked in which Prometheus 2.42 and 3.9 agree.
//!
//! No evaluation falls on a sample: ranges are open to the left since Prometheus 3. Counters do not fall: a
//! querier takes resets out before `rate` and `resets` see them, as Thanos' does.

use anyhow::{Context, Result, bail, ensure};
use sabre_proto::{
    prometheus_copy::{Sample, TimeSeries},
    thanos::Label,
};
use sabre_tests::prometheus::Prometheus;
use serde_json::Value;

use super::{MINUTE_MS, STEP_MS, url_of};

/// One a line; some are wrong.
const QUERIES: &str = include_str!("queries.txt");

/// What each `#` of a long query stands for.
const LETTERS: &str = "abcdefghij";

/// Queries that do not fit into a line.
const LONG: [&str; 7] = [
    "sum by (rack) (rate({host=~\"#\"}[5m])) / on (rack) group_left (host) count by (rack, host) (fleet_up{host=~\"#\"})",
    "quantile_over_time(scalar(fleet_up{host=\"h1\"}), rate(fleet_bytes_total{host=\"#\"}[5m])[1h:5m])",
    "sum(max_over_time(fleet_bytes_total{host=\"#######\"}[1h:]))",
    "max_over_time(fleet_bytes_total{host=\"########\"}[1h:])",
    "max_over_time((fleet_bytes_total{host=\"######\"}[1h:]))",
    "-(fleet_up{host=\"#####\"} and fleet_up{host=\"#####\"})",
    "max_over_time(rate(fleet_bytes_total{host=\"#######\"}[5m])[1h:]) + fleet_up{host=\"######\"}",
];

const RACKS: i64 = 3;
const HOSTS: i64 = 4;
/// Steps of samples, 25 minutes.
const STEPS: i64 = 100;

/// Writes the fleet, before anything that is much later.
pub(super) async fn fill(prometheus: &Prometheus, from_ms: i64) -> Result<()> {
    for first in (0..STEPS).step_by(25) {
        prometheus.write(fleet(from_ms, first..first + 25)).await?;
    }
    Ok(())
}

/// Compares all answers.
pub(super) async fn holds(querier: &str, prometheus: &Prometheus, from_ms: i64) -> Result<()> {
    let (start_ms, end_ms) = (from_ms + 10 * MINUTE_MS + 3_000, from_ms + 24 * MINUTE_MS + 3_000);
    let seconds = |ms: i64| (ms / 1000).to_string();
    let ranges = [
        ("start", seconds(start_ms)),
        ("end", seconds(end_ms)),
        ("step", "30".to_string()),
    ];
    let instant = [("time", seconds(end_ms))];
    let (mut equal, mut refused) = (0, 0);
    for query in QUERIES.lines() {
        for (path, times) in [("query", &instant[..]), ("query_range", &ranges[..])] {
            let mut parameters = vec![("query", query.to_string())];
            parameters.extend_from_slice(times);
            let theirs = answer(&prometheus.address, path, &parameters).await?;
            // The first replica alone, as it is.
            parameters.push(("dedup", "false".to_string()));
            parameters.push(("storeMatch[]", "{replica=\"a\"}".to_string()));
            let ours = answer(querier, path, &parameters).await?;
            let is_sorted = path == "query" && (query.starts_with("sort") || query.starts_with("topk"));
            if let Some(difference) = difference(&ours, &theirs, is_sorted) {
                bail!("{path} {query}: {difference}");
            }
            equal += 1;
            refused += usize::from(ours.0 != 200);
        }
    }
    let mut formatted = 0;
    let long = LONG.map(|query| query.replace('#', LETTERS));
    for query in QUERIES.lines().chain(long.iter().map(String::as_str)) {
        let parameters = [("query", query.to_string())];
        let (_, ours) = answer(querier, "format_query", &parameters).await?;
        let (_, theirs) = answer(&prometheus.address, "format_query", &parameters).await?;
        let (ours, theirs) = (&ours["data"], &theirs["data"]);
        ensure!(
            ours == theirs,
            "{query} is formatted as {ours}, by Prometheus as {theirs}"
        );
        formatted += 1;
    }
    ensure!(
        equal > 120 && refused > 10 && equal - refused > 100,
        "{equal} answers"
    );
    println!(
        "{equal} answers are those of Prometheus, of which {refused} refuse; {formatted} queries are formatted alike"
    );
    Ok(())
}

/// The samples of some steps: gauges, counters, and a classic histogram.
fn fleet(from_ms: i64, steps: std::ops::Range<i64>) -> Vec<TimeSeries> {
    let series = |name: &str, labels: &[(&str, String)], value: &dyn Fn(i64) -> f64| {
        let mut all = vec![("__name__", name.to_string())];
        all.extend_from_slice(labels);
        all.sort();
        let label = |(name, value): (&str, String)| Label {
            name: name.to_string(),
            value,
        };
        let sample = |step: i64| Sample {
            value: value(step),
            timestamp: from_ms + step * STEP_MS,
        };
        TimeSeries {
            labels: all.into_iter().map(label).collect(),
            samples: steps.clone().map(sample).collect(),
            ..TimeSeries::default()
        }
    };
    let mut all = Vec::new();
    for rack in 0..RACKS {
        let of_rack = ("rack", format!("r{rack}"));
        for host in 0..HOSTS {
            let n = rack * HOSTS + host;
            let labels = [("host", format!("h{host}")), of_rack.clone()];
            let temperature = |step: i64| ((step * 7 + n * 13) % 101 - 40) as f64 / 4.0;
            all.push(series("fleet_temperature_celsius", &labels, &temperature));
            let up = |step: i64| f64::from(u8::from((step / 20 + n) % 7 != 0));
            all.push(series("fleet_up", &labels, &up));
            let bytes = |step: i64| ((step + n * 17) * (n + 1) * 3) as f64;
            all.push(series("fleet_bytes_total", &labels, &bytes));
        }
        for (le, share) in [("0.1", 1), ("0.5", 3), ("1", 4), ("5", 6), ("+Inf", 7)] {
            let labels = [("le", le.to_string()), of_rack.clone()];
            let count = |step: i64| (step * (rack + 1) * share) as f64;
            all.push(series("fleet_seconds_bucket", &labels, &count));
        }
    }
    all
}

/// Status and body.
async fn answer(address: &str, path: &str, parameters: &[(&str, String)]) -> Result<(u16, Value)> {
    let url = url_of(address, path, parameters);
    let response = reqwest::get(&url).await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).with_context(|| format!("{url}: {text:.500}"))?;
    Ok((status, body))
}

/// What differs: values may by the last digits, which depend on the order of additions.
fn difference(ours: &(u16, Value), theirs: &(u16, Value), is_sorted: bool) -> Option<String> {
    let (part, is_same) = match (ours.0, theirs.0) {
        (200, 200) => {
            let (ours, theirs) = (in_order(&ours.1, is_sorted), in_order(&theirs.1, is_sorted));
            ("data", same(&ours, &theirs))
        }
        (a, b) => (
            "errorType",
            a == b && ours.1["errorType"] == theirs.1["errorType"],
        ),
    };
    let text = |answer: &(u16, Value)| format!("{} {:.3000}", answer.0, answer.1.to_string());
    (!is_same).then(|| format!("{part} of {}, Prometheus has {}", text(ours), text(theirs)))
}

/// The data of an answer without external labels, series by their labels where the query does not sort.
fn in_order(body: &Value, is_sorted: bool) -> Value {
    let mut data = body["data"].clone();
    let Some(result) = data.get_mut("result").and_then(Value::as_array_mut) else {
        return data;
    };
    for series in result.iter_mut() {
        if let Some(labels) = series.get_mut("metric").and_then(Value::as_object_mut) {
            labels.remove("cluster");
            labels.remove("replica");
        }
    }
    if !is_sorted {
        result.sort_by_cached_key(|series| {
            let labels = series["metric"].as_object().into_iter().flatten();
            let mut labels: Vec<_> = labels
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect();
            labels.sort();
            labels
        });
    }
    data
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => {
            ours == theirs || same_number(ours, theirs).unwrap_or(false)
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let has_same = |(key, value)| theirs.get(key).is_some_and(|other| same(value, other));
            ours.len() == theirs.len() && ours.iter().all(has_same)
        }
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        _ => ours == theirs,
    }
}

fn same_number(ours: &str, theirs: &str) -> Option<bool> {
    let (a, b): (f64, f64) = (ours.parse().ok()?, theirs.parse().ok()?);
    Some((a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}
