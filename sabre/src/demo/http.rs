//! `GET`, by hand: a few calls do not deserve a client.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A longer answer is none of the demo's.
const MAX_BYTES: u64 = 64 << 20;

/// Returns status and body. By HTTP 1.0, in which bodies come in one piece.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).await?;
    take_apart(&answer).with_context(|| format!("http://{address}{path} gave no answer"))
}

fn take_apart(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end)?;
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.get(4..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_told_apart() {
        let answer = b"HTTP/1.0 503 No\r\nA: b\r\n\r\nNOT OK";
        assert_eq!(take_apart(answer), Some((503, b"NOT OK".to_vec())));
        assert_eq!(take_apart(b"HTTP/1.0 200"), None);
        assert_eq!(take_apart(b""), None);
    }
}
