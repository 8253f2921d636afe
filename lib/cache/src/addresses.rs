//! Clusters that say themselves which servers they have.

use std::time::Duration;

use crate::wire::{ValueLimits, Wire, WireError};

/// Most servers a cluster may have.
const MAX_SERVERS: usize = 4096;

/// Most bytes of the answer of a configuration endpoint.
const MAX_CLUSTER_BYTES: u64 = 256 << 10;

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
