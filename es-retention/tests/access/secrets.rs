//! A canary in every place of a secret: it goes over the wire, and nowhere else.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use sabre_es_retention::cluster::transport::{Method, Transport};
use sabre_testkit::s3::{Answer, ScriptedServer};
use serde_json::json;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span, subscriber,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use crate::{request, settings, transport};

/// Writes down every field of every event and span, of any level and any crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Fields(&mut self.0.lock()));
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        attributes.record(&mut Fields(&mut self.0.lock()));
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        values.record(&mut Fields(&mut self.0.lock()));
    }
}

/// Everything that anything logs while a request is sent, and its failure is shown.
async fn logged(access: &str) -> (String, String) {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    let server = ScriptedServer::start([Answer::new(403), Answer::hang_up()])
        .await
        .unwrap();
    let guard = subscriber::set_default(subscriber);
    tracing::trace!("the log is read");
    let transport = transport(&format!("http://{}", server.endpoint()), access);
    let send = || {
        request(Method::Put, &["_snapshot", "r"]).json(&json!({"settings": {"secret_key": "canary-body"}}))
    };
    let answer = transport.send(send()).await;
    let failure = transport.send(send()).await.unwrap_err();
    drop(guard);
    let shown = format!(
        "{:?} {transport:?} {answer:?} {failure:?} {failure} {:?}",
        settings(access),
        send()
    );
    let sent = format!("{:?}", server.requests());
    let log = log.0.lock().clone();
    assert!(log.contains("the log is read"), "nothing is logged");
    (format!("{shown}\n{log}"), sent)
}

// One thread: the subscriber is that thread's.
#[tokio::test(flavor = "current_thread")]
async fn secrets_are_neither_logged_nor_shown() {
    for (access, on_the_wire) in [
        (
            "basic: {username: u, password: canary-password}",
            "Basic dTpjYW5hcnktcGFzc3dvcmQ=",
        ),
        ("api_key: canary-key", "ApiKey canary-key"),
        ("bearer_token: canary-token", "Bearer canary-token"),
        (
            "aws: {access_key_id: AK, secret_access_key: canary-secret, session_token: canary-session}",
            "canary-session",
        ),
    ] {
        let (seen, sent) = logged(access).await;
        assert!(sent.contains(on_the_wire), "{sent}");
        for secret in ["canary", "dTpjYW5hcnktcGFzc3dvcmQ="] {
            assert!(!seen.contains(secret), "{access}: {seen}");
        }
    }
}
