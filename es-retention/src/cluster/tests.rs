//! Answers in the words of each engine's documentation. Elasticsearch 6 and 8 and OpenSearch 1 and 2 are proved by these alone;
//! Elasticsearch 7.10 and OpenSearch 3 by real servers too.

use std::sync::Arc;

use jiff::civil::date;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    engine::{Engine, Flavor},
    record::Contents,
    snapshots::Phase,
    templates::SetByTemplate,
    *,
};
use crate::testing::script::Script;

/// An engine with its main page, a snapshot as it describes one, and statistics of an index of two shards.
struct Words {
    engine: Engine,
    main: &'static str,
    snapshot: &'static str,
    index: &'static str,
    stats: &'static str,
}

const fn engine(flavor: Flavor, major: u32, minor: u32, patch: u32) -> Engine {
    Engine {
        flavor,
        major,
        minor,
        patch,
    }
}

const ELASTICSEARCH_6: Words = Words {
    engine: engine(Flavor::Elasticsearch, 6, 8, 23),
    main: r#"{"name":"n1","cluster_name":"logs","cluster_uuid":"Kx","version":{"number":"6.8.23","build_flavor":"default","build_type":"docker","build_hash":"4f67856","build_date":"2022-01-06T21:30:50.087716Z","build_snapshot":false,"lucene_version":"7.7.3","minimum_wire_compatibility_version":"5.6.0","minimum_index_compatibility_version":"5.0.0"},"tagline":"You Know, for Search"}"#,
    snapshot: r#"{"snapshots":[{"snapshot":"sn_a","uuid":"dKb54xw67gvdRctLCxSket","version_id":6082399,"version":"6.8.23","indices":["a"],"include_global_state":false,"state":"SUCCESS","start_time":"2026-01-08T05:00:01.000Z","start_time_in_millis":1767848401000,"end_time":"2026-01-08T05:00:05.000Z","end_time_in_millis":1767848405000,"duration_in_millis":4000,"failures":[],"shards":{"total":2,"failed":0,"successful":2}}]}"#,
    index: r#"{"a":{"aliases":{},"settings":{"index":{"creation_date":"1767225600000","number_of_shards":"2","uuid":"u1"}}}}"#,
    stats: r#"{"_shards":{"total":4,"successful":2,"failed":0},"indices":{"a":{"shards":{"0":[{"routing":{"primary":true},"docs":{"count":3},"seq_no":{"max_seq_no":2}}],"1":[{"routing":{"primary":true},"docs":{"count":4},"seq_no":{"max_seq_no":9}}]}}}}"#,
};

const ELASTICSEARCH_8: Words = Words {
    engine: engine(Flavor::Elasticsearch, 8, 15, 1),
    main: r#"{"name":"n1","cluster_name":"logs","cluster_uuid":"Kx","version":{"number":"8.15.1","build_flavor":"default","build_type":"docker","build_hash":"253e859","build_date":"2024-09-02T22:04:47.310170297Z","build_snapshot":false,"lucene_version":"9.11.1","minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}"#,
    snapshot: r#"{"snapshots":[{"snapshot":"sn_a","uuid":"dKb54xw67gvdRctLCxSket","repository":"repo","version_id":8512000,"version":"8512000","indices":["a"],"data_streams":[],"include_global_state":false,"metadata":{"sabre":{"day":"2026-01-08","index":"a","uuid":"u1","docs":7,"seq":"2,9"}},"state":"SUCCESS","start_time":"2026-01-08T05:00:01.000Z","start_time_in_millis":1767848401000,"end_time":"2026-01-08T05:00:05.000Z","end_time_in_millis":1767848405000,"duration_in_millis":4000,"failures":[],"shards":{"total":2,"failed":0,"successful":2},"feature_states":[]}],"total":1,"remaining":0}"#,
    index: r#"{"a":{"aliases":{"logs":{"is_write_index":false}},"data_stream":"s","settings":{"index":{"creation_date":"1767225600000","number_of_shards":"2","uuid":"u1","blocks":{"write":"true"}}}}}"#,
    stats: r#"{"_shards":{"total":4,"successful":4,"failed":0},"indices":{"a":{"uuid":"u1","shards":{"0":[{"routing":{"primary":false},"docs":{"count":2},"seq_no":{"max_seq_no":1}},{"routing":{"primary":true},"docs":{"count":3},"seq_no":{"max_seq_no":2}}],"1":[{"routing":{"primary":true},"docs":{"count":4},"seq_no":{"max_seq_no":9}}]}}}}"#,
};

const OPENSEARCH_1: Words = Words {
    engine: engine(Flavor::OpenSearch, 1, 3, 20),
    main: r#"{"name":"n1","cluster_name":"1234:logs","cluster_uuid":"Kx","version":{"distribution":"opensearch","number":"1.3.20","build_type":"tar","build_hash":"unknown","build_date":"2024-12-07T08:53:43.118Z","build_snapshot":false,"lucene_version":"8.10.1","minimum_wire_compatibility_version":"6.8.0","minimum_index_compatibility_version":"6.0.0-beta1"},"tagline":"The OpenSearch Project: https://opensearch.org/"}"#,
    snapshot: r#"{"snapshots":[{"snapshot":"sn_a","uuid":"dKb54xw67gvdRctLCxSket","version_id":135247827,"version":"1.3.20","indices":["a"],"data_streams":[],"include_global_state":false,"metadata":{"sabre":{"day":"2026-01-08","index":"a","uuid":"u1","docs":7,"seq":"2,9"}},"state":"SUCCESS","start_time":"2026-01-08T05:00:01.000Z","start_time_in_millis":1767848401000,"end_time":"2026-01-08T05:00:05.000Z","end_time_in_millis":1767848405000,"duration_in_millis":4000,"failures":[],"shards":{"total":2,"failed":0,"successful":2}}]}"#,
    index: ELASTICSEARCH_8.index,
    stats: ELASTICSEARCH_8.stats,
};

const OPENSEARCH_2: Words = Words {
    engine: engine(Flavor::OpenSearch, 2, 19, 1),
    main: r#"{"name":"n1","cluster_name":"logs","cluster_uuid":"Kx","version":{"distribution":"opensearch","number":"2.19.1","build_type":"docker","build_hash":"2e4741f","build_date":"2025-02-27T01:16:43.178Z","build_snapshot":false,"lucene_version":"9.12.1","minimum_wire_compatibility_version":"7.10.0","minimum_index_compatibility_version":"7.0.0"},"tagline":"The OpenSearch Project: https://opensearch.org/"}"#,
    snapshot: r#"{"snapshots":[{"snapshot":"sn_a","uuid":"dKb54xw67gvdRctLCxSket","version_id":136408227,"version":"2.19.1","remote_store_index_shallow_copy":false,"indices":["a"],"data_streams":[],"include_global_state":false,"metadata":{"sabre":{"day":"2026-01-08","index":"a","uuid":"u1","docs":7,"seq":"2,9"}},"state":"SUCCESS","start_time":"2026-01-08T05:00:01.000Z","start_time_in_millis":1767848401000,"end_time":"2026-01-08T05:00:05.000Z","end_time_in_millis":1767848405000,"duration_in_millis":4000,"failures":[],"shards":{"total":2,"failed":0,"successful":2}}]}"#,
    index: ELASTICSEARCH_8.index,
    stats: ELASTICSEARCH_8.stats,
};

const ALL: [&Words; 4] = [&ELASTICSEARCH_6, &ELASTICSEARCH_8, &OPENSEARCH_1, &OPENSEARCH_2];

async fn client(script: Script) -> (Client, Arc<Script>) {
    let script = Arc::new(script);
    let transport: Arc<dyn transport::Transport> = Arc::clone(&script) as _;
    let client = Client::connect(transport, Patience::default(), CancellationToken::new()).await;
    (client.unwrap(), script)
}

#[tokio::test]
async fn every_engine_is_known_and_its_words_are_read() {
    for words in ALL {
        let script = Script::default()
            .answer("GET /", 200, words.main)
            .answer("GET /a?", 200, words.index)
            .answer("GET /a/_stats/docs?level=shards", 200, words.stats)
            .answer("GET /_data_stream/s", 200, r#"{"data_streams":[{"name":"s","timestamp_field":{"name":"@timestamp"},"indices":[{"index_name":"a","index_uuid":"u1"},{"index_name":"b","index_uuid":"u2"}],"generation":2,"status":"GREEN"}]}"#)
            .answer("GET /_snapshot/repo/sn_a", 200, words.snapshot)
            .answer("GET /sabre-es-retention/doc/", 200, r#"{"_index":"sabre-es-retention","_type":"doc","_id":"dKb54xw67gvdRctLCxSket","_version":1,"_seq_no":0,"_primary_term":1,"found":true,"_source":{"day":"2026-01-08","index":"a","uuid":"u1","docs":7,"seq":"2,9"}}"#);
        let (client, _) = client(script).await;
        assert_eq!(client.engine, words.engine);
        let contents = client.contents("a").await.unwrap().unwrap();
        assert_eq!(
            contents,
            Contents::new("u1".to_owned(), 7, &[(0, 2), (1, 9)].into())
        );
        let mut snapshots = client.snapshots("repo", &["sn_a".to_owned()]).await.unwrap();
        client.add_records(&mut snapshots).await.unwrap();
        let [snapshot] = &snapshots[..] else {
            panic!("{snapshots:?}");
        };
        assert!(snapshot.holds_all_of("a") && snapshot.holds_only("a"));
        assert_eq!(
            (snapshot.start_ms, snapshot.end_ms),
            (1_767_848_401_000, 1_767_848_405_000)
        );
        let record = snapshot.record.as_ref().unwrap();
        assert_eq!(
            (record.day, &record.contents),
            (date(2026, 1, 8), &contents),
            "{}",
            client.engine
        );
        let index = client.index("a").await.unwrap().unwrap();
        assert_eq!((index.uuid.as_str(), index.created_ms), ("u1", 1_767_225_600_000));
        assert_eq!(
            index.write_index_of, None,
            "the last index of the stream is another one"
        );
    }
}

#[tokio::test]
async fn what_engines_can_do_follows_from_their_versions() {
    for (words, metadata, idle) in [
        (&ELASTICSEARCH_6, false, true),
        (&ELASTICSEARCH_8, true, false),
        (&OPENSEARCH_1, true, false),
        (&OPENSEARCH_2, true, false),
    ] {
        assert_eq!(words.engine.keeps_metadata(), metadata, "{}", words.engine);
        assert_eq!(words.engine.deletes_only_when_idle(), idle, "{}", words.engine);
    }
    let at = |minor| engine(Flavor::Elasticsearch, 7, minor, 0);
    assert!(!at(2).keeps_metadata() && at(3).keeps_metadata());
    assert!(at(10).deletes_only_when_idle() && !at(11).deletes_only_when_idle());
    for (page, problem) in [
        (r#"{"version":{"number":"5.6.16"}}"#, "too old"),
        (
            r#"{"version":{"number":"1.0.0","distribution":"other"}}"#,
            "not known",
        ),
        (r#"{"version":{"number":"x"}}"#, "cannot be read"),
        ("{}", "missing field"),
        ("<html>", "expected value"),
    ] {
        let script: Arc<dyn transport::Transport> = Arc::new(Script::default().answer("GET /", 200, page));
        let error = Client::connect(script, Patience::default(), CancellationToken::new()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn amazons_compatibility_mode_is_taken_at_its_word() {
    let page = r#"{"version":{"distribution":"opensearch","number":"7.10.2"}}"#;
    let (client, _) = client(Script::default().answer("GET /", 200, page)).await;
    assert_eq!(client.engine.flavor, Flavor::OpenSearch);
    assert!(client.engine.keeps_metadata() && !client.engine.deletes_only_when_idle());
}

#[tokio::test]
async fn states_of_snapshots_and_their_failures_are_read() {
    let page = |state: &str, shards: serde_json::Value, failures: serde_json::Value| {
        json!({"snapshots": [{"snapshot": "sn_a", "state": state, "indices": ["a"], "shards": shards, "failures": failures}]}).to_string()
    };
    let fine = json!({"total": 2, "failed": 0, "successful": 2});
    for (body, phase, failed) in [
        (page("SUCCESS", fine.clone(), json!([])), Phase::Success, 0),
        (
            page(
                "SUCCESS",
                json!({"total": 2, "failed": 0, "successful": 1}),
                json!([]),
            ),
            Phase::Success,
            1,
        ),
        (
            page(
                "SUCCESS",
                fine.clone(),
                json!([{"index": "a", "shard_id": 1, "reason": "x"}]),
            ),
            Phase::Success,
            1,
        ),
        (
            page(
                "PARTIAL",
                json!({"total": 2, "failed": 1, "successful": 1}),
                json!([]),
            ),
            Phase::Partial,
            1,
        ),
        (
            page(
                "FAILED",
                json!({"total": 2, "failed": 2, "successful": 0}),
                json!([]),
            ),
            Phase::Failed,
            2,
        ),
        (
            page(
                "IN_PROGRESS",
                json!({"total": 2, "failed": 0, "successful": 0}),
                json!([]),
            ),
            Phase::InProgress,
            0,
        ),
        (
            page("INCOMPATIBLE", fine, json!([])),
            Phase::Unknown("its state is \"INCOMPATIBLE\"".to_owned()),
            0,
        ),
    ] {
        let script = Script::default()
            .answer("GET /", 200, ELASTICSEARCH_8.main)
            .answer("GET /_snapshot/repo/sn_a", 200, body);
        let (client, _) = client(script).await;
        let snapshot = client.snapshot("repo", "sn_a").await.unwrap().unwrap();
        assert_eq!((&snapshot.phase, snapshot.failed_shards), (&phase, failed));
        assert_eq!(snapshot.holds_all_of("a"), phase == Phase::Success && failed == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_snapshot_is_none_and_a_missing_repository_is_an_error() {
    let error = |kind: &str| {
        json!({"error": {"root_cause": [], "type": kind, "reason": "[repo] missing"}, "status": 404})
            .to_string()
    };
    for (status, body, wanted) in [
        (404, error("snapshot_missing_exception"), Some("None")),
        (404, error("repository_missing_exception"), None),
        (500, error("repository_exception"), None),
        (404, "<html>not found</html>".to_owned(), None),
        (403, error("security_exception"), None),
        (504, r#"{"message":"504 GATEWAY_TIMEOUT"}"#.to_owned(), None),
        (500, error("snapshot_exception"), Some("Unknown")),
    ] {
        let script = Script::default()
            .answer("GET /", 200, ELASTICSEARCH_8.main)
            .answer("GET /_snapshot/repo/sn_a", status, body.clone());
        let (client, _) = client(script).await;
        let found = client.snapshot("repo", "sn_a").await;
        match wanted {
            None => assert!(found.is_err(), "{status} {body}: {found:?}"),
            Some(wanted) => assert!(
                format!("{:?}", found.unwrap()).contains(wanted),
                "{status} {body}"
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_is_missing_only_when_the_engine_says_so() {
    for (status, body, is_none) in [
        (
            404,
            r#"{"error":{"type":"index_not_found_exception","reason":"no such index [a]","index":"a"},"status":404}"#,
            true,
        ),
        (404, "<html>not found</html>", false),
        (404, r#"{"message":"no route"}"#, false),
        (503, "", false),
    ] {
        let script = Script::default()
            .answer("GET /", 200, ELASTICSEARCH_8.main)
            .answer("GET /a?", status, body);
        let (client, _) = client(script).await;
        let found = client.index("a").await;
        assert_eq!(matches!(found, Ok(None)), is_none, "{status} {body}: {found:?}");
    }
}

#[tokio::test]
async fn contents_are_not_told_when_a_primary_is_missing() {
    let index = ELASTICSEARCH_8.index;
    for (stats, problem) in [
        (
            r#"{"_shards":{"failed":1},"indices":{}}"#,
            "1 shards did not answer",
        ),
        (r#"{"_shards":{"failed":0},"indices":{}}"#, "no shard answered"),
        (
            r#"{"_shards":{"failed":0},"indices":{"a":{"shards":{"0":[{"routing":{"primary":true},"docs":{"count":3},"seq_no":{"max_seq_no":2}}]}}}}"#,
            "1 of its 2 primary shards",
        ),
        (
            r#"{"_shards":{"failed":0},"indices":{"a":{"shards":{"0":[{"routing":{"primary":false},"docs":{"count":3}}]}}}}"#,
            "primary of shard 0",
        ),
        (
            r#"{"_shards":{"failed":0},"indices":{"a":{"shards":{"0":[{"routing":{"primary":true},"docs":{"count":3}}]}}}}"#,
            "no sequence numbers",
        ),
        (
            r#"{"_shards":{"failed":0},"indices":{"a":{"uuid":"other","shards":{}}}}"#,
            "made again",
        ),
    ] {
        let script = Script::default()
            .answer("GET /", 200, ELASTICSEARCH_8.main)
            .answer("GET /a?", 200, index)
            .answer("GET /a/_stats/docs", 200, stats);
        let (client, _) = client(script).await;
        let told = client.contents("a").await.unwrap().unwrap_err();
        assert!(told.contains(problem), "{told}");
    }
}

#[tokio::test]
async fn templates_of_both_kinds_are_asked() {
    let legacy = r#"{"t1":{"index_patterns":["log*"],"settings":{"index":{"number_of_shards":"3"}}},"t2":{"index_patterns":["x*"],"settings":{"index":{"number_of_replicas":"0"}}}}"#;
    let simulate = "POST /_index_template/_simulate_index/logging-1";
    for (main, answer, wanted) in [
        (ELASTICSEARCH_6.main, None, (true, false)),
        (ELASTICSEARCH_8.main, Some((200, "{}")), (true, false)),
        (
            OPENSEARCH_1.main,
            Some((
                200,
                r#"{"template":{"settings":{"index":{"number_of_replicas":"0"}},"mappings":{},"aliases":{}},"overlapping":[]}"#,
            )),
            (false, true),
        ),
        (
            OPENSEARCH_2.main,
            Some((405, r#"{"error":"Incorrect HTTP method for uri"}"#)),
            (true, false),
        ),
    ] {
        let mut script = Script::default()
            .answer("GET /", 200, main)
            .answer("GET /_template", 200, legacy);
        if let Some((status, body)) = answer {
            script = script.answer(simulate, status, body);
        }
        let (client, script) = client(script).await;
        let set = client.set_by_template("logging-1").await.unwrap();
        assert_eq!((set.shards, set.replicas), wanted);
        assert_eq!(script.asked().contains(&simulate.to_owned()), answer.is_some());
        assert_ne!(set, SetByTemplate::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_repository_is_an_answer_and_not_an_outage() {
    let busy = r#"{"error":{"type":"concurrent_snapshot_execution_exception","reason":"[repo:sn_a] a snapshot is already running"},"status":503}"#;
    let script = Script::default()
        .answer("GET /", 200, ELASTICSEARCH_6.main)
        .answer("GET /_snapshot/_status", 503, busy);
    let (client, script) = client(script).await;
    let error = client.running_snapshots().await.unwrap_err();
    assert!(error.is_busy() && error.is_ambiguous());
    assert_eq!(script.asked().len(), 2, "asked once");
}
