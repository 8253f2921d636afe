//! Amazon's signature, version 4, over one request as it is sent. Pure: the time is an argument.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};

/// What a signature is for, apart from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// `es` or `aoss`.
    pub service: &'static str,
    /// `eu-west-1`.
    pub region: String,
}

/// What is signed of a request: all that a proxy has no business with. `Content-Length`, `User-Agent`, and what belongs to
/// one connection only are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signable<'a> {
    pub method: &'a str,
    /// The whole address, as it is sent.
    pub url: &'a str,
    /// Names in lower case.
    pub headers: &'a [(&'static str, &'a str)],
    pub body: &'a [u8],
}

/// A header to add, and whether it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SignedHeader {
    pub name: &'static str,
    pub value: String,
}

/// Gives the headers that make the request a signed one: `authorization`, `x-amz-date`, `x-amz-content-sha256`, and
/// `x-amz-security-token` if the credentials have one.
///
/// # Errors
/// A request that is none; the text has no secret.
pub(super) fn headers(
    request: Signable<'_>,
    scope: &Scope,
    credentials: &Credentials,
    since_epoch: Duration,
) -> Result<Vec<SignedHeader>, String> {
    let mut settings = SigningSettings::default();
    // Serverless collections demand it, domains take it.
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(scope.service)
        .time(UNIX_EPOCH + since_epoch)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let signable = SignableRequest::new(
        request.method,
        request.url,
        request.headers.iter().copied(),
        SignableBody::Bytes(request.body),
    )
    .map_err(|error| error.to_string())?;
    let (instructions, _) = sign(signable, &parameters)
        .map_err(|error| error.to_string())?
        .into_parts();
    let (headers, _) = instructions.into_parts();
    let mut signed = Vec::new();
    for header in headers {
        signed.push(SignedHeader {
            name: header.name(),
            value: header.value().to_owned(),
        });
    }
    Ok(signed)
}

impl std::fmt::Debug for SignedHeader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: (secret)", self.name)
    }
}
