//! What the errors of the SDK mean.

use std::{error::Error as StdError, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStreamError,
};

use super::client::region_header;
use crate::error::{Error, ErrorKind, Operation};

/// Where an error happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) operation: Operation,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

impl At<'_> {
    pub(super) fn fail(self, kind: ErrorKind, what: impl Into<String>) -> Error {
        Error::new(kind, self.operation, self.bucket, self.key, what)
    }

    /// An error of a request.
    pub(super) fn error<E>(self, error: &SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match error {
            SdkError::TimeoutError(_) => self.fail(ErrorKind::Timeout, "the request took too long"),
            SdkError::ServiceError(service) => self.answer(error, service.err()),
            SdkError::ResponseError(_) => {
                let status = error
                    .raw_response()
                    .map_or(0, |response| response.status().as_u16());
                let what = format!(
                    "HTTP {status} with a body that is no answer of S3: {}",
                    chain(error)
                );
                self.fail(ErrorKind::Unavailable, what)
            }
            _ => self.not_sent(error),
        }
    }

    /// An error while a body was read: the rest of it may be had again.
    pub(super) fn body(self, error: &ByteStreamError) -> Error {
        let what = chain(error);
        let kind = if what.contains("throughput") {
            ErrorKind::Timeout
        } else {
            ErrorKind::Truncated
        };
        self.fail(kind, format!("the body broke off: {what}"))
    }

    /// The request did not reach the server, or its answer did not come.
    fn not_sent<E>(self, error: &SdkError<E>) -> Error
    where
        E: StdError + Send + Sync + 'static,
    {
        let what = chain(error);
        if find::<CredentialsError>(error).is_some() {
            return self.fail(
                ErrorKind::AccessDenied,
                format!("no credentials: {what}; {}", credentials_hint(error)),
            );
        }
        if is_plain_text(&what) {
            let hint = "what answers does not speak TLS: check `endpoint` and its port, and set `insecure: true` if the \
                        server is without TLS";
            let what = format!("no TLS with the server: {what}; {hint}");
            return self.fail(ErrorKind::Unavailable, what).with_little_hope();
        }
        if find::<rustls::Error>(error).is_some() || what.contains("invalid peer certificate") {
            let hint = "if the server's certificate is not signed by a public authority, set \
                        http_config.tls_config.ca_file";
            return self.fail(
                ErrorKind::Invalid,
                format!("no TLS with the server: {what}; {hint}"),
            );
        }
        match error {
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                self.fail(ErrorKind::Timeout, format!("no answer: {what}"))
            }
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                self.fail(ErrorKind::Invalid, format!("the request cannot be sent: {what}"))
            }
            SdkError::DispatchFailure(_) if is_unknown_name(&what) => {
                let what = format!("the server's name is not known: {what}; check the host of `endpoint`");
                self.fail(ErrorKind::Unavailable, what).with_little_hope()
            }
            SdkError::DispatchFailure(_) => {
                self.fail(ErrorKind::Unavailable, format!("no connection: {what}"))
            }
            _ => self.fail(ErrorKind::Invalid, format!("the request cannot be built: {what}")),
        }
    }

    /// The server said no.
    fn answer<E: ProvideErrorMetadata>(self, error: &SdkError<E>, answer: &E) -> Error {
        let raw = error.raw_response();
        let status = raw.map_or(0, |response| response.status().as_u16());
        let header = |name| {
            raw.and_then(|response| response.headers().get(name))
                .unwrap_or_default()
        };
        let code = answer.code().unwrap_or_default();
        let mut what = format!("HTTP {status}");
        for (name, value) in [
            ("", code),
            ("", answer.message().unwrap_or_default()),
            ("request id ", header("x-amz-request-id")),
        ] {
            if !value.is_empty() {
                what.push_str(", ");
                what.push_str(name);
                what.push_str(value);
            }
        }
        let kind = kind(status, code);
        let region = region_header(error);
        if let Some(hint) = hint(self.operation, kind, status, code, region.as_deref()) {
            what.push_str("; ");
            what.push_str(&hint);
        }
        let failure = self.fail(kind, what);
        match header("retry-after").trim().parse() {
            Ok(seconds) => failure.with_retry_after(Duration::from_secs(seconds)),
            Err(_) => failure,
        }
    }
}

/// Whether the first bytes that came over a connection were no TLS.
fn is_plain_text(what: &str) -> bool {
    what.contains("InvalidContentType") || what.contains("corrupt message")
}

/// Whether a name could not be resolved, in the words of the HTTP library.
fn is_unknown_name(what: &str) -> bool {
    what.contains("dns error")
}

/// Codes are looked at first, as servers differ in the status that they give them.
fn kind(status: u16, code: &str) -> ErrorKind {
    match code {
        "NoSuchKey" => ErrorKind::NotFound,
        "AccessDenied"
        | "AllAccessDisabled"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "AccountProblem"
        | "XAdminUserNotFound" => ErrorKind::AccessDenied,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "BandwidthLimitExceeded" => ErrorKind::Throttled,
        "RequestTimeout" => ErrorKind::Timeout,
        // What was sent arrived damaged.
        "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => ErrorKind::Truncated,
        "InternalError" | "ServiceUnavailable" | "OperationAborted" => ErrorKind::Unavailable,
        _ => match status {
            401 | 403 => ErrorKind::AccessDenied,
            408 => ErrorKind::Timeout,
            429 => ErrorKind::Throttled,
            501 => ErrorKind::Invalid,
            500.. => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        },
    }
}

/// What the user can do about it.
fn hint(
    operation: Operation,
    kind: ErrorKind,
    status: u16,
    code: &str,
    region: Option<&str>,
) -> Option<String> {
    let is_redirect = (300..400).contains(&status) || code == "AuthorizationHeaderMalformed";
    if is_redirect {
        return Some(match region {
            Some(region) => format!(
                "the bucket is in region {region}: set `region: {region}` and `endpoint: s3.{region}.amazonaws.com`"
            ),
            None => "the bucket is elsewhere: check `region` and `endpoint`".to_owned(),
        });
    }
    let hint = match (code, kind) {
        ("NoSuchBucket", _) => "check `bucket` and `endpoint`",
        ("", ErrorKind::Invalid) if status == 404 => "that is no answer of S3: check `endpoint`",
        ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => {
            "check `access_key`, or where the credentials come from"
        }
        ("SignatureDoesNotMatch", _) => "check `secret_key`, and `region` if the server has one of its own",
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            "the credentials are temporary and over: check what is to renew them"
        }
        ("RequestTimeTooSkewed", _) => "check the clock of this machine",
        (_, ErrorKind::AccessDenied) => return Some(missing_action(operation)),
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Which action the policies lack if they refuse the operation.
fn missing_action(operation: Operation) -> String {
    let action = match operation {
        Operation::Iter => {
            "s3:ListBucket on the bucket, and s3:ListBucketMultipartUploads for uploads that were left unfinished"
        }
        Operation::Get | Operation::GetRange | Operation::Exists | Operation::Attributes => {
            "s3:GetObject on the key (and s3:ListBucket on the bucket: without it a missing object is refused, too), and \
             kms:Decrypt with the key of the bucket if it has one"
        }
        Operation::Upload => {
            "s3:PutObject and s3:AbortMultipartUpload on the key, and kms:GenerateDataKey and kms:Decrypt with the key of the \
             bucket if it has one"
        }
        Operation::Delete => "s3:DeleteObject on the key",
    };
    format!("check that the policy of the role or user, and that of the bucket, allow {action}")
}

fn credentials_hint(error: &dyn StdError) -> &'static str {
    match find::<CredentialsError>(error) {
        Some(CredentialsError::CredentialsNotLoaded(_)) => {
            "looked for `access_key`, AWS_ACCESS_KEY_ID, a profile, AWS_WEB_IDENTITY_TOKEN_FILE (IRSA), \
             AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity, ECS) and instance metadata"
        }
        _ => "check the service account, its role and its trust policy",
    }
}

fn find<T: StdError + 'static>(error: &dyn StdError) -> Option<&T> {
    let mut cause = error.source();
    while let Some(at) = cause {
        if let Some(found) = at.downcast_ref() {
            return Some(found);
        }
        cause = at.source();
    }
    None
}

/// An error and its causes in one line, without those that only repeat.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(at) = cause {
        let next = at.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = at.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_code_before_the_status() {
        for (status, code, expected) in [
            (404, "NoSuchKey", ErrorKind::NotFound),
            // Whoever answers so need not be S3 at all.
            (404, "", ErrorKind::Invalid),
            (404, "NoSuchBucket", ErrorKind::Invalid),
            (404, "NoSuchUpload", ErrorKind::Invalid),
            (404, "XAdminUserNotFound", ErrorKind::AccessDenied),
            (403, "AccessDenied", ErrorKind::AccessDenied),
            (403, "", ErrorKind::AccessDenied),
            (400, "ExpiredToken", ErrorKind::AccessDenied),
            (503, "SlowDown", ErrorKind::Throttled),
            (429, "", ErrorKind::Throttled),
            (400, "RequestTimeout", ErrorKind::Timeout),
            (400, "BadDigest", ErrorKind::Truncated),
            (500, "InternalError", ErrorKind::Unavailable),
            (502, "", ErrorKind::Unavailable),
            (501, "NotImplemented", ErrorKind::Invalid),
            (301, "PermanentRedirect", ErrorKind::Invalid),
            (400, "InvalidArgument", ErrorKind::Invalid),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn hints_say_what_to_check() {
        let hint = |status, code| {
            let kind = kind(status, code);
            super::hint(Operation::Iter, kind, status, code, Some("eu-west-1")).unwrap()
        };
        assert!(hint(301, "PermanentRedirect").contains("set `region: eu-west-1`"));
        assert!(hint(400, "AuthorizationHeaderMalformed").contains("eu-west-1"));
        assert!(hint(403, "AccessDenied").contains("s3:ListBucket"));
        assert!(hint(403, "SignatureDoesNotMatch").contains("secret_key"));
        assert!(hint(404, "NoSuchBucket").contains("`bucket`"));
    }
    #[test]
    fn credentials_that_lack_one_action_are_told_which() {
        for (operation, action, others) in [
            (
                Operation::Iter,
                "s3:ListBucket ",
                ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            ),
            (
                Operation::Get,
                "s3:GetObject",
                ["s3:ListBucketM", "s3:PutObject", "s3:DeleteObject"],
            ),
            (
                Operation::Attributes,
                "s3:GetObject",
                ["s3:ListBucketM", "s3:PutObject", "s3:DeleteObject"],
            ),
            (
                Operation::Upload,
                "s3:PutObject",
                ["s3:ListBucket", "s3:GetObject", "s3:DeleteObject"],
            ),
            (
                Operation::Delete,
                "s3:DeleteObject",
                ["s3:ListBucket", "s3:GetObject", "s3:PutObject"],
            ),
        ] {
            let hint = hint(operation, ErrorKind::AccessDenied, 403, "AccessDenied", None).unwrap();
            assert!(hint.contains(action), "{operation:?}: {hint}");
            for other in others {
                assert!(!hint.contains(other), "{operation:?}: {hint}");
            }
        }
    }
}
