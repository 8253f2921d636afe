//! What a process says of itself at `/metrics`.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The page of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Reads it, by hand: one call does not deserve a client.
    pub(crate) async fn of(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(Self(String::from_utf8_lossy(&answer).into_owned()))
    }

    /// The sum over the lines of a metric whose labels contain a text.
    pub(crate) fn sum(&self, name: &str, labels: &str) -> f64 {
        let lines = self.0.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
