use std::time::Duration;

use sabre_runtime::metrics::Registry;

use super::*;

mod intervals;
mod names;

const GLOBAL: fn() -> ClientOptions = ClientOptions::default;

fn parsed(text: &str) -> Vec<Wanted> {
    parse_document("doc", text, &GLOBAL()).unwrap()
}

fn refused(text: &str) -> String {
    parse_document("doc", text, &GLOBAL()).unwrap_err().to_string()
}

#[test]
fn a_document_names_endpoints_with_tls_of_their_own() {
    let all = parsed(
        "default_client_config:\n  tls_config: {ca_file: ca.pem}\n  server_name: all\nendpoints:\n\
         - address: a:1\n  strict: true\n- address: b:1\n  client_config:\n    tls_config: {cert_file: c, key_file: k, min_version: '1.2'}\n    server_name: b\n\
         - address: c:1\n  client_config: {tls_config: {enabled: false}}\n- address: dns+d:1\n- address: dns+g:1\n  group: true\n",
    );
    assert!(all[0].kind.strict);
    let tls = all[0].client.tls.clone().unwrap();
    assert_eq!(
        (tls.ca_file.as_str(), all[0].client.server_name.as_str()),
        ("ca.pem", "all")
    );
    let tls = all[1].client.tls.clone().unwrap();
    assert_eq!(
        (
            tls.ca_file.as_str(),
            tls.cert_file.as_str(),
            tls.min_version.as_str()
        ),
        ("ca.pem", "c", "1.2")
    );
    assert_eq!(all[1].client.server_name, "b");
    assert_eq!(all[2].client.tls, None, "said not to");
    assert_eq!(
        all[3].client,
        GLOBAL(),
        "names that are looked up have what the flags say"
    );
    assert!(all[4].kind.group && all[4].client.tls.is_some());
}

#[test]
fn documents_that_make_no_sense_are_refused_with_the_endpoint() {
    let strict = refused("endpoints: [{address: 'a:1'}, {address: 'dns+b:1', strict: true}]");
    assert!(
        strict.starts_with("doc: endpoint 2 (dns+b:1): ") && strict.contains("strict"),
        "{strict}"
    );
    assert!(refused("endpoints: [{address: a}]").contains("port"));
    assert!(refused("endpoints: [{address: 'a:1', service_config: '{}'}]").contains("groups"));
    assert!(refused("endpoints: [{adress: 'a:1'}]").contains("adress"));
    let key = "endpoints: [{address: 'a:1', client_config: {tls_config: {cert_file: c}}}]";
    assert!(refused(key).contains("key"));
    assert!(refused("endpoints: [{address: 'a:1', client_config: {compression: lz4}}]").contains("snappy"));
    assert_eq!(parsed(""), []);
    assert_eq!(parsed("endpoints:\n"), []);
}

#[tokio::test]
async fn all_places_are_read_and_of_two_the_later_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (targets, document) = (folder.path().join("t.yaml"), folder.path().join("d.yaml"));
    std::fs::write(&targets, "[{targets: ['b:1', 'c:1', 'bad']}]").unwrap();
    std::fs::write(&document, "endpoints: [{address: 'c:1', strict: true}]").unwrap();
    let registry = Registry::new();
    let fixed = |address: &str| Wanted::new(address, EndpointKind::default(), GLOBAL()).unwrap();
    let options = SourceOptions {
        fixed: vec![fixed("a:1"), fixed("dns+localhost:7")],
        target_files: vec![targets.display().to_string()],
        document_file: Some(document.display().to_string()),
        names_interval: Duration::from_secs(30),
        ..SourceOptions::default()
    };
    let mut sources = Sources::new(options, DiscoveryMetrics::register(&registry)).unwrap();
    let seen = |specs: Vec<EndpointSpec>| {
        let text =
            |spec: &EndpointSpec| format!("{}{}", spec.address, if spec.kind.strict { "!" } else { "" });
        specs.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(seen(sources.specs().await), ["127.0.0.1:7", "a:1", "b:1", "c:1!"]);
    std::fs::write(&document, "endpoints: [{address: 'd:1'}]").unwrap();
    std::fs::remove_file(&targets).unwrap();
    assert_eq!(
        seen(sources.specs().await),
        ["127.0.0.1:7", "a:1", "b:1", "c:1", "d:1"],
        "what cannot be read stays"
    );
    let text = registry.classic();
    assert!(
        text.contains("thanos_query_duplicated_endpoint_addresses_total 1"),
        "{text}"
    );
    assert!(
        text.contains("thanos_query_endpoints_dns_lookups_total 1"),
        "looked up once in the interval: {text}"
    );
    assert!(
        text.contains("thanos_query_store_apis_dns_lookups_total 1")
            && text.contains("thanos_query_store_apis_dns_failures_total 0"),
        "the name that alerts ask for: {text}"
    );
    assert!(
        text.contains("thanos_query_endpoints_dns_provider_results{addr=\"dns+localhost:7\"} 1"),
        "{text}"
    );
}
