//! What stands before every route of the HTTP server, probes and metrics included, as in Thanos: a limit of requests, a
//! password, and headers on the answer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    WebConfig, WebFile,
    passwords::{Passwords, Verdict},
};

/// How many requests there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// One request each interval.
    pub(super) interval: Duration,
    /// So many at once, when there were none before.
    pub(super) burst: u32,
}

/// Requests that may be answered without waiting.
#[derive(Debug)]
struct Bucket {
    /// What it was made for; another rate starts full.
    rate: Rate,
    /// When it would be full if nothing was taken. Never further away than `burst` intervals.
    full_at: Instant,
}

/// Guards the routes. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    file: WebFile,
    passwords: Arc<Passwords>,
    bucket: Arc<Mutex<Option<Bucket>>>,
}

impl Guard {
    pub(crate) fn new(file: WebFile) -> Self {
        Self {
            file,
            passwords: Arc::default(),
            bucket: Arc::default(),
        }
    }

    /// Handles a request as middleware.
    pub(crate) async fn handle(State(guard): State<Self>, request: Request, next: Next) -> Response {
        let file = Arc::clone(guard.file.config());
        let Ok(config) = crate::blocking(move || file.current()).await else {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR);
        };
        if !guard.may_pass(config.rate, Instant::now()) {
            return refusal(StatusCode::TOO_MANY_REQUESTS);
        }
        let authorization = request.headers().get(header::AUTHORIZATION).cloned();
        let mut response = match guard.judge(&config, authorization).await {
            Verdict::Welcome => next.run(request).await,
            Verdict::TooMany => refusal(StatusCode::SERVICE_UNAVAILABLE),
            Verdict::Refused => {
                let ask = [(header::WWW_AUTHENTICATE, "Basic")];
                (ask, refusal(StatusCode::UNAUTHORIZED)).into_response()
            }
        };
        add(&mut response, &config.headers);
        response
    }

    async fn judge(&self, config: &WebConfig, authorization: Option<HeaderValue>) -> Verdict {
        if config.users.is_empty() {
            return Verdict::Welcome;
        }
        self.passwords.judge(&config.users, authorization.as_ref()).await
    }

    fn may_pass(&self, rate: Option<Rate>, now: Instant) -> bool {
        let Some(rate) = rate else {
            return true;
        };
        let mut bucket = self.bucket.lock();
        match bucket.as_mut().filter(|bucket| bucket.rate == rate) {
            Some(bucket) => bucket.take(now),
            None => bucket.insert(Bucket { rate, full_at: now }).take(now),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let room = self
            .rate
            .interval
            .saturating_mul(self.rate.burst.saturating_sub(1));
        let full_at = self.full_at.max(now);
        if full_at.saturating_duration_since(now) > room {
            return false;
        }
        self.full_at = full_at.checked_add(self.rate.interval).unwrap_or(full_at);
        true
    }
}

/// The name of the status is all that is said, as Go does.
fn refusal(status: StatusCode) -> Response {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    (status, text).into_response()
}

/// What a handler has set stays.
fn add(response: &mut Response, headers: &[(HeaderName, HeaderValue)]) {
    for (name, value) in headers {
        response
            .headers_mut()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_one_each_interval() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let rate = Rate {
            interval: Duration::from_secs(1),
            burst: 2,
        };
        let mut bucket = Bucket { rate, full_at: start };
        let answers: Vec<bool> = [0, 0, 0, 999, 1_000, 1_001, 9_000, 9_000, 9_000]
            .into_iter()
            .map(|milliseconds| bucket.take(at(milliseconds)))
            .collect();
        assert_eq!(
            answers,
            [true, true, false, false, true, false, true, true, false]
        );
    }
}
