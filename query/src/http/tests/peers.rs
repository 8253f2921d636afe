//! What is answered of rules, targets, metadata, exemplars and statistics, over two replicas that know the same.

use futures::{StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use prost_types::Timestamp;
use sabre_model::Labels;
use sabre_proto::{
    convert::label_set,
    thanos::{
        ActiveTarget, Alert, AlertInstance, AlertState, DroppedTarget, Exemplar, ExemplarData,
        ExemplarsRequest, ExemplarsResponse, HeadStatistics, LabelSet, Meta, MetricMetadata,
        MetricMetadataEntry, MetricMetadataRequest, MetricMetadataResponse, RecordingRule, Rule, RuleGroup,
        RulesRequest, RulesResponse, Statistic, TargetDiscovery, TargetsRequest, TargetsResponse,
        TsdbStatistics, TsdbStatisticsEntry, TsdbStatisticsRequest, TsdbStatisticsResponse,
        active_target::Health,
        exemplars_response,
        exemplars_server::{Exemplars, ExemplarsServer},
        metadata_server::{Metadata, MetadataServer},
        metric_metadata_response, rule, rules_response,
        rules_server::{Rules, RulesServer},
        status_server::{Status as StatusApi, StatusServer},
        targets_response,
        targets_server::{Targets, TargetsServer},
        tsdb_statistics_response,
    },
};
use sabre_testkit::grpc::{Served, serve};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use tonic::{Request, Response, Status, service::Routes};

use super::fakes::{Fake, Got, get, routes_over, send};
use crate::{
    endpoints::{Api, Endpoint, EndpointKind, PeerInfo, Pool},
    http::{ApiOptions, PartialResponse, TenancyOptions},
};

type Said<M> = Result<Response<BoxStream<'static, Result<M, Status>>>, Status>;

/// A replica that knows one thing of each kind.
#[derive(Debug)]
struct Peer {
    replica: &'static str,
    /// Says what it knows, then that something is wrong.
    fails: bool,
    /// What it was asked, with the tenant.
    seen: Mutex<Vec<String>>,
}

impl Peer {
    fn labels(&self, more: &[(&str, &str)]) -> Option<LabelSet> {
        let pairs = more.iter().copied().chain([("replica", self.replica)]);
        Some(label_set(&Labels::from_pairs(pairs).unwrap()))
    }

    fn say<Q: std::fmt::Debug, M: Send + 'static>(&self, request: &Request<Q>, said: Vec<M>) -> Said<M> {
        let tenant = request.metadata().get("thanos-tenant").unwrap().to_str().unwrap();
        let seen = format!("{tenant}: {:?}", request.get_ref());
        self.seen.lock().push(seen);
        let end = self.fails.then(|| Err(Status::internal("out of order")));
        let said = stream::iter(said.into_iter().map(Ok));
        Ok(Response::new(said.chain(stream::iter(end)).boxed()))
    }
}

fn seconds(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn alert(peer: &Peer) -> Rule {
    let instance = AlertInstance {
        labels: Some(label_set(&Labels::from_pairs([("alertname", "Down")]).unwrap())),
        state: AlertState::Firing.into(),
        active_at: seconds(50),
        value: "1e+00".to_owned(),
        ..AlertInstance::default()
    };
    Rule {
        result: Some(rule::Result::Alert(Alert {
            name: "Down".to_owned(),
            query: "up == 0".to_owned(),
            state: AlertState::Firing.into(),
            labels: peer.labels(&[("severity", "page")]),
            duration_seconds: 60.0,
            alerts: vec![instance],
            health: "ok".to_owned(),
            last_evaluation: seconds(100),
            ..Alert::default()
        })),
    }
}

fn recording(peer: &Peer) -> Rule {
    Rule {
        result: Some(rule::Result::Recording(RecordingRule {
            name: "job:up:sum".to_owned(),
            query: "sum by (job) (up)".to_owned(),
            labels: peer.labels(&[]),
            health: "ok".to_owned(),
            evaluation_duration_seconds: 0.5,
            last_evaluation: seconds(100),
            ..RecordingRule::default()
        })),
    }
}

#[tonic::async_trait]
impl Rules for Peer {
    async fn rules(&self, request: Request<RulesRequest>) -> Said<RulesResponse> {
        let group = RuleGroup {
            name: "g".to_owned(),
            file: "f.yaml".to_owned(),
            rules: vec![recording(self), alert(self)],
            interval: 30.0,
            last_evaluation: seconds(100),
            ..RuleGroup::default()
        };
        let results = [
            rules_response::Result::Group(group),
            rules_response::Result::Warning(format!("{} is slow", self.replica)),
        ];
        let said = results.map(|result| RulesResponse { result: Some(result) });
        self.say(&request, said.into())
    }
}

#[tonic::async_trait]
impl Targets for Peer {
    async fn targets(&self, request: Request<TargetsRequest>) -> Said<TargetsResponse> {
        let target = ActiveTarget {
            discovered_labels: self.labels(&[("__address__", "a:1")]),
            labels: self.labels(&[("job", "a")]),
            scrape_pool: "a".to_owned(),
            scrape_url: "http://a:1/metrics".to_owned(),
            global_url: "http://a:1/metrics".to_owned(),
            last_scrape: seconds(10),
            last_scrape_duration: 0.25,
            health: Health::Up.into(),
            ..ActiveTarget::default()
        };
        let dropped = DroppedTarget {
            discovered_labels: self.labels(&[("__address__", "b:1")]),
        };
        let result = Some(targets_response::Result::Targets(TargetDiscovery {
            active_targets: vec![target],
            dropped_targets: vec![dropped],
        }));
        self.say(&request, vec![TargetsResponse { result }])
    }
}

#[tonic::async_trait]
impl Metadata for Peer {
    async fn metric_metadata(&self, request: Request<MetricMetadataRequest>) -> Said<MetricMetadataResponse> {
        let entry = |help: &str| MetricMetadataEntry {
            metas: vec![Meta {
                r#type: "gauge".to_owned(),
                help: help.to_owned(),
                unit: String::new(),
            }],
        };
        let metadata = [
            ("down".to_owned(), entry("whether it is down")),
            ("up".to_owned(), entry(self.replica)),
        ]
        .into();
        let result = Some(metric_metadata_response::Result::Metadata(MetricMetadata {
            metadata,
        }));
        self.say(&request, vec![MetricMetadataResponse { result }])
    }
}

#[tonic::async_trait]
impl Exemplars for Peer {
    async fn exemplars(&self, request: Request<ExemplarsRequest>) -> Said<ExemplarsResponse> {
        let trace = Labels::from_pairs([("trace_id", "x")]).unwrap();
        let result = Some(exemplars_response::Result::Data(ExemplarData {
            series_labels: self.labels(&[("__name__", "up")]),
            exemplars: vec![Exemplar {
                labels: Some(label_set(&trace)),
                value: 2.5,
                ts: 1500,
            }],
        }));
        self.say(&request, vec![ExemplarsResponse { result }])
    }
}

#[tonic::async_trait]
impl StatusApi for Peer {
    async fn tsdb_statistics(&self, request: Request<TsdbStatisticsRequest>) -> Said<TsdbStatisticsResponse> {
        let statistic = |name: &str, value| Statistic {
            name: name.to_owned(),
            value,
        };
        let entry = TsdbStatisticsEntry {
            head_statistics: Some(HeadStatistics {
                num_series: 10,
                num_label_pairs: 5,
                chunk_count: 20,
                min_time: 1000,
                max_time: 2000,
            }),
            series_count_by_metric_name: vec![statistic("up", 3), statistic("down", 1)],
            label_value_count_by_label_name: vec![statistic("job", 4)],
            ..TsdbStatisticsEntry::default()
        };
        let result = Some(tsdb_statistics_response::Result::Statistics(TsdbStatistics {
            statistics: [("team".to_owned(), entry)].into(),
        }));
        self.say(&request, vec![TsdbStatisticsResponse { result }])
    }
}

/// A querier over two replicas.
struct World {
    routes: axum::Router,
    peers: Vec<Arc<Peer>>,
    _served: Vec<Served>,
}

impl World {
    async fn new(second_fails: bool, options: ApiOptions) -> Self {
        let (mut peers, mut served, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
        for (replica, fails) in [("0", false), ("1", second_fails)] {
            let peer = Arc::new(Peer {
                replica,
                fails,
                seen: Mutex::default(),
            });
            let services = Routes::new(RulesServer::from_arc(Arc::clone(&peer)))
                .add_service(TargetsServer::from_arc(Arc::clone(&peer)))
                .add_service(MetadataServer::from_arc(Arc::clone(&peer)))
                .add_service(ExemplarsServer::from_arc(Arc::clone(&peer)))
                .add_service(StatusServer::from_arc(Arc::clone(&peer)));
            let server = serve(services).await.unwrap();
            let channels = vec![server.channel.clone()];
            let endpoint = Endpoint::new(format!("p{replica}:1"), EndpointKind::default(), channels);
            let info = PeerInfo {
                component: "sidecar".to_owned(),
                label_sets: vec![Labels::from_pairs([("replica", replica)]).unwrap()],
                apis: BTreeSet::from([
                    Api::Rules,
                    Api::Targets,
                    Api::Metadata,
                    Api::Exemplars,
                    Api::Status,
                ]),
                ..PeerInfo::default()
            };
            endpoint.note(Ok(info), 0, tokio::time::Instant::now());
            endpoints.push(Arc::new(endpoint));
            peers.push(peer);
            served.push(server);
        }
        let pool = Pool::new();
        pool.replace(endpoints);
        Self {
            routes: routes_over(&Arc::new(Fake::default()), pool, options),
            peers,
            _served: served,
        }
    }

    async fn replicas_known() -> Self {
        let options = ApiOptions {
            replica_labels: vec!["replica".to_owned()],
            ..ApiOptions::default()
        };
        Self::new(false, options).await
    }

    async fn data(&self, address: &str) -> Value {
        let got = get(&self.routes, address).await;
        assert_eq!(got.status, 200, "{got:?}");
        let mut json = got.json();
        assert_eq!(json["status"], "success");
        json["data"].take()
    }

    /// What the first replica was asked last.
    fn seen(&self) -> String {
        self.peers[0].seen.lock().pop().unwrap()
    }
}

fn alert_json(replica: bool) -> Value {
    let labels = match replica {
        true => json!({"replica": "0", "severity": "page"}),
        false => json!({"severity": "page"}),
    };
    json!({
        "state": "firing", "name": "Down", "query": "up == 0", "duration": 60, "keepFiringFor": 0,
        "labels": labels, "annotations": {}, "alerts": [instance_json()], "health": "ok",
        "evaluationTime": 0, "lastEvaluation": "1970-01-01T00:01:40Z", "type": "alerting",
    })
}

fn instance_json() -> Value {
    json!({
        "labels": {"alertname": "Down"}, "annotations": {}, "state": "firing",
        "activeAt": "1970-01-01T00:00:50Z", "value": "1e+00", "partialResponseStrategy": "WARN",
    })
}

#[tokio::test]
async fn rules_of_replicas_are_one_list_with_the_warnings_of_all() {
    let world = World::replicas_known().await;
    let got = get(&world.routes, "/api/v1/rules").await;
    let recording = json!({
        "name": "job:up:sum", "query": "sum by (job) (up)", "labels": {}, "health": "ok",
        "evaluationTime": 0.5, "lastEvaluation": "1970-01-01T00:01:40Z", "type": "recording",
    });
    assert_eq!(
        got.json(),
        json!({
            "status": "success",
            "data": {"groups": [{
                "name": "g", "file": "f.yaml", "rules": [alert_json(false), recording], "interval": 30,
                "evaluationTime": 0, "lastEvaluation": "1970-01-01T00:01:40Z", "limit": 0,
                "partialResponseStrategy": "WARN",
            }]},
            "warnings": ["0 is slow", "1 is slow"],
        })
    );
    assert_eq!(got.headers["cache-control"], "no-store");
    assert!(
        world
            .seen()
            .starts_with("default-tenant: RulesRequest { r#type: All")
    );
}

#[tokio::test]
async fn filters_of_rules_are_applied_and_passed_on() {
    let world = World::replicas_known().await;
    let rules = async |parameters: &str| {
        let data = world.data(&format!("/api/v1/rules?{parameters}")).await;
        let groups = data["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let names: Vec<String> = rules
            .map(|rule| rule["name"].as_str().unwrap().to_owned())
            .collect();
        names
    };
    assert_eq!(rules("rule_name[]=Down").await, ["Down"]);
    assert!(world.seen().contains(r#"rule_name: ["Down"]"#));
    assert_eq!(rules("match[]=%7Bseverity%3D%22page%22%7D").await, ["Down"]);
    assert!(
        world
            .seen()
            .contains(r#"matcher_string: ["{severity=\"page\"}"]"#)
    );
    assert_eq!(rules("rule_group[]=other").await, Vec::<String>::new());
    assert_eq!(
        rules("file[]=f.yaml&rule_group[]=g").await,
        ["Down", "job:up:sum"]
    );
    rules("type=record").await;
    assert!(world.seen().contains("r#type: Record"));
    for (parameters, error) in [
        ("type=other", "invalid rules parameter type='other'"),
        ("match[]=%7B", "unexpected end of input"),
    ] {
        let refused = get(&world.routes, &format!("/api/v1/rules?{parameters}"))
            .await
            .error();
        assert_eq!((refused.0, refused.1.as_str()), (400, "bad_data"));
        assert!(refused.2.contains(error), "{refused:?}");
    }
}

#[tokio::test]
async fn without_replica_labels_all_rules_are_told() {
    let world = World::new(false, ApiOptions::default()).await;
    let data = world.data("/api/v1/rules").await;
    let rules = data["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 4);
    assert_eq!(rules[0], alert_json(true));
}

#[tokio::test]
async fn alerts_are_the_instances_of_all_alerting_rules() {
    let world = World::replicas_known().await;
    assert_eq!(
        world.data("/api/v1/alerts").await,
        json!({"alerts": [instance_json()]})
    );
    assert!(world.seen().contains("r#type: Alert"));
}

#[tokio::test]
async fn targets_are_those_of_all_replicas_once() {
    let world = World::replicas_known().await;
    assert_eq!(
        world.data("/api/v1/targets").await,
        json!({
            "activeTargets": [{
                "discoveredLabels": {"__address__": "a:1"}, "labels": {"job": "a"}, "scrapePool": "a",
                "scrapeUrl": "http://a:1/metrics", "globalUrl": "http://a:1/metrics", "lastError": "",
                "lastScrape": "1970-01-01T00:00:10Z", "lastScrapeDuration": 0.25, "health": "up",
            }],
            "droppedTargets": [{"discoveredLabels": {"__address__": "b:1"}}],
        })
    );
    assert!(world.seen().contains("state: Any"));
    world.data("/api/v1/targets?state=dropped").await;
    assert!(world.seen().contains("state: Dropped"));
    let refused = get(&world.routes, "/api/v1/targets?state=other").await.error();
    let expected = "invalid targets parameter state='other'";
    assert_eq!(refused, (400, "bad_data".to_owned(), expected.to_owned()));
}

#[tokio::test]
async fn metadata_are_by_metric_and_cut_at_the_limit() {
    let world = World::replicas_known().await;
    let down = json!([{"type": "gauge", "help": "whether it is down", "unit": ""}]);
    assert_eq!(
        world.data("/api/v1/metadata").await,
        json!({
            "down": down,
            "up": [{"type": "gauge", "help": "0", "unit": ""}, {"type": "gauge", "help": "1", "unit": ""}],
        })
    );
    assert!(world.seen().contains(r#"metric: "", limit: -1"#));
    assert_eq!(
        world.data("/api/v1/metadata?limit=1&metric=m").await,
        json!({"down": down})
    );
    assert!(world.seen().contains(r#"metric: "m", limit: 1"#));
    let refused = get(&world.routes, "/api/v1/metadata?limit=x").await.error();
    let expected = "invalid metric metadata limit='x'";
    assert_eq!(refused, (400, "bad_data".to_owned(), expected.to_owned()));
}

#[tokio::test]
async fn exemplars_of_one_series_are_one_list() {
    let world = World::replicas_known().await;
    let query = "/api/v1/query_exemplars?query=rate(up%7Breplica%3D~%220%7C1%22%7D%5B5m%5D)&start=1&end=2";
    assert_eq!(
        world.data(query).await,
        json!([{
            "seriesLabels": {"__name__": "up"},
            "exemplars": [{"labels": {"trace_id": "x"}, "timestamp": 1.5, "value": "2.5"}],
        }])
    );
    let seen = world.seen();
    // Prometheus does not know its external labels.
    let expected = r#"query: "{__name__=\"up\"}", start: 1000, end: 2000"#;
    assert!(seen.contains(expected), "{seen}");
    for (parameters, error) in [
        ("query=up(", "parse error"),
        ("query=up&start=x", "Invalid time value for 'start'"),
    ] {
        let address = format!("/api/v1/query_exemplars?{parameters}");
        let refused = get(&world.routes, &address).await.error();
        assert_eq!((refused.0, refused.1.as_str()), (400, "bad_data"));
        assert!(refused.2.contains(error), "{refused:?}");
    }
}

#[tokio::test]
async fn statistics_of_databases_are_added_up_and_cut() {
    let world = World::replicas_known().await;
    let data = world.data("/api/v1/status/tsdb?limit=1&match[]=up").await;
    assert_eq!(
        data,
        json!({
            "headStats": {
                "numSeries": 20, "numLabelPairs": 10, "chunkCount": 40, "minTime": 1000, "maxTime": 2000,
            },
            "seriesCountByMetricName": [{"name": "up", "value": 6}],
            "labelValueCountByLabelName": [{"name": "job", "value": 4}],
            "memoryInBytesByLabelName": [],
            "seriesCountByLabelValuePair": [],
        })
    );
    let seen = world.seen();
    assert!(
        seen.contains("limit: 1") && seen.contains(r#"value: "up""#),
        "{seen}"
    );
    let refused = get(&world.routes, "/api/v1/status/tsdb?limit=3000000000")
        .await
        .error();
    assert_eq!(refused.0, 400, "{refused:?}");
}

#[tokio::test]
async fn statistics_are_those_of_the_tenant_where_tenancy_is_enforced() {
    let options = ApiOptions {
        tenancy: TenancyOptions {
            header: "X-Scope".to_owned(),
            enforced_label: Some("tenant_id".to_owned()),
            ..TenancyOptions::default()
        },
        ..ApiOptions::default()
    };
    let world = World::new(false, options).await;
    let of = async |tenant: &str| -> Got {
        let request = axum::http::Request::get("/api/v1/status/tsdb").header("X-Scope", tenant);
        send(&world.routes, request.body(axum::body::Body::empty()).unwrap()).await
    };
    let got = of("team").await;
    assert_eq!(got.json()["data"]["headStats"]["numSeries"], 20);
    let seen = world.seen();
    assert!(
        seen.starts_with("team: ") && seen.contains(r#"name: "tenant_id", value: "team""#),
        "{seen}"
    );
    let refused = of("other").await.error();
    assert_eq!((refused.0, refused.1.as_str()), (500, "internal"));
    assert!(refused.2.ends_with("other tenant not found"), "{refused:?}");
}

const ADDRESSES: [(&str, &str); 6] = [
    ("/api/v1/rules", "rules"),
    ("/api/v1/alerts", "rules"),
    ("/api/v1/targets", "targets"),
    ("/api/v1/metadata", "metadata"),
    ("/api/v1/query_exemplars?query=up", "exemplars"),
    ("/api/v1/status/tsdb", "tsdb statistics"),
];

#[tokio::test]
async fn a_replica_that_fails_is_a_warning_or_an_error_as_the_flags_say() {
    let world = World::new(true, ApiOptions::default()).await;
    for (address, what) in ADDRESSES {
        let got = get(&world.routes, address).await;
        assert_eq!(got.status, 200, "{got:?}");
        let warnings = got.json()["warnings"].to_string();
        assert!(
            warnings.contains(&format!("fetching {what} from p1:1: ")),
            "{warnings}"
        );
    }
    let none = PartialResponse {
        rules: false,
        targets: false,
        metadata: false,
        exemplars: false,
        status: false,
    };
    let options = ApiOptions {
        partial_response: none,
        ..ApiOptions::default()
    };
    let world = World::new(true, options).await;
    for (address, what) in ADDRESSES {
        let refused = get(&world.routes, address).await.error();
        assert_eq!((refused.0, refused.1.as_str()), (500, "internal"), "{address}");
        assert!(
            refused.2.starts_with(&format!("retrieving {what}: ")),
            "{refused:?}"
        );
        assert!(world.seen().contains("partial_response_strategy: Abort"));
    }
}
