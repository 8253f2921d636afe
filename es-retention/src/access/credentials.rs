//! Where the keys of signatures come from, and how long they serve.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use aws_config::{BehaviorVersion, Region, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use sabre_runtime::with_causes;
use tokio::sync::{Mutex, OnceCell};

use super::{AccessError, settings::AwsSettings};

/// Keys are fetched anew so long before they expire.
const MARGIN: Duration = Duration::from_secs(60);

/// Who signs. Nothing is loaded before the first request.
pub(super) struct Signer {
    region: String,
    settings: AwsSettings,
    provider: OnceCell<SharedCredentialsProvider>,
    /// One at a time: those who wait for it find fresh ones.
    last: Mutex<Option<Credentials>>,
}

impl Signer {
    /// Checks what can be checked without the network.
    pub(super) fn new(region: &str, settings: &AwsSettings) -> Result<Self, AccessError> {
        let refuse = |key, problem: &str| Err(AccessError::new(key, problem));
        match (
            settings.access_key_id.is_empty(),
            settings.secret_access_key.is_empty(),
        ) {
            (false, true) => {
                return refuse("access.aws.secret_access_key", "is missing beside access_key_id");
            }
            (true, false) => {
                return refuse("access.aws.access_key_id", "is missing beside secret_access_key");
            }
            (true, true) if !settings.session_token.is_empty() => {
                return refuse("access.aws.session_token", "is of no use without access_key_id");
            }
            (false, false) if settings.profile.is_some() => {
                return refuse("access.aws.profile", "is of no use beside access_key_id");
            }
            _ => {}
        }
        if settings.external_id.is_some() && settings.role_arn.is_none() {
            return refuse("access.aws.external_id", "is of no use without role_arn");
        }
        if region.is_empty() {
            return refuse(
                "access.aws.region",
                "no region is given, neither here nor for the cluster",
            );
        }
        Ok(Self {
            region: region.to_owned(),
            settings: settings.clone(),
            provider: OnceCell::new(),
            last: Mutex::new(None),
        })
    }

    /// Keys that are good at this time.
    ///
    /// # Errors
    /// Says where keys were looked for, and what STS or the agent answered; never a key.
    pub(super) async fn credentials(&self, since_epoch: Duration) -> Result<Credentials, String> {
        let mut last = self.last.lock().await;
        if let Some(credentials) = last.as_ref().filter(|found| serves(found, since_epoch)) {
            return Ok(credentials.clone());
        }
        let provider = self.provider.get_or_try_init(|| self.load_provider()).await?;
        let found = provider
            .provide_credentials()
            .await
            .map_err(|error| explained(&error))?;
        *last = Some(found.clone());
        Ok(found)
    }

    /// Makes the next request ask for keys anew: the cluster did not like these.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }

    async fn load_provider(&self) -> Result<SharedCredentialsProvider, String> {
        let settings = &self.settings;
        let mut loader =
            aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new(self.region.clone()));
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if !settings.access_key_id.is_empty() {
            loader = loader.credentials_provider(self.given());
        }
        let config = loader.load().await;
        let Some(role) = &settings.role_arn else {
            return config
                .credentials_provider()
                .ok_or_else(|| "no place to look for credentials".to_owned());
        };
        let mut assumed = AssumeRoleProvider::builder(role)
            .session_name("sabre-es-retention")
            .configure(&config);
        if let Some(id) = &settings.external_id {
            assumed = assumed.external_id(id);
        }
        Ok(SharedCredentialsProvider::new(assumed.build().await))
    }

    fn given(&self) -> Credentials {
        let settings = &self.settings;
        let token = Some(settings.session_token.reveal().to_owned()).filter(|token| !token.is_empty());
        Credentials::new(
            settings.access_key_id.as_str(),
            settings.secret_access_key.reveal(),
            token,
            None,
            "access.aws",
        )
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("region", &self.region)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What went wrong where keys were looked for, and what to look at.
fn explained(error: &CredentialsError) -> String {
    let what = with_causes(error);
    let lower = what.to_lowercase();
    let hint = if lower.contains("imds") || lower.contains("instance metadata") {
        "no keys are given by the configuration, the environment, a profile, a web identity (IRSA) or an agent (EKS Pod Identity), so \
         the metadata service of the machine (IMDS) was asked, the last place there is: on EKS give the service account a role; \
         elsewhere give the machine one, and let containers reach IMDSv2 with a hop limit of 2"
    } else {
        match error {
            CredentialsError::CredentialsNotLoaded(_) => {
                "looked for access.aws, AWS_ACCESS_KEY_ID, a profile, AWS_WEB_IDENTITY_TOKEN_FILE (IRSA), \
                 AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity, ECS) and the metadata service of the machine (IMDS)"
            }
            CredentialsError::ProviderTimedOut(_) => {
                "who gives the keys did not answer in time: check the agent's or STS' address and network policies"
            }
            _ => "check the service account, its role and its trust policy",
        }
    };
    format!("{what}; {hint}")
}

fn serves(credentials: &Credentials, since_epoch: Duration) -> bool {
    credentials.expiry().is_none_or(|expiry| {
        expiry
            .duration_since(UNIX_EPOCH)
            .is_ok_and(|expiry| expiry > since_epoch.saturating_add(MARGIN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(region: &str, text: &str) -> Result<Signer, AccessError> {
        let settings = sabre_runtime::yaml::from_str_strict("test", text).unwrap();
        Signer::new(region, &settings)
    }

    #[test]
    fn keys_that_do_not_fit_together_are_refused() {
        for (text, key) in [
            ("access_key_id: a", "access.aws.secret_access_key"),
            ("secret_access_key: s", "access.aws.access_key_id"),
            ("session_token: t", "access.aws.session_token"),
            (
                "{access_key_id: a, secret_access_key: s, profile: p}",
                "access.aws.profile",
            ),
            ("external_id: x", "access.aws.external_id"),
        ] {
            assert_eq!(signer("r", text).unwrap_err().key, key, "{text}");
        }
        assert_eq!(signer("", "{}").unwrap_err().key, "access.aws.region");
    }

    #[tokio::test]
    async fn given_keys_serve_without_the_network() {
        let text = "{access_key_id: a, secret_access_key: s, session_token: t}";
        let found = signer("r", text)
            .unwrap()
            .credentials(Duration::ZERO)
            .await
            .unwrap();
        let all = (
            found.access_key_id(),
            found.secret_access_key(),
            found.session_token(),
        );
        assert_eq!(all, ("a", "s", Some("t")));
    }

    #[test]
    fn a_place_that_gives_no_keys_is_told_with_what_to_look_at() {
        let told = |error: CredentialsError| explained(&error);
        let machine = told(CredentialsError::provider_error(
            "failed to load IMDS session token",
        ));
        assert!(
            machine.contains("IMDS session token; no keys are given") && machine.contains("hop limit of 2"),
            "{machine}"
        );
        let nowhere = told(CredentialsError::not_loaded("no providers in chain"));
        assert!(
            nowhere.contains("no providers in chain; looked for access.aws, AWS_ACCESS_KEY_ID"),
            "{nowhere}"
        );
        let refused = told(CredentialsError::provider_error("AccessDenied"));
        assert!(refused.ends_with("AccessDenied; check the service account, its role and its trust policy"));
        let late = told(CredentialsError::provider_timed_out(Duration::from_secs(5)));
        assert!(late.contains("did not answer in time"), "{late}");
    }

    #[test]
    fn keys_serve_until_shortly_before_they_expire() {
        let until = |seconds| {
            Credentials::new(
                "a",
                "s",
                None,
                Some(UNIX_EPOCH + Duration::from_secs(seconds)),
                "test",
            )
        };
        assert!(serves(&until(161), Duration::from_secs(100)));
        assert!(!serves(&until(160), Duration::from_secs(100)));
        assert!(!serves(&until(99), Duration::from_secs(100)));
    }
}
