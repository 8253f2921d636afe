//! Reads of many keys, batch by batch: how many run at once, and what is noted of each.

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    metrics::{ClientMetrics, Op, Skip},
    remote::Hits,
    wire::WireError,
};

/// Batches of one call that are read at once.
const PARALLEL_BATCHES: usize = 16;

/// The reads of one client.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) name: String,
    turns: Semaphore,
    metrics: ClientMetrics,
}

impl Reads {
    /// At most so many batches run at once, whoever calls; 0 is no limit. `name` says what the cache is for.
    pub(crate) fn new(name: &str, at_once: usize, metrics: ClientMetrics) -> Self {
        let turns = match at_once {
            0 => Semaphore::MAX_PERMITS,
            turns => turns.min(Semaphore::MAX_PERMITS),
        };
        Self {
            name: name.to_owned(),
            turns: Semaphore::new(turns),
            metrics,
        }
    }

    /// What all batches of a call have found.
    pub(crate) async fn all(batches: Vec<BoxFuture<'_, Hits>>) -> Hits {
        let mut all = Hits::new();
        let mut answers = stream::iter(batches).buffer_unordered(PARALLEL_BATCHES);
        while let Some(hits) = answers.next().await {
            all.extend(hits);
        }
        all
    }

    /// One batch, when it is its turn. A server that is left alone, or does not answer, has nothing.
    pub(crate) async fn batch(
        &self,
        server_is_up: bool,
        read: impl AsyncFnOnce() -> Result<Hits, WireError>,
    ) -> Hits {
        if !server_is_up {
            self.metrics.skipped(Op::GetMulti, Skip::ServerDown);
            return Hits::new();
        }
        // The semaphore is never closed.
        let Ok(_turn) = self.turns.acquire().await else {
            return Hits::new();
        };
        self.metrics.begun(Op::GetMulti);
        let started = Instant::now();
        match read().await {
            Ok(hits) => {
                let bytes = hits.values().map(|value: &Bytes| value.len() as u64).sum();
                self.metrics.succeeded(Op::GetMulti, started.elapsed(), bytes);
                hits
            }
            Err(error) => {
                self.metrics.failed(Op::GetMulti, &error);
                let name = self.name.as_str();
                tracing::debug!(name, %error, "a cache did not answer, going on without it");
                Hits::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sabre_runtime::metrics::Registry;

    use super::*;

    fn hits(key: &str) -> Hits {
        Hits::from([(key.to_owned(), Bytes::from_static(b"value"))])
    }

    #[tokio::test]
    async fn batches_are_joined_and_one_that_fails_is_a_miss() {
        let registry = Registry::new();
        let reads = Reads::new("test", 1, ClientMetrics::register(&registry, "redis", "test"));
        let good = |key| reads.batch(true, async move || Ok(hits(key)));
        let bad = reads.batch(true, async || Err(WireError::Refused("no".to_owned())));
        let down = reads.batch(false, async || panic!("a server that is left alone is not asked"));
        let all = Reads::all(vec![
            Box::pin(good("a")),
            Box::pin(bad),
            Box::pin(down),
            Box::pin(good("b")),
        ]);
        let all = all.await;
        let mut keys: Vec<_> = all.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["a", "b"]);
    }
}
