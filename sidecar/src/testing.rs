//! A Prometheus for tests that answers what it is told, and writes down what it is asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use sabre_model::Labels;
use tokio::task::AbortHandle;
use url::Url;

use crate::{
    known::{ContactReader, Known, contact},
    prometheus::{HttpClientConfig, PrometheusClient},
};

/// Stops when dropped.
#[derive(Debug)]
pub(crate) struct ScriptedPrometheus {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
    server: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, (u16, String)>,
    asked: Vec<String>,
}

impl ScriptedPrometheus {
    pub(crate) async fn start() -> ScriptedPrometheus {
        let state = Arc::<Mutex<State>>::default();
        let answering = Arc::clone(&state);
        let app = Router::new().fallback(move |request: Request| {
            let answer = answer(&answering, &request);
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/prefix/", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        ScriptedPrometheus {
            url,
            state,
            server: server.abort_handle(),
        }
    }

    /// Answers `path`, below the prefix, with a status and a body.
    pub(crate) fn answers(&self, path: &str, status: u16, body: &str) {
        let path = format!("/prefix/{path}");
        self.state.lock().answers.insert(path, (status, body.to_string()));
    }

    /// Answers `path` with a success of the API.
    pub(crate) fn answers_data(&self, path: &str, data: &str) {
        self.answers(path, 200, &format!(r#"{{"status":"success","data":{data}}}"#));
    }

    /// Methods, paths and queries so far, without the prefix.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().asked.clone()
    }

    pub(crate) fn client(&self) -> PrometheusClient {
        let http = HttpClientConfig::default().build().unwrap();
        PrometheusClient::new(http, self.url.clone(), Duration::from_secs(10))
    }
}

impl Drop for ScriptedPrometheus {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Response {
    let mut state = state.lock();
    let uri = request.uri();
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let asked = format!("{} {}", request.method(), target.trim_start_matches("/prefix/"));
    state.asked.push(asked);
    match state.answers.get(uri.path()) {
        Some((status, body)) => (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A contact that was made, with these external labels.
pub(crate) fn known(external_labels: &[(&str, &str)]) -> ContactReader {
    let (writer, reader) = contact();
    writer.up(Known {
        external_labels: Labels::from_pairs(external_labels.iter().copied()).unwrap(),
        ..Known::default()
    });
    reader
}

/// Waits until something is so that comes about by itself, and no longer than a minute.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"));
}
