//! Who asks.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, request::Parts},
};
use sabre_runtime::tls::Subject;

use super::{
    HttpApi,
    failure::ApiFailure,
    options::{CertificateField, TenancyOptions},
};

/// The header that every component of Thanos knows, also as a key of gRPC's metadata.
const DEFAULT_HEADER: &str = "thanos-tenant";
/// Longer names are nobody's.
const MAX_TENANT_BYTES: usize = 1024;

/// The name of a tenant: a plain component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant(pub(crate) String);

impl Tenant {
    /// Finds it in the client's certificate if it is to be there, else in the header of the flag, then in the usual one.
    pub(crate) fn of(
        headers: &HeaderMap,
        extensions: &Extensions,
        options: &TenancyOptions,
    ) -> Result<Self, ApiFailure> {
        let tenant = match options.certificate_field {
            Some(field) => Some(of_certificate(extensions, field)?),
            None => of_headers(headers, options),
        };
        let tenant = tenant.filter(|tenant| is_plain(tenant));
        let tenant = tenant.ok_or_else(|| ApiFailure::bad_data("tenant name not valid"))?;
        Ok(Self(tenant.to_owned()))
    }

    /// What is sent to peers.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        vec![(DEFAULT_HEADER.to_owned(), self.0.clone())]
    }
}

/// Before the body of a request is read: whoever must not ask sends none.
impl FromRequestParts<HttpApi> for Tenant {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, api: &HttpApi) -> Result<Self, ApiFailure> {
        Self::of(&parts.headers, &parts.extensions, &api.inner.options.tenancy)
    }
}

fn of_headers<'h>(headers: &'h HeaderMap, options: &'h TenancyOptions) -> Option<&'h str> {
    let named = |name: &str| headers.get(name).filter(|value| !value.is_empty());
    match named(&options.header).or_else(|| named(DEFAULT_HEADER)) {
        // A name that cannot be read is not that of somebody else.
        Some(value) => value.to_str().ok(),
        None => Some(&options.default_tenant),
    }
}

fn of_certificate(extensions: &Extensions, field: CertificateField) -> Result<&str, ApiFailure> {
    let name = field.name();
    let Some(subject) = extensions.get::<Arc<Subject>>() else {
        let text = format!(
            "could not get required certificate field from client cert: the client showed none, and its {name} names the \
             tenant (--query.tenant-certificate-field); see client_auth_type in --http.config"
        );
        return Err(ApiFailure::bad_data(text));
    };
    let value = field.of(subject);
    value.ok_or_else(|| ApiFailure::bad_data(format!("could not get {name} field from client cert")))
}

/// Whether it stays what it is when it is taken for the last part of a path, and can be sent on to peers.
fn is_plain(tenant: &str) -> bool {
    let is_sent = |byte: u8| (b' '..=b'~').contains(&byte);
    !tenant.is_empty()
        && tenant.len() <= MAX_TENANT_BYTES
        && !tenant.contains('/')
        && tenant.bytes().all(is_sent)
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
            default_tenant: "nobody".to_owned(),
            ..TenancyOptions::default()
        };
        let tenant = Tenant::of(&map, &Extensions::new(), &options);
        tenant.map(|tenant| tenant.0).map_err(|failure| failure.message)
    }

    #[test]
    fn the_own_header_comes_before_the_usual_one_and_both_before_the_default() {
        let both = [("x-scope", "a"), ("thanos-tenant", "b")];
        assert_eq!(of(&both, "X-Scope"), Ok("a".to_owned()));
        assert_eq!(of(&both[1..], "X-Scope"), Ok("b".to_owned()));
        assert_eq!(of(&[], "X-Scope"), Ok("nobody".to_owned()));
        assert_eq!(of(&[("thanos-tenant", "")], "X"), Ok("nobody".to_owned()));
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
    #[test]
    fn a_certificate_names_the_tenant_where_it_is_to_and_no_header_does() {
        let mut headers = HeaderMap::new();
        headers.insert("thanos-tenant", HeaderValue::from_static("somebody-else"));
        let of = |field, subject: Option<Subject>| {
            let options = TenancyOptions {
                certificate_field: CertificateField::of_name(field),
                ..TenancyOptions::default()
            };
            assert!(options.certificate_field.is_some(), "{field}");
            let mut extensions = Extensions::new();
            if let Some(subject) = subject {
                extensions.insert(Arc::new(subject));
            }
            let tenant = Tenant::of(&headers, &extensions, &options);
            tenant.map(|tenant| tenant.0).map_err(|failure| {
                assert_eq!(failure.kind, crate::evaluate::FailureKind::BadData);
                failure.message
            })
        };
        let subject = || Subject {
            organization: Some("o".to_owned()),
            organizational_unit: Some("ou".to_owned()),
            common_name: Some("cn".to_owned()),
        };
        for (field, expected) in [
            ("organization", "o"),
            ("organizationalUnit", "ou"),
            ("commonName", "cn"),
        ] {
            assert_eq!(of(field, Some(subject())), Ok(expected.to_owned()));
            let none = of(field, Some(Subject::default())).unwrap_err();
            assert_eq!(none, format!("could not get {field} field from client cert"));
            let none = of(field, None).unwrap_err();
            assert!(none.contains("client_auth_type in --http.config"), "{none}");
        }
        for name in ["", "a/b", "Übersee", "line\nbreak"] {
            let odd = Subject {
                common_name: Some(name.to_owned()),
                ..subject()
            };
            let refused = of("commonName", Some(odd));
            assert_eq!(refused, Err("tenant name not valid".to_owned()), "{name:?}");
        }
    }
}
