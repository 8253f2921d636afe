//! The `access:` part of the configuration.

use std::path::PathBuf;

use sabre_runtime::yaml::null_is_default;
use serde::Deserialize;

use super::Secret;

/// The `access:` part as written. Without any key, endpoints of Amazon's get signed requests, and others get requests that
/// do not say who we are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// Nobody says who we are, not even at an endpoint of Amazon's.
    pub anonymous: bool,
    /// Requests are signed as Amazon's services want it. `aws: {}` signs at any endpoint.
    pub aws: Option<AwsSettings>,
    /// A name and a password.
    pub basic: Option<BasicSettings>,
    /// The encoded form that a cluster gave out: base64 of `id:key`.
    #[serde(deserialize_with = "null_is_default")]
    pub api_key: Secret,
    /// A file with it.
    pub api_key_file: Option<PathBuf>,
    /// A token.
    #[serde(deserialize_with = "null_is_default")]
    pub bearer_token: Secret,
    /// A file with it.
    pub bearer_token_file: Option<PathBuf>,
    /// Certificates.
    #[serde(deserialize_with = "null_is_default")]
    pub tls: TlsSettings,
    /// How long connecting may take, in seconds.
    pub connect_timeout_seconds: u64,
}

/// Whose signatures requests carry. Without keys the first of these has them: the environment, a profile, a role of the
/// service account (IRSA), a role of the pod (Pod Identity), the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsSettings {
    /// The service that is signed for; by default what the endpoint's name says, else `es`.
    pub service: Option<AwsService>,
    /// The region that is signed for; by default that of the cluster.
    pub region: Option<String>,
    /// An access key of its own.
    #[serde(deserialize_with = "null_is_default")]
    pub access_key_id: String,
    /// Its secret.
    #[serde(deserialize_with = "null_is_default")]
    pub secret_access_key: Secret,
    /// The token that temporary keys come with.
    #[serde(deserialize_with = "null_is_default")]
    pub session_token: Secret,
    /// A profile of the shared configuration files; by default `AWS_PROFILE`.
    pub profile: Option<String>,
    /// A role that is assumed with what was found.
    pub role_arn: Option<String>,
    /// What that role wants to be told.
    pub external_id: Option<String>,
}

/// A service of Amazon's that runs clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AwsService {
    /// A domain.
    Es,
    /// A serverless collection.
    Aoss,
}

/// A name and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicSettings {
    /// The name.
    pub username: String,
    /// The password.
    #[serde(deserialize_with = "null_is_default")]
    pub password: Secret,
    /// A file with it.
    pub password_file: Option<PathBuf>,
}

/// Whom we believe, and what we show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Authorities, as PEM, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own, as PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Believes anybody.
    pub insecure_skip_verify: bool,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            anonymous: false,
            aws: None,
            basic: None,
            api_key: Secret::default(),
            api_key_file: None,
            bearer_token: Secret::default(),
            bearer_token_file: None,
            tls: TlsSettings::default(),
            connect_timeout_seconds: 10,
        }
    }
}

impl AwsService {
    /// The name in the scope of a signature.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::Aoss => "aoss",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AccessSettings, String> {
        sabre_runtime::yaml::from_str_strict("test", text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let text = "aws: {service: aoss, region: r, access_key_id: a, secret_access_key: s, session_token: t, \
                    profile: p, role_arn: arn, external_id: x}\nbasic: {username: u, password: p, password_file: f}\n\
                    api_key: k\napi_key_file: f\nbearer_token: b\nbearer_token_file: f\nanonymous: true\n\
                    tls: {ca_file: a, cert_file: b, key_file: c, insecure_skip_verify: true}\n\
                    connect_timeout_seconds: 3\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.aws.unwrap().service, Some(AwsService::Aoss));
        assert_eq!(settings.basic.unwrap().username, "u");
        assert_eq!(settings.connect_timeout_seconds, 3);
    }

    #[test]
    fn an_empty_part_is_the_default_and_an_unknown_key_is_refused() {
        assert_eq!(parse("{}").unwrap(), AccessSettings::default());
        assert_eq!(parse("aws: {}").unwrap().aws, Some(AwsSettings::default()));
        let error = parse("basic: {user: u}").unwrap_err();
        assert!(error.contains("unknown key `user`"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "aws: {access_key_id: a, secret_access_key: canary-1, session_token: canary-2}\n\
                    basic: {username: u, password: canary-3}\napi_key: canary-4\nbearer_token: canary-5\n";
        let shown = format!("{:#?}", parse(text).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
        let error = parse("basic: {username: u, password: [canary-6]}").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }
}
