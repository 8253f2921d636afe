//! How large the batches are that a `Series` call fetches and sends.
//!
//! Each batch reads the chunks of a block by one request or few, so the larger it is, the fewer requests a large answer
//! takes; they cost both the bucket and this process more than the bytes do. A small answer has no use for large batches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::merged::MergeLimits;

/// Bytes of chunks in a batch.
const BATCH_BYTES: u64 = 2 << 20;

/// Bytes of keys and picks in a batch.
const BATCH_KEY_BYTES: u64 = 512 << 10;

/// Bytes of chunks in a batch of a large answer, if there is memory for it.
pub(crate) const WIDE_BATCH_BYTES: u64 = 3 << 20;

/// Bytes of keys and picks in such a batch.
const WIDE_BATCH_KEY_BYTES: u64 = 768 << 10;

/// Most series in the first batch, which is sent as early as can be; later ones are as large as memory allows.
const FIRST_BATCH_SERIES: usize = 64;

/// Series that are merged before other tasks get their turn: some 200 µs.
const STEPS: usize = 1000;

/// Memory of the batches of a request: one that is merged, one that is fetched, one that is encoded, and the frames of
/// the last one on their way out.
pub(crate) const BATCHES_MIN_BYTES: u64 = 4 * (BATCH_BYTES + BATCH_KEY_BYTES);

/// What they take besides if they are wide.
pub(crate) const BATCHES_WIDE_BYTES: u64 = 4 * (WIDE_BATCH_BYTES + WIDE_BATCH_KEY_BYTES) - BATCHES_MIN_BYTES;

/// Whether batches are wide; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchWidth {
    is_wide: Arc<AtomicBool>,
}

impl BatchWidth {
    /// Makes the batches wide that are begun from now on.
    pub(crate) fn widen(&self) {
        self.is_wide.store(true, Ordering::Relaxed);
    }

    /// What the first batch may hold.
    pub(crate) fn first_limits(&self) -> MergeLimits {
        MergeLimits {
            series: FIRST_BATCH_SERIES,
            ..self.limits()
        }
    }

    /// What a batch that is begun now may hold.
    pub(crate) fn limits(&self) -> MergeLimits {
        let (fetch_bytes, key_bytes) = match self.is_wide.load(Ordering::Relaxed) {
            true => (WIDE_BATCH_BYTES, WIDE_BATCH_KEY_BYTES),
            false => (BATCH_BYTES, BATCH_KEY_BYTES),
        };
        MergeLimits {
            series: usize::MAX,
            fetch_bytes,
            memory_bytes: usize::try_from(key_bytes).unwrap_or(usize::MAX),
            steps: STEPS,
        }
    }
}
