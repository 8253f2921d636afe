//! Endpoints that do not answer, and what the log says of them.

use std::sync::Arc;

use sabre_runtime::logging::{Capture, LogOptions};

use super::{super::refresh::ask, *};
use crate::endpoints::dial::dial;
use crate::testing::FakeStore;

/// Queries leave it out without a warning, so the log has to say so; once, as it is asked every few seconds.
#[tokio::test]
async fn an_endpoint_that_does_not_answer_at_first_is_in_the_log_once() {
    // Bound, so that nobody else gets the port, and not listened to.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.local_addr().unwrap().to_string();
    let channel = dial(&address, None, &ClientOptions::default()).unwrap();
    let endpoint = Arc::new(Endpoint::new(
        address.as_str(),
        EndpointKind::default(),
        vec![channel],
    ));
    let capture = Capture::default();
    let log = LogOptions::default().subscriber(capture.clone());
    // With one subscriber alone it is not asked about places in the code that other threads came by first.
    let _another = tracing::Dispatch::new(LogOptions::default().subscriber(Capture::default()));
    let _here = tracing::subscriber::set_default(log);
    for _ in 0..3 {
        ask(Arc::clone(&endpoint), Duration::from_secs(60)).await;
    }
    assert!(!endpoint.is_healthy());
    let text = capture.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&address)).collect();
    assert_eq!(lines.len(), 1, "{text}");
    let line = lines[0];
    assert!(
        line.contains("level=warn") && line.contains("does not answer"),
        "{line}"
    );
}

/// What the log says while an endpoint of this kind answers, is away for three rounds, and answers for two.
async fn told_of(kind: EndpointKind) -> Vec<String> {
    let (live, _) = FakeStore::of(&[]).serve().await;
    let (address, channels) = (live.address.to_string(), vec![live.channel.clone()]);
    let endpoint = Arc::new(Endpoint::new(address.as_str(), kind, channels.clone()));
    let capture = Capture::default();
    let log = LogOptions::default().subscriber(capture.clone());
    let _another = tracing::Dispatch::new(LogOptions::default().subscriber(Capture::default()));
    let _here = tracing::subscriber::set_default(log);
    ask(Arc::clone(&endpoint), Duration::from_secs(60)).await;
    endpoint.set_channels(Vec::new());
    for _ in 0..3 {
        ask(Arc::clone(&endpoint), Duration::from_secs(60)).await;
    }
    endpoint.set_channels(channels);
    for _ in 0..2 {
        ask(Arc::clone(&endpoint), Duration::from_secs(60)).await;
    }
    let text = capture.text();
    text.lines()
        .filter(|line| line.contains(&address))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn an_endpoint_that_was_away_and_is_back_is_in_the_log_once_each() {
    for strict in [false, true] {
        let told = told_of(EndpointKind { strict, group: false }).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("level=warn") && told[0].contains("does not answer any more"),
            "{told:?}"
        );
        assert!(
            told[1].contains("level=info")
                && told[1].contains("answers again")
                && told[1].contains("away_for="),
            "{told:?}"
        );
    }
}
