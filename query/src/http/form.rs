//! The parameters of a request: of its address, and of its body if that is a form.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, header},
};
use url::form_urlencoded;

use super::failure::ApiFailure;

/// The longest body that is read: queries may be a megabyte.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Names and values, unencoded. What stands in the body comes first, as in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Reads `a=1&b=2` of the body, then of the address.
    pub(crate) fn parse(body: &[u8], query: &str) -> Self {
        let pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes()));
        let owned = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self {
            pairs: owned.collect(),
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

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiFailure> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        if parts.method != Method::POST || !is_form(&parts.headers) {
            return Ok(Self::parse(&[], query));
        }
        let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
            let text = format!("the body cannot be read, or is longer than {MAX_BODY_BYTES} bytes: {error}");
            ApiFailure::bad_data(text)
        })?;
        Ok(Self::parse(&body, query))
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
}
