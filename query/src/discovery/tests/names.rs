//! What names stand for, by a name server of the test's own.

use std::{net::Ipv4Addr, time::Duration};

use sabre_runtime::{
    discovery::Resolver,
    logging::{Capture, LogOptions},
    metrics::Registry,
};
use sabre_testkit::name_server::{NameServer, Record};

use super::super::*;

const SERVICE: &str = "_grpc._tcp.thanos-store.monitoring.svc.cluster.local";

struct Fixture {
    server: NameServer,
    sources: Sources,
    registry: Registry,
}

impl Fixture {
    /// Endpoints that are looked up whenever they are asked for.
    async fn new(addresses: &[&str]) -> Fixture {
        Fixture::with_kind(addresses, EndpointKind::default()).await
    }

    async fn with_kind(addresses: &[&str], kind: EndpointKind) -> Fixture {
        Fixture::with(addresses, kind, Duration::ZERO).await
    }

    async fn with_interval(addresses: &[&str], interval: Duration) -> Fixture {
        Fixture::with(addresses, EndpointKind::default(), interval).await
    }

    async fn with(addresses: &[&str], kind: EndpointKind, names_interval: Duration) -> Fixture {
        let (server, registry) = (NameServer::start().await.unwrap(), Registry::new());
        let wanted = |address: &&str| Wanted::new(address, kind, ClientOptions::default()).unwrap();
        let search = ["monitoring.svc.cluster.local", "svc.cluster.local"];
        let options = SourceOptions {
            fixed: addresses.iter().map(wanted).collect(),
            names_interval,
            resolver: Resolver::asking(vec![server.address()], search.map(str::to_owned).to_vec()),
            ..SourceOptions::default()
        };
        let sources = Sources::new(options, DiscoveryMetrics::register(&registry)).unwrap();
        Fixture {
            server,
            sources,
            registry,
        }
    }

    async fn seen(&mut self) -> Vec<String> {
        let specs = self.sources.specs().await;
        specs.into_iter().map(|spec| spec.address).collect()
    }

    fn told(&self, line: &str) {
        let text = self.registry.classic();
        assert!(text.lines().any(|told| told == line), "{line} in {text}");
    }
}

fn target(host: &str, port: u16) -> Record {
    Record::Srv(host.to_owned(), port)
}

fn a(last: u8) -> Record {
    Record::A(Ipv4Addr::new(10, 0, 0, last))
}

#[tokio::test]
async fn targets_of_a_service_are_looked_up_and_have_ports_of_their_own() {
    let mut fixture = Fixture::new(&[&format!("dnssrv+{SERVICE}")]).await;
    fixture.server.set(
        SERVICE,
        &[target("pod-0.store", 10901), target("pod-1.store", 10911)],
    );
    fixture.server.set("pod-0.store", &[a(1), a(2)]);
    fixture.server.set("pod-1.store", &[a(3)]);
    assert_eq!(
        fixture.seen().await,
        ["10.0.0.1:10901", "10.0.0.2:10901", "10.0.0.3:10911"]
    );
    let asked = fixture.server.asked();
    assert_eq!(asked[0], format!("UDP SRV {SERVICE}"));
    assert!(asked.contains(&"UDP A pod-0.store".to_owned()), "{asked:?}");
    // A target that is gone is left out, and the others stay.
    fixture.server.remove("pod-0.store");
    assert_eq!(fixture.seen().await, ["10.0.0.3:10911"]);
}

#[tokio::test]
async fn a_port_that_is_given_counts_in_place_of_that_of_the_service() {
    let addresses = [
        format!("dnssrv+{SERVICE}:443"),
        format!("dnssrvnoa+{SERVICE}:444"),
    ];
    let mut fixture = Fixture::new(&[&addresses[0], &addresses[1]]).await;
    fixture.server.set(SERVICE, &[target("pod-0.store", 10901)]);
    fixture.server.set("pod-0.store", &[a(1)]);
    assert_eq!(fixture.seen().await, ["10.0.0.1:443", "pod-0.store:444"]);
}

#[tokio::test]
async fn hosts_of_a_service_stay_names_where_no_addresses_are_wanted() {
    let mut fixture = Fixture::new(&[&format!("dnssrvnoa+{SERVICE}")]).await;
    fixture.server.set(
        SERVICE,
        &[target("pod-1.store", 10901), target("pod-0.store", 10901)],
    );
    assert_eq!(fixture.seen().await, ["pod-0.store:10901", "pod-1.store:10901"]);
    assert_eq!(
        fixture.server.asked(),
        [format!("UDP SRV {SERVICE}")],
        "and are not looked up"
    );
}

#[tokio::test]
async fn short_names_are_looked_for_in_the_search_domains() {
    let mut fixture = Fixture::new(&["dnssrvnoa+_grpc._tcp.thanos-store", "dns+sidecar:10901"]).await;
    fixture.server.set(SERVICE, &[target("pod-0.store", 1)]);
    fixture.server.set("sidecar.svc.cluster.local", &[a(7)]);
    assert_eq!(fixture.seen().await, ["10.0.0.7:10901", "pod-0.store:1"]);
    let asked = fixture.server.asked();
    let services = asked.iter().filter(|asked| asked.contains("SRV"));
    // It has dots, so that it may be whole.
    let wanted = [
        "UDP SRV _grpc._tcp.thanos-store".to_owned(),
        format!("UDP SRV {SERVICE}"),
    ];
    assert!(services.eq(&wanted), "{asked:?}");
    let hosts: Vec<&String> = asked.iter().filter(|asked| asked.contains("UDP A ")).collect();
    assert_eq!(
        hosts,
        [
            "UDP A sidecar.monitoring.svc.cluster.local",
            "UDP A sidecar.svc.cluster.local"
        ]
    );
}

#[tokio::test]
async fn addresses_of_version_6_count_before_others_and_both_where_both_are_wanted() {
    let mut fixture =
        Fixture::new(&["dns+six.store:1", "dnsdualstack+six.store:2", "dns+four.store:3"]).await;
    let six = Record::Aaaa("2001:db8::1".parse().unwrap());
    fixture.server.set("six.store", &[a(6), six]);
    fixture.server.set("four.store", &[a(4)]);
    let wanted = ["10.0.0.4:3", "10.0.0.6:2", "[2001:db8::1]:1", "[2001:db8::1]:2"];
    assert_eq!(fixture.seen().await, wanted);
}

#[tokio::test]
async fn while_name_servers_fail_what_they_said_last_stays() {
    let service = format!("dnssrv+{SERVICE}");
    let mut fixture = Fixture::new(&[&service, "dns+sidecar.monitoring:10901"]).await;
    fixture.server.set(SERVICE, &[target("pod-0.store", 10901)]);
    fixture.server.set("pod-0.store", &[a(1)]);
    fixture.server.set("sidecar.monitoring", &[a(2)]);
    let both = ["10.0.0.1:10901", "10.0.0.2:10901"];
    assert_eq!(fixture.seen().await, both);
    fixture.server.fail(true);
    assert_eq!(fixture.seen().await, both);
    assert_eq!(fixture.seen().await, both, "however often");
    fixture.told("thanos_query_endpoints_dns_lookups_total 6");
    fixture.told("thanos_query_endpoints_dns_failures_total 4");
    fixture.told(&format!(
        "thanos_query_endpoints_dns_provider_results{{addr=\"{service}\"}} 1"
    ));
    fixture.server.fail(false);
    fixture.server.set("pod-0.store", &[a(9)]);
    assert_eq!(fixture.seen().await, ["10.0.0.2:10901", "10.0.0.9:10901"]);
}

#[tokio::test]
async fn that_a_name_cannot_be_looked_up_and_then_can_is_in_the_log_once_each() {
    let mut fixture = Fixture::new(&["dns+sidecar.monitoring:10901"]).await;
    fixture.server.set("sidecar.monitoring", &[a(2)]);
    let capture = Capture::default();
    let log = LogOptions::default().subscriber(capture.clone());
    // With one subscriber alone it is not asked about places in the code that other threads came by first.
    let _another = tracing::Dispatch::new(LogOptions::default().subscriber(Capture::default()));
    let _here = tracing::subscriber::set_default(log);
    for fails in [false, true, true, true, false, false] {
        fixture.server.fail(fails);
        assert_eq!(fixture.seen().await, ["10.0.0.2:10901"]);
    }
    let text = capture.text();
    let told: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("dns+sidecar.monitoring:10901"))
        .collect();
    assert_eq!(told.len(), 2, "{text}");
    assert!(
        told[0].contains("level=warn") && told[0].contains("cannot be looked up"),
        "{text}"
    );
    assert!(
        told[1].contains("level=info")
            && told[1].contains("can be looked up again")
            && told[1].contains("failed_for="),
        "{text}"
    );
}

#[tokio::test]
async fn a_name_that_is_gone_stands_for_nobody() {
    let mut fixture = Fixture::new(&[&format!("dnssrv+{SERVICE}"), "dns+sidecar.monitoring:10901"]).await;
    fixture.server.set(SERVICE, &[target("pod-0.store", 10901)]);
    fixture.server.set("pod-0.store", &[a(1)]);
    fixture.server.set("sidecar.monitoring", &[a(2)]);
    assert_eq!(fixture.seen().await.len(), 2);
    // That there is no such name, and that it has no record, are answers.
    fixture.server.remove(SERVICE);
    fixture.server.set("sidecar.monitoring", &[]);
    assert!(fixture.seen().await.is_empty());
    fixture.told("thanos_query_endpoints_dns_failures_total 0");
}

#[tokio::test]
async fn a_service_whose_target_cannot_be_looked_up_stays_what_it_was() {
    let mut fixture = Fixture::new(&[&format!("dnssrv+{SERVICE}")]).await;
    fixture.server.set(SERVICE, &[target("pod-0.store", 10901)]);
    fixture.server.set("pod-0.store", &[a(1)]);
    assert_eq!(fixture.seen().await, ["10.0.0.1:10901"]);
    // Half of an answer would pass for all of it.
    fixture.server.set(
        SERVICE,
        &[target("pod-0.store", 10901), target("pod-2.store", 10901)],
    );
    fixture.server.fail_for(&["pod-0.store"]);
    fixture.server.set("pod-2.store", &[a(2)]);
    assert_eq!(fixture.seen().await, ["10.0.0.1:10901"]);
    fixture.server.fail_for(&[]);
    assert_eq!(fixture.seen().await, ["10.0.0.1:10901", "10.0.0.2:10901"]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again_by_tcp() {
    let mut fixture = Fixture::new(&[&format!("dnssrvnoa+{SERVICE}")]).await;
    let many: Vec<Record> = (0..200)
        .map(|n| target(&format!("pod-{n}.store"), 10901))
        .collect();
    fixture.server.set(SERVICE, &many);
    fixture.server.cut_short(true);
    assert_eq!(fixture.seen().await.len(), 200);
    assert_eq!(
        fixture.server.asked(),
        [format!("UDP SRV {SERVICE}"), format!("TCP SRV {SERVICE}")]
    );
}

#[tokio::test]
async fn a_group_is_one_endpoint_with_all_servers_of_its_name() {
    let group = EndpointKind {
        group: true,
        ..EndpointKind::default()
    };
    let mut fixture = Fixture::with_kind(&["dns+store.monitoring:10901"], group).await;
    fixture.server.set("store.monitoring", &[a(1), a(2)]);
    let specs = fixture.sources.specs().await;
    assert_eq!(specs.len(), 1);
    assert_eq!(specs[0].address, "dns+store.monitoring:10901");
    assert_eq!(specs[0].servers, ["10.0.0.1:10901", "10.0.0.2:10901"]);
    fixture.told("thanos_query_endpoint_groups_dns_lookups_total 1");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_again_after_the_interval_of_the_flag() {
    // Answers come through sockets.
    let _still = sabre_testkit::time::stand_still();
    let mut fixture = Fixture::with_interval(&["dns+store.test:10901"], Duration::from_secs(30)).await;
    fixture.server.set("store.test", &[a(1)]);
    assert_eq!(fixture.seen().await, ["10.0.0.1:10901"]);
    fixture.server.set("store.test", &[a(2)]);
    tokio::time::advance(Duration::from_millis(29_999)).await;
    assert_eq!(fixture.seen().await, ["10.0.0.1:10901"]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.seen().await, ["10.0.0.2:10901"]);
}
