//! What the flags say about planning.

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds between samples of the first downsampled resolution.
pub const RESOLUTION_5M_MS: i64 = 300_000;
/// Milliseconds between samples of the second downsampled resolution.
pub const RESOLUTION_1H_MS: i64 = HOUR_MS;
/// Both of them.
pub(crate) const COARSER_MS: [i64; 2] = [RESOLUTION_5M_MS, RESOLUTION_1H_MS];
/// Time ranges of blocks by compaction level; Thanos' ladder.
pub const RANGES_MS: [i64; 5] = [HOUR_MS, 2 * HOUR_MS, 8 * HOUR_MS, 48 * HOUR_MS, 336 * HOUR_MS];

/// The settings of all planners.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Time ranges of the ladder, ascending, in milliseconds.
    pub ranges_ms: Vec<i64>,
    /// Whether blocks that overlap are merged. Else they are left alone and reported.
    pub vertical: bool,
    /// Whether overlapping blocks of downsampled data can be merged, as only penalty deduplication can.
    pub merges_aggregates: bool,
    /// Bytes that the index of a result may have.
    pub max_index_bytes: u64,
    /// Whether blocks are downsampled.
    pub downsamples: bool,
    /// How long blocks are kept.
    pub retention: RetentionPolicy,
    /// How old a deletion mark must be before its block is deleted, in milliseconds.
    pub delete_delay_ms: i64,
    /// Whether flags leave blocks out, which another compactor may work on.
    pub leaves_blocks_out: bool,
}

/// How long data of each resolution is kept after its block's end, in milliseconds; 0 is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Raw data.
    pub raw_ms: i64,
    /// Data of 5 minutes.
    pub five_minutes_ms: i64,
    /// Data of 1 hour.
    pub one_hour_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ranges_ms: RANGES_MS.to_vec(),
            vertical: false,
            merges_aggregates: false,
            max_index_bytes: 64 << 30,
            downsamples: true,
            retention: RetentionPolicy::default(),
            delete_delay_ms: 48 * HOUR_MS,
            leaves_blocks_out: false,
        }
    }
}

impl RetentionPolicy {
    /// How long blocks of this resolution are kept, in milliseconds; `None` is for ever.
    pub fn of(self, resolution_ms: i64) -> Option<i64> {
        let kept_ms = match resolution_ms {
            0 => self.raw_ms,
            RESOLUTION_5M_MS => self.five_minutes_ms,
            RESOLUTION_1H_MS => self.one_hour_ms,
            _ => 0,
        };
        (kept_ms > 0).then_some(kept_ms)
    }

    /// Whether a block of this resolution that ends at `max_time` is past its time. Thanos cuts the end of the block
    /// to whole seconds.
    pub fn is_expired(self, resolution_ms: i64, max_time: i64, now_ms: i64) -> bool {
        let end_ms = max_time / 1000 * 1000;
        self.of(resolution_ms)
            .is_some_and(|kept_ms| end_ms.saturating_add(kept_ms) < now_ms)
    }
}
