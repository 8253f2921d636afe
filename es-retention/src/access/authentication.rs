//! Who we say we are.

use super::{
    AccessError, AccessSettings, AwsSettings, credentials::Signer, endpoint::Endpoint, secret::SecretSource,
    signature::Scope,
};

/// How requests say who sends them.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a transport has one of them")]
pub(super) enum Authentication {
    None,
    Basic {
        username: String,
        password: SecretSource,
    },
    ApiKey(SecretSource),
    Bearer(SecretSource),
    Aws {
        signer: Signer,
        scope: Scope,
    },
}

impl Authentication {
    /// Takes the one that is set; at an endpoint of Amazon's signatures if none is.
    pub(super) fn choose(
        endpoint: &Endpoint,
        region: &str,
        settings: &AccessSettings,
    ) -> Result<Self, AccessError> {
        let api_key = SecretSource::choose(
            "access.api_key_file",
            &settings.api_key,
            settings.api_key_file.as_ref(),
        )?;
        let bearer = SecretSource::choose(
            "access.bearer_token_file",
            &settings.bearer_token,
            settings.bearer_token_file.as_ref(),
        )?;
        let mut ways: Vec<(&'static str, Self)> = Vec::new();
        if settings.anonymous {
            ways.push(("access.anonymous", Self::None));
        }
        if let Some(aws) = &settings.aws {
            ways.push(("access.aws", Self::aws(endpoint, region, aws)?));
        }
        if settings.basic.is_some() {
            ways.push(("access.basic", Self::basic(settings)?));
        }
        ways.extend(api_key.map(|key| ("access.api_key", Self::ApiKey(key))));
        ways.extend(bearer.map(|token| ("access.bearer_token", Self::Bearer(token))));
        let Some((_, way)) = ways.pop() else {
            if endpoint.is_amazon() {
                return Self::aws(endpoint, region, &AwsSettings::default());
            }
            return Ok(Self::None);
        };
        match ways.pop() {
            None => Ok(way),
            Some((key, _)) => Err(AccessError::new(
                key,
                "given beside another way to say who we are; a request has one",
            )),
        }
    }

    fn aws(endpoint: &Endpoint, region: &str, settings: &AwsSettings) -> Result<Self, AccessError> {
        let region = settings.region.as_deref().unwrap_or(region);
        let service = settings.service.unwrap_or_else(|| endpoint.service());
        Ok(Self::Aws {
            signer: Signer::new(region, settings)?,
            scope: Scope {
                service: service.name(),
                region: region.to_owned(),
            },
        })
    }

    fn basic(settings: &AccessSettings) -> Result<Self, AccessError> {
        let basic = settings.basic.clone().unwrap_or_default();
        if basic.username.is_empty() {
            return Err(AccessError::new("access.basic.username", "is missing"));
        }
        if basic.username.contains(':') {
            return Err(AccessError::new(
                "access.basic.username",
                "holds a colon, which ends a name on the wire",
            ));
        }
        let password = SecretSource::choose(
            "access.basic.password_file",
            &basic.password,
            basic.password_file.as_ref(),
        )?;
        let Some(password) = password else {
            return Err(AccessError::new(
                "access.basic",
                "neither password nor password_file is given",
            ));
        };
        Ok(Self::Basic {
            username: basic.username,
            password,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMAZON: &str = "https://vpc-logs.eu-west-1.es.amazonaws.com/";

    fn choose(endpoint: &str, text: &str) -> Result<Authentication, AccessError> {
        let settings = sabre_runtime::yaml::from_str_strict("test", text).unwrap();
        Authentication::choose(&Endpoint::parse(endpoint).unwrap(), "eu-west-1", &settings)
    }

    #[test]
    fn amazon_gets_signatures_and_others_nothing_unless_told() {
        let Authentication::Aws { scope, .. } = choose(AMAZON, "{}").unwrap() else {
            panic!("not signed");
        };
        assert_eq!((scope.service, scope.region.as_str()), ("es", "eu-west-1"));
        assert!(matches!(
            choose("http://h.test", "{}").unwrap(),
            Authentication::None
        ));
        assert!(matches!(
            choose(AMAZON, "anonymous: true").unwrap(),
            Authentication::None
        ));
        assert!(matches!(
            choose(AMAZON, "basic: {username: u, password: p}").unwrap(),
            Authentication::Basic { .. }
        ));
        let Authentication::Aws { scope, .. } =
            choose("https://logs.test", "aws: {service: aoss, region: us-east-1}").unwrap()
        else {
            panic!("not signed");
        };
        assert_eq!((scope.service, scope.region.as_str()), ("aoss", "us-east-1"));
    }

    #[test]
    fn two_ways_at_once_and_halves_are_refused() {
        for (text, key) in [
            ("{aws: {}, api_key: k}", "access.aws"),
            (
                "{basic: {username: u, password: p}, bearer_token: b}",
                "access.basic",
            ),
            ("{anonymous: true, api_key: k}", "access.anonymous"),
            ("basic: {username: u}", "access.basic"),
            ("basic: {password: p}", "access.basic.username"),
            ("basic: {username: 'a:b', password: p}", "access.basic.username"),
            ("bearer_token_file: does-not-exist", "access.bearer_token_file"),
        ] {
            assert_eq!(choose("http://h.test", text).unwrap_err().key, key, "{text}");
        }
    }
}
