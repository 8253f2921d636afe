//! Ended spans on their way to the collector: a queue of limited length, and a task that empties it in batches.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::{OtlpConfig, RetryConfig},
    encode::{self, Resource},
    post::{Failure, Post},
    span::Record,
};
use crate::metrics::{Counter, Counters, Registry};

/// Spans that may wait; each has at most a few KiB.
const QUEUE_SPANS: usize = 2_048;
/// Spans of one export.
const BATCH_SPANS: usize = 512;
/// How long a span waits for company.
const PAUSE: Duration = Duration::from_secs(5);
/// Without `retry_config`: the first pause, the longest, and when an export is given up.
const RETRY: (Duration, Duration, Duration) = (
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
);

/// The way to the exporter. Clones lead to the same.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Item>,
    dropped: Counter,
    /// Cancelled when the process is about to end.
    ending: CancellationToken,
}

#[derive(Debug)]
enum Item {
    Span(Box<Record>),
    /// Answered once everything before it is gone.
    Flush(oneshot::Sender<()>),
}

/// The task. It ends with the last sender.
struct Exporter {
    receiver: mpsc::Receiver<Item>,
    post: Post,
    resource: Resource,
    retry: (Duration, Duration, Duration),
    exported: Counter,
    failed: Counter,
    ending: CancellationToken,
}

/// Begins to export.
pub(super) fn start(post: Post, config: &OtlpConfig, registry: &Registry) -> Queue {
    let (sender, receiver) = mpsc::channel(QUEUE_SPANS);
    let dropped: Counters<1> = registry.counters(
        "sabre_trace_spans_dropped_total",
        "Spans that were not exported: the queue was full, or the collector did not take them",
        ["reason"],
    );
    let ending = CancellationToken::new();
    let exporter = Exporter {
        receiver,
        post,
        resource: encode::resource(&config.service_name, &config.resource_attributes),
        retry: patience(&config.retry_config),
        exported: registry.counter(
            "sabre_trace_spans_exported_total",
            "Spans that the collector took",
        ),
        failed: dropped.with(["collector"]),
        ending: ending.clone(),
    };
    tokio::spawn(exporter.run());
    Queue {
        sender,
        dropped: dropped.with(["queue"]),
        ending,
    }
}

/// Between two tries, whatever is asked for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

fn patience(config: &RetryConfig) -> (Duration, Duration, Duration) {
    let (first, longest, whole) = RETRY;
    if !config.retry_enabled {
        return RETRY;
    }
    (
        config.retry_initial_interval.unwrap_or(first).max(SHORTEST_PAUSE),
        config.retry_max_interval.unwrap_or(longest).max(SHORTEST_PAUSE),
        config.retry_max_elapsed_time.unwrap_or(whole),
    )
}

impl Queue {
    /// Adds a span, or drops it if there is no place.
    pub(super) fn push(&self, record: Record) {
        if self.sender.try_send(Item::Span(Box::new(record))).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until everything before is gone.
    pub(super) async fn flush(&self) {
        let (done, gone) = oneshot::channel();
        if self.sender.send(Item::Flush(done)).await.is_ok() {
            // An exporter that has ended has nothing left.
            let _ = gone.await;
        }
    }

    /// The same for the last time: from here on each export is tried once, and not again.
    pub(super) async fn flush_last(&self) {
        self.ending.cancel();
        self.flush().await;
    }
}

impl Exporter {
    async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            let (batch, flushed) = self.gather(first).await;
            if !batch.is_empty() {
                self.export(batch).await;
            }
            if let Some(flushed) = flushed {
                // Who asked may have gone.
                let _ = flushed.send(());
            }
        }
    }

    /// A batch: full, or as much as came within a few seconds, or until someone waits for it.
    async fn gather(&mut self, first: Item) -> (Vec<Record>, Option<oneshot::Sender<()>>) {
        let until = Instant::now() + PAUSE;
        let mut batch = Vec::new();
        let mut next = Some(first);
        loop {
            match next {
                Some(Item::Span(record)) => batch.push(*record),
                Some(Item::Flush(done)) => return (batch, Some(done)),
                None => return (batch, None),
            }
            if batch.len() >= BATCH_SPANS {
                return (batch, None);
            }
            next = match tokio::time::timeout_at(until, self.receiver.recv()).await {
                Ok(next) => next,
                Err(_elapsed) => return (batch, None),
            };
        }
    }

    /// Sends a batch, again and again as long as that makes sense.
    async fn export(&mut self, batch: Vec<Record>) {
        let count = batch.len() as u64;
        let body = self.post.body(encode::request(&self.resource, batch));
        let (mut pause, longest, whole) = self.retry;
        let give_up = Instant::now() + whole;
        loop {
            let is_last = self.ending.is_cancelled();
            let failure = match self.post.send(&body).await {
                Ok(()) => {
                    self.exported.inc_by(count);
                    return;
                }
                Err(failure) => failure,
            };
            let goes_on = Instant::now()
                .checked_add(pause)
                .is_some_and(|next| next < give_up);
            let (Failure::Final(problem) | Failure::Passing(problem)) = &failure;
            if matches!(failure, Failure::Final(_)) || !goes_on || is_last {
                tracing::warn!(
                    problem,
                    spans = count,
                    "the collector took no traces, they are dropped"
                );
                self.failed.inc_by(count);
                return;
            }
            tracing::debug!(
                problem,
                ?pause,
                "the collector took no traces, they are sent again"
            );
            // At the end there is no time to wait, and one more try.
            drop(tokio::time::timeout(pause, self.ending.cancelled()).await);
            pause = pause.saturating_mul(2).min(longest);
        }
    }
}
