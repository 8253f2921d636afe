mod groups;
mod hostile;
mod packed;

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use sabre_model::selector::parse_selector;
use sabre_proto::thanos::{Series, ShardInfo};
use sabre_runtime::budget::Budget;
use sabre_testkit::grpc::Served;
use tonic::Status;

use super::*;
use crate::{
    endpoints::EndpointKind,
    source::{Account, SeriesItem},
    testing::{FakeStore, Step, framed, framed_series, labels, modern, series},
};

/// Stores behind a fan-out, by the names `s0`, `s1`, ...
struct World {
    fanout: Fanout,
    stores: Vec<(Served, Arc<FakeStore>)>,
    account: Arc<Account>,
    registry: Registry,
}

impl World {
    async fn new(stores: Vec<FakeStore>) -> Self {
        Self::with(stores, FanoutOptions::default()).await
    }

    async fn with(stores: Vec<FakeStore>, options: FanoutOptions) -> Self {
        let (pool, registry) = (Pool::new(), Registry::new());
        let (mut served, mut endpoints) = (Vec::new(), Vec::new());
        for (index, store) in stores.into_iter().enumerate() {
            let peer = match (&store.info, &store.old_info) {
                (Some(info), _) => PeerInfo::from_info(info.clone()).unwrap(),
                (None, Some(old)) => PeerInfo::from_old_info(old).unwrap(),
                (None, None) => panic!("a store that says nothing"),
            };
            let (server, store) = store.serve().await;
            let channel = vec![server.channel.clone()];
            let endpoint = Endpoint::new(format!("s{index}"), EndpointKind::default(), channel);
            endpoint.note(Ok(peer), 0, Instant::now());
            endpoints.push(Arc::new(endpoint));
            served.push((server, store));
        }
        pool.replace(endpoints);
        World {
            fanout: Fanout::new(pool, options, &registry),
            stores: served,
            account: Arc::default(),
            registry,
        }
    }

    fn options(&self) -> SelectOptions {
        SelectOptions {
            without_replica_labels: Vec::new(),
            store_matchers: Vec::new(),
            partial_response: true,
            deadline: None,
            metadata: Vec::new(),
            budget: Budget::new(64 << 20, "--sabre.memory-budget"),
            account: Arc::clone(&self.account),
        }
    }

    async fn lines(&self, request: SelectRequest, options: SelectOptions) -> Vec<String> {
        let budget = options.budget.clone();
        let lines = match self.fanout.select(request, options).await {
            Err(error) => vec![format!("error: {error}")],
            Ok(items) => items.map(line).collect::<Vec<_>>().await,
        };
        assert_eq!(budget.usage().used_bytes, 0, "all bytes are given back");
        lines
    }

    async fn all(&self) -> Vec<String> {
        self.lines(everything(), self.options()).await
    }
}

fn everything() -> SelectRequest {
    SelectRequest {
        matchers: parse_selector("{__name__=~\".*\"}").unwrap(),
        mint: 0,
        maxt: 1000,
        ..SelectRequest::default()
    }
}

fn line(item: Result<SeriesItem, SourceFailure>) -> String {
    match item {
        Ok(SeriesItem::Series(labels, chunks)) => {
            let mut line = labels.to_string();
            for chunk in chunks {
                let data = chunk.raw.map(|raw| raw.data).unwrap_or_default();
                let data = String::from_utf8_lossy(&data).into_owned();
                line += &format!(" {}-{}{data}", chunk.min_time, chunk.max_time);
            }
            line
        }
        Ok(SeriesItem::Warning(text)) => format!("warning: {text}"),
        Err(error) => format!("error: {error}"),
    }
}

fn sent(all: &[Series]) -> Vec<Step> {
    all.iter().cloned().map(Step::Series).collect()
}

#[tokio::test]
async fn series_of_all_stores_come_in_order_and_equal_ones_once() {
    let one = sent(&[
        series(r#"a="1""#, &[(5, 9, "x")]),
        series(r#"a="3""#, &[(1, 2, "p")]),
    ]);
    let two = vec![Step::Batch(vec![
        series(r#"a="1""#, &[(1, 4, "w"), (5, 9, "x"), (5, 9, "y")]),
        series(r#"a="2""#, &[]),
    ])];
    let world = World::new(vec![
        FakeStore::new(one),
        FakeStore::new(two),
        FakeStore::new(vec![]),
    ])
    .await;
    assert_eq!(
        world.all().await,
        [r#"{a="1"} 1-4w 5-9x 5-9y"#, r#"{a="2"}"#, r#"{a="3"} 1-2p"#]
    );
    let text = world.registry.classic();
    assert!(
        text.contains("thanos_proxy_store_empty_stream_responses_total 1"),
        "{text}"
    );
    let handled = r#"grpc_client_handled_total{grpc_code="OK",grpc_method="Series",grpc_service="thanos.Store",grpc_type="server_stream"} 3"#;
    assert!(text.contains(handled), "{text}");
    let account = world.account.endpoints.lock().clone();
    assert_eq!(
        (account["s0"].requests, account["s0"].series, account["s0"].chunks),
        (1, 2, 2)
    );
    assert_eq!((account["s1"].series, account["s1"].chunks), (2, 3));
    assert!(account["s1"].bytes > 0 && account["s2"].series == 0);
}

#[tokio::test]
async fn one_store_may_send_a_series_in_several_messages() {
    let one = sent(&[
        series(r#"a="1""#, &[(5, 9, "b")]),
        series(r#"a="1""#, &[(1, 4, "a")]),
        series(r#"a="2""#, &[]),
    ]);
    let world = World::new(vec![FakeStore::new(one), FakeStore::of(&[r#"a="1""#])]).await;
    assert_eq!(world.all().await, [r#"{a="1"} 1-4a 5-9b"#, r#"{a="2"}"#]);
}

#[tokio::test]
async fn a_store_out_of_order_loses_its_rest_and_is_named() {
    let world = World::new(vec![
        FakeStore::of(&[r#"a="2""#, r#"a="1""#, r#"a="9""#]),
        FakeStore::of(&[r#"a="1""#, r#"a="3""#]),
    ])
    .await;
    let lines = world.all().await;
    assert_eq!(
        lines[..3],
        [
            r#"{a="1"}"#,
            r#"{a="2"}"#,
            r#"warning: receive series from s0: series come out of order, the rest is left out"#
        ]
    );
    assert_eq!(lines[3..], [r#"{a="3"}"#]);
}

#[tokio::test]
async fn replica_labels_are_taken_off_for_those_who_cannot() {
    let mut info = modern();
    info.store.as_mut().unwrap().supports_without_replica_labels = false;
    let old = FakeStore {
        info: Some(info),
        ..FakeStore::new(sent(&[
            series(r#"a="1",r="x""#, &[(1, 2, "a")]),
            series(r#"a="1",b="0",r="x""#, &[]),
            series(r#"a="1",r="y""#, &[(3, 4, "b")]),
        ]))
    };
    let new = FakeStore::of(&[r#"a="0""#]);
    let world = World::new(vec![old, new]).await;
    let options = SelectOptions {
        without_replica_labels: vec!["r".to_owned()],
        ..world.options()
    };
    let lines = world.lines(everything(), options).await;
    assert_eq!(lines, [r#"{a="0"}"#, r#"{a="1"} 1-2a 3-4b"#, r#"{a="1", b="0"}"#]);
    assert_eq!(world.stores[1].1.seen.lock()[0].0.without_replica_labels, ["r"]);
}

#[tokio::test]
async fn series_of_other_shards_are_left_out_for_those_who_cannot() {
    let names: Vec<String> = (0..20).map(|n| format!(r#"a="{n:02}""#)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut info = modern();
    info.store.as_mut().unwrap().supports_sharding = false;
    let store = FakeStore {
        info: Some(info),
        ..FakeStore::of(&names)
    };
    let world = World::new(vec![store]).await;
    let mut all = Vec::new();
    for shard_index in 0..3 {
        let shard = ShardInfo {
            shard_index,
            total_shards: 3,
            ..ShardInfo::default()
        };
        let request = SelectRequest {
            shard: Some(shard),
            ..everything()
        };
        let lines = world.lines(request, world.options()).await;
        assert!(lines.len() < 20);
        all.extend(lines);
    }
    all.sort();
    assert_eq!(all.len(), 20);
}

#[tokio::test]
async fn what_stores_do_wrong_costs_their_share_only() {
    let good = || FakeStore::of(&[r#"a="1""#, r#"a="5""#]);
    let first = Step::Series(series(r#"a="2""#, &[]));
    let torn = framed_series(series(r#"a="3""#, &[])).slice(..9);
    let cases = [
        (
            Step::Fail(Status::aborted("stop")),
            "rpc error: code = Aborted desc = stop",
        ),
        (
            Step::Raw(framed(b"\x0a\xff\xff\xff\xff\xff")),
            "an answer that is no message",
        ),
        (Step::Raw(torn), "the answer ends within a message"),
        (
            Step::Raw(bytes::Bytes::from_static(&[1, 0, 0, 0, 1, 0])),
            "compressed",
        ),
        (
            Step::Raw(bytes::Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff])),
            "too long",
        ),
        (
            Step::Raw(bytes::Bytes::from_static(&[0, 0x40, 0, 0, 0, 1])),
            "--sabre.memory-budget",
        ),
        (
            Step::Raw(framed(b"\x0a\x08\x0a\x06\x0a\x01\xff\x12\x01b")),
            "not UTF-8",
        ),
    ];
    for (step, expected) in cases {
        let bad = FakeStore::new(vec![first.clone(), step]);
        let world = World::new(vec![good(), bad]).await;
        let lines = world.all().await;
        let series: Vec<_> = lines.iter().filter(|line| line.starts_with('{')).collect();
        assert_eq!(series, [r#"{a="1"}"#, r#"{a="2"}"#, r#"{a="5"}"#], "{lines:?}");
        let warnings: Vec<_> = lines.iter().filter(|line| line.starts_with("warning")).collect();
        assert_eq!(warnings.len(), 1, "{lines:?}");
        assert!(
            warnings[0].contains("receive series from s1: ") && warnings[0].contains(expected),
            "{lines:?}"
        );

        let strict = SelectOptions {
            partial_response: false,
            ..world.options()
        };
        let lines = world.lines(everything(), strict).await;
        assert!(
            lines.last().unwrap().starts_with("error: receive series from s1"),
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_a_warning() {
    let mut world = World::new(vec![FakeStore::of(&[r#"a="1""#]), FakeStore::of(&[r#"a="2""#])]).await;
    drop(world.stores.remove(1));
    let lines = world.all().await;
    assert!(
        lines[0].starts_with("warning: receive series from s1: rpc error: code = "),
        "{lines:?}"
    );
    assert_eq!(lines[1..], [r#"{a="1"}"#]);
}

#[tokio::test]
async fn a_store_that_says_nothing_is_left_after_the_time_of_a_frame() {
    let options = FanoutOptions {
        // Long enough for those who do answer, however busy the machine is.
        response_timeout: Some(Duration::from_secs(3)),
        ..FanoutOptions::default()
    };
    let hangs = FakeStore::new(vec![Step::Series(series(r#"a="1""#, &[])), Step::Hang]);
    let world = World::with(vec![hangs, FakeStore::of(&[r#"a="2""#])], options).await;
    let lines = world.all().await;
    assert!(lines.contains(&r#"{a="1"}"#.to_owned()) && lines.contains(&r#"{a="2"}"#.to_owned()));
    let warning = lines.iter().find(|line| line.starts_with("warning")).unwrap();
    assert!(
        warning.contains("s0") && warning.contains("--store.response-timeout"),
        "{warning}"
    );
    world.stores[0].1.cancelled.notified().await;
}

#[tokio::test]
async fn the_time_of_a_query_ends_it() {
    let world = World::new(vec![FakeStore::new(vec![Step::Hang])]).await;
    let options = SelectOptions {
        deadline: Some(std::time::Instant::now() + Duration::from_secs(2)),
        ..world.options()
    };
    let failure = world.fanout.select(everything(), options).await.err().unwrap();
    assert!(matches!(failure, SourceFailure::Timeout(_)), "{failure:?}");
    world.stores[0].1.cancelled.notified().await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_all_calls() {
    let endless = FakeStore::new(vec![Step::Endless(series(r#"a="1""#, &[(1, 2, "x")]), true)]);
    let world = World::new(vec![endless]).await;
    let options = world.options();
    let budget = options.budget.clone();
    let mut items = world.fanout.select(everything(), options).await.unwrap();
    for _ in 0..1000 {
        assert!(matches!(items.next().await, Some(Ok(SeriesItem::Series(..)))));
    }
    assert!(
        budget.usage().used_bytes < 3 << 20,
        "nothing is read ahead but a window"
    );
    drop(items);
    world.stores[0].1.cancelled.notified().await;
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn a_store_that_repeats_a_series_without_end_is_stopped_by_the_budget() {
    let repeated = series(r#"a="1""#, &[(1, 2, "x")]);
    let endless = FakeStore::new(vec![Step::Endless(repeated, false)]);
    let world = World::new(vec![endless, FakeStore::of(&[r#"a="2""#])]).await;
    let options = SelectOptions {
        budget: Budget::new(4 << 20, "--sabre.memory-budget"),
        ..world.options()
    };
    let lines = world.lines(everything(), options).await;
    let last: Vec<_> = lines.iter().map(|line| &line[..line.len().min(90)]).collect();
    assert_eq!(lines.len(), 3, "{last:?}");
    assert!(lines[1].contains("s0: repeats one series"), "{last:?}");
    assert_eq!(lines[2], r#"{a="2"}"#);
}

#[tokio::test]
async fn more_warnings_than_are_told_are_counted() {
    let steps = (0..300).map(|n| Step::Warning(format!("w{n}"))).collect();
    let world = World::new(vec![FakeStore::new(steps), FakeStore::of(&[r#"a="2""#])]).await;
    let lines = world.all().await;
    assert_eq!(lines.len(), 102);
    assert_eq!(lines[0], "warning: s0: w0");
    assert_eq!(lines[100], "warning: s0: 200 more warnings");
    assert_eq!(lines[101], r#"{a="2"}"#);
}

#[tokio::test]
async fn what_must_be_sorted_must_fit_into_the_budget() {
    let mut info = modern();
    info.store.as_mut().unwrap().supports_without_replica_labels = false;
    let endless = FakeStore {
        info: Some(info),
        ..FakeStore::new(vec![Step::Endless(series(r#"a="1""#, &[(1, 2, "x")]), true)])
    };
    let world = World::new(vec![endless, FakeStore::of(&[r#"a="2""#])]).await;
    let options = SelectOptions {
        budget: Budget::new(4 << 20, "--sabre.memory-budget"),
        ..world.options()
    };
    let lines = world.lines(everything(), options).await;
    assert!(
        lines[0].contains("s0") && lines[0].contains("--sabre.memory-budget"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], [r#"{a="2"}"#]);
}

#[tokio::test]
async fn only_those_are_asked_who_may_have_something() {
    let with = |set: &str, mint| {
        let mut info = modern();
        info.label_sets = vec![sabre_proto::convert::label_set(&labels(set))];
        info.store.as_mut().unwrap().min_time = mint;
        FakeStore {
            info: Some(info),
            ..FakeStore::of(&[set])
        }
    };
    let world = World::new(vec![
        with(r#"c="1""#, 0),
        with(r#"c="2""#, 0),
        with(r#"c="3""#, 2000),
    ])
    .await;
    let mut request = everything();
    request.matchers.extend(parse_selector(r#"{c!="1"}"#).unwrap());
    assert_eq!(world.lines(request, world.options()).await, [r#"{c="2"}"#]);
    let picked = SelectOptions {
        store_matchers: vec![parse_selector(r#"{__address__="s0"}"#).unwrap()],
        metadata: vec![("thanos-tenant".to_owned(), "team".to_owned())],
        ..world.options()
    };
    assert_eq!(world.lines(everything(), picked).await, [r#"{c="1"}"#]);
    let seen = world.stores[0].1.seen.lock()[0].clone();
    assert_eq!(seen.1.as_deref(), Some("team"));
    assert_eq!(seen.0.response_batch_size, 64);
    assert!(world.stores[2].1.seen.lock().is_empty());
}

/// Which sample of replicas counts where they differ must not hang on who answers first, nor on addresses.
#[tokio::test]
async fn chunks_of_equal_times_come_in_the_order_of_the_labels_of_their_stores() {
    let store = |replica: &str| {
        let mut info = modern();
        let set = labels(&format!(r#"replica="{replica}""#));
        info.label_sets = vec![sabre_proto::convert::label_set(&set)];
        FakeStore {
            info: Some(info),
            ..FakeStore::new(sent(&[series(r#"a="1""#, &[(5, 9, replica)])]))
        }
    };
    for order in [["x", "y", "z"], ["z", "y", "x"], ["y", "z", "x"]] {
        let world = World::new(order.map(store).into()).await;
        for _ in 0..5 {
            assert_eq!(world.all().await, [r#"{a="1"} 5-9x 5-9y 5-9z"#], "{order:?}");
        }
    }
}

#[tokio::test]
async fn a_limit_ends_the_merged_stream() {
    let world = World::new(vec![
        FakeStore::of(&[r#"a="1""#, r#"a="3""#]),
        FakeStore::of(&[r#"a="2""#]),
    ])
    .await;
    let request = SelectRequest {
        limit: 2,
        ..everything()
    };
    assert_eq!(
        world.lines(request, world.options()).await,
        [r#"{a="1"}"#, r#"{a="2"}"#]
    );
    assert_eq!(world.stores[0].1.seen.lock()[0].0.limit, 2);
}

#[tokio::test]
async fn nobody_to_ask_is_an_error_only_for_those_who_want_all() {
    let world = World::new(vec![]).await;
    assert_eq!(world.all().await, Vec::<String>::new());
    let strict = SelectOptions {
        partial_response: false,
        ..world.options()
    };
    assert!(world.lines(everything(), strict).await[0].contains("no StoreAPIs are known"));
}

#[tokio::test]
async fn own_labels_of_the_querier_are_matched_here() {
    let options = FanoutOptions {
        own_labels: labels(r#"q="eu""#),
        ..FanoutOptions::default()
    };
    let world = World::with(vec![FakeStore::of(&[r#"a="1""#])], options).await;
    let request = |text: &str| SelectRequest {
        matchers: parse_selector(text).unwrap(),
        ..everything()
    };
    assert!(
        world
            .lines(request(r#"{a="1",q="us"}"#), world.options())
            .await
            .is_empty()
    );
    assert_eq!(
        world
            .lines(request(r#"{a="1",q="eu"}"#), world.options())
            .await
            .len(),
        1
    );
    assert_eq!(world.stores[0].1.seen.lock()[0].0.matchers.len(), 1);
    assert!(world.lines(request(r#"{q="eu"}"#), world.options()).await[0].contains("no matcher is left"));
}

#[tokio::test]
async fn names_and_values_of_all_are_one_list() {
    let with = |texts: &[&str], steps| FakeStore {
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
        ..FakeStore::new(steps)
    };
    let failing = with(&[], vec![Step::Fail(Status::internal("x"))]);
    let world = World::new(vec![
        with(&["b", "a", "r"], vec![]),
        with(&["c", "b"], vec![]),
        failing,
    ])
    .await;
    let mut options = world.options();
    options.without_replica_labels = vec!["r".to_owned()];
    let (names, warnings) = world
        .fanout
        .label_names(everything(), options.clone())
        .await
        .unwrap();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        warnings,
        ["fetch labels from s2: rpc error: code = Internal desc = x"]
    );
    let (values, _) = world
        .fanout
        .label_values("x", everything(), options.clone())
        .await
        .unwrap();
    assert_eq!(values, ["a", "b", "c", "r"]);
    let (values, _) = world
        .fanout
        .label_values("r", everything(), options.clone())
        .await
        .unwrap();
    assert!(values.is_empty());
    assert_eq!(options.budget.usage().used_bytes, 0);
    options.partial_response = false;
    assert!(world.fanout.label_names(everything(), options).await.is_err());
}

#[tokio::test]
async fn no_memory_for_anybody_is_an_error_that_names_the_flag() {
    let world = World::new(vec![FakeStore::of(&[r#"a="1""#])]).await;
    let options = SelectOptions {
        budget: Budget::new(1 << 20, "--sabre.memory-budget"),
        ..world.options()
    };
    let _all = options.budget.reserve(1 << 20).await.unwrap();
    let failure = world.fanout.select(everything(), options).await.err().unwrap();
    assert!(
        matches!(&failure, SourceFailure::Limit(text) if text.contains("--sabre.memory-budget")),
        "{failure:?}"
    );
}

/// Stores in Go send the status in front when there is nothing to send.
#[tokio::test]
async fn an_answer_that_is_only_a_status_is_an_empty_one() {
    let status = |code: &'static str| {
        let routes = axum::Router::new().fallback(move || async move {
            let headers = [("content-type", "application/grpc"), ("grpc-status", code)];
            (headers, "")
        });
        tonic::service::Routes::from(routes)
    };
    for (code, expected) in [
        ("0", vec![]),
        (
            "2",
            vec!["warning: receive series from s0: rpc error: code = Unknown desc = "],
        ),
    ] {
        let served = sabre_testkit::grpc::serve(status(code)).await.unwrap();
        let mut world = World::new(vec![FakeStore::of(&[])]).await;
        let endpoint = Endpoint::new("s0", EndpointKind::default(), vec![served.channel.clone()]);
        endpoint.note(Ok(PeerInfo::from_info(modern()).unwrap()), 0, Instant::now());
        let pool = Pool::new();
        pool.replace(vec![Arc::new(endpoint)]);
        world.fanout = Fanout::new(pool, FanoutOptions::default(), &world.registry);
        assert_eq!(world.all().await, expected);
    }
}

#[tokio::test]
async fn who_answered_not_long_ago_and_does_not_now_is_missed() {
    let world = World::new(vec![FakeStore::of(&[r#"a="1""#]), FakeStore::of(&[r#"a="2""#])]).await;
    let gone = Arc::clone(&world.fanout.pool.endpoints()[1]);
    gone.note(
        Err("rpc error: code = Unavailable desc = gone".to_owned()),
        1,
        Instant::now(),
    );
    let missing = "receive series from s1: rpc error: code = Unavailable desc = gone";
    assert_eq!(
        world.all().await,
        [format!("warning: {missing}"), r#"{a="1"}"#.to_owned()]
    );
    let (_, warnings) = world
        .fanout
        .label_names(everything(), world.options())
        .await
        .unwrap();
    assert!(warnings[0].starts_with("fetch labels from s1: "), "{warnings:?}");
    let strict = SelectOptions {
        partial_response: false,
        ..world.options()
    };
    assert_eq!(
        world.lines(everything(), strict).await,
        [format!("error: {missing}")]
    );
    // Who cannot have anything is not missed.
    let early = SelectRequest {
        maxt: -1,
        mint: -5,
        ..everything()
    };
    assert!(world.lines(early, world.options()).await.is_empty());
}
