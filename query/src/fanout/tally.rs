//! What one endpoint was asked and gave, added to the account of the query when it is done.

use std::sync::Arc;

use sabre_proto::thanos::{AggrChunk, Chunk};
use tokio::time::Instant;

use crate::source::{Account, EndpointAccount};

/// Counts one call.
#[derive(Debug)]
pub(crate) struct Tally {
    account: Arc<Account>,
    address: Arc<str>,
    counted: EndpointAccount,
    started: Instant,
    finished: bool,
}

impl Tally {
    pub(crate) fn start(account: &Arc<Account>, address: &Arc<str>) -> Self {
        Self {
            account: Arc::clone(account),
            address: Arc::clone(address),
            counted: EndpointAccount {
                requests: 1,
                ..EndpointAccount::default()
            },
            started: Instant::now(),
            finished: false,
        }
    }

    /// Whether nothing came yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.counted.bytes == 0
    }

    pub(crate) fn message(&mut self, bytes: usize) {
        // An empty message is an answer too.
        self.counted.bytes += bytes.max(1) as u64;
    }

    pub(crate) fn series(&mut self, chunks: &[AggrChunk]) {
        self.counted.series += 1;
        self.counted.chunks += chunks.len() as u64;
        self.counted.samples += chunks.iter().map(samples_of).sum::<u64>();
    }

    /// Adds it up; once.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let elapsed = self.started.elapsed().as_micros();
        self.counted.time_us = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let mut endpoints = self.account.endpoints.lock();
        let total = endpoints.entry(self.address.to_string()).or_default();
        total.requests += self.counted.requests;
        total.series += self.counted.series;
        total.chunks += self.counted.chunks;
        total.samples += self.counted.samples;
        total.bytes += self.counted.bytes;
        total.time_us += self.counted.time_us;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The samples in all parts of a chunk.
pub(crate) fn samples_of(chunk: &AggrChunk) -> u64 {
    chunk.parts().into_iter().flatten().map(samples).sum()
}

/// All encodings begin with the number of samples.
fn samples(chunk: &Chunk) -> u64 {
    let count = chunk.data.first_chunk::<2>();
    count.map_or(0, |count| u64::from(u16::from_be_bytes(*count)))
}
