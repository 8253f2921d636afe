//! Server-side encryption: what requests have to carry.

use std::fmt;

use aws_sdk_s3::types::ServerSideEncryption;
use md5::{Digest, Md5};

use super::settings::{Problem, SseSettings};

/// How objects are encrypted by the server.
#[derive(Clone, Debug)]
pub(super) enum Encryption {
    None,
    /// By a key of S3.
    S3,
    /// By a key of KMS.
    Kms {
        key_id: String,
        context: Option<String>,
    },
    /// By a key that every request carries.
    Customer(CustomerKey),
}

/// A key of ours, as requests carry it.
#[derive(Clone)]
pub(super) struct CustomerKey {
    pub(super) key: String,
    pub(super) md5: String,
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Encryption {
    /// Reads the key's file if there is one.
    pub(super) fn new(settings: &SseSettings) -> Result<Self, Problem> {
        Ok(match settings.r#type.as_str() {
            "SSE-S3" => Self::S3,
            "SSE-KMS" => Self::Kms {
                key_id: settings.kms_key_id.clone(),
                context: context(settings)?,
            },
            "SSE-C" => Self::Customer(customer_key(&settings.encryption_key)?),
            _ => Self::None,
        })
    }

    /// What is named in requests that write.
    pub(super) fn algorithm(&self) -> Option<ServerSideEncryption> {
        match self {
            Self::S3 => Some(ServerSideEncryption::Aes256),
            Self::Kms { .. } => Some(ServerSideEncryption::AwsKms),
            Self::None | Self::Customer(_) => None,
        }
    }

    pub(super) fn kms_key_id(&self) -> Option<String> {
        match self {
            Self::Kms { key_id, .. } => Some(key_id.clone()),
            _ => None,
        }
    }

    pub(super) fn kms_context(&self) -> Option<String> {
        match self {
            Self::Kms { context, .. } => context.clone(),
            _ => None,
        }
    }

    /// The algorithm, the key and its digest, which are named in requests that write and in those that read.
    pub(super) fn customer(&self) -> (Option<String>, Option<String>, Option<String>) {
        match self {
            Self::Customer(key) => (
                Some("AES256".to_owned()),
                Some(key.key.clone()),
                Some(key.md5.clone()),
            ),
            _ => (None, None, None),
        }
    }
}

fn context(settings: &SseSettings) -> Result<Option<String>, Problem> {
    if settings.kms_encryption_context.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_string(&settings.kms_encryption_context)
        .map_err(|e| ("sse_config.kms_encryption_context", e.to_string()))?;
    Ok(Some(aws_smithy_types::base64::encode(json)))
}

fn customer_key(path: &str) -> Result<CustomerKey, Problem> {
    let problem = |what: String| ("sse_config.encryption_key", what);
    let key = std::fs::read(path).map_err(|e| problem(format!("cannot read {path}: {e}")))?;
    if key.len() != 32 {
        return Err(problem(format!(
            "{path} has {} bytes, a key of 32 bytes is wanted",
            key.len()
        )));
    }
    let md5 = aws_smithy_types::base64::encode(Md5::digest(&key));
    Ok(CustomerKey {
        key: aws_smithy_types::base64::encode(&key),
        md5,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(r#type: &str) -> SseSettings {
        SseSettings {
            r#type: r#type.to_owned(),
            ..SseSettings::default()
        }
    }

    #[test]
    fn the_context_travels_as_json_in_base64() {
        let mut kms = settings("SSE-KMS");
        kms.kms_encryption_context = [("a".to_owned(), "b".to_owned())].into();
        assert_eq!(
            Encryption::new(&kms).unwrap().kms_context().unwrap(),
            "eyJhIjoiYiJ9"
        );
        assert_eq!(
            Encryption::new(&settings("SSE-S3")).unwrap().algorithm(),
            Some(ServerSideEncryption::Aes256)
        );
        assert_eq!(Encryption::new(&settings("")).unwrap().algorithm(), None);
    }

    #[test]
    fn a_key_of_ours_has_32_bytes_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut customer = settings("SSE-C");
        customer.encryption_key = file.path().display().to_string();
        assert!(Encryption::new(&customer).unwrap_err().1.contains("0 bytes"));
        std::fs::write(file.path(), [b'k'; 32]).unwrap();
        let encryption = Encryption::new(&customer).unwrap();
        let (algorithm, key, md5) = encryption.customer();
        assert_eq!(algorithm.unwrap(), "AES256");
        assert_eq!(md5.unwrap(), "mT2HRsMGJ5IX5C+0rreZ8Q==");
        assert!(!format!("{encryption:?}").contains(&key.unwrap()));
        customer.encryption_key = "/nonexistent/key".to_owned();
        assert!(
            Encryption::new(&customer)
                .unwrap_err()
                .1
                .contains("/nonexistent/key")
        );
    }
}
