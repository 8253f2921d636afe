//! Bodies of answers: bounded, and charged to a budget while they are held.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::Response;
use sabre_runtime::budget::{Budget, Reservation};

use super::client::{PrometheusError, unreachable};

/// The longest page that is read: configurations and lists of targets may be some megabytes.
pub(crate) const MAX_PAGE_BYTES: usize = 64 << 20;

/// How much of an error page is shown.
const MAX_ERROR_BYTES: usize = 2048;

/// A page of JSON and what is made of it, for each byte of the page.
const COST_PER_BYTE: u64 = 4;

/// What a call takes before its answer comes; small answers fit.
const FIRST_BYTES: u64 = 64 << 10;

/// Steps in which more is taken.
const STEP_BYTES: u64 = 1 << 20;

/// How long a call waits for its first bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prometheus ends queries after two minutes itself; who is silent for longer does not come back.
const SILENCE: Duration = Duration::from_secs(150);

/// An answer, and the bytes of the budget it holds.
#[derive(Debug)]
pub struct Charged<T> {
    /// The answer.
    pub value: T,
    bytes: Reservation,
}

impl<T> Charged<T> {
    /// Makes something else of the answer, under the same charge.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Charged<U> {
        Charged {
            value: change(self.value),
            bytes: self.bytes,
        }
    }

    /// The answer and its charge.
    pub fn into_parts(self) -> (T, Reservation) {
        (self.value, self.bytes)
    }
}

/// Reads a page of at most [`MAX_PAGE_BYTES`].
pub(crate) async fn read_charged(
    call: &'static str,
    response: Response,
    budget: &Budget,
) -> Result<Charged<Bytes>, PrometheusError> {
    let short = |reason: String| PrometheusError::Budget { call, reason };
    let mut bytes = budget
        .child(call)
        .reserve_within(FIRST_BYTES, PATIENCE)
        .await
        .map_err(|error| short(error.to_string()))?;
    let mut body = BytesMut::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| unreachable(call, &error))?;
        if body.len() + piece.len() > MAX_PAGE_BYTES {
            let reason = format!("it is longer than {MAX_PAGE_BYTES} bytes");
            return Err(PrometheusError::Unusable { call, reason });
        }
        let cost = (body.len() + piece.len()) as u64 * COST_PER_BYTE;
        if cost > bytes.bytes() && !bytes.try_grow((cost - bytes.bytes()).max(STEP_BYTES)) {
            return Err(short(format!(
                "the answer of Prometheus needs more than the {cost} bytes that the memory budget has free; ask for less, or raise --sabre.memory-budget"
            )));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Charged {
        value: body.freeze(),
        bytes,
    })
}

/// Waits for what Prometheus sends next, at most for [`SILENCE`].
pub(crate) async fn not_silent<T>(
    call: &'static str,
    next: impl Future<Output = T>,
) -> Result<T, PrometheusError> {
    tokio::time::timeout(SILENCE, next)
        .await
        .map_err(|_| PrometheusError::Unreachable {
            call,
            reason: format!("nothing came for {SILENCE:?}"),
        })
}

/// Reads a whole body of at most `max_bytes`. `charge` hears how long it is before more of it is held.
pub(crate) async fn read_bounded(
    call: &'static str,
    response: Response,
    max_bytes: usize,
    mut charge: impl FnMut(usize) -> Result<(), PrometheusError>,
) -> Result<Bytes, PrometheusError> {
    let mut body = BytesMut::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = not_silent(call, pieces.next()).await? {
        let piece = piece.map_err(|error| unreachable(call, &error))?;
        charge(body.len() + piece.len())?;
        if body.len() + piece.len() > max_bytes {
            let reason = format!("it is longer than {max_bytes} bytes");
            return Err(PrometheusError::Unusable { call, reason });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The beginning of an error page.
pub(crate) async fn read_error(response: Response) -> String {
    let mut body = BytesMut::new();
    let mut pieces = response.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = MAX_ERROR_BYTES.saturating_sub(body.len());
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() >= room {
            break;
        }
    }
    String::from_utf8_lossy(&body).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_given_up() {
        let answer = not_silent("remote read", std::future::pending::<()>()).await;
        let error = answer.unwrap_err();
        assert!(matches!(error, PrometheusError::Unreachable { .. }));
        assert!(error.to_string().contains("150s"), "{error}");
        let late = tokio::time::sleep(Duration::from_secs(120));
        not_silent("remote read", late).await.unwrap();
    }
}
