//! How much one `Series` call may answer: `--store.limits.request-series` and `-samples`.

/// Samples that a chunk counts as, whatever it holds.
const SAMPLES_PER_CHUNK: u64 = 120;

/// The limits of a call; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Series.
    pub series: u64,
    /// Samples, counted as 120 a chunk.
    pub samples: u64,
}

/// A limit the answer goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error(
        "failed to send series: limit {limit} violated (got {got}); ask for less, or raise --store.limits.request-series"
    )]
    Series { limit: u64, got: u64 },
    #[error(
        "failed to send samples: limit {limit} violated (got {got}); ask for less, or raise --store.limits.request-samples"
    )]
    Samples { limit: u64, got: u64 },
}

impl Limits {
    /// Whether an answer may have this many series and chunks.
    pub(crate) fn check(&self, series: u64, chunks: u64) -> Result<(), Violation> {
        let samples = chunks.saturating_mul(SAMPLES_PER_CHUNK);
        if self.series > 0 && series > self.series {
            return Err(Violation::Series {
                limit: self.series,
                got: series,
            });
        }
        if self.samples > 0 && samples > self.samples {
            return Err(Violation::Samples {
                limit: self.samples,
                got: samples,
            });
        }
        Ok(())
    }
}

impl Violation {
    /// The label of `thanos_store_selects_dropped_total`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Violation::Series { .. } => "series",
            Violation::Samples { .. } => "chunks",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit_and_the_limit_itself_is_allowed() {
        assert_eq!(Limits::default().check(u64::MAX, u64::MAX), Ok(()));
        let limits = Limits {
            series: 2,
            samples: 240,
        };
        assert_eq!(limits.check(2, 2), Ok(()));
        let violation = limits.check(3, 2).unwrap_err();
        assert!(
            violation
                .to_string()
                .starts_with("failed to send series: limit 2 violated (got 3)")
        );
        assert_eq!(limits.check(2, 3).unwrap_err().reason(), "chunks");
    }
}
