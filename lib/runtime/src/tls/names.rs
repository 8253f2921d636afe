//! Go's names of what rustls calls otherwise: versions, cipher suites, curves.

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        SupportedKxGroup,
        aws_lc_rs::{cipher_suite, kx_group},
    },
};

use super::pem::SettingError;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// What a name of Go stands for here.
enum Known<T> {
    Spoken(T),
    /// Go knows it, and nobody should use it any more, or the library does not speak it.
    NotSpoken,
}

/// What is left of a list, and the names in it that are not spoken here.
#[derive(Debug)]
pub(crate) struct Chosen<T> {
    pub(crate) spoken: Vec<T>,
    pub(crate) left_out: Vec<String>,
}

impl Version {
    /// As flags (`1.2`) and web configurations (`TLS12`) name it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.trim_start_matches("TLS") {
            "1.0" | "10" => Some(Self::Tls10),
            "1.1" | "11" => Some(Self::Tls11),
            "1.2" | "12" => Some(Self::Tls12),
            "1.3" | "13" => Some(Self::Tls13),
            _ => None,
        }
    }

    /// The versions from `min` to `max` that are spoken.
    pub(crate) fn range(min: Self, max: Self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [
            (Self::Tls13, &rustls::version::TLS13),
            (Self::Tls12, &rustls::version::TLS12),
        ];
        let wanted = all.iter().filter(|(version, _)| (min..=max).contains(version));
        wanted.map(|(_, version)| *version).collect()
    }
}

/// The cipher suites that a list names, in its order. It is about TLS 1.2; those of 1.3 are all there, as in Go.
///
/// # Errors
/// A name that Go does not know.
pub(crate) fn suites(
    setting: &'static str,
    names: &[String],
) -> Result<Chosen<SupportedCipherSuite>, SettingError> {
    choose(setting, names, "a cipher suite", suite, SUITES)
}

/// The curves that a list names, in its order.
///
/// # Errors
/// A name that Go does not know.
pub(crate) fn curves(
    setting: &'static str,
    names: &[String],
) -> Result<Chosen<&'static dyn SupportedKxGroup>, SettingError> {
    choose(setting, names, "a curve", curve, "X25519, CurveP256, CurveP384")
}

const SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, \
                      TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
                      TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

fn choose<T>(
    setting: &'static str,
    names: &[String],
    what: &str,
    known: fn(&str) -> Option<Known<T>>,
    spoken_names: &str,
) -> Result<Chosen<T>, SettingError> {
    let mut chosen = Chosen {
        spoken: Vec::new(),
        left_out: Vec::new(),
    };
    for name in names {
        match known(name) {
            Some(Known::Spoken(item)) => chosen.spoken.push(item),
            Some(Known::NotSpoken) => chosen.left_out.push(name.clone()),
            None => {
                let problem = format!("{name:?} is not {what}; there are {spoken_names}");
                return Err(SettingError::new(setting, problem));
            }
        }
    }
    Ok(chosen)
}

fn suite(name: &str) -> Option<Known<SupportedCipherSuite>> {
    let suite = match name {
        "TLS_AES_128_GCM_SHA256" => cipher_suite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => cipher_suite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        // RC4, 3DES, CBC, or RSA for the exchange of keys.
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
        | "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"
        | "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
        | "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"
        | "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"
        | "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
        | "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"
        | "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"
        | "TLS_ECDHE_RSA_WITH_RC4_128_SHA"
        | "TLS_RSA_WITH_3DES_EDE_CBC_SHA"
        | "TLS_RSA_WITH_AES_128_CBC_SHA"
        | "TLS_RSA_WITH_AES_128_CBC_SHA256"
        | "TLS_RSA_WITH_AES_128_GCM_SHA256"
        | "TLS_RSA_WITH_AES_256_CBC_SHA"
        | "TLS_RSA_WITH_AES_256_GCM_SHA384"
        | "TLS_RSA_WITH_RC4_128_SHA" => return Some(Known::NotSpoken),
        _ => return None,
    };
    Some(Known::Spoken(suite))
}

fn curve(name: &str) -> Option<Known<&'static dyn SupportedKxGroup>> {
    match name {
        "X25519" => Some(Known::Spoken(kx_group::X25519)),
        "CurveP256" => Some(Known::Spoken(kx_group::SECP256R1)),
        "CurveP384" => Some(Known::Spoken(kx_group::SECP384R1)),
        "CurveP521" => Some(Known::NotSpoken),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_go_are_known_and_others_are_refused_with_those_there_are() {
        let names = [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
        ];
        let chosen = suites("ciphers", &names.map(str::to_owned)).unwrap();
        assert_eq!(
            chosen.spoken,
            [cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        );
        assert_eq!(chosen.left_out, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
        let error = suites("ciphers", &["TLS_INVENTED".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("ciphers: \"TLS_INVENTED\" is not a cipher suite; there are TLS_"),
            "{error}"
        );
        let chosen = curves("curves", &["CurveP521", "CurveP384", "X25519"].map(str::to_owned)).unwrap();
        let spoken: Vec<_> = chosen.spoken.iter().map(|group| group.name()).collect();
        assert_eq!(
            spoken,
            [rustls::NamedGroup::secp384r1, rustls::NamedGroup::X25519]
        );
        assert_eq!(chosen.left_out, ["CurveP521"]);
        assert!(curves("curves", &["secp256r1".to_owned()]).is_err());
    }

    #[test]
    fn versions_older_than_1_2_are_not_spoken() {
        let version = |name| Version::from_name(name).unwrap();
        assert_eq!(Version::range(version("TLS10"), version("1.3")).len(), 2);
        assert_eq!(
            Version::range(version("1.3"), version("TLS13")),
            [&rustls::version::TLS13]
        );
        assert!(Version::range(version("1.0"), version("TLS11")).is_empty());
        assert_eq!(Version::from_name("TLS14"), None);
    }
}
