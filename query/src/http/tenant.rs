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
        let named = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.filter(|value| !value.is_empty())
        };
        let found = named(&options.header).or_else(|| named(DEFAULT_HEADER));
        let tenant = found.unwrap_or(&options.default_tenant);
        if !is_plain(tenant) {
            return Err(ApiFailure::bad_data("tenant name not valid"));
        }
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
    use super::*;

    fn of(headers: &[(&'static str, &str)], header: &str) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
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
    fn a_tenant_is_no_path() {
        for tenant in ["../a", "a/b", "/"] {
            let refused = of(&[("thanos-tenant", tenant)], "X");
            assert_eq!(refused, Err("tenant name not valid".to_owned()), "{tenant}");
        }
        // As in Thanos: these two are their own last part.
        assert_eq!(of(&[("thanos-tenant", "..")], "X"), Ok("..".to_owned()));
    }
}
