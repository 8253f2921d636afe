//! What an endpoint's name tells: whose it is, which region, and how buckets are named there. Pure.

use super::settings::{LookupType, S3Settings};

/// The region that everybody else than AWS calls theirs.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// The host without its port, in lower case.
fn host(endpoint: &str) -> String {
    let host = match endpoint.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => endpoint,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

pub(super) fn is_aws(endpoint: &str) -> bool {
    let host = host(endpoint);
    let host = host.strip_suffix(".cn").unwrap_or(&host);
    host == "amazonaws.com" || host.ends_with(".amazonaws.com")
}

/// Whether the host serves buckets of all regions, so that it does not tell which one is meant.
pub(super) fn is_global(endpoint: &str) -> bool {
    matches!(
        host(endpoint).as_str(),
        "s3.amazonaws.com" | "s3.dualstack.amazonaws.com"
    )
}

/// The region in the name of a host of AWS: `s3.eu-west-1.amazonaws.com`, `s3-eu-west-1...`, `s3.dualstack...`,
/// `s3-fips...`, `bucket.vpce-0a1b.s3.eu-west-1.vpce.amazonaws.com`.
pub(super) fn region_of(endpoint: &str) -> Option<String> {
    if !is_aws(endpoint) {
        return None;
    }
    let host = host(endpoint);
    let mut labels = host
        .split('.')
        .skip_while(|label| *label != "s3" && !label.starts_with("s3-"));
    let service = labels.next()?;
    let region = match labels.find(|label| *label != "dualstack")? {
        "amazonaws" => service
            .strip_prefix("s3-")
            .filter(|name| !matches!(*name, "fips" | "external-1"))?,
        region => region,
    };
    Some(region.to_owned())
}

/// `https://host:port`, with the region in it if the configured host is the one for all regions.
pub(super) fn url(settings: &S3Settings, region: &str) -> String {
    let scheme = if settings.insecure { "http" } else { "https" };
    let endpoint = &settings.endpoint;
    if is_global(endpoint) && region != DEFAULT_REGION {
        return format!(
            "{scheme}://{}",
            endpoint
                .to_ascii_lowercase()
                .replacen("amazonaws", &format!("{region}.amazonaws"), 1)
        );
    }
    format!("{scheme}://{endpoint}")
}

/// Whether buckets are named in the path, as everybody takes it, or in the host, as AWS wants it.
pub(super) fn is_path_style(settings: &S3Settings) -> bool {
    match settings.bucket_lookup_type {
        LookupType::Path => true,
        LookupType::VirtualHosted => false,
        LookupType::Auto => {
            let host = host(&settings.endpoint);
            let wants_host = is_aws(&settings.endpoint)
                || host == "storage.googleapis.com"
                || host.ends_with(".aliyuncs.com");
            // A certificate for *.host does not cover a.b.host.
            !wants_host || (settings.bucket.contains('.') && !settings.insecure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(bucket: &str, endpoint: &str) -> S3Settings {
        S3Settings {
            bucket: bucket.to_owned(),
            endpoint: endpoint.to_owned(),
            ..S3Settings::default()
        }
    }

    #[test]
    fn regions_are_read_from_hosts_of_aws() {
        for (endpoint, region) in [
            ("s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("S3.EU-WEST-1.amazonaws.com:443", Some("eu-west-1")),
            ("s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3.dualstack.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("s3-fips.dualstack.us-east-2.amazonaws.com", Some("us-east-2")),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            (
                "bucket.vpce-0a1b-2c.s3.eu-central-1.vpce.amazonaws.com",
                Some("eu-central-1"),
            ),
            ("s3.amazonaws.com", None),
            ("s3-external-1.amazonaws.com", None),
            ("s3.eu-west-1.example.com", None),
            ("minio:9000", None),
            ("[::1]:9000", None),
        ] {
            assert_eq!(region_of(endpoint).as_deref(), region, "{endpoint}");
        }
    }

    #[test]
    fn only_the_host_of_all_regions_is_rewritten() {
        let url = |endpoint, region| super::url(&settings("b", endpoint), region);
        assert_eq!(
            url("s3.amazonaws.com", "eu-west-1"),
            "https://s3.eu-west-1.amazonaws.com"
        );
        assert_eq!(url("s3.amazonaws.com", "us-east-1"), "https://s3.amazonaws.com");
        assert_eq!(
            url("s3.eu-west-1.amazonaws.com", "us-east-2"),
            "https://s3.eu-west-1.amazonaws.com"
        );
        let minio = S3Settings {
            insecure: true,
            ..settings("b", "minio:9000")
        };
        assert_eq!(super::url(&minio, "us-east-1"), "http://minio:9000");
    }

    #[test]
    fn buckets_are_in_the_host_for_aws_and_in_the_path_else() {
        for (bucket, endpoint, is_path) in [
            ("b", "s3.eu-west-1.amazonaws.com", false),
            ("b.c", "s3.eu-west-1.amazonaws.com", true),
            ("b", "storage.googleapis.com", false),
            ("b", "oss-eu-central-1.aliyuncs.com", false),
            ("b", "minio.example.com", true),
            ("b", "localhost:9000", true),
            ("b", "10.0.0.1:9000", true),
            ("b", "[::1]:9000", true),
        ] {
            assert_eq!(is_path_style(&settings(bucket, endpoint)), is_path, "{endpoint}");
        }
        let forced = S3Settings {
            bucket_lookup_type: LookupType::VirtualHosted,
            ..settings("b", "minio:9000")
        };
        assert!(!is_path_style(&forced));
        let forced = S3Settings {
            bucket_lookup_type: LookupType::Path,
            ..settings("b", "s3.amazonaws.com")
        };
        assert!(is_path_style(&forced));
    }
}
