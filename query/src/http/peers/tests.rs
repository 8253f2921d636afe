mod hostile;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::stream::{self, BoxStream};
use prost_types::Timestamp;
use sabre_model::{Labels, Matcher};
use sabre_proto::{
    convert::label_set,
    thanos::{
        ActiveTarget, Alert, AlertState, Exemplar, ExemplarData, HeadStatistics, Meta, MetricMetadata,
        MetricMetadataEntry, RecordingRule, Rule, RuleGroup, RulesRequest, RulesResponse, Statistic,
        TargetDiscovery, TsdbStatistics, TsdbStatisticsEntry,
        active_target::Health,
        rule, rules_response,
        rules_server::{Rules, RulesServer},
    },
};
use sabre_runtime::metrics::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Channel};

use super::{
    Call, PeerLimits,
    exemplars::{self, query_for},
    metadata,
    rules::{self, WantedRules},
    statistics::{self, WantedStatistics},
    targets,
};
use crate::{
    endpoints::{Api, Endpoint, EndpointKind, PeerInfo, Pool},
    http::{options::ApiOptions, tenant::Tenant},
};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn replica() -> Vec<String> {
    vec!["replica".to_owned()]
}

fn alert(name: &str, replica: &str, state: AlertState, seconds: i64) -> Rule {
    Rule {
        result: Some(rule::Result::Alert(Alert {
            name: name.to_owned(),
            state: state.into(),
            labels: Some(label_set(&labels(&[("replica", replica), ("severity", "page")]))),
            last_evaluation: at(seconds),
            ..Alert::default()
        })),
    }
}

fn recording(name: &str, replica: &str, seconds: i64) -> Rule {
    Rule {
        result: Some(rule::Result::Recording(RecordingRule {
            name: name.to_owned(),
            labels: Some(label_set(&labels(&[("replica", replica)]))),
            last_evaluation: at(seconds),
            ..RecordingRule::default()
        })),
    }
}

fn group(name: &str, rules: Vec<Rule>) -> RuleGroup {
    RuleGroup {
        name: name.to_owned(),
        file: "f.yaml".to_owned(),
        rules,
        interval: 30.0,
        ..RuleGroup::default()
    }
}

#[test]
fn rules_of_replicas_are_one_and_the_pressing_alert_wins() {
    let groups = vec![
        group("b", vec![recording("r", "0", 1)]),
        group(
            "a",
            vec![
                recording("r", "0", 5),
                alert("x", "0", AlertState::Pending, 9),
                alert("y", "0", AlertState::Inactive, 1),
            ],
        ),
        group(
            "a",
            vec![
                alert("x", "1", AlertState::Firing, 2),
                recording("r", "1", 7),
                alert("y", "1", AlertState::Inactive, 3),
            ],
        ),
    ];
    let merged = rules::merged(groups.clone(), &WantedRules::default(), &replica());
    let names: Vec<_> = merged
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let rules = merged[0]["rules"].as_array().unwrap();
    let shown: Vec<_> = rules
        .iter()
        .map(|rule| {
            (
                rule["name"].as_str().unwrap(),
                rule["lastEvaluation"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("x", "1970-01-01T00:00:02Z"),
            ("y", "1970-01-01T00:00:03Z"),
            ("r", "1970-01-01T00:00:07Z")
        ]
    );
    assert_eq!(rules[0]["state"], "firing");
    assert_eq!(rules[0]["labels"], json!({ "severity": "page" }));
    assert_eq!(rules[0]["type"], "alerting");
    let kept = rules::merged(groups, &WantedRules::default(), &[]);
    assert_eq!(kept[0]["rules"].as_array().unwrap().len(), 6);
}

#[test]
fn rules_are_filtered_by_all_that_may_be_asked_for() {
    let groups = || {
        vec![
            group(
                "a",
                vec![alert("x", "0", AlertState::Firing, 1), recording("r", "0", 1)],
            ),
            group("b", vec![recording("q", "0", 1)]),
        ]
    };
    let count = |wanted: WantedRules| {
        let merged = rules::merged(groups(), &wanted, &[]);
        let rules = merged
            .iter()
            .map(|group| group["rules"].as_array().unwrap().len());
        (merged.len(), rules.sum::<usize>())
    };
    assert_eq!(count(WantedRules::default()), (2, 3));
    let names = vec!["r".to_owned()];
    assert_eq!(
        count(WantedRules {
            names,
            ..WantedRules::default()
        }),
        (1, 1)
    );
    let groups_wanted = vec!["b".to_owned()];
    assert_eq!(
        count(WantedRules {
            groups: groups_wanted,
            ..WantedRules::default()
        }),
        (1, 1)
    );
    let files = vec!["other".to_owned()];
    assert_eq!(
        count(WantedRules {
            files,
            ..WantedRules::default()
        }),
        (0, 0)
    );
    let matchers = vec![vec![Matcher::equal("severity", "page")]];
    assert_eq!(
        count(WantedRules {
            matchers,
            ..WantedRules::default()
        }),
        (1, 1)
    );
}

#[test]
fn a_target_that_is_down_for_a_replica_is_shown_as_down() {
    let target = |replica: &str, health: Health, seconds| TargetDiscovery {
        active_targets: vec![ActiveTarget {
            labels: Some(label_set(&labels(&[("job", "a"), ("replica", replica)]))),
            scrape_url: "http://a/metrics".to_owned(),
            health: health.into(),
            last_scrape: at(seconds),
            ..ActiveTarget::default()
        }],
        dropped_targets: Vec::new(),
    };
    let both = || vec![target("0", Health::Up, 9), target("1", Health::Down, 1)];
    let merged = targets::merged(both(), &replica());
    let active = merged["activeTargets"].as_array().unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(active[0]["health"], "down");
    assert_eq!(active[0]["labels"], json!({ "job": "a" }));
    assert_eq!(merged["droppedTargets"], json!([]));
    let apart = targets::merged(both(), &[]);
    assert_eq!(apart["activeTargets"].as_array().unwrap().len(), 2);
    let newest = targets::merged(
        vec![target("0", Health::Up, 1), target("1", Health::Up, 5)],
        &replica(),
    );
    assert_eq!(newest["activeTargets"][0]["lastScrape"], "1970-01-01T00:00:05Z");
}

#[test]
fn metadata_is_told_once() {
    let entry = |help: &str| MetricMetadata {
        metadata: [(
            "up".to_owned(),
            MetricMetadataEntry {
                metas: vec![Meta {
                    r#type: "gauge".to_owned(),
                    help: help.to_owned(),
                    unit: String::new(),
                }],
            },
        )]
        .into(),
    };
    let all = || vec![entry("a"), entry("a"), entry("b")];
    let expected = json!({ "up": [
        { "type": "gauge", "help": "a", "unit": "" },
        { "type": "gauge", "help": "b", "unit": "" },
    ] });
    assert_eq!(metadata::merged(all(), -1), expected);
    assert_eq!(metadata::merged(all(), 0), json!({}));
}

#[test]
fn exemplars_of_replicas_are_together_and_once() {
    let data = |replica: &str, exemplars: &[(i64, f64)]| ExemplarData {
        series_labels: Some(label_set(&labels(&[("job", "a"), ("replica", replica)]))),
        exemplars: exemplars
            .iter()
            .map(|(ts, value)| Exemplar {
                labels: Some(label_set(&labels(&[("trace", "t")]))),
                value: *value,
                ts: *ts,
            })
            .collect(),
    };
    let all = vec![
        data("1", &[(2_500, 2.0), (1_000, 1.0)]),
        data("0", &[(1_000, 1.0)]),
        data("2", &[]),
    ];
    let merged = exemplars::merged(all, &replica());
    let labels = json!({ "trace": "t" });
    assert_eq!(
        merged,
        [json!({
            "seriesLabels": { "job": "a" },
            "exemplars": [
                { "labels": labels, "timestamp": 1, "value": "1" },
                { "labels": labels, "timestamp": 2.5, "value": "2" },
            ],
        })]
    );
}

#[test]
fn exemplars_are_asked_for_without_conditions_on_external_labels() {
    let expr = sabre_promql::parse(
        "rate(a{cluster=\"eu\",job=\"x\"}[5m]) + sum(b{cluster=\"us\"})",
        sabre_promql::ParseOptions::all(),
    )
    .unwrap();
    let selectors = exemplars::selectors(&expr);
    assert_eq!(selectors.len(), 2);
    let eu = [labels(&[("cluster", "eu")])];
    assert_eq!(
        query_for(&selectors, &eu, false).as_deref(),
        Some("{job=\"x\",__name__=\"a\"}")
    );
    assert!(
        query_for(&selectors, &eu, true)
            .unwrap()
            .contains("cluster=\"eu\"")
    );
    assert_eq!(
        query_for(&selectors, &[labels(&[("cluster", "ap")])], false),
        None
    );
    let unknown = query_for(&selectors, &[], false).unwrap();
    assert!(unknown.contains("}+{"), "{unknown}");
}

#[test]
fn statistics_are_added_up_and_numbers_of_values_are_the_greatest() {
    let statistic = |name: &str, value| Statistic {
        name: name.to_owned(),
        value,
    };
    let entry = |series, min_time| TsdbStatisticsEntry {
        head_statistics: Some(HeadStatistics {
            num_series: series,
            min_time,
            max_time: 9,
            ..HeadStatistics::default()
        }),
        series_count_by_metric_name: vec![statistic("up", series), statistic("a", 1)],
        label_value_count_by_label_name: vec![statistic("job", series)],
        ..TsdbStatisticsEntry::default()
    };
    let all = || {
        let of = |tenant: &str, entry| TsdbStatistics {
            statistics: [(tenant.to_owned(), entry)].into(),
        };
        vec![of("t", entry(3, 5)), of("u", entry(4, 2))]
    };
    let wanted = |tenant: Option<&str>, limit| WantedStatistics {
        matchers: Vec::new(),
        limit,
        tenant: tenant.map(str::to_owned),
    };
    let merged = statistics::merged(all(), &wanted(None, 10)).unwrap();
    assert_eq!(merged["headStats"]["numSeries"], 7);
    assert_eq!(merged["headStats"]["minTime"], 2);
    assert_eq!(
        merged["seriesCountByMetricName"],
        json!([{ "name": "up", "value": 7 }, { "name": "a", "value": 2 }])
    );
    assert_eq!(
        merged["labelValueCountByLabelName"],
        json!([{ "name": "job", "value": 4 }])
    );
    let one = statistics::merged(all(), &wanted(Some("t"), 1)).unwrap();
    assert_eq!(one["headStats"]["numSeries"], 3);
    assert_eq!(one["seriesCountByMetricName"].as_array().unwrap().len(), 1);
    assert_eq!(statistics::merged(all(), &wanted(Some("v"), 1)), None);
}

/// Says these groups, then maybe fails.
#[derive(Clone)]
struct Ruler {
    groups: Vec<RuleGroup>,
    fails: bool,
    tenant: tokio::sync::mpsc::UnboundedSender<String>,
}

#[tonic::async_trait]
impl Rules for Ruler {
    async fn rules(
        &self,
        request: Request<RulesRequest>,
    ) -> Result<Response<BoxStream<'static, Result<RulesResponse, Status>>>, Status> {
        let tenant = request.metadata().get("thanos-tenant");
        let tenant = tenant.and_then(|tenant| tenant.to_str().ok());
        let _ = self.tenant.send(tenant.unwrap_or_default().to_owned());
        let mut said: Vec<_> = self
            .groups
            .iter()
            .map(|group| {
                let result = Some(rules_response::Result::Group(group.clone()));
                Ok(RulesResponse { result })
            })
            .collect();
        if self.fails {
            said.push(Err(Status::internal("out of rules")));
        }
        Ok(Response::new(Box::pin(stream::iter(said))))
    }
}

async fn serve(ruler: Ruler, stop: &CancellationToken) -> Arc<Endpoint> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(RulesServer::new(ruler))
            .serve_with_incoming_shutdown(incoming, stopped),
    );
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    ruler_at(address.to_string(), channel)
}

fn ruler_at(address: String, channel: Channel) -> Arc<Endpoint> {
    let endpoint = Endpoint::new(address, EndpointKind::default(), vec![channel]);
    let peer = PeerInfo {
        component: "rule".to_owned(),
        apis: BTreeSet::from([Api::Rules]),
        ..PeerInfo::default()
    };
    endpoint.note(Ok(peer), 0, tokio::time::Instant::now());
    Arc::new(endpoint)
}

async fn two_rulers(
    fails: bool,
    stop: &CancellationToken,
) -> (Pool, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (tenant, tenants) = tokio::sync::mpsc::unbounded_channel();
    let ruler = |replica: &str, fails| Ruler {
        groups: vec![group("g", vec![recording("r", replica, 1)])],
        fails,
        tenant: tenant.clone(),
    };
    let pool = Pool::new();
    pool.replace(vec![
        serve(ruler("0", false), stop).await,
        serve(ruler("1", fails), stop).await,
    ]);
    (pool, tenants)
}

fn call(partial: bool, options: &ApiOptions) -> Call {
    let limits = PeerLimits::of(options, &Registry::new());
    Call::new("rules", partial, limits, &Tenant("team".to_owned()))
}

#[tokio::test]
async fn all_peers_are_asked_and_told_the_tenant() {
    let stop = CancellationToken::new();
    let (pool, mut tenants) = two_rulers(false, &stop).await;
    let call = call(false, &ApiOptions::default());
    let got = rules::ask(&pool, &call, &WantedRules::default(), &replica())
        .await
        .unwrap();
    assert_eq!(got.items.len(), 1);
    assert_eq!(got.items[0]["rules"].as_array().unwrap().len(), 1);
    assert!(got.warnings.is_empty());
    assert_eq!(tenants.recv().await.as_deref(), Some("team"));
    assert_eq!(tenants.recv().await.as_deref(), Some("team"));
    stop.cancel();
}

#[tokio::test]
async fn a_peer_that_fails_is_a_warning_or_an_error() {
    let stop = CancellationToken::new();
    let (pool, _tenants) = two_rulers(true, &stop).await;
    let options = ApiOptions::default();
    let wanted = WantedRules::default();
    let got = rules::ask(&pool, &call(true, &options), &wanted, &[])
        .await
        .unwrap();
    assert_eq!(
        got.items[0]["rules"].as_array().unwrap().len(),
        2,
        "what it said before counts"
    );
    assert_eq!(got.warnings.len(), 1);
    assert!(got.warnings[0].starts_with("fetching rules from 127.0.0.1:"));
    assert!(got.warnings[0].ends_with("out of rules"), "{}", got.warnings[0]);
    let refused = rules::ask(&pool, &call(false, &options), &wanted, &[]).await;
    assert_eq!(refused.unwrap_err().status().as_u16(), 500);
    stop.cancel();
}

/// A pool of one ruler that has these groups.
async fn pool_of_ruler(groups: Vec<RuleGroup>, stop: &CancellationToken) -> Pool {
    let (tenant, _tenants) = tokio::sync::mpsc::unbounded_channel();
    let ruler = Ruler {
        groups,
        fails: false,
        tenant,
    };
    let pool = Pool::new();
    pool.replace(vec![serve(ruler, stop).await]);
    pool
}

#[tokio::test]
async fn peers_that_say_too_much_are_cut_off() {
    let stop = CancellationToken::new();
    let pool = pool_of_ruler(vec![group(&"g".repeat(1000), Vec::new()); 1000], &stop).await;
    let options = ApiOptions {
        max_peer_bytes: Some(100_000),
        timeout: Duration::from_secs(60),
        ..ApiOptions::default()
    };
    let got = rules::ask(&pool, &call(true, &options), &WantedRules::default(), &[])
        .await
        .unwrap();
    assert!(
        got.warnings[0].contains("take more than 100000 bytes of memory"),
        "{:?}",
        got.warnings
    );
    stop.cancel();
}
