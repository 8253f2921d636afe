//! The parameters of a request: of its address, and of its body if that is a form.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use sabre_runtime::budget::{Budget, Reservation};
use tokio::time::timeout;
use url::form_urlencoded;

use super::{HttpApi, failure::ApiFailure, peers::MEMORY_PATIENCE};
use crate::evaluate::{FailureKind, QueryFailure};

/// The longest form that is read, as in Go.
const MAX_BODY_BYTES: usize = 10 << 20;

/// Shorter forms are not charged.
const FREE_BYTES: usize = 64 << 10;

/// What a form takes for each byte of it: what was read, with room to grow, and what it says.
const SHARE: u64 = 3;

/// Most parameters of a request.
const MAX_PAIRS: usize = 10_000;

/// What a parameter takes beside its bytes: two texts, what an allocator adds to each, and room to grow.
const PAIR_BYTES: u64 = 128;

/// How long all of a body may take to come: what came of it is held meanwhile.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// Names and values, unencoded. What stands in the body comes first, as in Go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
    /// What a long one is charged.
    _charge: Option<Arc<Reservation>>,
}

/// A form that is not read, and the status that says so.
#[derive(Debug)]
pub(crate) struct FormFailure {
    status: StatusCode,
    failure: ApiFailure,
}

impl Form {
    /// Reads `a=1&b=2` of the body, then of the address.
    pub(crate) fn parse(body: &[u8], query: &str) -> Self {
        let pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes()));
        let owned = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self {
            pairs: owned.collect(),
            _charge: None,
        }
    }

    /// The first value of a parameter; `None` if it is not given, or empty.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(found, _)| found == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        let named = self.pairs.iter().filter(move |(found, _)| found == name);
        named.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter as a list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name).map(str::to_owned).collect()
    }
}

impl FromRequest<HttpApi> for Form {
    type Rejection = FormFailure;

    async fn from_request(request: Request, api: &HttpApi) -> Result<Self, FormFailure> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let has_form = parts.method == Method::POST && is_form(&parts.headers);
        let body = has_form.then_some(body);
        read_form(body, query, &api.inner.options.budget).await
    }
}

/// The form of a body, if there is one, and of an address.
async fn read_form(body: Option<Body>, query: &str, budget: &Budget) -> Result<Form, FormFailure> {
    let mut charge = budget.nothing();
    let body = match body {
        None => Vec::new(),
        Some(body) => match timeout(BODY_PATIENCE, read(body, &mut charge)).await {
            Ok(read) => read?,
            Err(_) => return Err(FormFailure::late()),
        },
    };
    let pairs = count_pairs(&body).saturating_add(count_pairs(query.as_bytes()));
    if pairs > MAX_PAIRS {
        let text = format!("the request has {pairs} parameters, more than the {MAX_PAIRS} that are read");
        return Err(ApiFailure::bad_data(text).into());
    }
    let bytes = (pairs as u64).saturating_mul(PAIR_BYTES);
    if bytes > FREE_BYTES as u64 {
        grow(&mut charge, bytes).await?;
    }
    let form = Form::parse(&body, query);
    Ok(Form {
        _charge: Some(Arc::new(charge)),
        ..form
    })
}

/// How many parameters it says, told before any is made.
fn count_pairs(form: &[u8]) -> usize {
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .count()
}

/// All of a body.
async fn read(body: Body, charge: &mut Reservation) -> Result<Vec<u8>, ApiFailure> {
    let mut body = Limited::new(body, MAX_BODY_BYTES);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = format!("the body cannot be read, or is longer than {MAX_BODY_BYTES} bytes: {error}");
            ApiFailure::bad_data(text)
        })?;
        let data = frame.into_data().unwrap_or_default();
        let len = read.len().saturating_add(data.len());
        if len > FREE_BYTES {
            let uncharged = match charge.bytes() {
                0 => len,
                _ => data.len(),
            };
            grow(charge, (uncharged as u64).saturating_mul(SHARE)).await?;
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Charges more, and waits a little for it if others wait too.
async fn grow(charge: &mut Reservation, bytes: u64) -> Result<(), ApiFailure> {
    let grown = charge.grow_within(bytes, MEMORY_PATIENCE).await;
    grown.map_err(|_| {
        let text = "there is no memory for so long a form: try again, or raise --sabre.memory-budget";
        ApiFailure::from(QueryFailure::execution(text))
    })
}

impl FormFailure {
    fn late() -> Self {
        let seconds = BODY_PATIENCE.as_secs();
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            failure: ApiFailure {
                kind: FailureKind::Timeout,
                message: format!("the body of the request did not come within {seconds} s"),
            },
        }
    }
}

impl From<ApiFailure> for FormFailure {
    fn from(failure: ApiFailure) -> Self {
        Self {
            status: failure.status(),
            failure,
        }
    }
}

impl IntoResponse for FormFailure {
    fn into_response(self) -> Response {
        let mut response = self.failure.into_response();
        *response.status_mut() = self.status;
        response
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;

    #[test]
    fn the_body_comes_before_the_address_and_empty_is_absent() {
        let form = Form::parse(
            b"query=up%7Ba%3D%22b+c%22%7D&match[]=x",
            "query=down&match%5B%5D=y&time=",
        );
        assert_eq!(form.first("query"), Some("up{a=\"b c\"}"));
        assert_eq!(form.first("time"), None);
        assert_eq!(form.first("nothing"), None);
        assert_eq!(form.list("match[]"), ["x", "y"]);
    }

    async fn read_of(body: Body, budget: &Budget) -> Result<Form, FormFailure> {
        read_form(Some(body), "", budget).await
    }

    fn long(len: usize) -> Body {
        Body::from(vec![b'a'; len])
    }

    #[tokio::test(start_paused = true)]
    async fn forms_are_read_up_to_the_limit_and_long_ones_are_charged() {
        let budget = Budget::new(MAX_BODY_BYTES as u64 * SHARE, "--sabre.memory-budget");
        let free = read_of(long(FREE_BYTES), &budget).await.unwrap();
        assert_eq!(free.pairs[0].0.len(), FREE_BYTES);
        assert_eq!(budget.usage().used_bytes, 0, "it is free");
        let whole = read_of(long(MAX_BODY_BYTES), &budget).await.unwrap();
        assert_eq!(whole.pairs[0].0.len(), MAX_BODY_BYTES);
        assert_eq!(budget.usage().used_bytes, budget.limit_bytes());
        let refused = read_of(long(FREE_BYTES + 1), &budget).await.unwrap_err();
        assert_eq!(refused.status.as_u16(), 422);
        assert!(
            refused.failure.message.contains("--sabre.memory-budget"),
            "{refused:?}"
        );
        drop(whole);
        assert_eq!(budget.usage().used_bytes, 0);
        let refused = read_of(long(MAX_BODY_BYTES + 1), &budget).await.unwrap_err();
        assert_eq!(refused.status.as_u16(), 400);
        assert!(
            refused.failure.message.contains("longer than 10485760 bytes"),
            "{refused:?}"
        );
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[tokio::test]
    async fn many_short_parameters_are_charged_and_too_many_are_refused() {
        let budget = Budget::new(1 << 30, "--sabre.memory-budget");
        let many = |count| Body::from("a&".repeat(count));
        let form = read_of(many(MAX_PAIRS), &budget).await.unwrap();
        assert_eq!(form.pairs.len(), MAX_PAIRS);
        assert!(budget.usage().used_bytes >= MAX_PAIRS as u64 * PAIR_BYTES);
        drop(form);
        for count in [MAX_PAIRS + 1, MAX_BODY_BYTES / 2] {
            let refused = read_of(many(count), &budget).await.unwrap_err();
            assert_eq!(refused.status.as_u16(), 400);
            let text = format!("has {count} parameters, more than the 10000 that are read");
            assert!(refused.failure.message.contains(&text), "{refused:?}");
        }
        // Those of the address count too.
        let refused = read_form(Some(many(MAX_PAIRS)), "a=1", &budget).await;
        assert_eq!(refused.unwrap_err().status.as_u16(), 400);
        let query = "a&".repeat(MAX_PAIRS);
        let form = read_form(None, &query, &budget).await.unwrap();
        assert!(budget.usage().used_bytes >= MAX_PAIRS as u64 * PAIR_BYTES);
        drop(form);
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_form_waits_while_somebody_else_waits_for_memory() {
        let budget = Budget::new(1 << 20, "--sabre.memory-budget");
        let others = budget.try_reserve(500_000).unwrap();
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(1_000_000).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(budget.usage().waiting, 1);
        let gives_back = async {
            tokio::time::sleep(MEMORY_PATIENCE / 2).await;
            drop(others);
        };
        let (form, ()) = tokio::join!(read_of(long(FREE_BYTES + 1), &budget), gives_back);
        assert_eq!(form.unwrap().pairs[0].0.len(), FREE_BYTES + 1);
        waiter.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_gives_its_memory_back_after_a_minute() {
        let budget = Budget::new(1 << 30, "--sabre.memory-budget");
        let start = tokio::time::Instant::now();
        let first = stream::iter([vec![b'a'; FREE_BYTES + 1]]);
        // A byte now and then, for ever.
        let slow = stream::repeat(vec![b'a']).then(|byte| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            byte
        });
        let body = Body::from_stream(first.chain(slow).map(Ok::<_, std::io::Error>));
        let refused = read_of(body, &budget).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), BODY_PATIENCE.as_secs());
        assert!(
            refused.failure.message.contains("did not come within 60 s"),
            "{refused:?}"
        );
        assert_eq!(refused.into_response().status().as_u16(), 408);
        assert_eq!(budget.usage().used_bytes, 0);
        assert!(budget.usage().high_water_bytes > 0, "it was charged");
    }
}
