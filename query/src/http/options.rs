//! How the HTTP API behaves: what flags say.

use std::{collections::BTreeMap, time::Duration};

use sabre_model::Labels;
use sabre_runtime::{budget::Budget, tls::Subject};

/// What flags say of the HTTP API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// `--web.route-prefix`: empty, or with a leading and without a trailing slash.
    pub route_prefix: String,
    /// `--web.disable-cors`.
    pub disable_cors: bool,
    /// `--query.default-step`, for range queries without a step.
    pub default_step: Duration,
    /// `--query.metadata.default-time-range`; zero for everything.
    pub metadata_range: Duration,
    /// `--query.timeout`, here for what is asked of peers but series.
    pub timeout: Duration,
    /// `--query.replica-label`, here for rules, targets and exemplars.
    pub replica_labels: Vec<String>,
    /// Whether an answer without a peer that fails is better than none.
    pub partial_response: PartialResponse,
    /// Who asks.
    pub tenancy: TenancyOptions,
    /// `--selector-label`.
    pub selector_labels: Labels,
    /// Queries that take longer are logged; `None` for none.
    pub slow_query: Option<Duration>,
    /// Most bytes of answers of peers that are held at once for rules, targets, metadata, exemplars or statistics;
    /// `None` for a quarter of the budget, or 64 MiB if that is more.
    pub max_peer_bytes: Option<usize>,
    /// What long forms and the answers of peers are charged to.
    pub budget: Budget,
    /// All flags and their values, secrets left out.
    pub flags: BTreeMap<String, String>,
    /// The version of the program.
    pub version: String,
}

/// The flags of partial responses of what is no query: those of queries are the evaluator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialResponse {
    /// `--rule.partial-response`.
    pub rules: bool,
    /// `--target.partial-response`.
    pub targets: bool,
    /// `--metric-metadata.partial-response`.
    pub metadata: bool,
    /// `--exemplar.partial-response`.
    pub exemplars: bool,
    /// `--status.partial-response`.
    pub status: bool,
}

/// How the tenant of a request is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenancyOptions {
    /// `--query.tenant-header`.
    pub header: String,
    /// `--query.default-tenant-id`.
    pub default_tenant: String,
    /// `--query.tenant-certificate-field`: the certificate of the client names the tenant, and no header does.
    pub certificate_field: Option<CertificateField>,
    /// `--query.tenant-label-name`, if `--query.enforce-tenancy` is given. The evaluator enforces it on series; here it
    /// is for statistics.
    pub enforced_label: Option<String>,
}

/// A part of the subject of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateField {
    /// `O`.
    Organization,
    /// `OU`.
    OrganizationalUnit,
    /// `CN`.
    CommonName,
}

impl CertificateField {
    /// The field that the flag names.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Organization, Self::OrganizationalUnit, Self::CommonName];
        all.into_iter().find(|field| field.name() == name)
    }

    /// As the flag names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizationalUnit",
            Self::CommonName => "commonName",
        }
    }

    /// What a certificate has there.
    pub(crate) fn of(self, subject: &Subject) -> Option<&str> {
        let value = match self {
            Self::Organization => &subject.organization,
            Self::OrganizationalUnit => &subject.organizational_unit,
            Self::CommonName => &subject.common_name,
        };
        value.as_deref()
    }
}

impl Default for ApiOptions {
    /// As Thanos without flags.
    fn default() -> Self {
        Self {
            route_prefix: String::new(),
            disable_cors: false,
            default_step: Duration::from_secs(1),
            metadata_range: Duration::ZERO,
            timeout: Duration::from_secs(120),
            replica_labels: Vec::new(),
            partial_response: PartialResponse::default(),
            tenancy: TenancyOptions::default(),
            selector_labels: Labels::default(),
            slow_query: None,
            max_peer_bytes: None,
            budget: Budget::unlimited(),
            flags: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Default for PartialResponse {
    fn default() -> Self {
        Self {
            rules: true,
            targets: true,
            metadata: true,
            exemplars: true,
            status: true,
        }
    }
}

impl Default for TenancyOptions {
    fn default() -> Self {
        Self {
            header: "THANOS-TENANT".to_owned(),
            default_tenant: "default-tenant".to_owned(),
            certificate_field: None,
            enforced_label: None,
        }
    }
}
