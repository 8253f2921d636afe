//! Questions to a cluster, repeated where that does no harm.

use std::{future::Future, sync::Arc, time::Duration};

use rand::Rng as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    engine::{Engine, MainPage},
    error::CallError,
    transport::{Method, Request, Response, Transport, TransportError},
};

/// How long and how often the cluster is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one exchange may take.
    pub request_timeout: Duration,
    /// How often a request that may be repeated is sent.
    pub attempts: u32,
    /// The first pause between two attempts; it doubles each time, up to [`Patience::longest_pause`].
    pub first_pause: Duration,
    /// The longest pause, whatever the server asks for.
    pub longest_pause: Duration,
    /// How long a snapshot, of ours or of somebody else, is waited for.
    pub snapshot_timeout: Duration,
    /// The longest pause between two looks at a running snapshot.
    pub poll: Duration,
}

/// A cluster that can be asked. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    stop: CancellationToken,
    /// How long and how often it is asked.
    pub patience: Patience,
    /// What it runs.
    pub engine: Engine,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(60),
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            snapshot_timeout: Duration::from_secs(4 * 3600),
            poll: Duration::from_secs(10),
        }
    }
}

impl Client {
    /// Asks the cluster what it runs. Once `stop` is cancelled, nothing more is asked.
    ///
    /// # Errors
    /// When it does not answer, or runs what is not known here.
    pub async fn connect(
        transport: Arc<dyn Transport>,
        patience: Patience,
        stop: CancellationToken,
    ) -> Result<Self, CallError> {
        let nothing_yet = Engine {
            flavor: super::engine::Flavor::Elasticsearch,
            major: 6,
            minor: 0,
            patch: 0,
        };
        let mut client = Self {
            transport,
            stop,
            patience,
            engine: nothing_yet,
        };
        let request = client.request(Method::Get, &[]);
        let shown = request.to_string();
        let page: MainPage = client.ask(request).await?;
        client.engine = page.engine().map_err(|problem| CallError::Unreadable {
            request: shown,
            problem,
        })?;
        Ok(client)
    }

    /// Makes a request with the usual time-out.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> Request {
        Request::new(method, segments, self.patience.request_timeout)
    }

    /// Sends a request that does no harm when it is done twice, as often as patience has it, and reads the answer.
    ///
    /// # Errors
    /// When no attempt was answered, or the answer is not a `T`.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, CallError> {
        let shown = request.to_string();
        let response = self.send(request, true).await?;
        decode(shown, &response)
    }

    /// Sends a request whose effect must not happen twice. It is repeated only when it is certain that the attempt
    /// before had none: nothing was sent, or the cluster turned it away (429).
    ///
    /// # Errors
    /// As [`Client::ask`]; the caller looks at [`CallError::is_ambiguous`] and then at the cluster.
    pub(crate) async fn command(&self, request: Request) -> Result<Value, CallError> {
        let shown = request.to_string();
        let response = self.send(request, false).await?;
        decode(shown, &response)
    }

    /// The same cluster for what must be put right even when the process is told to stop.
    pub(crate) fn unstoppable(&self) -> Self {
        Self {
            stop: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// Waits, unless the process is told to stop.
    ///
    /// # Errors
    /// [`CallError::Stopped`].
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), CallError> {
        self.unless_stopped(tokio::time::sleep(duration)).await
    }

    /// # Errors
    /// [`CallError::Stopped`].
    pub(crate) fn check_stop(&self) -> Result<(), CallError> {
        if self.stop.is_cancelled() {
            return Err(CallError::Stopped);
        }
        Ok(())
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, CallError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(CallError::Stopped),
            done = work => Ok(done),
        }
    }

    async fn send(&self, request: Request, repeatable: bool) -> Result<Response, CallError> {
        let mut pause = self.patience.first_pause;
        for attempt in 1.. {
            // A request that was begun is seen to its end, so that its effect is known.
            self.check_stop()?;
            let outcome = self.transport.send(request.clone()).await;
            let last = attempt >= self.patience.attempts;
            let asked_pause = match &outcome {
                Ok(response) if (200..300).contains(&response.status) => return Ok(response.clone()),
                Ok(response) if last || !may_repeat_status(response, repeatable) => {
                    return Err(CallError::refused(request.to_string(), response));
                }
                Ok(response) => response.retry_after,
                Err(source) if last || !may_repeat_error(source, repeatable) => {
                    return Err(CallError::NoAnswer {
                        request: request.to_string(),
                        attempts: attempt,
                        source: source.clone(),
                    });
                }
                Err(_) => None,
            };
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            let wait = asked_pause.unwrap_or(jittered).min(self.patience.longest_pause);
            let why = match &outcome {
                Ok(response) => format!("status {}", response.status),
                Err(error) => error.to_string(),
            };
            tracing::warn!(%request, attempt, why, wait_ms = wait.as_millis(), "asking again");
            self.pause(wait).await?;
            pause = pause.saturating_mul(2).min(self.patience.longest_pause);
        }
        Err(CallError::Stopped)
    }
}

/// A 503 that names a running snapshot is an answer and not an outage: who asked knows what to wait for.
fn may_repeat_status(response: &Response, repeatable: bool) -> bool {
    match response.status {
        429 => true,
        502..=504 if repeatable => {
            let (kind, reason) = super::error::describe(&response.body);
            !kind.starts_with("concurrent_snapshot") && !reason.contains("concurrent_snapshot")
        }
        _ => false,
    }
}

fn may_repeat_error(error: &TransportError, repeatable: bool) -> bool {
    match error {
        TransportError::Connect(_) | TransportError::Credentials(_) => true,
        TransportError::Timeout(_) | TransportError::Cut(_) => repeatable,
        TransportError::TooLarge { .. } | TransportError::Unsendable(_) => false,
    }
}

fn decode<T: DeserializeOwned>(request: String, response: &Response) -> Result<T, CallError> {
    serde_json::from_slice(&response.body).map_err(|error| CallError::Unreadable {
        request,
        problem: error.to_string(),
    })
}
