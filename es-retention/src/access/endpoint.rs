//! Where a cluster is, and how a path of it is written on the wire.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::{AccessError, settings::AwsService};

const KEY: &str = "es_endpoint";

/// RFC 3986's unreserved characters stay, and what structures a path or a query. `%` stays because what comes in is
/// encoded already.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'%')
    .remove(b'=')
    .remove(b'&');

/// The address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme, host, port, and a prefix of paths without a slash at its end.
    base: Url,
    prefix: String,
}

impl Endpoint {
    /// Reads `https://host[:port][/prefix][/]`.
    pub(super) fn parse(text: &str) -> Result<Self, AccessError> {
        let error = |problem: &str| Err(AccessError::new(KEY, problem));
        let base = match Url::parse(text.trim()) {
            Ok(base) => base,
            // The text is not shown: it may hold a password.
            Err(problem) => return error(&format!("no URL such as https://host/: {problem}")),
        };
        if !matches!(base.scheme(), "http" | "https") {
            return error("begins with neither https:// nor http://");
        }
        if base.host_str().is_none_or(str::is_empty) {
            return error("has no host");
        }
        if !base.username().is_empty() || base.password().is_some() {
            return error("holds a name or a password, which belong into access.basic");
        }
        if base.query().is_some() || base.fragment().is_some() {
            return error("holds a query or a fragment");
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self { base, prefix })
    }

    /// Whether connections are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Whether Amazon's name service answers for it.
    pub(super) fn is_amazon(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default().trim_end_matches('.');
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws"]
            .iter()
            .any(|domain| host.ends_with(domain))
    }

    /// The service that the host's name tells.
    pub(super) fn service(&self) -> AwsService {
        let host = self.base.host_str().unwrap_or_default();
        if self.is_amazon() && host.split('.').any(|label| label == "aoss") {
            AwsService::Aoss
        } else {
            AwsService::Es
        }
    }

    /// The address of a path and a query that are percent-encoded once.
    ///
    /// What is still reserved in them (`*`, `,`) is encoded as well, which changes nothing of what they mean. A signature
    /// covers the path encoded once more; signers and servers agree on that only where nothing reserved is left, because some
    /// of them decode first. All of them agree then.
    ///
    /// # Errors
    /// A path with a segment `.` or `..`, which clients and servers resolve: it would be another path.
    pub(super) fn url(&self, path: &str, query: &str) -> Result<Url, String> {
        let mut url = self.base.clone();
        let path = format!("{}{}", self.prefix, utf8_percent_encode(path, STRICT));
        url.set_path(&path);
        if url.path() != path {
            return Err(format!("{path} is another path on the wire, {}", url.path()));
        }
        let query = utf8_percent_encode(query, STRICT).to_string();
        url.set_query((!query.is_empty()).then_some(query.as_str()));
        Ok(url)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.base.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, path: &str, query: &str) -> String {
        Endpoint::parse(endpoint)
            .unwrap()
            .url(path, query)
            .unwrap()
            .to_string()
    }

    #[test]
    fn with_and_without_the_slash_and_below_a_prefix() {
        for endpoint in ["https://h.test", "https://h.test/", " https://h.test// "] {
            assert_eq!(
                url(endpoint, "/_cat/indices", "h=a"),
                "https://h.test/_cat/indices?h=a"
            );
        }
        assert_eq!(url("http://h.test:9200/es/", "/a", ""), "http://h.test:9200/es/a");
        assert_eq!(url("https://h.test", "/", ""), "https://h.test/");
    }

    #[test]
    fn nothing_reserved_is_left_in_a_path_or_a_query() {
        assert_eq!(
            url("https://h.test", "/log-*,a%2Fb/%C3%A4+(x)'!", "h=a,b*&x=%20c"),
            "https://h.test/log-%2A%2Ca%2Fb/%C3%A4%2B%28x%29%27%21?h=a%2Cb%2A&x=%20c"
        );
    }

    #[test]
    fn a_path_that_would_be_another_on_the_wire_is_refused() {
        let endpoint = Endpoint::parse("https://h.test/es").unwrap();
        for path in ["/a/../b", "/..", "/./a", "/%2e%2e/a"] {
            assert!(endpoint.url(path, "").is_err(), "{path}");
        }
        assert!(endpoint.url("/a..b/.c/d.", "").is_ok());
    }

    #[test]
    fn amazon_is_known_by_its_names() {
        let of = |host: &str| Endpoint::parse(&format!("https://{host}/")).unwrap();
        assert!(of("vpc-logs-abc.eu-west-1.es.amazonaws.com").is_amazon());
        assert!(of("search-logs-abc.cn-north-1.es.amazonaws.com.cn").is_amazon());
        assert!(of("search-logs-abc.aos.eu-west-1.on.aws").is_amazon());
        assert!(!of("amazonaws.com.example.org").is_amazon());
        assert!(!of("logs.example.org").is_amazon());
        assert_eq!(of("x.eu-west-1.es.amazonaws.com").service(), AwsService::Es);
        assert_eq!(of("x.eu-west-1.aoss.amazonaws.com").service(), AwsService::Aoss);
        assert_eq!(of("aoss.example.org").service(), AwsService::Es);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for bad in [
            "",
            "h.test",
            "ftp://h.test/",
            "https://",
            "https://u:canary@h.test/",
            "https://h.test/?x=canary",
            "https://canary h.test/",
        ] {
            let error = Endpoint::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("es_endpoint: "), "{bad}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
