//! What addresses of servers stand for: names are looked up again and again.

use std::{net::SocketAddr, time::Duration};

use crate::{
    srv,
    wire::{ValueLimits, Wire, WireError},
};

/// Most servers one address may stand for.
const MAX_SERVERS: usize = 4096;

/// Most bytes of the answer of a configuration endpoint.
const MAX_CLUSTER_BYTES: u64 = 256 << 10;

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

/// Checks an address without looking it up.
pub(crate) fn check(address: &str) -> Result<(), String> {
    let (lookup, name) = split(address)?;
    let has_port = name
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let needs_port = matches!(lookup, Lookup::None | Lookup::Host | Lookup::DualStack);
    if needs_port && !has_port {
        return Err(format!("{address}: a port is missing, as in host:11211"));
    }
    Ok(())
}

/// Looks an address up.
pub(crate) async fn resolve(address: &str) -> Result<Vec<String>, String> {
    let (lookup, name) = split(address)?;
    let mut servers = match lookup {
        Lookup::None => return Ok(vec![name.to_owned()]),
        Lookup::Host | Lookup::DualStack => {
            let (host, port) = name.rsplit_once(':').ok_or("a port is missing")?;
            hosts(host, port, lookup == Lookup::DualStack).await?
        }
        Lookup::Srv | Lookup::SrvNames => {
            let (name, port) = match name.rsplit_once(':') {
                Some((name, port)) if port.parse::<u16>().is_ok() => (name, Some(port)),
                _ => (name, None),
            };
            let mut servers = Vec::new();
            let conf = srv::ResolvConf::of_system().await;
            for (target, own_port) in srv::lookup(&conf, name).await? {
                let port = port.map_or_else(|| own_port.to_string(), str::to_owned);
                if lookup == Lookup::SrvNames {
                    servers.push(format!("{}:{port}", target.trim_end_matches('.')));
                } else {
                    servers.extend(hosts(&target, &port, false).await?);
                }
            }
            servers
        }
    };
    servers.truncate(MAX_SERVERS);
    Ok(servers)
}

/// The addresses of a host. Those of version 6 count if there are any, as for Thanos, unless both are wanted: all that
/// share servers must see the same ones.
async fn hosts(host: &str, port: &str, both_families: bool) -> Result<Vec<String>, String> {
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let fail = |error: &dyn std::fmt::Display| format!("{host}: {error}");
    let bare = host.trim_end_matches('.');
    let found = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|error| fail(&error))?;
    let (v6, v4): (Vec<SocketAddr>, Vec<SocketAddr>) = found.partition(SocketAddr::is_ipv6);
    let chosen = match (both_families, v6.is_empty()) {
        (true, _) => [v6, v4].concat(),
        (false, true) => v4,
        // The loopback of a machine is not what a fleet shares, and mostly listened to by version 4 only.
        (false, false) if v6.iter().all(|address| address.ip().is_loopback()) && !v4.is_empty() => v4,
        (false, false) => v6,
    };
    let mut servers: Vec<String> = chosen.iter().map(SocketAddr::to_string).collect();
    servers.sort_unstable();
    servers.dedup();
    Ok(servers)
}

/// Asks a configuration endpoint (of ElastiCache and its kin) which servers its cluster has.
pub(crate) async fn discover(
    endpoint: &str,
    limits: &ValueLimits,
    timeout: Duration,
) -> Result<Vec<String>, WireError> {
    let limits = ValueLimits {
        max_bytes: MAX_CLUSTER_BYTES,
        ..limits.clone()
    };
    let asked = async {
        let mut wire = Wire::connect(endpoint, limits).await?;
        wire.send(b"config get cluster\r\n").await?;
        wire.flush().await?;
        let head = wire.line().await?.to_owned();
        let len = cluster_bytes(&head).ok_or_else(|| WireError::Nonsense(head.clone()))?;
        let Some(body) = wire.value(len).await? else {
            return Err(WireError::Refused("no memory is free".to_owned()));
        };
        nodes(&body).ok_or_else(|| WireError::Nonsense("a cluster that cannot be read".to_owned()))
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(WireError::TimedOut(timeout)),
    }
}

/// The length in `CONFIG cluster 0 <length>`.
fn cluster_bytes(head: &str) -> Option<u64> {
    let mut words = head.split(' ');
    let known = words.next()? == "CONFIG" && words.next()? == "cluster";
    words.next()?;
    let len = words.next()?.parse().ok()?;
    (known && words.next().is_none()).then_some(len)
}

/// A line with a version, then one with `host|ip|port` for each server.
pub(crate) fn nodes(body: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut lines = text.lines();
    lines.next()?.trim().parse::<u64>().ok()?;
    let mut servers = Vec::new();
    for node in lines.next()?.split_whitespace() {
        let mut parts = node.split('|');
        let (host, _address, port) = (parts.next()?, parts.next()?, parts.next()?);
        let port: u16 = port.parse().ok()?;
        if parts.next().is_some() || servers.len() >= MAX_SERVERS {
            return None;
        }
        servers.push(format!("{host}:{port}"));
    }
    Some(servers)
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

    #[test]
    fn clusters_name_their_servers() {
        assert_eq!(cluster_bytes("CONFIG cluster 0 147"), Some(147));
        for bad in [
            "",
            "CONFIG cluster 0",
            "ERROR",
            "CONFIG cluster 0 x",
            "CONFIG cluster 0 1 2",
        ] {
            assert_eq!(cluster_bytes(bad), None, "{bad}");
        }
        let body = b"12\na.example|10.0.0.1|11211 b.example|10.0.0.2|11212\n";
        assert_eq!(nodes(body).unwrap(), ["a.example:11211", "b.example:11212"]);
        for bad in [&b""[..], b"x\n", b"1\n", b"1\na|b\n", b"1\na|b|c\n", b"1\n\xff\n"] {
            assert_eq!(nodes(bad), None);
        }
    }
}
