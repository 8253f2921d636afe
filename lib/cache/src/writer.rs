//! Writes to a cache from a bounded queue: whoever writes never waits.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sabre_runtime::budget::Budget;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    breaker::Breaker,
    config::BreakerConfig,
    metrics::{ClientMetrics, Op, Skip},
    wire::WireError,
};

/// Most tasks that write, whatever the document says.
const MAX_WRITERS: usize = 256;

/// Most writes that wait, whatever the document says.
const MAX_WAITING: usize = 1 << 20;

/// Writes one value.
#[async_trait]
pub(crate) trait Set: Send + Sync + fmt::Debug {
    async fn set(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), WireError>;
}

#[derive(Debug)]
struct Write {
    key: String,
    /// Charged until it is written.
    value: Bytes,
    ttl: Duration,
}

/// A queue and the tasks that empty it; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Write>,
    budget: Budget,
    max_item_bytes: u64,
    metrics: ClientMetrics,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// How much may wait, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriterOptions {
    pub(crate) waiting: usize,
    pub(crate) writers: usize,
    /// Zero for no limit.
    pub(crate) max_item_bytes: u64,
    pub(crate) breaker: BreakerConfig,
}

impl Writer {
    /// Starts the tasks. Must be called where tokio runs.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "every task gets a clone, nobody keeps the first"
    )]
    pub(crate) fn start(
        set: Arc<dyn Set>,
        options: WriterOptions,
        budget: Budget,
        metrics: ClientMetrics,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(options.waiting.clamp(1, MAX_WAITING));
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        let breaker = Arc::new(Mutex::new(Breaker::new(options.breaker)));
        let work = || {
            let work = write_all(
                Arc::clone(&set),
                Arc::clone(&waiting),
                Arc::clone(&breaker),
                metrics.clone(),
            );
            AbortOnDropHandle::new(tokio::spawn(work))
        };
        let writers = options.writers.clamp(1, MAX_WRITERS);
        Self {
            queue,
            budget,
            max_item_bytes: options.max_item_bytes,
            _tasks: std::iter::repeat_with(work).take(writers).collect(),
            metrics,
        }
    }

    /// Queues a write, if there is room and memory for it.
    pub(crate) fn add(&self, key: String, value: &Bytes, ttl: Duration) {
        let bytes = value.len() as u64;
        if self.max_item_bytes > 0 && bytes > self.max_item_bytes {
            self.metrics.skipped(Op::Set, Skip::MaxItemSize);
            return;
        }
        // A value may be a small piece of a large buffer, which must not be kept for it.
        let room = self.budget.try_reserve(bytes + key.len() as u64);
        let Some(room) = room else {
            self.metrics.skipped(Op::Set, Skip::BufferFull);
            return;
        };
        let value = room.attach(Bytes::copy_from_slice(value));
        if self.queue.try_send(Write { key, value, ttl }).is_err() {
            self.metrics.skipped(Op::Set, Skip::BufferFull);
        }
    }
}

async fn write_all(
    set: Arc<dyn Set>,
    waiting: Arc<tokio::sync::Mutex<mpsc::Receiver<Write>>>,
    breaker: Arc<Mutex<Breaker>>,
    metrics: ClientMetrics,
) {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(Write { key, value, ttl }) = next else {
            return;
        };
        if !breaker.lock().allows(Instant::now()) {
            metrics.skipped(Op::Set, Skip::BreakerOpen);
            continue;
        }
        metrics.begun(Op::Set);
        let started = Instant::now();
        let outcome = set.set(&key, &value, ttl).await;
        breaker.lock().ended(outcome.is_ok(), Instant::now());
        match outcome {
            Ok(()) => metrics.succeeded(Op::Set, started.elapsed(), value.len() as u64),
            Err(error) => {
                metrics.failed(Op::Set, &error);
                tracing::debug!(key, size_bytes = value.len(), %error, "a value could not be cached");
            }
        }
    }
}
