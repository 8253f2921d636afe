//! Limits of one request on what it touches and downloads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A limit of a request was exceeded; the answer is `ResourceExhausted`, in Thanos' words with the flag behind them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "exceeded {what} limit{when}: limit {limit} violated (got {asked}); narrow the request, or raise {flag}"
)]
pub struct LimitExceeded {
    /// What is limited, as in the metric's label: `series`, `chunks` or `bytes`.
    pub what: &'static str,
    /// What was about to be done, with a space before it; often nothing.
    pub when: &'static str,
    /// How much the request came to when it was stopped.
    pub asked: u64,
    /// How much is allowed.
    pub limit: u64,
    /// The flag that sets the limit.
    pub flag: &'static str,
}

/// One counter of a request.
#[derive(Debug)]
struct Limit {
    what: &'static str,
    flag: &'static str,
    /// Zero for no limit.
    limit: u64,
    used: AtomicU64,
}

/// The limits of one request, or of one attempt to answer it.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    settings: LimitSettings,
    series: Limit,
    chunks: Limit,
    bytes: Arc<Limit>,
}

/// What the flags allow every request; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Series of all blocks together, by `--store.limits.request-series`.
    pub series: u64,
    /// Samples, by `--store.limits.request-samples`; a chunk counts as 120.
    pub samples: u64,
    /// Bytes asked of the bucket, by `--store.grpc.downloaded-bytes-limit`.
    pub downloaded_bytes: u64,
}

/// What bytes are fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    Postings,
    Series,
    Chunks,
}

/// Samples a chunk is counted as.
const SAMPLES_PER_CHUNK: u64 = 120;

impl RequestLimits {
    /// Fresh counters.
    pub(crate) fn new(settings: LimitSettings) -> Self {
        // Fewer samples than one chunk still are a limit.
        let chunks = match settings.samples {
            0 => 0,
            samples => (samples / SAMPLES_PER_CHUNK).max(1),
        };
        Self {
            settings,
            series: Limit::new("series", "--store.limits.request-series", settings.series),
            chunks: Limit::new(
                "chunks",
                "--store.limits.request-samples (120 samples a chunk)",
                chunks,
            ),
            bytes: Arc::new(Limit::new(
                "bytes",
                "--store.grpc.downloaded-bytes-limit",
                settings.downloaded_bytes,
            )),
        }
    }

    /// For another attempt at the same request: series and chunks are selected anew, and what was downloaded was.
    pub(crate) fn again(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            ..Self::new(self.settings)
        }
    }

    /// Counts selected series.
    pub(crate) fn series(&self, count: u64) -> Result<(), LimitExceeded> {
        self.series.add(count)
    }

    /// Counts chunks to send.
    pub(crate) fn chunks(&self, count: u64) -> Result<(), LimitExceeded> {
        self.chunks.add(count)
    }

    /// Counts bytes about to be fetched, or found in a cache.
    pub(crate) fn bytes(&self, of: Fetching, count: u64) -> Result<(), LimitExceeded> {
        self.bytes.add(count).map_err(|exceeded| LimitExceeded {
            when: match of {
                Fetching::Postings => " while fetching postings",
                Fetching::Series => " while fetching series",
                Fetching::Chunks => " while fetching chunks",
            },
            ..exceeded
        })
    }
}

impl Limit {
    fn new(what: &'static str, flag: &'static str, limit: u64) -> Self {
        Self {
            what,
            flag,
            limit,
            used: AtomicU64::new(0),
        }
    }

    fn add(&self, count: u64) -> Result<(), LimitExceeded> {
        if self.limit == 0 {
            return Ok(());
        }
        let asked = self
            .used
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        if asked <= self.limit {
            return Ok(());
        }
        Err(LimitExceeded {
            what: self.what,
            when: "",
            asked,
            limit: self.limit,
            flag: self.flag,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit() {
        let limits = RequestLimits::new(LimitSettings::default());
        assert_eq!(limits.series(u64::MAX), Ok(()));
        assert_eq!(limits.chunks(u64::MAX), Ok(()));
        assert_eq!(limits.bytes(Fetching::Series, u64::MAX), Ok(()));
    }

    #[test]
    fn bytes_say_what_they_are_of() {
        let limits = RequestLimits::new(LimitSettings {
            downloaded_bytes: 10,
            ..LimitSettings::default()
        });
        let error = limits.bytes(Fetching::Chunks, 12).unwrap_err().to_string();
        assert!(
            error.starts_with("exceeded bytes limit while fetching chunks: limit 10 violated (got 12)"),
            "{error}"
        );
    }

    #[test]
    fn what_is_exceeded_is_named_with_its_flag() {
        let limits = RequestLimits::new(LimitSettings {
            series: 10,
            ..LimitSettings::default()
        });
        assert_eq!(limits.series(10), Ok(()));
        let error = limits.series(5).unwrap_err();
        assert_eq!((error.asked, error.limit), (15, 10));
        assert!(
            error.to_string().contains("--store.limits.request-series"),
            "{error}"
        );
    }

    #[test]
    fn another_attempt_selects_anew_and_has_what_is_left_of_the_bytes() {
        let limits = RequestLimits::new(LimitSettings {
            series: 10,
            samples: 1200,
            downloaded_bytes: 10,
        });
        assert_eq!(limits.series(8), Ok(()));
        assert_eq!(limits.chunks(8), Ok(()));
        assert_eq!(limits.bytes(Fetching::Series, 8), Ok(()));
        let again = limits.again();
        assert_eq!(again.series(8), Ok(()));
        assert_eq!(again.chunks(8), Ok(()));
        assert!(again.bytes(Fetching::Series, 8).is_err());
    }

    #[test]
    fn samples_are_counted_by_chunks_of_120() {
        let limits = RequestLimits::new(LimitSettings {
            samples: 240,
            ..LimitSettings::default()
        });
        assert_eq!(limits.chunks(2), Ok(()));
        assert!(limits.chunks(1).is_err());
        let limits = RequestLimits::new(LimitSettings {
            samples: 1,
            ..LimitSettings::default()
        });
        assert_eq!(limits.chunks(1), Ok(()));
    }
}
