//! An evaluator that answers what it is told to, and remembers what it was asked.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use parking_lot::Mutex;
use sabre_promql::value::Value;
use sabre_runtime::metrics::Registry;
use tower::ServiceExt as _;

use crate::{
    endpoints::Pool,
    evaluate::{Answer, NamesAnswer, QueryFailure, QueryRequest, SeriesAnswer, SeriesRequest, Statistics},
    http::{ApiOptions, HttpApi, Queries},
};

/// Answers the same to all.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) answer: Result<Answer, QueryFailure>,
    pub(super) series: SeriesAnswer,
    pub(super) names: NamesAnswer,
    pub(super) queries: Mutex<Vec<QueryRequest>>,
    pub(super) series_requests: Mutex<Vec<(String, SeriesRequest)>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            answer: Ok(answer(Value::Vector(Vec::new()))),
            series: SeriesAnswer::default(),
            names: NamesAnswer::default(),
            queries: Mutex::default(),
            series_requests: Mutex::default(),
        }
    }
}

pub(super) fn answer(value: Value) -> Answer {
    Answer {
        value,
        warnings: Vec::new(),
        infos: Vec::new(),
        statistics: Statistics::default(),
    }
}

#[async_trait::async_trait]
impl Queries for Fake {
    async fn query(&self, request: &QueryRequest) -> Result<Answer, QueryFailure> {
        self.queries.lock().push(request.clone());
        self.answer.clone()
    }

    async fn series(&self, request: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        self.series_requests.lock().push((String::new(), request.clone()));
        Ok(self.series.clone())
    }

    async fn label_names(&self, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        self.series_requests.lock().push((String::new(), request.clone()));
        Ok(self.names.clone())
    }

    async fn label_values(&self, label: &str, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        self.series_requests
            .lock()
            .push((label.to_owned(), request.clone()));
        Ok(self.names.clone())
    }
}

pub(super) fn routes<Q: Queries>(queries: &Arc<Q>, options: ApiOptions) -> Router {
    routes_over(queries, Pool::new(), options)
}

pub(super) fn routes_over<Q: Queries>(queries: &Arc<Q>, pool: Pool, options: ApiOptions) -> Router {
    routes_told_in(queries, pool, options, &Registry::new())
}

pub(super) fn routes_told_in<Q: Queries>(
    queries: &Arc<Q>,
    pool: Pool,
    options: ApiOptions,
    registry: &Registry,
) -> Router {
    let queries = Arc::<Q>::clone(queries);
    let api = HttpApi::new(queries, pool, options, registry);
    api.routes(&api.metrics(registry))
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Got {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(super) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        assert_eq!(json["status"], "error");
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (self.status, text("errorType"), text("error"))
    }
}

pub(super) async fn send(routes: &Router, request: Request<Body>) -> Got {
    let response = routes.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 256 << 20).await.unwrap();
    Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

pub(super) async fn get(routes: &Router, address: &str) -> Got {
    send(routes, Request::get(address).body(Body::empty()).unwrap()).await
}

pub(super) async fn post(routes: &Router, address: &str, form: &str) -> Got {
    let request = Request::post(address)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Body::from(form.to_owned()))
        .unwrap();
    send(routes, request).await
}
