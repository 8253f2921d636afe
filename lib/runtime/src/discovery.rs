//! What addresses of servers stand for: names are looked up again and again.

mod dns;

use std::net::{IpAddr, SocketAddr};

pub(crate) use dns::{ResolvConf, parse};

/// Most servers one address may stand for.
const MAX_SERVERS: usize = 4096;

/// How an address is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    /// It is the server.
    None,
    /// `dns+host:port`: the addresses of the host.
    Host,
    /// `dnsdualstack+host:port`: those of both families.
    DualStack,
    /// `dnssrv+name`: the addresses of the hosts of its SRV records.
    Srv,
    /// `dnssrvnoa+name`: the hosts of its SRV records.
    SrvNames,
}

fn split(address: &str) -> Result<(Lookup, &str), String> {
    let Some((kind, name)) = address.split_once('+') else {
        return Ok((Lookup::None, address));
    };
    let lookup = match kind {
        "dns" => Lookup::Host,
        "dnsdualstack" => Lookup::DualStack,
        "dnssrv" => Lookup::Srv,
        "dnssrvnoa" => Lookup::SrvNames,
        other => {
            return Err(format!(
                "{other}+ is no way to look up an address: dns+, dnsdualstack+, dnssrv+ and dnssrvnoa+ are"
            ));
        }
    };
    Ok((lookup, name))
}

/// Whether an address is a name to look up, rather than a server.
pub fn is_looked_up(address: &str) -> bool {
    address.contains('+')
}

/// Checks an address without looking it up.
///
/// # Errors
/// It starts with no known way to look addresses up, or a port is missing.
pub fn check(address: &str) -> Result<(), String> {
    let (lookup, name) = split(address)?;
    let has_port = name
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let needs_port = matches!(lookup, Lookup::None | Lookup::Host | Lookup::DualStack);
    if needs_port && !has_port {
        return Err(format!("{address}: a port is missing, as in host:10901"));
    }
    Ok(())
}

/// Looks an address up as the system does; see [`Resolver::resolve`].
///
/// # Errors
/// As [`Resolver::resolve`].
pub async fn resolve(address: &str) -> Result<Vec<String>, String> {
    Resolver::default().resolve(address).await
}

/// Who looks addresses up: the system, unless name servers are given.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    conf: Option<ResolvConf>,
}

impl Resolver {
    /// Asks these name servers for everything, and adds these domains to short names.
    pub fn asking(servers: Vec<SocketAddr>, search: Vec<String>) -> Self {
        Self {
            conf: Some(ResolvConf::new(servers, search)),
        }
    }

    /// Looks an address up: sorted, each server once. A name that does not exist stands for no server.
    ///
    /// # Errors
    /// Name servers that do not answer: what was known before may still be true.
    pub async fn resolve(&self, address: &str) -> Result<Vec<String>, String> {
        let (lookup, name) = split(address)?;
        let mut servers = match lookup {
            Lookup::None => return Ok(vec![name.to_owned()]),
            Lookup::Host | Lookup::DualStack => {
                let (host, port) = name.rsplit_once(':').ok_or("a port is missing")?;
                self.hosts(host, port, lookup == Lookup::DualStack).await?
            }
            Lookup::Srv | Lookup::SrvNames => {
                let (name, port) = match name.rsplit_once(':') {
                    Some((name, port)) if port.parse::<u16>().is_ok() => (name, Some(port)),
                    _ => (name, None),
                };
                let mut servers = Vec::new();
                let conf = self.conf().await;
                for (target, own_port) in dns::srv(&conf, name).await? {
                    let port = port.map_or_else(|| own_port.to_string(), str::to_owned);
                    if lookup == Lookup::SrvNames {
                        servers.push(format!("{}:{port}", target.trim_end_matches('.')));
                    } else {
                        servers.extend(self.hosts(&target, &port, false).await?);
                    }
                }
                servers
            }
        };
        servers.sort_unstable();
        servers.dedup();
        servers.truncate(MAX_SERVERS);
        Ok(servers)
    }

    async fn conf(&self) -> ResolvConf {
        match &self.conf {
            Some(conf) => conf.clone(),
            None => ResolvConf::of_system().await,
        }
    }

    /// The addresses of a host. Those of version 6 count if there are any, as for Thanos, unless both are wanted: all that
    /// share servers must see the same ones.
    async fn hosts(&self, host: &str, port: &str, both_families: bool) -> Result<Vec<String>, String> {
        let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        let found = self.addresses(host, port).await?;
        let (v6, v4): (Vec<SocketAddr>, Vec<SocketAddr>) = found.into_iter().partition(SocketAddr::is_ipv6);
        let chosen = match (both_families, v6.is_empty()) {
            (true, _) => [v6, v4].concat(),
            (false, true) => v4,
            // The loopback of a machine is not what a fleet shares, and mostly listened to by version 4 only.
            (false, false) if v6.iter().all(|address| address.ip().is_loopback()) && !v4.is_empty() => v4,
            (false, false) => v6,
        };
        Ok(chosen.iter().map(SocketAddr::to_string).collect())
    }

    /// All addresses of a host; none if it does not exist.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let error = match &self.conf {
            Some(_) => String::new(),
            None => match tokio::net::lookup_host((host.trim_end_matches('.'), port)).await {
                Ok(found) => return Ok(found.collect()),
                // It does not tell a name that is not there from a name server that is not.
                Err(error) => format!(": {error}"),
            },
        };
        let found = match host.parse::<IpAddr>() {
            Ok(address) => Ok(vec![address]),
            Err(_) => dns::addresses(&self.conf().await, host).await,
        };
        let found = found.map_err(|cause| format!("{host}{error}: {cause}"))?;
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_addresses_are_taken_as_they_are() {
        assert_eq!(resolve("cache-0:11211").await.unwrap(), ["cache-0:11211"]);
        assert_eq!(resolve("dns+localhost:11211").await.unwrap(), ["127.0.0.1:11211"]);
        assert!(resolve("dns+localhost").await.is_err());
        assert!(resolve("udp+localhost:1").await.unwrap_err().contains("udp+"));
    }

    #[test]
    fn what_cannot_be_an_address_is_said_at_once() {
        assert_eq!(check("dnssrv+_client._tcp.cache"), Ok(()));
        assert_eq!(check("dns+cache:11211"), Ok(()));
        assert!(check("cache").unwrap_err().contains("port"));
        assert!(check("dns+cache").unwrap_err().contains("port"));
        assert!(check("x+cache:1").is_err());
    }
}
