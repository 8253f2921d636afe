//! What flags change of how queries are read.

use super::*;

#[tokio::test]
async fn a_subquery_without_a_step_has_that_of_the_flag() {
    for (step_ms, steps) in [(60_000, 5.0), (10_000, 30.0)] {
        let engine = engine(&Scripted::new([items(1)]), |config| {
            config.subquery_step_ms = step_ms;
        });
        let answer = engine.query(&instant("count_over_time(up[5m:])")).await.unwrap();
        let Value::Vector(samples) = &answer.value else {
            panic!("{:?}", answer.value)
        };
        assert_eq!(samples[0].value, SampleValue::Float(steps));
    }
}

/// Whether a series of a minute's silence, or of so many, is still there.
async fn is_there(
    silent_minutes: i64,
    max_resolution_ms: i64,
    change: impl FnOnce(&mut EngineConfig),
) -> bool {
    const LAST_MS: i64 = 99 * 15_000;
    let engine = engine(&Scripted::new([items(1)]), change);
    let request = QueryRequest {
        times: QueryTimes::Instant {
            time_ms: LAST_MS + silent_minutes * 60_000,
        },
        max_source_resolution: Some(Resolution::Ms(max_resolution_ms)),
        ..instant("up")
    };
    match &engine.query(&request).await.unwrap().value {
        Value::Vector(samples) => !samples.is_empty(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sample_stands_for_its_series_as_long_as_the_flag_says() {
    let lookback =
        |minutes: i64| move |config: &mut EngineConfig| config.lookback_delta_ms = minutes * 60_000;
    assert!(is_there(4, 0, lookback(5)).await && !is_there(6, 0, lookback(5)).await);
    assert!(is_there(6, 0, lookback(7)).await && !is_there(8, 0, lookback(7)).await);
    assert!(!is_there(4, 0, lookback(3)).await);
    // The same for each step of a range.
    for (minutes, steps) in [(1, 5), (3, 7)] {
        let engine = engine(&Scripted::new([items(1)]), lookback(minutes));
        let request = QueryRequest {
            times: QueryTimes::Range {
                start_ms: 1_260_000,
                end_ms: 1_860_000,
                step_ms: 60_000,
            },
            max_source_resolution: Some(Resolution::Ms(0)),
            ..instant("up")
        };
        let Value::Matrix(series) = engine.query(&request).await.unwrap().value else {
            panic!("a range is a matrix")
        };
        assert_eq!(series[0].floats.len(), steps, "{minutes} minutes");
    }
}

#[tokio::test]
async fn samples_stand_for_longer_where_they_are_rarer_unless_the_flag_says_otherwise() {
    const FIVE_MINUTES_MS: i64 = 300_000;
    const HOUR_MS: i64 = 3_600_000;
    let is_there = |silent_minutes, max_resolution_ms, dynamic| {
        is_there(silent_minutes, max_resolution_ms, move |config| {
            (config.lookback_delta_ms, config.dynamic_lookback) = (60_000, dynamic);
        })
    };
    for dynamic in [true, false] {
        assert!(is_there(0, HOUR_MS, dynamic).await);
        assert!(
            !is_there(2, 0, dynamic).await,
            "what is raw is as the other flag says"
        );
        assert_eq!(is_there(4, FIVE_MINUTES_MS, dynamic).await, dynamic);
        assert!(!is_there(6, FIVE_MINUTES_MS, dynamic).await);
        assert_eq!(is_there(59, HOUR_MS, dynamic).await, dynamic);
        assert!(!is_there(61, HOUR_MS, dynamic).await);
    }
}

#[tokio::test]
async fn what_fails_costs_its_own_share_unless_the_flag_or_the_request_says_otherwise() {
    for by_flag in [true, false] {
        let source = Scripted::new([items(1)]);
        let engine = engine(&source, |config| config.partial_response = by_flag);
        for (asked, partial) in [(None, by_flag), (Some(true), true), (Some(false), false)] {
            let mut request = instant("up");
            request.context.partial_response = asked;
            engine.query(&request).await.unwrap();
            let matchers = vec![Matcher::equal("__name__", "up")];
            let names = names_request(matchers, &request.context);
            engine.label_names(&names).await.unwrap();
            engine.series(&names).await.unwrap();
            let seen = std::mem::take(&mut *source.seen.lock());
            let options: Vec<bool> = seen.iter().map(|(_, options)| options.partial_response).collect();
            assert_eq!(options, [partial; 3], "{asked:?} where the flag says {by_flag}");
        }
    }
}

#[tokio::test]
async fn a_query_takes_no_longer_than_the_flag_says_whatever_it_asks_for() {
    for asked in [None, Some(Duration::from_secs(3600))] {
        let source = Scripted::new([Play::Hang(vec![series(1)])]);
        let engine = engine(&source, |config| config.timeout = Duration::from_millis(30));
        let mut request = instant("up");
        request.context.timeout = asked;
        // Long enough for any machine, and an end to a test that waits for ever.
        let outcome = tokio::time::timeout(Duration::from_secs(100), engine.query(&request)).await;
        let failure = outcome.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout, "{asked:?}: {failure}");
    }
}
