//! The consistency delay: a block counts only when all of it must have become visible.

use sabre_tsdb::meta::BlockMeta;

/// Sources whose blocks count at once: what they replace is still there, and must not count twice.
const EXEMPT_SOURCES: [&str; 3] = ["compactor", "compactor.repair", "bucket.repair"];

/// Whether a block is younger than `delay_ms`. Its age counts from the end of its upload, or, where that is not
/// known, from the creation that its id tells.
pub fn is_too_fresh(meta: &BlockMeta, delay_ms: i64, now_ms: i64) -> bool {
    let source = meta.thanos.as_ref().map_or("", |thanos| thanos.source.as_str());
    if delay_ms <= 0 || EXEMPT_SOURCES.contains(&source) {
        return false;
    }
    now_ms.saturating_sub(age_from_ms(meta)) < delay_ms
}

/// Until when a block of which [`is_too_fresh`] is true waits.
pub fn fresh_until_ms(meta: &BlockMeta, delay_ms: i64) -> i64 {
    age_from_ms(meta).saturating_add(delay_ms)
}

fn age_from_ms(meta: &BlockMeta) -> i64 {
    meta.upload_time_ms().unwrap_or_else(|| meta.ulid.time_ms())
}
