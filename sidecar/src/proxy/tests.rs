//! What real Prometheus answered, and what becomes of it.

use futures::TryStreamExt;
use sabre_proto::thanos::{
    AlertState, Exemplar, ExemplarsRequest, LabelMatcher, LabelSet, MetricMetadataRequest, RulesRequest,
    Statistic, TargetsRequest, TsdbStatisticsRequest, active_target, exemplars_response,
    exemplars_server::Exemplars, label_matcher, metadata_server::Metadata, metric_metadata_response, rule,
    rules_request, rules_response, rules_server::Rules, status_server::Status as _, targets_request,
    targets_response, targets_server::Targets, tsdb_statistics_response,
};
use tonic::{Code, Request, Status};

use super::{Answers, PrometheusProxy};
use crate::{
    known::contact,
    testing::{ScriptedPrometheus, known},
};

const EXTERNAL: &[(&str, &str)] = &[("cluster", "eu1"), ("severity", "external")];

fn proxy(prometheus: &ScriptedPrometheus) -> PrometheusProxy {
    PrometheusProxy::new(prometheus.client(), known(EXTERNAL))
}

async fn all<T>(response: Result<tonic::Response<Answers<T>>, Status>) -> Result<Vec<T>, Status> {
    response?.into_inner().try_collect().await
}

fn text(labels: Option<&LabelSet>) -> String {
    let labels = labels.map(|set| set.labels.as_slice()).unwrap_or_default();
    let pairs: Vec<String> = labels
        .iter()
        .map(|label| format!("{}={}", label.name, label.value))
        .collect();
    pairs.join(",")
}

const RULES: &str = r#"{"groups":[
  {"name":"g","file":"rules.yml","interval":1.5,"limit":7,"evaluationTime":0.0017,"lastEvaluation":"2026-11-27T23:34:17.633820414+01:00","rules":[
    {"name":"job:up:sum","query":"sum by (job) (up)","labels":{"severity":"own","team":"a"},"health":"ok","evaluationTime":0.25,"lastEvaluation":"2026-11-27T23:34:17.5Z","type":"recording"},
    {"state":"firing","name":"Up","query":"up == 1","duration":600,"keepFiringFor":30,"labels":{"severity":"page"},"annotations":{"summary":"it is {{ $value }}"},
     "alerts":[{"labels":{"alertname":"Up","severity":"page"},"annotations":{},"state":"pending","activeAt":"2026-11-27T23:33:42Z","value":"1e+00"}],
     "health":"err","lastError":"boom","evaluationTime":0.5,"lastEvaluation":"0001-01-01T00:00:00Z","type":"alerting"},
    {"name":"odd","type":"dreaming"}]},
  {"name":"empty","file":"rules.yml","rules":null,"interval":60,"evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z"}]}"#;

#[tokio::test]
async fn rules_carry_external_labels_and_their_alerts_do_not() {
    let prometheus = ScriptedPrometheus::start().await;
    prometheus.answers_data("api/v1/rules", RULES);
    let found = all(proxy(&prometheus)
        .rules(Request::new(RulesRequest::default()))
        .await)
    .await
    .unwrap();
    assert_eq!(prometheus.asked(), ["GET api/v1/rules"]);
    let [first, second, third] = &found[..] else {
        panic!("{found:?}")
    };
    let Some(rules_response::Result::Group(group)) = &first.result else {
        panic!("{first:?}")
    };
    assert_eq!((group.name.as_str(), group.file.as_str()), ("g", "rules.yml"));
    assert_eq!(
        (group.interval, group.limit, group.evaluation_duration_seconds),
        (1.5, 7, 0.0017)
    );
    assert_eq!(group.partial_response_strategy, 1, "abort");
    let evaluated = group.last_evaluation.unwrap();
    assert_eq!((evaluated.seconds, evaluated.nanos), (1_795_818_857, 633_820_414));
    let [recording, alerting] = &group.rules[..] else {
        panic!("{group:?}")
    };
    let Some(rule::Result::Recording(recording)) = &recording.result else {
        panic!("{recording:?}")
    };
    assert_eq!(
        text(recording.labels.as_ref()),
        "cluster=eu1,severity=external,team=a",
        "the external label wins"
    );
    let Some(rule::Result::Alert(alert)) = &alerting.result else {
        panic!("{alerting:?}")
    };
    assert_eq!(alert.state(), AlertState::Firing);
    assert_eq!(
        (alert.duration_seconds, alert.keep_firing_for_seconds),
        (600.0, 30.0)
    );
    assert_eq!(
        (alert.health.as_str(), alert.last_error.as_str()),
        ("err", "boom")
    );
    assert_eq!(text(alert.labels.as_ref()), "cluster=eu1,severity=external");
    assert_eq!(text(alert.annotations.as_ref()), "summary=it is {{ $value }}");
    assert_eq!(
        alert.last_evaluation.unwrap().seconds,
        -62_135_596_800,
        "Go's zero time"
    );
    let instance = &alert.alerts[0];
    assert_eq!(instance.state(), AlertState::Pending);
    assert_eq!(text(instance.labels.as_ref()), "alertname=Up,severity=page");
    assert_eq!(instance.value, "1e+00");
    assert_eq!(instance.active_at.unwrap().seconds, 1_795_822_422);
    assert!(
        matches!(&second.result, Some(rules_response::Result::Group(group)) if group.name == "empty" && group.rules.is_empty())
    );
    assert!(
        matches!(&third.result, Some(rules_response::Result::Warning(warning)) if warning.contains("odd") && warning.contains("dreaming")),
        "{third:?}"
    );
}

#[tokio::test]
async fn the_kind_of_rules_and_targets_is_asked_of_prometheus() {
    let prometheus = ScriptedPrometheus::start().await;
    prometheus.answers_data("api/v1/rules", r#"{"groups":null}"#);
    prometheus.answers_data("api/v1/targets", r#"{"activeTargets":null,"droppedTargets":[]}"#);
    let proxy = proxy(&prometheus);
    for kind in [rules_request::Type::Alert, rules_request::Type::Record] {
        let request = RulesRequest {
            r#type: kind as i32,
            ..RulesRequest::default()
        };
        assert_eq!(all(proxy.rules(Request::new(request)).await).await.unwrap(), []);
    }
    for state in [targets_request::State::Active, targets_request::State::Dropped] {
        let request = TargetsRequest {
            state: state as i32,
            ..TargetsRequest::default()
        };
        let found = all(proxy.targets(Request::new(request)).await).await.unwrap();
        assert_eq!(found.len(), 1);
    }
    let want = [
        "GET api/v1/rules?type=alert",
        "GET api/v1/rules?type=record",
        "GET api/v1/targets?state=active",
        "GET api/v1/targets?state=dropped",
    ];
    assert_eq!(prometheus.asked(), want);
}

#[tokio::test]
async fn targets_carry_external_labels_in_both_label_sets() {
    let prometheus = ScriptedPrometheus::start().await;
    let data = r#"{"activeTargets":[
        {"discoveredLabels":{"__address__":"h:1","job":"self"},"labels":{"instance":"h:1","job":"self"},"scrapePool":"self",
         "scrapeUrl":"http://h:1/metrics","globalUrl":"http://vm:1/metrics","lastError":"down","lastScrape":"2026-11-27T23:34:17.240765611Z",
         "lastScrapeDuration":0.005866545,"health":"down","scrapeInterval":"1s","scrapeTimeout":"1s"},
        {"health":"half"}],
        "droppedTargets":[{"discoveredLabels":{"__address__":"h:2"}}]}"#;
    prometheus.answers_data("api/v1/targets", data);
    let found = all(proxy(&prometheus)
        .targets(Request::new(TargetsRequest::default()))
        .await)
    .await
    .unwrap();
    let Some(targets_response::Result::Targets(found)) = &found[0].result else {
        panic!("{found:?}")
    };
    let target = &found.active_targets[0];
    assert_eq!(
        text(target.discovered_labels.as_ref()),
        "__address__=h:1,cluster=eu1,job=self,severity=external"
    );
    assert_eq!(
        text(target.labels.as_ref()),
        "cluster=eu1,instance=h:1,job=self,severity=external"
    );
    assert_eq!(
        (target.scrape_pool.as_str(), target.scrape_url.as_str()),
        ("self", "http://h:1/metrics")
    );
    assert_eq!(
        (target.global_url.as_str(), target.last_error.as_str()),
        ("http://vm:1/metrics", "down")
    );
    assert_eq!(target.last_scrape.unwrap().nanos, 240_765_611);
    assert_eq!(target.last_scrape_duration, 0.005866545);
    assert_eq!(target.health(), active_target::Health::Down);
    assert_eq!(
        found.active_targets[1].health(),
        active_target::Health::Unknown,
        "a health that is not known yet is not an error"
    );
    assert_eq!(
        text(found.dropped_targets[0].discovered_labels.as_ref()),
        "__address__=h:2,cluster=eu1,severity=external"
    );
}

#[tokio::test]
async fn metadata_is_passed_on_and_zero_is_a_limit() {
    let prometheus = ScriptedPrometheus::start().await;
    prometheus.answers_data(
        "api/v1/metadata",
        r#"{"up":[{"type":"gauge","help":"Is it?","unit":"s"},{"type":"unknown","help":"","unit":""}],"nothing":null}"#,
    );
    let proxy = proxy(&prometheus);
    let request = |metric: &str, limit| MetricMetadataRequest {
        metric: metric.to_string(),
        limit,
        ..MetricMetadataRequest::default()
    };
    let found = all(proxy.metric_metadata(Request::new(request("", -1))).await)
        .await
        .unwrap();
    all(proxy.metric_metadata(Request::new(request("up", 0))).await)
        .await
        .unwrap();
    assert_eq!(
        prometheus.asked(),
        ["GET api/v1/metadata", "GET api/v1/metadata?metric=up&limit=0"]
    );
    let Some(metric_metadata_response::Result::Metadata(found)) = &found[0].result else {
        panic!("{found:?}")
    };
    assert_eq!(found.metadata["up"].metas.len(), 2);
    assert_eq!(found.metadata["up"].metas[0].r#type, "gauge");
    assert_eq!(found.metadata["up"].metas[0].help, "Is it?");
    assert_eq!(found.metadata["up"].metas[0].unit, "s");
    assert!(found.metadata["nothing"].metas.is_empty());
}

#[tokio::test]
async fn exemplars_keep_their_values_and_milliseconds() {
    let prometheus = ScriptedPrometheus::start().await;
    let data = r#"[{"seriesLabels":{"__name__":"up","cluster":"own"},"exemplars":[
        {"labels":{"trace_id":"x"},"value":"+Inf","timestamp":1600096945.479},{"labels":null,"value":"6.5","timestamp":-0.001}]}]"#;
    prometheus.answers_data("api/v1/query_exemplars", data);
    let request = ExemplarsRequest {
        query: "up{a=\"b\"}".to_string(),
        start: 1_500,
        end: i64::MAX,
        ..ExemplarsRequest::default()
    };
    let found = all(proxy(&prometheus).exemplars(Request::new(request)).await)
        .await
        .unwrap();
    assert_eq!(
        prometheus.asked(),
        ["GET api/v1/query_exemplars?query=up%7Ba%3D%22b%22%7D&start=1.500&end=253402300799"]
    );
    let Some(exemplars_response::Result::Data(data)) = &found[0].result else {
        panic!("{found:?}")
    };
    assert_eq!(
        text(data.series_labels.as_ref()),
        "__name__=up,cluster=eu1,severity=external"
    );
    assert_eq!(data.exemplars[0].value, f64::INFINITY);
    assert_eq!(data.exemplars[0].ts, 1_600_096_945_479);
    assert_eq!(text(data.exemplars[0].labels.as_ref()), "trace_id=x");
    let want = Exemplar {
        labels: Some(LabelSet::default()),
        value: 6.5,
        ts: -1,
    };
    assert_eq!(data.exemplars[1], want);
}

const TSDB: &str = r#"{"headStats":{"numSeries":539,"numLabelPairs":346,"chunkCount":540,"minTime":9223372036854775807,"maxTime":-9223372036854775808},
    "seriesCountByMetricName":[{"name":"a","value":80},{"name":"b","value":72}],"labelValueCountByLabelName":[{"name":"le","value":70}],
    "memoryInBytesByLabelName":null,"seriesCountByLabelValuePair":[{"name":"job=self","value":539}]}"#;

#[tokio::test]
async fn statistics_are_those_of_the_one_tenant_and_cut_to_the_limit() {
    let prometheus = ScriptedPrometheus::start().await;
    prometheus.answers_data("api/v1/status/tsdb", TSDB);
    let request = TsdbStatisticsRequest {
        limit: 1,
        matchers: vec![matcher("cluster", "eu1"), matcher("none", "")],
        ..TsdbStatisticsRequest::default()
    };
    let found = all(proxy(&prometheus).tsdb_statistics(Request::new(request)).await)
        .await
        .unwrap();
    assert_eq!(prometheus.asked(), ["GET api/v1/status/tsdb?limit=1"]);
    let Some(tsdb_statistics_response::Result::Statistics(found)) = &found[0].result else {
        panic!("{found:?}")
    };
    let entry = &found.statistics[""];
    let head = entry.head_statistics.unwrap();
    assert_eq!(
        (head.num_series, head.num_label_pairs, head.chunk_count),
        (539, 346, 540)
    );
    assert_eq!((head.min_time, head.max_time), (i64::MAX, 0), "an empty head");
    let a = Statistic {
        name: "a".to_string(),
        value: 80,
    };
    assert_eq!(
        entry.series_count_by_metric_name,
        [a],
        "older versions of Prometheus do not cut"
    );
    assert_eq!(entry.memory_in_bytes_by_label_name, []);
    assert_eq!(entry.series_count_by_label_value_pair.len(), 1);
}

fn matcher(name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: label_matcher::Type::Eq as i32,
        name: name.to_string(),
        value: value.to_string(),
    }
}

#[tokio::test]
async fn statistics_of_others_are_empty_and_prometheus_is_not_asked() {
    let prometheus = ScriptedPrometheus::start().await;
    let proxy = proxy(&prometheus);
    let other_cluster = TsdbStatisticsRequest {
        matchers: vec![matcher("cluster", "us1")],
        ..TsdbStatisticsRequest::default()
    };
    let other_tenant = TsdbStatisticsRequest {
        tenant: "a".to_string(),
        ..TsdbStatisticsRequest::default()
    };
    for request in [other_cluster, other_tenant] {
        let found = all(proxy.tsdb_statistics(Request::new(request)).await)
            .await
            .unwrap();
        assert!(
            matches!(&found[..], [one] if matches!(&one.result, Some(tsdb_statistics_response::Result::Statistics(all)) if all.statistics.is_empty()))
        );
    }
    assert!(prometheus.asked().is_empty());
}

#[tokio::test]
async fn an_error_of_prometheus_is_one_of_the_call() {
    let prometheus = ScriptedPrometheus::start().await;
    let proxy = proxy(&prometheus);
    let ask = || async {
        all(proxy.exemplars(Request::new(ExemplarsRequest::default())).await)
            .await
            .unwrap_err()
    };
    assert_eq!(
        ask().await.code(),
        Code::NotFound,
        "a Prometheus too old to know it"
    );
    for (status, code) in [
        (400, Code::InvalidArgument),
        (422, Code::Internal),
        (503, Code::Unavailable),
    ] {
        let body = r#"{"status":"error","errorType":"bad_data","error":"1:7: parse error"}"#;
        prometheus.answers("api/v1/query_exemplars", status, body);
        let error = ask().await;
        assert_eq!(error.code(), code);
        assert!(error.message().contains("1:7: parse error"), "{error}");
    }
    prometheus.answers_data("api/v1/query_exemplars", r#"[{"exemplars":7}]"#);
    assert_eq!(ask().await.code(), Code::Unknown);
}

#[tokio::test]
async fn before_the_first_contact_the_call_is_unavailable() {
    let prometheus = ScriptedPrometheus::start().await;
    let (_writer, reader) = contact();
    let proxy = PrometheusProxy::new(prometheus.client(), reader);
    let error = all(proxy.rules(Request::new(RulesRequest::default())).await)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_answer_beyond_the_budget_is_refused_and_nothing_stays_charged() {
    let prometheus = ScriptedPrometheus::start().await;
    let long = format!(r#"[{{"seriesLabels":{{"a":"{}"}}}}]"#, "x".repeat(300 << 10));
    prometheus.answers_data("api/v1/query_exemplars", &long);
    let budget = sabre_runtime::budget::Budget::new(1 << 20, "--sabre.memory-budget");
    let client = prometheus.client().charged_to(budget.clone());
    let proxy = PrometheusProxy::new(client, known(EXTERNAL));
    let error = all(proxy.exemplars(Request::new(ExemplarsRequest::default())).await)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("--sabre.memory-budget"), "{error}");
    assert_eq!(budget.usage().used_bytes, 0);
}
