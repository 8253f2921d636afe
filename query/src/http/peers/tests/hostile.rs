//! Peers whose answers take more than they seem to, and groups of which one server is gone.

use prost::Message as _;
use sabre_proto::thanos::{
    AlertInstance, DroppedTarget, ExemplarsResponse, Label, LabelSet, MetricMetadataResponse,
    TargetsResponse, TsdbStatisticsResponse, exemplars_response, metric_metadata_response, targets_response,
    tsdb_statistics_response,
};
use sabre_runtime::budget::Budget;

use super::{
    super::shapes::{EXEMPLARS, METADATA, RULES, STATISTICS, TARGETS},
    *,
};
use crate::fanout::Shape;

const COUNT: usize = 1000;

/// Answers, and what one of the messages in each takes in memory.
type Bombs = Vec<(Vec<u8>, usize)>;

fn rules_answer(rules: Vec<Rule>) -> Vec<u8> {
    let result = Some(rules_response::Result::Group(group("g", rules)));
    RulesResponse { result }.encode_to_vec()
}

fn alert_answer(alert: Alert) -> Vec<u8> {
    let result = Some(rule::Result::Alert(alert));
    rules_answer(vec![Rule { result }])
}

fn targets_answer(discovery: TargetDiscovery) -> Vec<u8> {
    let result = Some(targets_response::Result::Targets(discovery));
    TargetsResponse { result }.encode_to_vec()
}

/// Of metrics with so many texts each.
fn metadata_answer(metrics: usize, metas: usize) -> Vec<u8> {
    let entry = MetricMetadataEntry {
        metas: vec![Meta::default(); metas],
    };
    let metadata = (0..metrics).map(|number| (number.to_string(), entry.clone()));
    let result = Some(metric_metadata_response::Result::Metadata(MetricMetadata {
        metadata: metadata.collect(),
    }));
    MetricMetadataResponse { result }.encode_to_vec()
}

fn exemplars_answer(data: ExemplarData) -> Vec<u8> {
    let result = Some(exemplars_response::Result::Data(data));
    ExemplarsResponse { result }.encode_to_vec()
}

fn statistics_answer(tenants: usize, entry: &TsdbStatisticsEntry) -> Vec<u8> {
    let statistics = (0..tenants).map(|number| (number.to_string(), entry.clone()));
    let result = Some(tsdb_statistics_response::Result::Statistics(TsdbStatistics {
        statistics: statistics.collect(),
    }));
    TsdbStatisticsResponse { result }.encode_to_vec()
}

/// So many empty labels.
fn empty_labels() -> Option<LabelSet> {
    Some(LabelSet {
        labels: vec![Label::default(); COUNT],
    })
}

/// Answers with many empty rules, and parts of rules.
fn bombs_of_rules() -> Bombs {
    let instance = |labels| AlertInstance {
        labels,
        ..AlertInstance::default()
    };
    let alerts = |alerts| {
        alert_answer(Alert {
            alerts,
            ..Alert::default()
        })
    };
    let recording = rule::Result::Recording(RecordingRule {
        labels: empty_labels(),
        ..RecordingRule::default()
    });
    vec![
        (rules_answer(vec![Rule::default(); COUNT]), size_of::<Rule>()),
        (
            alerts(vec![AlertInstance::default(); COUNT]),
            size_of::<AlertInstance>(),
        ),
        (alerts(vec![instance(empty_labels())]), size_of::<Label>()),
        (
            rules_answer(vec![Rule {
                result: Some(recording),
            }]),
            size_of::<Label>(),
        ),
    ]
}

fn bombs_of_targets() -> Bombs {
    let active = TargetDiscovery {
        active_targets: vec![ActiveTarget::default(); COUNT],
        ..TargetDiscovery::default()
    };
    let dropped = TargetDiscovery {
        dropped_targets: vec![DroppedTarget::default(); COUNT],
        ..TargetDiscovery::default()
    };
    vec![
        (targets_answer(active), size_of::<ActiveTarget>()),
        (targets_answer(dropped), size_of::<DroppedTarget>()),
    ]
}

fn bombs_of_metadata() -> Bombs {
    vec![
        (metadata_answer(COUNT, 0), size_of::<MetricMetadataEntry>()),
        (metadata_answer(1, COUNT), size_of::<Meta>()),
    ]
}

fn bombs_of_exemplars() -> Bombs {
    let data = ExemplarData {
        exemplars: vec![Exemplar::default(); COUNT],
        ..ExemplarData::default()
    };
    vec![(exemplars_answer(data), size_of::<Exemplar>())]
}

fn bombs_of_statistics() -> Bombs {
    let entry = TsdbStatisticsEntry {
        series_count_by_label_value_pair: vec![Statistic::default(); COUNT],
        ..TsdbStatisticsEntry::default()
    };
    vec![
        (
            statistics_answer(COUNT, &TsdbStatisticsEntry::default()),
            size_of::<TsdbStatisticsEntry>(),
        ),
        (statistics_answer(1, &entry), size_of::<Statistic>()),
    ]
}

#[test]
fn empty_messages_weigh_what_they_take_in_memory() {
    let cases: [(&Shape, Bombs); 5] = [
        (&RULES, bombs_of_rules()),
        (&TARGETS, bombs_of_targets()),
        (&METADATA, bombs_of_metadata()),
        (&EXEMPLARS, bombs_of_exemplars()),
        (&STATISTICS, bombs_of_statistics()),
    ];
    for (shape, bombs) in cases {
        for (bomb, bytes) in bombs {
            let weight = shape.weigh(&bomb).unwrap();
            assert!(weight >= COUNT * bytes, "{shape:?}: {weight}, {bytes} each");
            assert!(
                weight < COUNT * (3 * bytes + 400),
                "{shape:?}: {weight}, {bytes} each"
            );
        }
    }
    assert!(RULES.weigh(&[10, 200, 1]).is_err(), "no message");
}

#[test]
fn answers_may_take_a_quarter_of_the_memory() {
    let limit = |max_peer_bytes, budget_bytes| {
        let options = ApiOptions {
            max_peer_bytes,
            budget: Budget::new(budget_bytes, "--sabre.memory-budget"),
            ..ApiOptions::default()
        };
        PeerLimits::of(&options, &Registry::new()).max_bytes
    };
    assert_eq!(limit(None, 8 << 30), 2 << 30);
    assert_eq!(limit(None, 100 << 20), 64 << 20);
    assert_eq!(limit(Some(5), 8 << 30), 5);
}

#[tokio::test]
async fn empty_alerts_are_weighed_before_they_are_decoded() {
    let stop = CancellationToken::new();
    let mut bomb = alert("a", "0", AlertState::Firing, 1);
    if let Some(rule::Result::Alert(alert)) = &mut bomb.result {
        // Of two bytes each.
        alert.alerts = vec![AlertInstance::default(); 50_000];
    }
    let pool = pool_of_ruler(vec![group("g", vec![bomb])], &stop).await;
    let options = ApiOptions {
        max_peer_bytes: Some(1_000_000),
        timeout: Duration::from_secs(60),
        ..ApiOptions::default()
    };
    let got = rules::ask(&pool, &call(true, &options), &WantedRules::default(), &[])
        .await
        .unwrap();
    assert!(got.items.is_empty());
    let said = &got.warnings[0];
    assert!(said.contains("take more than 1000000 bytes of memory"), "{said}");
    stop.cancel();
}

#[tokio::test]
async fn of_a_message_that_is_too_long_the_flag_is_named() {
    let stop = CancellationToken::new();
    let pool = pool_of_ruler(vec![group(&"g".repeat(200_000), Vec::new())], &stop).await;
    let options = ApiOptions {
        max_peer_bytes: Some(100_000),
        ..ApiOptions::default()
    };
    let got = rules::ask(&pool, &call(true, &options), &WantedRules::default(), &[])
        .await
        .unwrap();
    let said = &got.warnings[0];
    assert!(
        said.contains("a message may have 100000 bytes: raise --sabre.memory-budget"),
        "{said}"
    );
    stop.cancel();
}

#[tokio::test]
async fn answers_are_charged_to_the_process_until_they_go() {
    let stop = CancellationToken::new();
    let pool = pool_of_ruler(vec![group("g", vec![recording("r", "0", 1); 100])], &stop).await;
    let budget = Budget::new(1_000_000, "--sabre.memory-budget");
    let options = ApiOptions {
        budget: budget.clone(),
        ..ApiOptions::default()
    };
    let wanted = WantedRules::default();
    let got = rules::ask(&pool, &call(true, &options), &wanted, &[])
        .await
        .unwrap();
    assert_eq!((got.items.len(), got.warnings.len()), (1, 0));
    assert!(budget.usage().used_bytes > 100 * size_of::<Rule>() as u64);
    drop(got);
    assert_eq!(budget.usage().used_bytes, 0);

    let _others = budget.try_reserve(980_000).unwrap();
    let got = rules::ask(&pool, &call(true, &options), &wanted, &[])
        .await
        .unwrap();
    assert!(got.items.is_empty());
    assert!(
        got.warnings[0].contains("raise --sabre.memory-budget"),
        "{:?}",
        got.warnings
    );
    stop.cancel();
}

#[tokio::test]
async fn of_a_group_a_server_that_answers_is_asked() {
    let stop = CancellationToken::new();
    let (tenant, _tenants) = tokio::sync::mpsc::unbounded_channel();
    let ruler = Ruler {
        groups: vec![group("g", vec![recording("r", "0", 1)])],
        fails: false,
        tenant,
    };
    let live = serve(ruler, &stop).await;
    let gone = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let mut channels = vec![gone];
    channels.extend(live.channels());
    let kind = EndpointKind {
        group: true,
        ..EndpointKind::default()
    };
    let endpoint = Endpoint::new("g", kind, channels);
    let peer = live.peer().unwrap();
    endpoint.note(Ok((*peer).clone()), 0, tokio::time::Instant::now());
    let pool = Pool::new();
    pool.replace(vec![Arc::new(endpoint)]);
    let options = ApiOptions::default();
    for _ in 0..4 {
        let got = rules::ask(&pool, &call(false, &options), &WantedRules::default(), &[])
            .await
            .unwrap();
        assert_eq!((got.items.len(), got.warnings.len()), (1, 0));
    }
    stop.cancel();
}

#[tokio::test]
async fn a_message_is_charged_before_its_bytes_come() {
    const CLAIMED_BYTES: u64 = 30 << 20;
    // The head of a message, three bytes of it, and then nothing, ever.
    let mut begun = vec![0];
    begun.extend(u32::try_from(CLAIMED_BYTES).unwrap().to_be_bytes());
    begun.extend([10, 3, 1]);
    let answer = move || {
        let first = stream::iter([Ok::<_, std::io::Error>(begun.clone())]);
        let body = axum::body::Body::from_stream(futures::StreamExt::chain(first, stream::pending()));
        async move { ([("content-type", "application/grpc")], body) }
    };
    let routes = axum::Router::new().route("/thanos.Rules/Rules", axum::routing::post(answer));
    let mut endpoints = Vec::new();
    let mut served = Vec::new();
    for name in ["a", "b", "c"] {
        let server = sabre_testkit::grpc::serve(routes.clone().into()).await.unwrap();
        endpoints.push(ruler_at(name.to_owned(), server.channel.clone()));
        served.push(server);
    }
    let pool = Pool::new();
    pool.replace(endpoints);
    // Two of the three fit.
    let budget = Budget::new(64 << 20, "--sabre.memory-budget");
    let options = ApiOptions {
        budget: budget.clone(),
        timeout: Duration::from_secs(600),
        ..ApiOptions::default()
    };
    let call = call(true, &options);
    let wanted = WantedRules::default();
    let asking = rules::ask(&pool, &call, &wanted, &[]);
    let both_charged = async {
        while budget.usage().used_bytes < 2 * CLAIMED_BYTES {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = asking => panic!("answered, although nobody said anything"),
        () = both_charged => {}
    }
    assert!(budget.usage().high_water_bytes <= 64 << 20);
    assert_eq!(budget.usage().used_bytes, 0, "all goes with the call");
}

#[tokio::test]
async fn of_messages_that_do_not_fit_together_the_flag_is_named() {
    let stop = CancellationToken::new();
    let pool = pool_of_ruler(vec![group(&"g".repeat(600_000), Vec::new())], &stop).await;
    let budget = Budget::new(1_000_000, "--sabre.memory-budget");
    let options = ApiOptions {
        budget: budget.clone(),
        ..ApiOptions::default()
    };
    // It takes its bytes twice: as it comes, and as it is decoded.
    let got = rules::ask(&pool, &call(true, &options), &WantedRules::default(), &[])
        .await
        .unwrap();
    assert!(got.items.is_empty());
    assert!(
        got.warnings[0].contains("raise --sabre.memory-budget"),
        "{:?}",
        got.warnings
    );
    drop(got);
    assert_eq!(budget.usage().used_bytes, 0);
    stop.cancel();
}
