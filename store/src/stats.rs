//! What one request touched and fetched.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// A count that many tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// Things of one kind: postings lists, series or chunks.
#[derive(Debug, Default)]
pub(crate) struct DataStats {
    /// Things the request asked for.
    pub(crate) touched: Count,
    /// Bytes of these.
    pub(crate) touched_bytes: Count,
    /// Things read.
    pub(crate) fetched: Count,
    /// Bytes read, those between the things included.
    pub(crate) fetched_bytes: Count,
    /// Requests to the bucket.
    pub(crate) requests: Count,
    /// How long these took, each counted by itself though they run beside each other.
    pub(crate) waited_us: Count,
}

/// What one request touched and fetched.
#[derive(Debug, Default)]
pub(crate) struct RequestStats {
    pub(crate) postings: DataStats,
    pub(crate) series: DataStats,
    pub(crate) chunks: DataStats,
    /// Blocks in which no series matched.
    pub(crate) empty_postings: Count,
    /// Blocks of which postings lists were left out.
    pub(crate) lazy_postings: Count,
    pub(crate) series_refetches: Count,
    pub(crate) chunk_refetches: Count,
    /// Series in the answer.
    pub(crate) merged_series: Count,
}

impl Count {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl DataStats {
    /// Notes that so many things are needed.
    pub(crate) fn touch(&self, things: u64, bytes: u64) {
        self.touched.add(things);
        self.touched_bytes.add(bytes);
    }

    /// Makes so many requests to the bucket and notes how long they took.
    pub(crate) async fn timed<T>(&self, requests: usize, read: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let outcome = read.await;
        self.requests.add(requests as u64);
        self.waited_us
            .add(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        outcome
    }

    /// Notes a read of so many things.
    pub(crate) fn fetch(&self, things: u64, bytes: u64) {
        self.fetched.add(things);
        self.fetched_bytes.add(bytes);
    }
}
