//! Making the client of the SDK, set up so that every try, pause and deadline is ours.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::SdkError,
};
use tokio::sync::OnceCell;

use super::{
    connector::Connector,
    credentials,
    endpoint::{self, DEFAULT_REGION},
    settings::{Problem, S3Settings},
};

/// How long credentials may take, which for STS is a request to another region.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the region of a bucket may take to find out.
const REGION_TIMEOUT: Duration = Duration::from_secs(20);

/// A client that is made when the region is known.
#[derive(Debug)]
pub(super) struct LazyClient {
    settings: S3Settings,
    connector: Connector,
    client: OnceCell<Client>,
}

impl LazyClient {
    pub(super) fn new(settings: S3Settings, component: &str) -> Result<Self, Problem> {
        let connector = Connector::new(&settings, component)?;
        let known = Some(settings.region.clone()).filter(|region| !region.is_empty());
        let known = known.or_else(|| endpoint::region_of(&settings.endpoint));
        let known = known.or_else(|| {
            let is_asked_for = endpoint::is_global(&settings.endpoint);
            (!is_asked_for).then(|| DEFAULT_REGION.to_owned())
        });
        let client = OnceCell::new_with(known.map(|region| client(&settings, &connector, &region)));
        Ok(Self {
            settings,
            connector,
            client,
        })
    }

    /// The client; the first time it may have to ask where the bucket is.
    pub(super) async fn get(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let region = self.find_region().await;
                client(&self.settings, &self.connector, &region)
            })
            .await
    }

    /// Every answer names the region of the bucket, even a refusal.
    async fn find_region(&self) -> String {
        let anywhere = client(&self.settings, &self.connector, DEFAULT_REGION);
        let request = anywhere.head_bucket().bucket(&self.settings.bucket).send();
        let found = match tokio::time::timeout(REGION_TIMEOUT, request).await {
            Ok(Ok(answer)) => answer.bucket_region,
            Ok(Err(error)) => region_header(&error),
            Err(_) => None,
        };
        let environment = credentials::process_environment();
        let region = found
            .or_else(|| environment("AWS_REGION"))
            .or_else(|| environment("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| DEFAULT_REGION.to_owned());
        tracing::info!(
            bucket = self.settings.bucket,
            region,
            "found the region of the bucket"
        );
        region
    }
}

/// The region that an error answer names.
pub(super) fn region_header<E>(error: &SdkError<E>) -> Option<String> {
    error
        .raw_response()?
        .headers()
        .get("x-amz-bucket-region")
        .map(str::to_owned)
}

fn client(settings: &S3Settings, connector: &Connector, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    let credentials = credentials::provider(settings, region.clone(), credentials::process_environment());
    let (requests, responses) = checksums(settings);
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(connector.clone())
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build())
        .endpoint_url(endpoint::url(settings, region.as_ref()))
        .region(region)
        .force_path_style(endpoint::is_path_style(settings))
        .disable_s3_express_session_auth(true)
        // Tries are counted, paced and logged by us.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .request_checksum_calculation(requests)
        .response_checksum_validation(responses);
    Client::from_conf(config.build())
}

/// Many servers that speak S3 refuse the checksums which AWS wants, or give wrong ones; and an upload that carries
/// an MD5 needs no other.
fn checksums(settings: &S3Settings) -> (RequestChecksumCalculation, ResponseChecksumValidation) {
    use {RequestChecksumCalculation as Requests, ResponseChecksumValidation as Responses};
    match (endpoint::is_aws(&settings.endpoint), settings.send_content_md5) {
        (false, _) => (Requests::WhenRequired, Responses::WhenRequired),
        (true, true) => (Requests::WhenRequired, Responses::WhenSupported),
        (true, false) => (Requests::WhenSupported, Responses::WhenSupported),
    }
}
