//! Listen addresses in Go's style.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::net::{TcpListener, lookup_host};

/// Where a server listens: `:10901`, `[::]:10902`, `127.0.0.1:0`, `localhost:10902`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// Name or IP address; empty for all interfaces, IPv6 and IPv4.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

/// Why a text is not a listen address.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no listen address: {problem}; examples are :10901, 127.0.0.1:10901, [::1]:10901")]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: cannot listen on {address}: {source}")]
pub struct BindError {
    /// The flag that gave the address.
    pub flag: String,
    /// The address.
    pub address: ListenAddress,
    /// What the system said.
    pub source: io::Error,
}

impl ListenAddress {
    /// Listens on the address; `flag` is named in the error.
    ///
    /// # Errors
    /// When the name does not resolve or the port is taken.
    pub async fn bind(&self, flag: &str) -> Result<TcpListener, BindError> {
        let bound = if self.host.is_empty() {
            // One socket on [::] serves both families; a kernel without IPv6 gets IPv4.
            let all_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port));
            match TcpListener::bind(all_v6).await {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await
                }
                bound => bound,
            }
        } else {
            self.bind_host().await
        };
        bound.map_err(|source| BindError {
            flag: flag.to_owned(),
            address: self.clone(),
            source,
        })
    }

    async fn bind_host(&self) -> io::Result<TcpListener> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return TcpListener::bind((ip, self.port)).await;
        }
        // Go listens on the first address of a name and prefers IPv4.
        let mut found: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(found.as_slice()).await
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |problem| AddressError {
            text: text.to_owned(),
            problem,
        };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refuse("the port is missing"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or_else(|| refuse("] is missing"))?;
                // Older operators write [$(POD_IP)]:port whatever the family of the pod's address.
                inner
                    .parse::<IpAddr>()
                    .map_err(|_| refuse("no IP address stands in the brackets"))?;
                inner
            }
            None if host.contains([':', '[', ']']) => return Err(refuse("an IPv6 address needs brackets")),
            None if host.contains(['/', ' ']) => return Err(refuse("it has no scheme and no path")),
            None => host,
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if digits { port.parse().ok() } else { None };
        let port = port.ok_or_else(|| refuse("the port is no number from 0 to 65535"))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_style_addresses_are_read_and_written_back() {
        for (text, host, port) in [
            (":10901", "", 10901),
            ("0.0.0.0:10902", "0.0.0.0", 10902),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::]:10902", "::", 10902),
            ("[10::1]:1", "10::1", 1),
            ("localhost:10902", "localhost", 10902),
            (
                "thanos-0.thanos.monitoring:65535",
                "thanos-0.thanos.monitoring",
                65535,
            ),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn an_ipv4_address_may_stand_in_brackets() {
        let address: ListenAddress = "[10.1.2.3]:10901".parse().unwrap();
        assert_eq!(address.to_string(), "10.1.2.3:10901");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("", "the port is missing"),
            ("10901", "the port is missing"),
            ("localhost", "the port is missing"),
            ("::1:10901", "an IPv6 address needs brackets"),
            ("[::1:10901", "] is missing"),
            ("[$(POD_IP)]:10901", "no IP address stands in the brackets"),
            ("a:65536", "the port is no number"),
            ("a:-1", "the port is no number"),
            ("a:+1", "the port is no number"),
            ("a:http", "the port is no number"),
            ("a:", "the port is no number"),
            ("http://a:80", "an IPv6 address needs brackets"),
            ("a/b:80", "no scheme and no path"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn an_empty_host_listens_for_both_families() {
        let listener = ListenAddress {
            host: String::new(),
            port: 0,
        }
        .bind("grpc-address")
        .await
        .unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let v6 = listener.local_addr().unwrap().is_ipv6();
        assert!(
            !v6 || tokio::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_taken_port_names_flag_and_address() {
        let first = "localhost:0"
            .parse::<ListenAddress>()
            .unwrap()
            .bind("http-address")
            .await
            .unwrap();
        let taken = ListenAddress {
            host: "127.0.0.1".to_owned(),
            port: first.local_addr().unwrap().port(),
        };
        let error = taken.bind("http-address").await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("--http-address: cannot listen on {taken}: ")),
            "{error}"
        );
    }
}
