//! Who we are: the keys of the settings, else the first of many places where AWS keeps credentials.

use std::{fmt, sync::Arc, time::SystemTime};

use aws_config::{
    ecs::EcsCredentialsProvider, imds::credentials::ImdsCredentialsProvider,
    meta::credentials::CredentialsProviderChain, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{
        ProvideCredentials, Result as CredentialsResult, SharedCredentialsProvider, error::CredentialsError,
        future,
    },
};
use aws_sdk_s3::config::Region;

use super::settings::S3Settings;

/// Reads an environment variable.
pub(super) type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Keys in the environment, also by the names that older tools use.
struct Environment(Lookup);

/// A token of Kubernetes (IRSA) that STS exchanges for credentials. The token is rotated in its file, so it is read
/// each time.
struct WebIdentity {
    lookup: Lookup,
    sts_endpoint: Option<String>,
    region: Region,
}

/// The environment of this process.
pub(super) fn process_environment() -> Lookup {
    Arc::new(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Chooses where credentials come from. None are loaded before the first request.
///
/// With and without `aws_sdk_auth` the chain is the same: what either of Thanos' chains finds, this one finds.
pub(super) fn provider(settings: &S3Settings, region: Region, lookup: Lookup) -> SharedCredentialsProvider {
    if !settings.access_key.0.is_empty() {
        let token = Some(settings.session_token.0.clone()).filter(|token| !token.is_empty());
        let (key, secret) = (settings.access_key.0.clone(), settings.secret_key.0.clone());
        return SharedCredentialsProvider::new(Credentials::new(key, secret, token, None, "objstore.config"));
    }
    let config = ProviderConfig::without_region().with_region(Some(region.clone()));
    let sts_endpoint = Some(settings.sts_endpoint.as_str()).filter(|endpoint| !endpoint.is_empty());
    let sts_endpoint = sts_endpoint.map(with_scheme);
    let sts_region = lookup("AWS_REGION")
        .or_else(|| lookup("AWS_DEFAULT_REGION"))
        .map_or(region, Region::new);
    let web_identity = WebIdentity {
        lookup: Arc::clone(&lookup),
        sts_endpoint,
        region: sts_region,
    };
    let profile = ProfileFileCredentialsProvider::builder()
        .configure(&config)
        .build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let machine = ImdsCredentialsProvider::builder().configure(&config).build();
    let chain = CredentialsProviderChain::first_try("environment", Environment(lookup))
        .or_else("profile", profile)
        .or_else("web identity", web_identity)
        .or_else("container", container)
        .or_else("instance metadata", machine);
    SharedCredentialsProvider::new(chain)
}

fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("https://{endpoint}")
    }
}

impl Environment {
    fn load(&self) -> CredentialsResult {
        let any = |names: [&str; 2]| names.into_iter().find_map(|name| (self.0)(name));
        let key = any(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]);
        let secret = any(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]);
        match (key, secret) {
            (Some(key), Some(secret)) => Ok(Credentials::new(
                key,
                secret,
                (self.0)("AWS_SESSION_TOKEN"),
                None,
                "environment",
            )),
            (None, None) => Err(CredentialsError::not_loaded("no keys in the environment")),
            _ => Err(CredentialsError::invalid_configuration(
                "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set",
            )),
        }
    }
}

impl WebIdentity {
    async fn load(&self) -> CredentialsResult {
        let (Some(path), Some(role)) = (
            (self.lookup)("AWS_WEB_IDENTITY_TOKEN_FILE"),
            (self.lookup)("AWS_ROLE_ARN"),
        ) else {
            return Err(CredentialsError::not_loaded(
                "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not set",
            ));
        };
        let session = (self.lookup)("AWS_ROLE_SESSION_NAME")
            .unwrap_or_else(|| format!("sabre-{}", sabre_runtime::clock::now_ms()));
        let read_path = path.clone();
        let token = tokio::task::spawn_blocking(move || std::fs::read_to_string(read_path)).await;
        let token = token.map_err(CredentialsError::unhandled)?.map_err(|e| {
            CredentialsError::invalid_configuration(format!(
                "cannot read AWS_WEB_IDENTITY_TOKEN_FILE {path}: {e}"
            ))
        })?;
        let answer = self
            .client()
            .assume_role_with_web_identity()
            .role_arn(&role)
            .role_session_name(session)
            .web_identity_token(token.trim())
            .send()
            .await
            .map_err(|e| {
                let e = aws_sdk_s3::error::DisplayErrorContext(e).to_string();
                CredentialsError::provider_error(format!("STS does not give credentials for {role}: {e}"))
            })?;
        let given = answer.credentials.ok_or_else(|| {
            CredentialsError::unhandled(format!("STS answered without credentials for {role}"))
        })?;
        let expiry = SystemTime::try_from(given.expiration).map_err(CredentialsError::unhandled)?;
        let token = Some(given.session_token);
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            token,
            Some(expiry),
            "web identity",
        ))
    }

    fn client(&self) -> aws_sdk_sts::Client {
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(aws_sdk_sts::config::BehaviorVersion::v2026_01_12())
            .region(self.region.clone());
        config.set_endpoint_url(self.sts_endpoint.clone());
        aws_sdk_sts::Client::from_conf(config.build())
    }
}

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.load())
    }
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity")
            .field("sts_endpoint", &self.sts_endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&'static str, &'static str)]) -> Lookup {
        Arc::new(move |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn settings(text: &str) -> S3Settings {
        sabre_runtime::yaml::from_str_strict("test", text).unwrap()
    }

    async fn load(text: &str, pairs: &'static [(&'static str, &'static str)]) -> CredentialsResult {
        provider(&settings(text), Region::new("eu-west-1"), environment(pairs))
            .provide_credentials()
            .await
    }

    #[tokio::test]
    async fn keys_of_the_settings_come_first() {
        let env = &[("AWS_ACCESS_KEY_ID", "e"), ("AWS_SECRET_ACCESS_KEY", "f")];
        let found = load("access_key: a\nsecret_key: b\nsession_token: c", env)
            .await
            .unwrap();
        assert_eq!(
            (
                found.access_key_id(),
                found.secret_access_key(),
                found.session_token()
            ),
            ("a", "b", Some("c"))
        );
    }

    #[tokio::test]
    async fn then_the_environment_by_either_name() {
        let usual: &[_] = &[
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_SESSION_TOKEN", "c"),
        ];
        let found = load("aws_sdk_auth: true", usual).await.unwrap();
        assert_eq!((found.access_key_id(), found.session_token()), ("a", Some("c")));
        let old: &[_] = &[("AWS_ACCESS_KEY", "a"), ("AWS_SECRET_KEY", "b")];
        let found = load("aws_sdk_auth: false", old).await.unwrap();
        assert_eq!((found.secret_access_key(), found.session_token()), ("b", None));
        let half: &[_] = &[("AWS_ACCESS_KEY_ID", "a")];
        assert!(
            load("bucket: b", half)
                .await
                .unwrap_err()
                .to_string()
                .contains("configured")
        );
    }
}
