//! Peers whose answers take more than they seem to, and groups of which one server is gone.

use sabre_proto::thanos::{AlertInstance, DroppedTarget, Label, MetricMetadataEntry, TsdbStatisticsEntry};
use sabre_runtime::budget::Budget;

use super::{
    super::shapes::{EXEMPLARS, METADATA, RULES, STATISTICS, TARGETS},
    *,
};
use crate::fanout::Shape;

/// So many empty messages within others: `path` are the numbers of the fields.
fn empties(path: &[u8], count: usize) -> Vec<u8> {
    let (last, outer) = path.split_last().unwrap();
    let mut message = [last << 3 | 2, 0].repeat(count);
    for number in outer.iter().rev() {
        let mut around = vec![number << 3 | 2];
        prost::encoding::encode_varint(message.len() as u64, &mut around);
        around.extend(message);
        message = around;
    }
    message
}

#[test]
fn empty_messages_weigh_what_they_take_in_memory() {
    const COUNT: usize = 1000;
    let cases: [(&Shape, &[u8], usize); 11] = [
        (&RULES, &[1, 3], size_of::<Rule>()),
        (&RULES, &[1, 3, 2, 7], size_of::<AlertInstance>()),
        (&RULES, &[1, 3, 2, 7, 2, 1], size_of::<Label>()),
        (&RULES, &[1, 3, 1, 3, 1], size_of::<Label>()),
        (&TARGETS, &[1, 1], size_of::<ActiveTarget>()),
        (&TARGETS, &[1, 2], size_of::<DroppedTarget>()),
        (&METADATA, &[1, 1], size_of::<MetricMetadataEntry>()),
        (&METADATA, &[1, 1, 2, 1], size_of::<Meta>()),
        (&EXEMPLARS, &[1, 2], size_of::<Exemplar>()),
        (&STATISTICS, &[1, 1], size_of::<TsdbStatisticsEntry>()),
        (&STATISTICS, &[1, 1, 2, 5], size_of::<Statistic>()),
    ];
    for (shape, path, bytes) in cases {
        let weight = shape.weigh(&empties(path, COUNT)).unwrap();
        assert!(weight >= COUNT * bytes, "{path:?}: {weight}");
        assert!(weight < COUNT * (3 * bytes + 400), "{path:?}: {weight}");
    }
    assert!(RULES.weigh(&[10, 200, 1]).is_err(), "no message");
}

#[tokio::test]
async fn empty_alerts_are_weighed_before_they_are_decoded() {
    let stop = CancellationToken::new();
    let (tenant, _tenants) = tokio::sync::mpsc::unbounded_channel();
    let mut bomb = alert("a", "0", AlertState::Firing, 1);
    if let Some(rule::Result::Alert(alert)) = &mut bomb.result {
        // Of two bytes each.
        alert.alerts = vec![AlertInstance::default(); 50_000];
    }
    let ruler = Ruler {
        groups: vec![group("g", vec![bomb])],
        fails: false,
        tenant,
    };
    let pool = Pool::new();
    pool.replace(vec![serve(ruler, &stop).await]);
    let options = ApiOptions {
        max_peer_bytes: 1_000_000,
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
async fn answers_are_charged_to_the_process_until_they_go() {
    let stop = CancellationToken::new();
    let (tenant, _tenants) = tokio::sync::mpsc::unbounded_channel();
    let ruler = Ruler {
        groups: vec![group("g", vec![recording("r", "0", 1); 100])],
        fails: false,
        tenant,
    };
    let pool = Pool::new();
    pool.replace(vec![serve(ruler, &stop).await]);
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
