use futures::TryStreamExt;
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Error, ErrorKind, Operation};
use sabre_runtime::metrics::Registry;
use sabre_tsdb::meta::ThanosMeta;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

fn id(n: u32) -> BlockId {
    let mut entropy = [0; 10];
    entropy[..4].copy_from_slice(&n.to_be_bytes());
    BlockId::from_parts(1_767_225_600_000, entropy)
}

fn meta(n: u32) -> Arc<BlockMeta> {
    let thanos = ThanosMeta {
        labels: Some(Labels::from_pairs([("cluster", "<eu>")]).unwrap()),
        ..ThanosMeta::default()
    };
    let mut meta = BlockMeta {
        ulid: id(n),
        min_time: i64::from(n),
        thanos: Some(thanos),
        ..BlockMeta::default()
    };
    meta.compaction.sources = (0..20).map(|source| id(n + source)).collect();
    Arc::new(meta)
}

fn view(known: &[u32], loaded: &[u32]) -> View {
    View {
        known: known.iter().map(|n| meta(*n)).collect(),
        metas: loaded.iter().map(|n| meta(*n)).collect(),
        ..View::default()
    }
}

fn away() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        Operation::Iter,
        "test",
        "",
        "the bucket is away",
    )
}

fn failure(block: BlockId) -> sabre_block::BlockError {
    sabre_block::BlockError::new(block, "meta.json", away())
}

fn app(lists: &Arc<BlockLists>, budget: &Budget) -> Router {
    let options = BlocksApiOptions {
        label: "cluster".to_owned(),
        disable_cors: false,
    };
    let metrics = HttpMetrics::new(&Registry::new());
    routes(Arc::clone(lists), options, budget, &metrics)
}

async fn get_response(app: &Router, address: &str) -> Response {
    let request = axum::http::Request::get(address).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn ask(app: &Router, address: &str) -> Value {
    let response = get_response(app, address).await;
    assert_eq!(response.status(), StatusCode::OK);
    let text = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn ids(answer: &Value) -> Vec<String> {
    let blocks = answer["data"]["blocks"].as_array().unwrap();
    blocks
        .iter()
        .map(|block| block["ulid"].as_str().unwrap().to_owned())
        .collect()
}

fn names(blocks: &[u32]) -> Vec<String> {
    blocks.iter().map(|n| id(*n).to_string()).collect()
}

#[tokio::test]
async fn an_answer_has_the_bytes_of_thanos() {
    let lists = Arc::new(BlockLists::default());
    let app = app(&lists, &Budget::unlimited());
    let body = async || {
        let response = get_response(&app, "/api/v1/blocks").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let text = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    assert_eq!(
        body().await,
        r#"{"status":"success","data":{"label":"cluster","blocks":[],"refreshedAt":"0001-01-01T00:00:00Z","err":null}}"#
    );
    let mut plain = BlockMeta {
        ulid: id(1),
        max_time: 7_200_000,
        ..BlockMeta::default()
    };
    plain.compaction.sources = vec![id(1)];
    let found = View {
        known: vec![Arc::new(plain)],
        ..View::default()
    };
    lists.found(&found, 1_767_225_600_123);
    assert_eq!(
        body().await,
        format!(
            concat!(
                r#"{{"status":"success","data":{{"label":"cluster","blocks":[{{"ulid":"{id}","minTime":0,"#,
                r#""maxTime":7200000,"stats":{{}},"compaction":{{"level":0,"sources":["{id}"]}},"version":1,"#,
                r#""thanos":{{"labels":null,"downsample":{{"resolution":0}},"source":"","index_stats":{{}},"#,
                r#""upload_time":"0001-01-01T00:00:00Z"}}}}],"refreshedAt":"2026-01-01T00:00:00.123Z","err":null}}}}"#
            ),
            id = id(1)
        )
    );
}

#[tokio::test]
async fn loaded_blocks_are_those_that_passed_the_filters_and_any_other_view_has_all() {
    let lists = Arc::new(BlockLists::default());
    lists.found(&view(&[1, 2, 3], &[2]), 5);
    let app = app(&lists, &Budget::unlimited());
    assert_eq!(ids(&ask(&app, "/api/v1/blocks?view=loaded").await), names(&[2]));
    for other in ["", "?view=global", "?view=else"] {
        let answer = ask(&app, &format!("/api/v1/blocks{other}")).await;
        assert_eq!(ids(&answer), names(&[1, 2, 3]), "{other}");
        assert_eq!(answer["data"]["blocks"][0]["thanos"]["labels"]["cluster"], "<eu>");
    }
}

#[tokio::test]
async fn what_could_not_be_looked_at_stays_as_it_was_and_the_answer_says_why() {
    let lists = Arc::new(BlockLists::default());
    lists.found(&view(&[1, 2, 3], &[1, 2, 3]), 5);
    let app = app(&lists, &Budget::unlimited());
    let mut incomplete = view(&[1, 4], &[1, 4]);
    incomplete.failures.insert(id(2), failure(id(2)));
    lists.found(&incomplete, 6);
    for address in ["/api/v1/blocks?view=loaded", "/api/v1/blocks"] {
        let answer = ask(&app, address).await;
        assert_eq!(ids(&answer), names(&[1, 2, 4]), "3 is gone, 2 may be there");
        let error = answer["data"]["err"].as_str().unwrap();
        assert!(error.contains(&id(2).to_string()), "{error}");
    }
    lists.failed(&SyncError(away()), 7000);
    let answer = ask(&app, "/api/v1/blocks").await;
    assert_eq!(ids(&answer), names(&[1, 2, 4]));
    assert_eq!(answer["data"]["refreshedAt"], "1970-01-01T00:00:07Z");
    assert!(
        answer["data"]["err"]
            .as_str()
            .unwrap()
            .contains("the bucket is away")
    );
    lists.found(&view(&[1], &[1]), 8000);
    assert_eq!(ask(&app, "/api/v1/blocks").await["data"]["err"], Value::Null);
}

#[tokio::test]
async fn ten_thousand_blocks_are_answered_within_two_pieces_of_memory() {
    const BUDGET_BYTES: u64 = 128 << 10;
    let all: Vec<u32> = (0..10_000).collect();
    let lists = Arc::new(BlockLists::default());
    lists.found(&view(&all, &[]), 5);
    let budget = Budget::new(BUDGET_BYTES, "--sabre.memory-budget");
    let app = app(&lists, &budget);
    let mut body = get_response(&app, "/api/v1/blocks")
        .await
        .into_body()
        .into_data_stream();
    let mut text = Vec::new();
    while let Some(piece) = body.try_next().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(ids(&answer), names(&all));
    let usage = budget.usage();
    assert!(text.len() > 40 * usage.high_water_bytes as usize, "{usage:?}");
    assert_eq!(usage.used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn without_memory_it_is_an_error_that_names_the_flag_or_a_body_that_breaks_off() {
    let lists = Arc::new(BlockLists::default());
    lists.found(&view(&(0..200).collect::<Vec<_>>(), &[]), 5);
    let budget = Budget::new(64 << 10, "--sabre.memory-budget");
    let app = app(&lists, &budget);
    let all = budget.try_reserve(64 << 10).unwrap();
    let response = get_response(&app, "/api/v1/blocks").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("--sabre.memory-budget"),
        "{answer}"
    );
    drop(all);
    // One that reads slowly holds what it was given, and goes on once there is memory again.
    let mut body = get_response(&app, "/api/v1/blocks")
        .await
        .into_body()
        .into_data_stream();
    let first = body.try_next().await.unwrap();
    let taken = budget
        .try_reserve((64 << 10) - budget.usage().used_bytes)
        .unwrap();
    assert!(body.try_next().await.is_err());
    drop((first, taken, body));
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_unless_a_flag_forbids_it() {
    let parse = |arguments: &[&str]| {
        let mut all = vec!["--objstore.config=type: FILESYSTEM"];
        all.extend(arguments);
        let flags = sabre_runtime::flags::parse_groups(&crate::flags::command().groups, &all);
        BlocksApiOptions::from_flags(&flags.unwrap_or_else(|error| panic!("{}", error.text))).unwrap()
    };
    assert_eq!(parse(&["--web.disable"]), None);
    let options = parse(&["--web.disable-cors", "--bucket-web-label=replica"]).unwrap();
    let metrics = HttpMetrics::new(&Registry::new());
    let app = routes(Arc::default(), options, &Budget::unlimited(), &metrics);
    let response = get_response(&app, "/api/v1/blocks").await;
    assert!(
        !response
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
    assert_eq!(ask(&app, "/api/v1/blocks").await["data"]["label"], "replica");
}
