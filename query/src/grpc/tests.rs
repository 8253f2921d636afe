mod peers;
mod query_api;
mod unread;

use std::sync::Arc;

use sabre_model::Labels;
use sabre_proto::thanos::{
    InfoRequest, LabelMatcher, LabelNamesRequest, PartialResponseStrategy, SeriesRequest, SeriesResponse,
    info::{InfoRequest as ModernInfo, info_client::InfoClient},
    series_response,
    store_client::StoreClient,
};
use sabre_runtime::metrics::Registry;
use sabre_testkit::grpc::{Served, serve};
use tokio::time::Instant;
use tonic::{Code, service::Routes};

use super::*;
use crate::{
    endpoints::{Endpoint, EndpointKind, PeerInfo},
    evaluate::{Engine, EngineConfig},
    fanout::FanoutOptions,
    testing::{FakeStore, Step, labels, modern, series},
};

/// A querier before stores.
async fn querier(stores: Vec<FakeStore>, options: ServiceOptions) -> (Served, Vec<Served>) {
    let (pool, registry) = (Pool::new(), Registry::new());
    let (mut served, mut endpoints) = (Vec::new(), Vec::new());
    for (index, store) in stores.into_iter().enumerate() {
        let peer = PeerInfo::from_info(store.info.clone().unwrap()).unwrap();
        let (server, _) = store.serve().await;
        let channel = vec![server.channel.clone()];
        let endpoint = Endpoint::new(format!("s{index}"), EndpointKind::default(), channel);
        endpoint.note(Ok(peer), 0, Instant::now());
        endpoints.push(Arc::new(endpoint));
        served.push(server);
    }
    pool.replace(endpoints);
    let fanout_options = FanoutOptions {
        own_labels: labels(r#"q="eu""#),
        ..FanoutOptions::default()
    };
    let fanout = Fanout::new(pool.clone(), fanout_options, &registry);
    let engine: Arc<dyn Queries> = Arc::new(Engine::new(Arc::new(fanout.clone()), EngineConfig::default()));
    let services = Services::new(fanout, engine, pool, Budget::unlimited(), options, limits());
    let routes = Routes::new(services.store_service())
        .add_service(services.info_service())
        .add_service(services.query_service());
    (serve(routes).await.unwrap(), served)
}

fn limits() -> PeerLimits {
    PeerLimits::of(&crate::http::ApiOptions::default(), &Registry::new())
}

fn all() -> SeriesRequest {
    SeriesRequest {
        max_time: 1000,
        matchers: vec![LabelMatcher {
            r#type: 2,
            name: "a".to_owned(),
            value: ".*".to_owned(),
        }],
        ..SeriesRequest::default()
    }
}

async fn ask(served: &Served, request: SeriesRequest) -> Result<Vec<SeriesResponse>, Status> {
    let mut client = StoreClient::new(served.channel.clone());
    let mut stream = client.series(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn text(message: &SeriesResponse) -> String {
    let name = |series: &sabre_proto::thanos::Series| series.labels[0].value.clone();
    match message.result.as_ref().unwrap() {
        series_response::Result::Series(series) => name(series),
        series_response::Result::Batch(batch) => batch.series.iter().map(name).collect::<Vec<_>>().join("+"),
        series_response::Result::Warning(text) => format!("warning: {text}"),
        series_response::Result::Hints(_) => "hints".to_owned(),
    }
}

#[tokio::test]
async fn a_querier_is_a_store_to_other_queriers() {
    let stores = vec![
        FakeStore::of(&[r#"a="1""#, r#"a="3""#]),
        FakeStore::of(&[r#"a="2""#]),
    ];
    let (served, _stores) = querier(stores, ServiceOptions::default()).await;
    let texts = |messages: Vec<SeriesResponse>| messages.iter().map(text).collect::<Vec<_>>();
    assert_eq!(texts(ask(&served, all()).await.unwrap()), ["1", "2", "3"]);
    let batches = SeriesRequest {
        response_batch_size: 2,
        ..all()
    };
    assert_eq!(texts(ask(&served, batches).await.unwrap()), ["1+2", "3"]);
}

#[tokio::test]
async fn failures_of_stores_are_warnings_or_end_the_call_as_asked() {
    let fails = FakeStore::new(vec![Step::Fail(Status::internal("x"))]);
    let (served, _stores) = querier(
        vec![FakeStore::of(&[r#"a="1""#]), fails],
        ServiceOptions::default(),
    )
    .await;
    let messages = ask(&served, all()).await.unwrap();
    assert!(text(&messages[0]).starts_with("warning: receive series from s1"));
    assert_eq!(text(&messages[1]), "1");
    let strict = SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..all()
    };
    assert_eq!(ask(&served, strict).await.unwrap_err().code(), Code::Aborted);
    let nothing = SeriesRequest {
        matchers: Vec::new(),
        ..all()
    };
    assert_eq!(
        ask(&served, nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn limits_of_the_store_api_name_their_flag() {
    let none = ServiceOptions::default;
    for (options, flag) in [
        (
            ServiceOptions {
                max_series: 1,
                ..none()
            },
            "--store.limits.request-series",
        ),
        (
            ServiceOptions {
                max_samples: 1,
                ..none()
            },
            "--store.limits.request-samples",
        ),
    ] {
        // Chunks begin with the number of samples.
        let store = [r#"a="1""#, r#"a="3""#].map(|text| Step::Series(series(text, &[(0, 1, "\0\u{2}")])));
        let (served, _stores) = querier(vec![FakeStore::new(store.into())], options).await;
        let status = ask(&served, all()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains(flag), "{status}");
    }
}

#[tokio::test]
async fn a_querier_says_what_those_behind_it_say() {
    let mut info = modern();
    info.label_sets = vec![sabre_proto::convert::label_set(&labels(r#"c="1""#))];
    info.store.as_mut().unwrap().min_time = 7;
    let store = FakeStore {
        info: Some(info),
        texts: vec!["n".to_owned()],
        ..FakeStore::default()
    };
    let (served, _stores) = querier(vec![store], ServiceOptions::default()).await;
    let mut client = InfoClient::new(served.channel.clone());
    let said = client.info(ModernInfo::default()).await.unwrap().into_inner();
    assert_eq!(said.component_type, "query");
    assert_eq!(said.label_sets.len(), 1);
    assert_eq!(said.label_sets[0].labels.len(), 2, "its own label is laid over");
    let store = said.store.unwrap();
    assert_eq!(store.min_time, 7);
    assert!(store.supports_without_replica_labels && said.query.is_some() && said.rules.is_some());
    let mut client = StoreClient::new(served.channel.clone());
    let old = client.info(InfoRequest::default()).await.unwrap().into_inner();
    assert_eq!((old.store_type, old.min_time, old.labels.len()), (1, 7, 2));
    let names = client
        .label_names(LabelNamesRequest {
            end: 1000,
            ..LabelNamesRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(names.names, ["n"]);
}

#[tokio::test]
async fn queries_that_are_handed_down_are_evaluated() {
    use sabre_proto::thanos::{QueryRangeRequest, QueryRequest, query_client::QueryClient};
    use sabre_proto::thanos::{query_range_response, query_response};
    let empty = FakeStore::new(vec![Step::Series(series(r#"a="1""#, &[]))]);
    let (served, _stores) = querier(vec![empty], ServiceOptions::default()).await;
    let mut client = QueryClient::new(served.channel.clone());
    let request = QueryRequest {
        query: "1 + 1".to_owned(),
        time_seconds: 5,
        ..QueryRequest::default()
    };
    let mut answer = client.query(request).await.unwrap().into_inner();
    let first = answer.message().await.unwrap().unwrap().result.unwrap();
    let query_response::Result::Timeseries(series) = first else {
        panic!("{first:?}");
    };
    assert_eq!(
        (series.samples[0].timestamp, series.samples[0].value),
        (5000, 2.0)
    );
    let last = answer.message().await.unwrap().unwrap().result.unwrap();
    assert!(matches!(last, query_response::Result::Stats(_)));

    let request = QueryRangeRequest {
        query: "vector(3)".to_owned(),
        start_time_seconds: 10,
        end_time_seconds: 30,
        interval_seconds: 10,
        response_batch_size: 64,
        ..QueryRangeRequest::default()
    };
    let mut answer = client.query_range(request).await.unwrap().into_inner();
    let first = answer.message().await.unwrap().unwrap().result.unwrap();
    let query_range_response::Result::TimeseriesBatch(batch) = first else {
        panic!("{first:?}");
    };
    assert_eq!(batch.series[0].samples.len(), 3);

    // No time is now, as in Thanos.
    let now = QueryRequest {
        query: "time() > bool 1e9".to_owned(),
        ..QueryRequest::default()
    };
    let mut answer = client.query(now).await.unwrap().into_inner();
    let first = answer.message().await.unwrap().unwrap().result.unwrap();
    let query_response::Result::Timeseries(series) = first else {
        panic!("{first:?}");
    };
    assert_eq!(series.samples[0].value, 1.0);

    let wrong = QueryRequest {
        query: "1 +".to_owned(),
        ..QueryRequest::default()
    };
    assert_eq!(
        client.query(wrong).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_is_not_nobody() {
    let (served, _stores) = querier(vec![FakeStore::of(&[r#"a="1""#])], ServiceOptions::default()).await;
    let mut client = StoreClient::new(served.channel.clone());
    for (tenant, code) in [("team", Code::Ok), ("t\u{e9}am", Code::InvalidArgument)] {
        let tenant = tonic::metadata::MetadataValue::try_from(tenant.as_bytes()).unwrap();
        let mut request = tonic::Request::new(all());
        request.metadata_mut().insert(TENANT, tenant.clone());
        let series = client.series(request).await.map(drop);
        let mut request = tonic::Request::new(LabelNamesRequest::default());
        request.metadata_mut().insert(TENANT, tenant);
        let names = client.label_names(request).await.map(drop);
        for answer in [series, names] {
            let got = answer.err().map_or(Code::Ok, |status| status.code());
            assert_eq!(got, code);
        }
    }
}
