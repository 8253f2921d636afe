//! What peers know beside series, through a querier above a querier.

use futures::{StreamExt as _, stream, stream::BoxStream};
use parking_lot::Mutex;
use sabre_proto::{
    convert::label_set,
    thanos::{
        ActiveTarget, Exemplar, ExemplarData, ExemplarsRequest, ExemplarsResponse, HeadStatistics, Meta,
        MetricMetadata, MetricMetadataEntry, MetricMetadataRequest, MetricMetadataResponse, RecordingRule,
        Rule, RuleGroup, RulesRequest, RulesResponse, TargetDiscovery, TargetsRequest, TargetsResponse,
        TsdbStatistics, TsdbStatisticsEntry, TsdbStatisticsRequest, TsdbStatisticsResponse,
        active_target::Health,
        exemplars_response,
        exemplars_server::{Exemplars, ExemplarsServer},
        info::{ExemplarsInfo, InfoResponse, MetricMetadataInfo, RulesInfo, StatusInfo, TargetsInfo},
        metadata_server::{Metadata, MetadataServer},
        metric_metadata_response, rule,
        rules_client::RulesClient,
        rules_response,
        rules_server::{Rules, RulesServer},
        status_server::{Status as StatusApi, StatusServer},
        targets_response,
        targets_server::{Targets, TargetsServer},
        tsdb_statistics_response,
    },
};
use tonic::{Request, Response};

use super::*;
use crate::http::peers::{
    Call,
    exemplars::{self, WantedExemplars},
    metadata,
    rules::{self, WantedRules},
    statistics::{self, WantedStatistics},
    targets,
};

type Said<M> = Result<Response<BoxStream<'static, Result<M, Status>>>, Status>;

/// A replica that says one thing of everything, or fails.
#[derive(Debug, Default)]
struct Replica {
    name: &'static str,
    fails: bool,
    /// Texts of what it was asked, and the tenant.
    seen: Mutex<Vec<(String, String)>>,
}

impl Replica {
    fn labels(&self) -> Option<sabre_proto::thanos::LabelSet> {
        Some(label_set(&labels(&format!(r#"job="a",replica="{}""#, self.name))))
    }

    fn say<Q, M: Send + 'static>(&self, request: &Request<Q>, asked: &str, said: M) -> Said<M> {
        let tenant = request
            .metadata()
            .get(TENANT)
            .and_then(|tenant| tenant.to_str().ok());
        let seen = (asked.to_owned(), tenant.unwrap_or_default().to_owned());
        self.seen.lock().push(seen);
        let end = self.fails.then(|| Err(Status::internal("out of order")));
        Ok(Response::new(
            stream::iter([Ok(said)]).chain(stream::iter(end)).boxed(),
        ))
    }
}

#[tonic::async_trait]
impl Rules for Replica {
    async fn rules(&self, request: Request<RulesRequest>) -> Said<RulesResponse> {
        let rule = RecordingRule {
            name: "r".to_owned(),
            labels: self.labels(),
            ..RecordingRule::default()
        };
        let group = RuleGroup {
            name: "g".to_owned(),
            file: "f".to_owned(),
            rules: vec![Rule {
                result: Some(rule::Result::Recording(rule)),
            }],
            ..RuleGroup::default()
        };
        let result = Some(rules_response::Result::Group(group));
        let asked = request.get_ref().rule_group.join(",");
        self.say(&request, &asked, RulesResponse { result })
    }
}

#[tonic::async_trait]
impl Targets for Replica {
    async fn targets(&self, request: Request<TargetsRequest>) -> Said<TargetsResponse> {
        let target = ActiveTarget {
            labels: self.labels(),
            scrape_url: "http://a/metrics".to_owned(),
            health: Health::Up.into(),
            ..ActiveTarget::default()
        };
        let result = Some(targets_response::Result::Targets(TargetDiscovery {
            active_targets: vec![target],
            dropped_targets: Vec::new(),
        }));
        let asked = request.get_ref().state.to_string();
        self.say(&request, &asked, TargetsResponse { result })
    }
}

#[tonic::async_trait]
impl Metadata for Replica {
    async fn metric_metadata(&self, request: Request<MetricMetadataRequest>) -> Said<MetricMetadataResponse> {
        let metas = vec![Meta {
            r#type: "gauge".to_owned(),
            help: "whether it is up".to_owned(),
            unit: String::new(),
        }];
        let metadata = [("up".to_owned(), MetricMetadataEntry { metas })].into();
        let result = Some(metric_metadata_response::Result::Metadata(MetricMetadata {
            metadata,
        }));
        let asked = format!("{} {}", request.get_ref().metric, request.get_ref().limit);
        self.say(&request, &asked, MetricMetadataResponse { result })
    }
}

#[tonic::async_trait]
impl Exemplars for Replica {
    async fn exemplars(&self, request: Request<ExemplarsRequest>) -> Said<ExemplarsResponse> {
        let data = ExemplarData {
            series_labels: self.labels(),
            exemplars: vec![Exemplar {
                labels: None,
                value: 2.0,
                ts: 1000,
            }],
        };
        let result = Some(exemplars_response::Result::Data(data));
        let asked = request.get_ref().query.clone();
        self.say(&request, &asked, ExemplarsResponse { result })
    }
}

#[tonic::async_trait]
impl StatusApi for Replica {
    async fn tsdb_statistics(&self, request: Request<TsdbStatisticsRequest>) -> Said<TsdbStatisticsResponse> {
        let entry = TsdbStatisticsEntry {
            head_statistics: Some(HeadStatistics {
                num_series: 3,
                ..HeadStatistics::default()
            }),
            ..TsdbStatisticsEntry::default()
        };
        let statistics = [("t".to_owned(), entry)].into();
        let result = Some(tsdb_statistics_response::Result::Statistics(TsdbStatistics {
            statistics,
        }));
        let asked = request.get_ref().limit.to_string();
        self.say(&request, &asked, TsdbStatisticsResponse { result })
    }
}

/// A querier before these, which has the label `q="eu"`, and what is above it.
struct Stack {
    above: Pool,
    below: Served,
    replicas: Vec<Arc<Replica>>,
    _servers: Vec<Served>,
}

impl Stack {
    async fn of(replicas: Vec<Replica>) -> Self {
        let (pool, registry) = (Pool::new(), Registry::new());
        let replicas: Vec<_> = replicas.into_iter().map(Arc::new).collect();
        let (mut servers, mut endpoints) = (Vec::new(), Vec::new());
        for replica in &replicas {
            let routes = Routes::new(RulesServer::from_arc(Arc::clone(replica)))
                .add_service(TargetsServer::from_arc(Arc::clone(replica)))
                .add_service(MetadataServer::from_arc(Arc::clone(replica)))
                .add_service(ExemplarsServer::from_arc(Arc::clone(replica)))
                .add_service(StatusServer::from_arc(Arc::clone(replica)));
            let served = serve(routes).await.unwrap();
            endpoints.push(endpoint(replica.name, &served, sidecar(replica.name)));
            servers.push(served);
        }
        pool.replace(endpoints);
        let options = FanoutOptions {
            own_labels: labels(r#"q="eu""#),
            ..FanoutOptions::default()
        };
        let fanout = Fanout::new(pool.clone(), options, &registry);
        let engine: Arc<dyn Queries> =
            Arc::new(Engine::new(Arc::new(fanout.clone()), EngineConfig::default()));
        let services = Services::new(
            fanout,
            engine,
            pool,
            Budget::unlimited(),
            ServiceOptions::default(),
            limits(),
        );
        let routes = Routes::new(services.info_service())
            .add_service(services.rules_service())
            .add_service(services.targets_service())
            .add_service(services.metadata_service())
            .add_service(services.exemplars_service())
            .add_service(services.status_service());
        let below = serve(routes).await.unwrap();
        let mut client = InfoClient::new(below.channel.clone());
        let info = client.info(ModernInfo::default()).await.unwrap().into_inner();
        let above = Pool::new();
        above.replace(vec![endpoint("below", &below, info)]);
        Self {
            above,
            below,
            replicas,
            _servers: servers,
        }
    }

    /// What the first replica was asked last.
    fn asked(&self) -> (String, String) {
        self.replicas[0].seen.lock().last().cloned().unwrap()
    }
}

fn endpoint(name: &str, served: &Served, info: InfoResponse) -> Arc<Endpoint> {
    let endpoint = Endpoint::new(name, EndpointKind::default(), vec![served.channel.clone()]);
    endpoint.note(Ok(PeerInfo::from_info(info).unwrap()), 0, Instant::now());
    Arc::new(endpoint)
}

fn sidecar(replica: &str) -> InfoResponse {
    InfoResponse {
        component_type: "sidecar".to_owned(),
        label_sets: vec![label_set(&labels(&format!(r#"replica="{replica}""#)))],
        rules: Some(RulesInfo {}),
        metric_metadata: Some(MetricMetadataInfo {}),
        targets: Some(TargetsInfo {}),
        exemplars: Some(ExemplarsInfo {
            min_time: 0,
            max_time: i64::MAX,
        }),
        status: Some(StatusInfo {}),
        ..InfoResponse::default()
    }
}

fn replica(name: &'static str, fails: bool) -> Replica {
    Replica {
        name,
        fails,
        ..Replica::default()
    }
}

fn call(partial: bool) -> Call {
    let strategy = match partial {
        true => PartialResponseStrategy::Warn,
        false => PartialResponseStrategy::Abort,
    };
    let tenant = vec![(TENANT.to_owned(), "team".to_owned())];
    Call::handed_down("things", strategy.into(), limits(), tenant)
}

#[tokio::test]
async fn what_peers_know_comes_through_two_queriers_and_replicas_are_one() {
    let stack = Stack::of(vec![replica("0", false), replica("1", false)]).await;
    let (pool, call, without) = (&stack.above, call(false), ["replica".to_owned()]);

    let wanted = WantedRules {
        groups: vec!["g".to_owned()],
        ..WantedRules::default()
    };
    let got = rules::ask(pool, &call, &wanted, &without).await.unwrap();
    assert_eq!(got.items.len(), 1);
    assert_eq!(got.items[0]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(stack.asked(), ("g".to_owned(), "team".to_owned()));
    let apart = rules::ask(pool, &call, &wanted, &[]).await.unwrap();
    assert_eq!(apart.items[0]["rules"].as_array().unwrap().len(), 2);

    let got = targets::ask(pool, &call, 1, &without).await.unwrap();
    assert_eq!(got.items[0]["activeTargets"].as_array().unwrap().len(), 1);
    assert_eq!(stack.asked(), ("1".to_owned(), "team".to_owned()));

    let got = metadata::ask(pool, &call, "up", 5).await.unwrap();
    assert_eq!(got.items[0]["up"].as_array().unwrap().len(), 1);
    assert_eq!(stack.asked().0, "up 5");

    let wanted = WantedStatistics {
        matchers: Vec::new(),
        limit: 7,
        tenant: None,
    };
    let got = statistics::ask(pool, &call, &wanted).await.unwrap();
    assert_eq!(got.items[0]["headStats"]["numSeries"], 6, "added up");
    assert_eq!(stack.asked().0, "7");
}

#[tokio::test]
async fn exemplars_are_asked_for_below_without_labels_that_nobody_there_knows() {
    let stack = Stack::of(vec![replica("0", false), replica("1", false)]).await;
    let wanted = |query: &str| WantedExemplars::of(query, &Labels::default(), (0, 5)).unwrap();
    let ask = async |query: &str| {
        let replica = ["replica".to_owned()];
        let got = exemplars::ask(&stack.above, &call(false), &wanted(query), &replica).await;
        got.unwrap().items
    };
    let got = ask(r#"rate(x{q="eu"}[5m])"#).await;
    assert_eq!(got.len(), 1, "one series of two replicas: {got:?}");
    assert_eq!(got[0]["exemplars"].as_array().unwrap().len(), 1, "each once");
    assert_eq!(stack.asked().0, r#"{__name__="x"}"#);
    assert!(ask(r#"x{q="us"}"#).await.is_empty(), "it is not there");
    assert_eq!(ask(r#"x{replica="1"}"#).await.len(), 1);
    assert_eq!(stack.replicas[0].seen.lock().len(), 1, "only the other was asked");
}

#[tokio::test]
async fn a_peer_that_fails_below_is_a_warning_above_or_an_error() {
    let stack = Stack::of(vec![replica("0", false), replica("1", true)]).await;
    let wanted = WantedRules::default();
    let got = rules::ask(&stack.above, &call(true), &wanted, &[]).await.unwrap();
    assert_eq!(got.items.len(), 1, "what was said before counts");
    assert_eq!(got.warnings.len(), 1);
    assert!(
        got.warnings[0].starts_with("fetching rules from 1: ") && got.warnings[0].ends_with("out of order"),
        "{:?}",
        got.warnings
    );
    let refused = rules::ask(&stack.above, &call(false), &wanted, &[]).await;
    let refused = refused.unwrap_err().message;
    assert!(
        refused.contains("from below") && refused.contains("from 1: "),
        "{refused}"
    );
    let mut client = RulesClient::new(stack.below.channel.clone());
    let strict = RulesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..RulesRequest::default()
    };
    assert_eq!(client.rules(strict).await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn exemplars_of_what_is_no_query_are_refused() {
    use sabre_proto::thanos::exemplars_client::ExemplarsClient;
    let stack = Stack::of(vec![replica("0", false)]).await;
    let mut client = ExemplarsClient::new(stack.below.channel.clone());
    let wrong = ExemplarsRequest {
        query: "x{".to_owned(),
        ..ExemplarsRequest::default()
    };
    assert_eq!(
        client.exemplars(wrong).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    assert!(stack.replicas[0].seen.lock().is_empty());
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_is_refused_for_rules_too() {
    let stack = Stack::of(vec![replica("0", false)]).await;
    let tenant = tonic::metadata::MetadataValue::try_from("t\u{e9}am".as_bytes()).unwrap();
    let mut request = Request::new(RulesRequest::default());
    request.metadata_mut().insert(TENANT, tenant);
    let mut client = RulesClient::new(stack.below.channel.clone());
    let refused = client.rules(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("tenant name not valid"), "{refused}");
    assert!(stack.replicas[0].seen.lock().is_empty());
}
