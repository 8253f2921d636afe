use super::*;

const NOW_MS: i64 = 1_767_232_800_000;

fn tenant() -> Tenant {
    Tenant("default-tenant".to_owned())
}

fn instant(query: &str) -> Result<AskedQuery, ApiFailure> {
    instant_query(&Form::parse(&[], query), tenant(), NOW_MS)
}

fn range(query: &str) -> Result<AskedQuery, ApiFailure> {
    range_query(&Form::parse(&[], query), tenant(), &ApiOptions::default())
}

fn wanted(query: &str, options: &ApiOptions) -> Result<SeriesRequest, ApiFailure> {
    series(&Form::parse(&[], query), tenant(), options, NOW_MS)
}

#[test]
fn a_query_without_parameters_is_asked_as_flags_say() {
    let asked = instant("query=up").unwrap();
    let request = asked.request;
    assert_eq!(request.expression, "up");
    assert_eq!(request.times, QueryTimes::Instant { time_ms: NOW_MS });
    assert_eq!(request.lookback_delta_ms, None);
    assert_eq!(request.max_source_resolution, None);
    assert_eq!(request.limit, 0);
    assert!(request.context.dedup);
    assert_eq!(request.context.replica_labels, None);
    assert_eq!(request.context.partial_response, None);
    assert_eq!(request.context.timeout, None);
    let tenant = ("thanos-tenant".to_owned(), "default-tenant".to_owned());
    assert_eq!(request.context.metadata, [tenant]);
    assert_eq!(asked.statistics, WantedStatistics::None);
}

#[test]
fn every_parameter_arrives() {
    let asked = instant(
        "query=up&time=5.5&timeout=30s&dedup=false&replicaLabels[]=a&replicaLabels[]=b&partial_response=0\
         &storeMatch[]={__address__=~\"x.*\"}&max_source_resolution=1h&lookback_delta=90&limit=7&stats=all\
         &engine=thanos&analyze=true&shard_info={\"shard_index\":1,\"total_shards\":2,\"by\":true,\"labels\":[\"x\"]}",
    )
    .unwrap();
    let request = asked.request;
    assert_eq!(request.times, QueryTimes::Instant { time_ms: 5_500 });
    assert_eq!(request.context.timeout, Some(Duration::from_secs(30)));
    assert!(!request.context.dedup);
    let labels = request.context.replica_labels.unwrap();
    assert_eq!(labels, ["a", "b"]);
    assert_eq!(request.context.partial_response, Some(false));
    assert_eq!(
        request.context.store_matchers[0][0].to_string(),
        "__address__=~\"x.*\""
    );
    assert_eq!(request.max_source_resolution, Some(Resolution::Ms(3_600_000)));
    assert_eq!(request.lookback_delta_ms, Some(90_000));
    assert_eq!(request.limit, 7);
    let shard = request.context.shard.unwrap();
    assert_eq!((shard.shard_index, shard.total_shards, shard.by), (1, 2, true));
    assert_eq!(shard.labels, ["x"]);
    assert!(request.wants_times && asked.analyze);
    assert_eq!(asked.statistics, WantedStatistics::All);
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_thanos() {
    let cases = [
        (
            "time=abc",
            "Invalid time value for 'time': cannot parse \"abc\" to a valid timestamp",
        ),
        (
            "dedup=perhaps",
            "'dedup' parameter: strconv.ParseBool: parsing \"perhaps\": invalid syntax",
        ),
        (
            "partial_response=x",
            "'partial_response' parameter: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "max_source_resolution=zzz",
            "'max_source_resolution' parameter: cannot parse \"zzz\" to a valid duration",
        ),
        (
            "max_source_resolution=-5",
            "negative 'max_source_resolution' is not accepted. Try a positive integer",
        ),
        (
            "lookback_delta=q",
            "'lookback_delta' parameter: cannot parse \"q\" to a valid duration",
        ),
        ("timeout=soon", "cannot parse \"soon\" to a valid duration"),
        ("engine=steam", "'steam' bad engine"),
        ("limit=-2", "limit must be non-negative"),
        (
            "storeMatch[]={",
            "1:2: parse error: unexpected end of input inside braces",
        ),
    ];
    for (parameters, expected) in cases {
        let failure = instant(parameters).unwrap_err();
        assert_eq!(failure.message, expected);
        assert_eq!(failure.status().as_u16(), 400);
    }
    let failure = instant("shard_info={").unwrap_err();
    assert!(
        failure
            .message
            .starts_with("could not unmarshal parameter shard_info: ")
    );
}

#[test]
fn ranges_are_checked_and_get_a_step() {
    let times = |query| range(query).unwrap().request.times;
    let step = |query| match times(query) {
        QueryTimes::Range { step_ms, .. } => step_ms,
        QueryTimes::Instant { .. } => 0,
    };
    assert_eq!(
        times("start=10&end=20.5&step=5s"),
        QueryTimes::Range {
            start_ms: 10_000,
            end_ms: 20_500,
            step_ms: 5_000
        }
    );
    assert_eq!(step("start=0&end=100"), 1_000, "the default is the least");
    assert_eq!(step("start=0&end=100000"), 400_000);
    let longer = ApiOptions {
        default_step: Duration::from_secs(60),
        ..ApiOptions::default()
    };
    for (end, least_ms) in [("100", 60_000), ("100000", 400_000)] {
        let form = Form::parse(&[], &format!("start=0&end={end}"));
        let asked = range_query(&form, tenant(), &longer).unwrap();
        let QueryTimes::Range { step_ms, .. } = asked.request.times else {
            panic!("{:?}", asked.request.times)
        };
        assert_eq!(step_ms, least_ms, "the flag says the least");
    }
    assert_eq!(step("start=0&end=11000&step=1"), 1_000, "just so many");
    assert_eq!(step("start=0&end=1&step=0.0015"), 1, "whole milliseconds");
    let error = |query| range(query).unwrap_err().message;
    assert!(error("start=0&end=11001&step=1").starts_with("exceeded maximum resolution of 11,000 points"));
    assert_eq!(
        error("start=5&end=4&step=1"),
        "end timestamp must not be before start time"
    );
    assert_eq!(error("end=4&step=1"), "cannot parse \"\" to a valid timestamp");
    assert!(error("start=0&end=1&step=0").starts_with("zero or negative query resolution step"));
    assert!(error("start=0&end=1&step=-5").starts_with("zero or negative query resolution step"));
    assert!(error("start=0&end=1&step=0.0001").starts_with("zero or negative query resolution step"));
    assert_eq!(
        error("start=0&end=1&step=x"),
        "'step' parameter: cannot parse \"x\" to a valid duration"
    );
}

#[test]
fn no_range_is_too_long_to_be_refused() {
    let failure = range("start=-1e300&end=1e300&step=1e300").unwrap_err();
    assert!(failure.message.contains("overflows int64"), "{failure:?}");
    let failure = range("start=-1e300&end=1e300&step=15").unwrap_err();
    assert!(
        failure.message.starts_with("exceeded maximum resolution"),
        "{failure:?}"
    );
}

#[test]
fn series_are_of_all_times_unless_a_flag_says_otherwise() {
    let everything = wanted("match[]=up", &ApiOptions::default()).unwrap();
    assert_eq!(
        (everything.start_ms, everything.end_ms),
        (MIN_TIME_MS, MAX_TIME_MS)
    );
    let options = ApiOptions {
        metadata_range: Duration::from_secs(3600),
        ..ApiOptions::default()
    };
    let recent = wanted("match[]=up&match[]=down", &options).unwrap();
    assert_eq!((recent.start_ms, recent.end_ms), (NOW_MS - 3_600_000, NOW_MS));
    assert_eq!(recent.matchers.len(), 2);
    let failure = wanted("start=5&end=4", &options).unwrap_err();
    assert_eq!(
        failure.message,
        "bad_data: end timestamp must not be before start time"
    );
    let failure = wanted("match[]=up{", &options).unwrap_err();
    assert!(failure.message.contains("parse error"), "{}", failure.message);
}

#[test]
fn a_timeout_that_is_over_before_it_begins_is_one() {
    assert_eq!(
        instant("timeout=-5").unwrap().request.context.timeout,
        Some(Duration::ZERO)
    );
}
