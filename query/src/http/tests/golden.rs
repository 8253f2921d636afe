//! Recorded answers, read into values and printed anew.

use std::sync::Arc;

use sabre_model::Labels;
use sabre_promql::{
    histogram::{CounterResetHint, FloatHistogram, Layout, Span},
    value::{InstantSample, RangeSeries, SampleValue, Value},
};
use serde_json::Value as Json;

use super::fakes::{Fake, answer, get, routes};
use crate::{
    evaluate::{FailureKind, NamesAnswer, QueryFailure, SeriesAnswer},
    http::{ApiOptions, json::document::Document},
};

/// The schema of histograms with bounds of their own.
const CUSTOM: i32 = -53;

fn recorded() -> Vec<Json> {
    let Some(golden) = sabre_testkit::golden::golden() else {
        return Vec::new();
    };
    let lines = golden.lines("http.jsonl.zst").unwrap();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn labels(json: &Json) -> Labels {
    let pairs = json.as_object().unwrap().iter();
    Labels::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap()))).unwrap()
}

fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

fn time_ms(json: &Json) -> i64 {
    (json.as_f64().unwrap() * 1000.0).round() as i64
}

fn number(json: &Json) -> f64 {
    json.as_str().unwrap().parse().unwrap()
}

/// A recorded bucket: what of its bounds belongs to it, bounds, count.
fn bucket(json: &Json) -> (i64, f64, f64, f64) {
    let inclusive = json[0].as_i64().unwrap();
    (inclusive, number(&json[1]), number(&json[2]), number(&json[3]))
}

fn histogram(json: &Json) -> Arc<FloatHistogram> {
    let recorded: Vec<_> = list(&json["buckets"]).map(bucket).collect();
    let is_custom = recorded.iter().any(|(_, lower, upper, _)| {
        lower.is_infinite() || upper.is_infinite() || (*lower > 0.0 && schema_of(*lower, *upper).is_none())
    });
    let mut read = match is_custom {
        true => custom(&recorded),
        false => exponential(&recorded),
    };
    read.count = number(&json["count"]);
    read.sum = number(&json["sum"]);
    Arc::new(read)
}

fn empty(schema: i32) -> FloatHistogram {
    FloatHistogram {
        hint: CounterResetHint::Unknown,
        layout: Arc::new(Layout {
            schema,
            zero_threshold: 0.0,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            custom_bounds: Vec::new(),
        }),
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Vec::new(),
        negative: Vec::new(),
    }
}

/// The schema whose buckets are as wide.
fn schema_of(lower: f64, upper: f64) -> Option<i32> {
    let width = (upper / lower).log2();
    let schema = -width.log2();
    ((schema - schema.round()).abs() < 1e-6 && (-4.0..=8.0).contains(&schema.round()))
        .then_some(schema.round() as i32)
}

fn index_of(upper: f64, schema: i32) -> i32 {
    (upper.log2() * f64::from(schema).exp2()).round() as i32
}

fn exponential(recorded: &[(i64, f64, f64, f64)]) -> FloatHistogram {
    let sized = |(inclusive, lower, upper, _): &(i64, f64, f64, f64)| match inclusive {
        0 => schema_of(*lower, *upper),
        1 => schema_of(-upper, -lower),
        _ => None,
    };
    let mut read = empty(recorded.iter().find_map(sized).unwrap_or(0));
    let layout = Arc::make_mut(&mut read.layout);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for (inclusive, lower, upper, count) in recorded {
        match inclusive {
            0 => positive.push((index_of(*upper, layout.schema), *count)),
            1 => negative.push((index_of(-lower, layout.schema), *count)),
            3 => {
                layout.zero_threshold = *upper;
                read.zero_count = *count;
            }
            other => panic!("bucket of kind {other}"),
        }
    }
    negative.reverse();
    (layout.positive_spans, read.positive) = spans(&positive);
    (layout.negative_spans, read.negative) = spans(&negative);
    read
}

fn spans(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut next = 0;
    let mut spans = Vec::new();
    for (index, _) in buckets {
        spans.push(Span {
            offset: index - next,
            length: 1,
        });
        next = index + 1;
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

fn custom(recorded: &[(i64, f64, f64, f64)]) -> FloatHistogram {
    let mut read = empty(CUSTOM);
    let layout = Arc::make_mut(&mut read.layout);
    let bounds = recorded.iter().flat_map(|(_, lower, upper, _)| [*lower, *upper]);
    let mut bounds: Vec<f64> = bounds.filter(|bound| bound.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let place = |upper: f64| {
        bounds
            .iter()
            .position(|bound| *bound == upper)
            .unwrap_or(bounds.len())
    };
    let buckets: Vec<_> = recorded
        .iter()
        .map(|(_, _, upper, count)| (place(*upper) as i32, *count))
        .collect();
    (layout.positive_spans, read.positive) = spans(&buckets);
    layout.custom_bounds = bounds;
    read
}

fn instant(json: &Json) -> InstantSample {
    let (t, value) = match json.get("value") {
        Some(pair) => (time_ms(&pair[0]), SampleValue::Float(number(&pair[1]))),
        None => {
            let pair = &json["histogram"];
            (time_ms(&pair[0]), SampleValue::Histogram(histogram(&pair[1])))
        }
    };
    InstantSample {
        labels: labels(&json["metric"]),
        t,
        value,
    }
}

fn series(json: &Json) -> RangeSeries {
    let floats = list(&json["values"]).map(|pair| (time_ms(&pair[0]), number(&pair[1])));
    let histograms = list(&json["histograms"]).map(|pair| (time_ms(&pair[0]), histogram(&pair[1])));
    RangeSeries {
        labels: labels(&json["metric"]),
        floats: floats.collect(),
        histograms: histograms.collect(),
    }
}

fn value(data: &Json) -> Value {
    let result = &data["result"];
    match data["resultType"].as_str().unwrap() {
        "vector" => Value::Vector(list(result).map(instant).collect()),
        "matrix" => Value::Matrix(list(result).map(series).collect()),
        "scalar" => Value::Scalar {
            t: time_ms(&result[0]),
            value: number(&result[1]),
        },
        "string" => Value::String {
            t: time_ms(&result[0]),
            value: result[1].as_str().unwrap().to_owned(),
        },
        other => panic!("result type {other}"),
    }
}

fn texts(json: &Json) -> Vec<String> {
    list(json).map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn printed(mut document: Document) -> String {
    let mut out = Vec::new();
    while !document.fill(&mut out, usize::MAX) {}
    String::from_utf8(out).unwrap()
}

#[test]
fn every_recorded_answer_is_printed_to_the_byte() {
    let (mut results, mut with_histograms) = (0, 0);
    for line in recorded() {
        if line["status"] != 200 {
            continue;
        }
        let body = &line["body"];
        let warnings = texts(&body["warnings"]);
        let data = &body["data"];
        let document = if data.get("resultType").is_some() {
            Document::query(value(data), b"", &warnings)
        } else if list(data).any(Json::is_object) {
            Document::series(list(data).map(labels).collect(), &warnings)
        } else {
            Document::texts(texts(data), &warnings)
        };
        // serde_json keeps the order of members; recorded bodies lost their spaces and nothing else.
        let expected = body.to_string();
        with_histograms += usize::from(expected.contains("\"buckets\""));
        assert_eq!(printed(document), expected, "{}", line["params"]);
        results += 1;
    }
    if sabre_testkit::golden::golden().is_some() {
        assert!(
            results > 800 && with_histograms > 50,
            "{results}, {with_histograms}"
        );
    }
}

/// What is refused here, before the evaluator is asked, must be refused as it was recorded; what is refused there must
/// come through.
#[tokio::test]
async fn every_recorded_error_has_its_envelope() {
    let mut errors = 0;
    for line in recorded() {
        if line["status"] == 200 {
            continue;
        }
        let body = &line["body"];
        let kind = match body["errorType"].as_str().unwrap() {
            "bad_data" => FailureKind::BadData,
            _ => FailureKind::Execution,
        };
        let fake = Fake {
            answer: Err(QueryFailure::new(kind, body["error"].as_str().unwrap())),
            series: SeriesAnswer::default(),
            names: NamesAnswer::default(),
            ..Fake::default()
        };
        let routes = routes(&Arc::new(fake), ApiOptions::default());
        let encoded: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs(line["params"].as_str().unwrap()))
            .finish();
        let address = format!("{}?{encoded}", line["path"].as_str().unwrap());
        let got = get(&routes, &address).await;
        assert_eq!(got.body, body.to_string(), "{address}");
        assert_eq!(u64::from(got.status), line["status"].as_u64().unwrap());
        errors += 1;
    }
    assert!(errors == 60 || sabre_testkit::golden::golden().is_none());
    // The fake is well: it is the recorded failure that was seen, not any.
    let fake = Fake {
        answer: Ok(answer(Value::Vector(Vec::new()))),
        ..Fake::default()
    };
    let got = get(
        &routes(&Arc::new(fake), ApiOptions::default()),
        "/api/v1/query?query=up",
    )
    .await;
    assert_eq!(got.status, 200);
}

/// Names and values are recorded unencoded; a value may hold `&` only where no parameter follows.
fn pairs(params: &str) -> Vec<(&str, &str)> {
    let known = [
        "time",
        "start",
        "end",
        "step",
        "dedup",
        "max_source_resolution",
        "match[]",
        "query",
    ];
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut start = 0;
    let cuts = params.match_indices('&').filter(|(at, _)| {
        let after = &params[at + 1..];
        known.iter().any(|name| after.starts_with(&format!("{name}=")))
    });
    for (at, _) in cuts {
        pairs.extend(params[start..at].split_once('='));
        start = at + 1;
    }
    pairs.extend(params[start..].split_once('='));
    pairs
}
