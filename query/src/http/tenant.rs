//! Who asks.

use axum::http::HeaderMap;

use super::{failure::ApiFailure, options::TenancyOptions};

/// The header that every component of Thanos knows, also as a key of gRPC's metadata.
const DEFAULT_HEADER: &str = "thanos-tenant";
/// Longer names are nobody's.
const MAX_TENANT_BYTES: usize = 1024;

/// The name of a tenant: a plain component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant(pub(crate) String);

impl Tenant {
    /// Finds it in the header of the flag, then in the usual one.
    pub(crate) fn of(headers: &HeaderMap, options: &TenancyOptions) -> Result<Self, ApiFailure> {
        let named = |name: &str| headers.get(name).filter(|value| !value.is_empty());
        let found = named(&options.header).or_else(|| named(DEFAULT_HEADER));
        // A name that cannot be read is not that of somebody else.
        let tenant = found.map_or(Ok(options.default_tenant.as_str()), |value| value.to_str());
        let tenant = tenant.ok().filter(|tenant| is_plain(tenant));
        let tenant = tenant.ok_or_else(|| ApiFailure::bad_data("tenant name not valid"))?;
        Ok(Self(tenant.to_owned()))
    }

    /// What is sent to peers.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        vec![(DEFAULT_HEADER.to_owned(), self.0.clone())]
    }
}

/// Whether it stays what it is when it is taken for the last part of a path.
fn is_plain(tenant: &str) -> bool {
    !tenant.is_empty() && tenant.len() <= MAX_TENANT_BYTES && !tenant.contains('/')
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(headers: &[(&'static str, &str)], header: &str) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let options = TenancyOptions {
            header: header.to_owned(),
            ..TenancyOptions::default()
        };
        let tenant = Tenant::of(&map, &options);
        tenant.map(|tenant| tenant.0).map_err(|failure| failure.message)
    }

    #[test]
    fn the_own_header_comes_before_the_usual_one_and_both_before_the_default() {
        let both = [("x-scope", "a"), ("thanos-tenant", "b")];
        assert_eq!(of(&both, "X-Scope"), Ok("a".to_owned()));
        assert_eq!(of(&both[1..], "X-Scope"), Ok("b".to_owned()));
        assert_eq!(of(&[], "X-Scope"), Ok("default-tenant".to_owned()));
        assert_eq!(of(&[("thanos-tenant", "")], "X"), Ok("default-tenant".to_owned()));
    }

    #[test]
    fn a_tenant_that_cannot_be_read_is_not_the_default_one() {
        let not_valid = Err("tenant name not valid".to_owned());
        assert_eq!(of(&[("thanos-tenant", "é")], "X"), not_valid);
        assert_eq!(of(&[("x", "é"), ("thanos-tenant", "a")], "X"), not_valid);
        assert_eq!(of(&[("x", ""), ("thanos-tenant", "a")], "X"), Ok("a".to_owned()));
    }

    #[test]
    fn a_tenant_is_no_path() {
        for tenant in ["../a", "a/b", "/"] {
            let refused = of(&[("thanos-tenant", tenant)], "X");
            assert_eq!(refused, Err("tenant name not valid".to_owned()), "{tenant}");
        }
        // As in Thanos: these two are their own last part.
        assert_eq!(of(&[("thanos-tenant", "..")], "X"), Ok("..".to_owned()));
    }
}
