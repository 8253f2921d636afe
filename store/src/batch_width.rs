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

/// Bytes of chunks in a batch of a request that has few series and found no memory for more.
const SLIM_BATCH_BYTES: u64 = 256 << 10;

/// Bytes of keys and picks in such a batch.
const SLIM_BATCH_KEY_BYTES: u64 = 64 << 10;

/// A buffer of messages of such a request goes out once it has so many bytes.
const SLIM_FRAME_BYTES: usize = 256 << 10;

/// A buffer of messages goes out once it has so many bytes: the fewer buffers, the fewer system calls and wake-ups.
const FRAME_BYTES: usize = 1 << 20;

/// Most series in the first batch, which is sent as early as can be; later ones are as large as memory allows.
const FIRST_BATCH_SERIES: usize = 64;

/// Series that are merged before other tasks get their turn: some 200 µs.
const STEPS: usize = 1000;

/// Memory of the batches of a request: one that is merged, one that is fetched, one that is encoded, and the frames of
/// the last one on their way out.
pub(crate) const BATCHES_MIN_BYTES: u64 = 4 * (BATCH_BYTES + BATCH_KEY_BYTES);

/// Memory of batches that are wide.
const BATCHES_WIDE_BYTES: u64 = 4 * (WIDE_BATCH_BYTES + WIDE_BATCH_KEY_BYTES);

/// Memory of batches that are slim, and of the frames that are made of them.
pub(crate) const BATCHES_SLIM_BYTES: u64 =
    4 * (SLIM_BATCH_BYTES + SLIM_BATCH_KEY_BYTES) + 2 * SLIM_FRAME_BYTES as u64;

/// Whether batches are wide; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchWidth {
    is_slim: bool,
    is_wide: Arc<AtomicBool>,
}

impl BatchWidth {
    /// Batches of a request that has few series and holds little memory.
    pub(crate) fn slim() -> Self {
        Self {
            is_slim: true,
            is_wide: Arc::default(),
        }
    }

    /// What the request needs besides what it has before batches become wide.
    pub(crate) fn missing_bytes(&self) -> u64 {
        let held_bytes = if self.is_slim {
            BATCHES_SLIM_BYTES
        } else {
            BATCHES_MIN_BYTES
        };
        BATCHES_WIDE_BYTES - held_bytes
    }

    /// How large buffers of messages become before they go out.
    pub(crate) fn frame_bytes(&self) -> usize {
        if self.is_slim {
            SLIM_FRAME_BYTES
        } else {
            FRAME_BYTES
        }
    }

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
        let (fetch_bytes, key_bytes) = match (self.is_wide.load(Ordering::Relaxed), self.is_slim) {
            (true, _) => (WIDE_BATCH_BYTES, WIDE_BATCH_KEY_BYTES),
            (false, false) => (BATCH_BYTES, BATCH_KEY_BYTES),
            (false, true) => (SLIM_BATCH_BYTES, SLIM_BATCH_KEY_BYTES),
        };
        MergeLimits {
            series: usize::MAX,
            fetch_bytes,
            memory_bytes: usize::try_from(key_bytes).unwrap_or(usize::MAX),
            steps: STEPS,
        }
    }
}
