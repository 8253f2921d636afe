//! Expressions in matchers that do not parse, or would take all memory or time.

use sabre_model::MatchKind::Re;
use sabre_proto::thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest, store_client::StoreClient};
use sabre_testkit::series::series;
use tonic::{Code, Status, transport::Channel};

use super::{
    sidecar::Sidecar,
    support::{Store, assert_says, everything, matcher, two_blocks},
};

struct Row {
    what: &'static str,
    pattern: fn() -> String,
    says: &'static [&'static str],
}

/// Each is refused, with the place in the expression where there is one.
const REFUSED: &[Row] = &[
    Row {
        what: "a group without an end",
        pattern: || "a(b".to_owned(),
        says: &["pod", "missing closing )"],
    },
    Row {
        what: "a repetition of nothing",
        pattern: || "*a".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "a repetition of a repetition",
        pattern: || "a**".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "a range that runs backwards",
        pattern: || "[z-a]".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "a class that does not exist",
        pattern: || r"\p{Nothing}".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "a repetition beyond a thousand",
        pattern: || "x{1001}".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "a million by three repetitions",
        pattern: || "((a{100}){100}){100}".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "tables of Unicode by the hundred",
        pattern: || r"(\pL\pN\pS){900}".to_owned(),
        says: &["pod"],
    },
    Row {
        what: "ten thousand groups in each other",
        pattern: || format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000)),
        says: &["pod"],
    },
    Row {
        what: "a megabyte of it",
        pattern: || "a+|".repeat(300_000),
        says: &["pod"],
    },
];

/// Each ruins engines that try one way after the other; here they take as long as the text is.
const ANSWERED: &[&str] = &[
    "(a|aa)*b",
    "(x+x+)+y",
    "(.*)*(.*)*(.*)*z",
    "(pod|pod-|pod-0){1,300}!",
];

fn requests(pattern: &str) -> (SeriesRequest, LabelNamesRequest, LabelValuesRequest) {
    let matchers = vec![matcher(Re, "pod", pattern)];
    (
        SeriesRequest {
            matchers: matchers.clone(),
            ..everything()
        },
        LabelNamesRequest {
            matchers: matchers.clone(),
            end: i64::MAX,
            ..LabelNamesRequest::default()
        },
        LabelValuesRequest {
            label: "pod".to_owned(),
            matchers,
            end: i64::MAX,
            ..LabelValuesRequest::default()
        },
    )
}

/// The outcome of every call that takes matchers: how much each answered.
async fn ask(client: &mut StoreClient<Channel>, pattern: &str) -> [Result<usize, Status>; 3] {
    let (of_series, of_names, of_values) = requests(pattern);
    [
        series(client, of_series).await.map(|answer| answer.series.len()),
        client
            .label_names(of_names)
            .await
            .map(|answer| answer.into_inner().names.len()),
        client
            .label_values(of_values)
            .await
            .map(|answer| answer.into_inner().values.len()),
    ]
}

async fn check(client: &mut StoreClient<Channel>) {
    for row in REFUSED {
        for outcome in ask(client, &(row.pattern)()).await {
            let status = outcome.expect_err(row.what);
            assert_eq!(status.code(), Code::InvalidArgument, "{}: {status}", row.what);
            assert_says(row.what, &status, row.says);
            assert!(
                status.message().len() < 1000,
                "{}: the expression is not repeated whole",
                row.what
            );
        }
    }
    for pattern in ANSWERED {
        for outcome in ask(client, pattern).await {
            assert_eq!(outcome.unwrap(), 0, "{pattern} matches nothing");
        }
    }
}

#[tokio::test]
async fn a_store_refuses_or_answers_and_holds_nothing_afterwards() {
    let (memory, _, _) = two_blocks().await;
    let store = Store::start(&memory).await;
    let idle_bytes = store.held_bytes();
    check(&mut store.client()).await;
    store.memory_is_back(idle_bytes).await;
    assert_eq!(store.series(everything()).await.unwrap().series.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_does_the_same() {
    let sidecar = Sidecar::start(&[]).await;
    sidecar
        .prometheus
        .floats(&[("__name__", "up"), ("pod", "pod-1")], [(1000, 1.0)]);
    check(&mut sidecar.client()).await;
    sidecar.memory_is_back().await;
    assert_eq!(
        series(&mut sidecar.client(), everything())
            .await
            .unwrap()
            .series
            .len(),
        1
    );
}
