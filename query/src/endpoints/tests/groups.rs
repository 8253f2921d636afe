//! Endpoints that stand for several servers, and answers too large to be believed.

use std::sync::Arc;

use sabre_proto::thanos::info::TsdbInfo;

use super::{super::refresh::ask, *};
use crate::testing::{FakeStore, modern};

const PATIENCE: Duration = Duration::from_secs(60);

const GROUP: EndpointKind = EndpointKind {
    strict: false,
    group: true,
};

#[tokio::test]
async fn a_group_without_servers_is_unhealthy_and_says_so() {
    let endpoint = Arc::new(Endpoint::new("g:1", GROUP, Vec::new()));
    assert!(endpoint.channels().is_empty());
    ask(Arc::clone(&endpoint), PATIENCE).await;
    let status = endpoint.status();
    assert!(!status.healthy);
    assert_eq!(
        status.last_error.as_deref(),
        Some("its name stands for no server")
    );
    endpoint.set_channels(vec![channel(), channel()]);
    assert_eq!(endpoint.channels().len(), 2);
}

#[tokio::test]
async fn a_group_with_one_dead_server_is_healthy_and_the_other_is_asked() {
    let (live, _) = FakeStore::of(&[]).serve().await;
    let channels = vec![channel(), live.channel.clone()];
    let endpoint = Arc::new(Endpoint::new("g:1", GROUP, channels));
    assert_eq!(endpoint.channels().len(), 2, "nobody was asked yet");
    for round in 0..6 {
        ask(Arc::clone(&endpoint), PATIENCE).await;
        let status = endpoint.status();
        assert!(status.healthy, "round {round}: {status:?}");
        assert_eq!(status.component.as_deref(), Some("store"));
        assert_eq!(endpoint.channels().len(), 1, "the one that answers");
    }
}

#[tokio::test]
async fn a_group_of_which_nobody_answers_is_unhealthy_and_all_are_tried() {
    let endpoint = Arc::new(Endpoint::new("g:1", GROUP, vec![channel(), channel()]));
    ask(Arc::clone(&endpoint), PATIENCE).await;
    let status = endpoint.status();
    assert!(!status.healthy);
    assert!(status.last_error.unwrap().starts_with("rpc error: code = "));
    assert_eq!(endpoint.channels().len(), 2);
}

#[tokio::test]
async fn what_a_peer_says_of_itself_is_weighed_before_it_is_decoded() {
    let mut info = modern();
    // Of two bytes each.
    info.store.as_mut().unwrap().tsdb_infos = vec![TsdbInfo::default(); 600_000];
    let store = FakeStore {
        info: Some(info),
        ..FakeStore::default()
    };
    let (server, _) = store.serve().await;
    let endpoint = Endpoint::new("a:1", EndpointKind::default(), vec![server.channel.clone()]);
    let endpoint = Arc::new(endpoint);
    ask(Arc::clone(&endpoint), PATIENCE).await;
    let error = endpoint.status().last_error.unwrap();
    assert!(error.contains("bytes of memory, 33554432 are allowed"), "{error}");
}
