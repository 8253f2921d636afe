mod groups;
mod silent;
mod tls;
mod unmet;

use std::time::Duration;

use sabre_proto::thanos::{
    InfoResponse as OldInfo, Label, LabelSet, StoreType,
    info::{InfoResponse, RulesInfo, StoreInfo},
};
use tokio::time::Instant;

use super::*;

fn label_set(pairs: &[(&str, &str)]) -> LabelSet {
    let label = |&(name, value): &(&str, &str)| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    LabelSet {
        labels: pairs.iter().map(label).collect(),
    }
}

fn channel() -> Channel {
    tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
}

fn said() -> PeerInfo {
    PeerInfo::from_info(InfoResponse {
        component_type: "sidecar".to_owned(),
        label_sets: vec![label_set(&[("b", "2"), ("a", "1")]), label_set(&[])],
        store: Some(StoreInfo {
            min_time: 5,
            max_time: 9,
            supports_sharding: true,
            ..StoreInfo::default()
        }),
        rules: Some(RulesInfo {}),
        ..InfoResponse::default()
    })
    .unwrap()
}

#[test]
fn a_peer_says_what_it_is_and_has() {
    let peer = said();
    assert_eq!(peer.component, "sidecar");
    assert_eq!(
        peer.apis.iter().copied().collect::<Vec<_>>(),
        [Api::Store, Api::Rules]
    );
    assert_eq!(
        peer.label_sets,
        [Labels::from_pairs([("a", "1"), ("b", "2")]).unwrap()]
    );
    assert_eq!((peer.store.mint, peer.store.maxt), (5, 9));
    assert!(peer.store.supports_sharding && !peer.store.supports_without_replica_labels);
}

#[test]
fn labels_that_are_none_are_an_error() {
    let answer = InfoResponse {
        label_sets: vec![label_set(&[("a", "1"), ("a", "2")])],
        ..InfoResponse::default()
    };
    assert!(PeerInfo::from_info(answer).unwrap_err().contains('a'));
}

#[test]
fn old_peers_have_a_store_and_labels_in_either_field() {
    let mut old = OldInfo {
        labels: label_set(&[("x", "y")]).labels,
        min_time: 1,
        max_time: 2,
        store_type: StoreType::Sidecar.into(),
        label_sets: Vec::new(),
    };
    let peer = PeerInfo::from_old_info(&old).unwrap();
    assert_eq!(peer.component, "sidecar");
    assert_eq!(peer.label_sets.len(), 1);
    old.label_sets = vec![label_set(&[("x", "1")]), label_set(&[("x", "2")])];
    assert_eq!(PeerInfo::from_old_info(&old).unwrap().label_sets.len(), 2);
}

#[tokio::test]
async fn only_those_who_answered_last_are_asked() {
    let pool = Pool::new();
    let (normal, strict) = (
        EndpointKind::default(),
        EndpointKind {
            strict: true,
            group: false,
        },
    );
    let b = Arc::new(Endpoint::new("b:1", normal, vec![channel()]));
    let a = Arc::new(Endpoint::new("a:1", strict, vec![channel()]));
    pool.replace(vec![Arc::clone(&b), Arc::clone(&a)]);
    let asked = |api| {
        pool.channels(api)
            .iter()
            .map(|(e, _)| e.address().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(Api::Store), ["a:1"], "strict ones always are");
    let start = Instant::now();
    b.note(Ok(said()), 1, start);
    assert_eq!(asked(Api::Store), ["a:1", "b:1"]);
    assert_eq!(asked(Api::Rules), ["b:1"]);
    b.note(Err("gone".to_owned()), 2, start);
    assert_eq!(asked(Api::Rules), Vec::<String>::new());
    let statuses = pool.statuses();
    assert_eq!(statuses[0].component, None);
    assert_eq!(
        statuses[1].component.as_deref(),
        Some("sidecar"),
        "what it said last is kept"
    );
    assert_eq!(statuses[1].last_error.as_deref(), Some("gone"));
    assert_eq!(statuses[1].last_check_ms, Some(2));
    let timeout = Duration::from_secs(300);
    assert!(!b.is_forgotten(start + timeout, timeout));
    assert!(b.is_forgotten(start + timeout + Duration::from_secs(1), timeout));
    assert!(!a.is_forgotten(start + timeout * 2, timeout));
}

mod refresh {
    use sabre_runtime::metrics::Registry;

    use super::*;
    use crate::{
        discovery::{DiscoveryMetrics, SourceOptions, Sources, Wanted},
        testing::{FakeStore, modern},
    };

    fn refresher(pool: &Pool, fixed: Vec<Wanted>, registry: &Registry) -> Refresher {
        forgetting_after(Duration::from_secs(300), pool, fixed, registry)
    }

    fn forgetting_after(
        unhealthy_timeout: Duration,
        pool: &Pool,
        fixed: Vec<Wanted>,
        registry: &Registry,
    ) -> Refresher {
        let options = SourceOptions {
            fixed,
            ..SourceOptions::default()
        };
        let sources = Sources::new(options, DiscoveryMetrics::register(registry)).unwrap();
        let options = RefreshOptions {
            info_timeout: Duration::from_secs(5),
            unhealthy_timeout,
        };
        Refresher::new(pool.clone(), sources, options, registry)
    }

    fn wanted(address: std::net::SocketAddr, kind: EndpointKind) -> Wanted {
        Wanted::new(&address.to_string(), kind, ClientOptions::default()).unwrap()
    }

    #[tokio::test]
    async fn peers_new_and_old_say_who_they_are_and_are_kept_when_they_are_gone() {
        let mut info = modern();
        info.label_sets = vec![label_set(&[("a", "1")])];
        let new = FakeStore {
            info: Some(info),
            ..FakeStore::default()
        };
        let old = FakeStore {
            old_info: Some(OldInfo {
                store_type: StoreType::Rule.into(),
                ..OldInfo::default()
            }),
            ..FakeStore::default()
        };
        let ((new, _), (old, fake)) = (new.serve().await, old.serve().await);
        let (pool, registry, kind) = (Pool::new(), Registry::new(), EndpointKind::default());
        let fixed = vec![wanted(new.address, kind), wanted(old.address, kind)];
        let mut refresher = refresher(&pool, fixed, &registry);
        refresher.refresh().await;
        let components = |pool: &Pool| {
            let mut all: Vec<_> = pool
                .statuses()
                .into_iter()
                .map(|status| (status.component.unwrap_or_default(), status.healthy))
                .collect();
            all.sort();
            all
        };
        let both = [("rule".to_owned(), true), ("store".to_owned(), true)];
        assert_eq!(components(&pool), both);
        let text = registry.classic();
        let line = r#"thanos_store_nodes_grpc_connections{external_labels="{a=\"1\"}",store_type="store"} 1"#;
        assert!(text.contains(line), "{text}");

        let before = pool.endpoints();
        fake.mute.store(true, std::sync::atomic::Ordering::Relaxed);
        refresher.refresh().await;
        assert_eq!(
            components(&pool),
            [("rule".to_owned(), false), ("store".to_owned(), true)]
        );
        let failed = pool
            .statuses()
            .into_iter()
            .find(|status| !status.healthy)
            .unwrap();
        assert!(failed.last_error.unwrap().starts_with("rpc error: code = "));
        assert!(!registry.classic().contains("store_type=\"rule\""));
        let kept = |endpoint: &Arc<Endpoint>| before.iter().any(|old| Arc::ptr_eq(old, endpoint));
        assert!(pool.endpoints().iter().all(kept), "connections are kept");
    }

    #[tokio::test]
    async fn those_who_say_nothing_for_as_long_as_the_flag_says_are_forgotten() {
        for (minutes, kept) in [(1, 0), (60, 1)] {
            let (server, fake) = FakeStore::of(&[]).serve().await;
            let (pool, registry) = (Pool::new(), Registry::new());
            let fixed = vec![wanted(server.address, EndpointKind::default())];
            let timeout = Duration::from_secs(minutes * 60);
            let mut refresher = forgetting_after(timeout, &pool, fixed, &registry);
            refresher.refresh().await;
            assert!(pool.statuses()[0].healthy);
            fake.mute.store(true, std::sync::atomic::Ordering::Relaxed);
            refresher.refresh().await;
            assert_eq!(pool.statuses().len(), 1, "it has answered a moment ago");
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(10 * 60)).await;
            refresher.refresh().await;
            tokio::time::resume();
            assert_eq!(pool.statuses().len(), kept, "after ten minutes of {minutes}");
        }
    }

    #[tokio::test]
    async fn strict_endpoints_are_asked_although_nobody_ever_answered() {
        let (pool, registry) = (Pool::new(), Registry::new());
        let strict = EndpointKind {
            strict: true,
            group: false,
        };
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let fixed = vec![wanted(nobody, strict)];
        refresher(&pool, fixed, &registry).refresh().await;
        assert_eq!(pool.channels(Api::Store).len(), 1);
        assert_eq!(pool.channels(Api::Rules).len(), 0);
    }

    #[tokio::test]
    async fn the_servers_of_a_group_are_one_endpoint() {
        let (server, _) = FakeStore::of(&[]).serve().await;
        let group = EndpointKind {
            strict: false,
            group: true,
        };
        let address = format!("dns+localhost:{}", server.address.port());
        let fixed = vec![Wanted::new(&address, group, ClientOptions::default()).unwrap()];
        let (pool, registry) = (Pool::new(), Registry::new());
        refresher(&pool, fixed, &registry).refresh().await;
        let statuses = pool.statuses();
        assert_eq!(statuses[0].address, address);
        assert!(statuses[0].healthy, "{statuses:?}");
        let text = registry.classic();
        assert!(
            text.contains("thanos_query_endpoint_groups_dns_lookups_total 1"),
            "{text}"
        );
    }
}
