//! The parameters of a request: of its address, and of its body if that is a form.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, header},
};
use http_body_util::{BodyExt as _, Limited};
use sabre_runtime::budget::{Budget, Reservation};
use url::form_urlencoded;

use super::{HttpApi, failure::ApiFailure};
use crate::evaluate::QueryFailure;

/// The longest form that is read, as in Go.
const MAX_BODY_BYTES: usize = 10 << 20;

/// Shorter forms are not charged.
const FREE_BYTES: usize = 64 << 10;

/// What a form takes for each byte of it: what was read, with room to grow, and what it says.
const SHARE: u64 = 3;

/// Names and values, unencoded. What stands in the body comes first, as in Go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
    /// What a long one is charged.
    _charge: Option<Arc<Reservation>>,
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
    type Rejection = ApiFailure;

    async fn from_request(request: Request, api: &HttpApi) -> Result<Self, ApiFailure> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        if parts.method != Method::POST || !is_form(&parts.headers) {
            return Ok(Self::parse(&[], query));
        }
        let (body, charge) = read(body, &api.inner.options.budget).await?;
        let form = Self::parse(&body, query);
        Ok(Self {
            _charge: charge,
            ..form
        })
    }
}

/// The body, and what it is charged.
async fn read(body: Body, budget: &Budget) -> Result<(Vec<u8>, Option<Arc<Reservation>>), ApiFailure> {
    let mut body = Limited::new(body, MAX_BODY_BYTES);
    let mut read = Vec::new();
    let mut charge: Option<Reservation> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = format!("the body cannot be read, or is longer than {MAX_BODY_BYTES} bytes: {error}");
            ApiFailure::bad_data(text)
        })?;
        let data = frame.into_data().unwrap_or_default();
        let bytes = (data.len() as u64).saturating_mul(SHARE);
        let is_charged = match &mut charge {
            Some(charge) => charge.try_grow(bytes),
            None if read.len().saturating_add(data.len()) <= FREE_BYTES => true,
            None => {
                let before = (read.len() as u64).saturating_mul(SHARE);
                charge = budget.try_reserve(before.saturating_add(bytes));
                charge.is_some()
            }
        };
        if !is_charged {
            let text = "there is no memory for so long a form: try again, or raise --sabre.memory-budget";
            return Err(ApiFailure::from(QueryFailure::execution(text)));
        }
        read.extend_from_slice(&data);
    }
    Ok((read, charge.map(Arc::new)))
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

    #[tokio::test]
    async fn forms_are_read_up_to_the_limit_and_long_ones_are_charged() {
        let budget = Budget::new(MAX_BODY_BYTES as u64 * SHARE, "--sabre.memory-budget");
        let body = |len: usize| Body::from(vec![b'a'; len]);
        let (read_, charge) = read(body(FREE_BYTES), &budget).await.unwrap();
        assert!(read_.len() == FREE_BYTES && charge.is_none());
        let (whole, charge) = read(body(MAX_BODY_BYTES), &budget).await.unwrap();
        assert_eq!(whole.len(), MAX_BODY_BYTES);
        assert_eq!(budget.usage().used_bytes, budget.limit_bytes());
        let refused = read(body(FREE_BYTES + 1), &budget).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 422);
        assert!(refused.message.contains("--sabre.memory-budget"), "{refused:?}");
        drop(charge);
        assert_eq!(budget.usage().used_bytes, 0);
        let refused = read(body(MAX_BODY_BYTES + 1), &budget).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 400);
        assert!(
            refused.message.contains("longer than 10485760 bytes"),
            "{refused:?}"
        );
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
