//! Endpoints that stand for several servers.

use super::*;

/// Two stores as one endpoint, of which the first is gone if it is told so.
async fn grouped(first_is_gone: bool) -> (World, Vec<Arc<FakeStore>>) {
    let mut world = World::new(vec![FakeStore::of(&[r#"a="1""#]), FakeStore::of(&[r#"a="1""#])]).await;
    let stores = world.stores.iter().map(|(_, store)| Arc::clone(store)).collect();
    let servers = world.stores.iter();
    let mut channels: Vec<_> = servers.map(|(server, _)| server.channel.clone()).collect();
    if first_is_gone {
        channels[0] = tonic::transport::Channel::from_static("http://127.0.0.1:1").connect_lazy();
    }
    let kind = EndpointKind {
        group: true,
        ..EndpointKind::default()
    };
    let endpoint = Endpoint::new("g", kind, channels);
    endpoint.note(Ok(PeerInfo::from_info(modern()).unwrap()), 0, Instant::now());
    let pool = Pool::new();
    pool.replace(vec![Arc::new(endpoint)]);
    world.fanout = Fanout::new(pool, FanoutOptions::default(), &Registry::new());
    (world, stores)
}

#[tokio::test]
async fn the_servers_of_a_group_take_turns() {
    let (world, stores) = grouped(false).await;
    for _ in 0..6 {
        assert_eq!(world.all().await, [r#"{a="1"}"#]);
    }
    let asked: Vec<usize> = stores.iter().map(|store| store.seen.lock().len()).collect();
    assert_eq!(asked, [3, 3]);
}

#[tokio::test]
async fn a_server_of_a_group_that_died_is_passed_over() {
    let (world, stores) = grouped(true).await;
    for _ in 0..6 {
        assert_eq!(world.all().await, [r#"{a="1"}"#]);
    }
    assert_eq!(stores[1].seen.lock().len(), 6);
    let (names, warnings) = world
        .fanout
        .label_names(everything(), world.options())
        .await
        .unwrap();
    assert!(names.is_empty() && warnings.is_empty(), "{warnings:?}");
}
