//! Endpoints that take connections and say nothing.

use std::sync::Arc;

use super::{super::refresh::ask, *};
use crate::endpoints::dial::dial;

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_says_nothing_is_given_up_after_the_time_of_the_flag() {
    // The kernel takes the connection, and nobody ever reads from it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Less than connecting may take: the clock of a test leaps.
    for seconds in [2, 4] {
        let channel = dial(&address, None, &ClientOptions::default()).unwrap();
        let endpoint = Arc::new(Endpoint::new(
            address.as_str(),
            EndpointKind::default(),
            vec![channel],
        ));
        let (timeout, started) = (Duration::from_secs(seconds), tokio::time::Instant::now());
        ask(Arc::clone(&endpoint), timeout).await;
        let said = endpoint.status().last_error.unwrap();
        assert!(
            said.contains("--endpoint.info-timeout") && said.contains(&format!("{seconds}s")),
            "{said}"
        );
        // Of the time of a test nothing passes but what is waited for.
        let waited = started.elapsed();
        assert!(
            waited >= timeout && waited < timeout + Duration::from_secs(1),
            "{waited:?}"
        );
    }
}
