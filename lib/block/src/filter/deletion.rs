//! Deletion marks: a marked block is left out a while before it is deleted.

use sabre_tsdb::meta::DeletionMark;

/// Whether a deletion mark, whose time is in seconds, is older than `delay_ms`: not when it is exactly as old.
pub fn is_expired(mark: &DeletionMark, delay_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(mark.deletion_time_s.saturating_mul(1000)) > delay_ms
}
