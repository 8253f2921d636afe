//! Which series are among a share of all: the hash of the labels decides, the same for every query.

use sabre_model::Labels;
use xxhash_rust::xxh64::xxh64;

/// Whether a series is among the share `ratio` of all; a negative one is the share at the other end.
pub(super) fn is_in_ratio(labels: &Labels, ratio: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    let offset = hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 {
        offset < ratio
    } else {
        offset >= 1.0 + ratio
    }
}

/// XXH64 of names and values, each behind its length: a byte, or 255 and three bytes.
fn hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(labels.heap_bytes() + labels.len() * 2);
    for (name, value) in labels {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < u8::MAX => bytes.push(length),
                _ => {
                    let [low, middle, high, ..] = text.len().to_le_bytes();
                    bytes.extend_from_slice(&[u8::MAX, low, middle, high]);
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(&bytes, 0)
}
