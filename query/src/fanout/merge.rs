//! Many streams of series as one: a heap of the next series of each, and nothing read ahead of it.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
};

use sabre_model::Labels;
use sabre_proto::thanos::AggrChunk;
use sabre_runtime::budget::{Budget, Reservation};

use super::{
    chunks::arrange,
    stream::{Next, PeerFailure, PeerStream},
};
use crate::source::{SeriesItem, SourceFailure};

/// What comes of all streams together.
#[derive(Debug)]
pub(crate) struct Merge {
    streams: Vec<PeerStream>,
    heads: BinaryHeap<Head>,
    /// Failures and warnings that were not told yet.
    troubles: VecDeque<String>,
    partial: bool,
    budget: Budget,
    /// How many series may still come; `None` for all.
    left: Option<u64>,
    failed: bool,
}

/// The next series of a stream.
#[derive(Debug)]
struct Head {
    labels: Labels,
    chunks: Vec<AggrChunk>,
    stream: usize,
}

impl Merge {
    /// Merges streams whose first items were read already.
    pub(crate) fn new(partial: bool, limit: u64, budget: Budget) -> Self {
        Self {
            streams: Vec::new(),
            heads: BinaryHeap::new(),
            troubles: VecDeque::new(),
            partial,
            budget,
            left: (limit > 0).then_some(limit),
            failed: false,
        }
    }

    /// Adds a stream with what came of it first.
    pub(crate) async fn add(
        &mut self,
        stream: PeerStream,
        first: Result<Next, PeerFailure>,
    ) -> Result<(), SourceFailure> {
        let index = self.streams.len();
        self.streams.push(stream);
        self.take(index, first, None).await
    }

    /// Notes a store that cannot be asked at all.
    pub(crate) fn add_failure(&mut self, address: &str, cause: &str) {
        self.troubles
            .push_back(format!("receive series from {address}: {cause}"));
    }

    /// The next series or warning.
    pub(crate) async fn next(&mut self) -> Result<Option<SeriesItem>, SourceFailure> {
        if self.failed {
            return Ok(None);
        }
        let next = self.advance().await;
        if next.is_err() {
            // What is still under way is of no use to anybody.
            self.failed = true;
            self.streams.clear();
            self.heads.clear();
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<SeriesItem>, SourceFailure> {
        if let Some(trouble) = self.troubles.pop_front() {
            return match self.partial {
                true => Ok(Some(SeriesItem::Warning(trouble))),
                false => Err(SourceFailure::Store(trouble)),
            };
        }
        let head = match self.left {
            Some(0) => None,
            _ => self.heads.pop(),
        };
        let Some(head) = head else {
            self.streams.clear();
            return Ok(None);
        };
        let (labels, chunks) = self.combine(head).await?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        // Whoever insists on all does not want what came before a failure either: it is told with the next call.
        Ok(Some(SeriesItem::Series(labels, chunks)))
    }

    /// Gathers all chunks of the series that is next.
    async fn combine(&mut self, head: Head) -> Result<(Labels, Vec<AggrChunk>), SourceFailure> {
        let Head {
            labels,
            mut chunks,
            stream,
        } = head;
        let mut last = stream;
        let mut repeated: Option<Reservation> = None;
        self.refill(last, &labels).await?;
        while self.heads.peek().is_some_and(|next| next.labels == labels) {
            let Some(next) = self.heads.pop() else { break };
            // Without end a peer may repeat itself; others add what they have once.
            if next.stream == last && !self.charge(&mut repeated, &next) {
                self.drop_stream(
                    last,
                    "repeats one series until the memory of the query is used up",
                );
                continue;
            }
            last = next.stream;
            chunks.extend(next.chunks);
            self.refill(last, &labels).await?;
        }
        arrange(&mut chunks);
        Ok((labels, chunks))
    }

    fn charge(&self, repeated: &mut Option<Reservation>, head: &Head) -> bool {
        let data: usize = head.chunks.iter().map(AggrChunk::data_bytes).sum();
        let bytes = data.saturating_add(head.chunks.len().saturating_mul(size_of::<AggrChunk>()));
        match repeated {
            Some(held) => held.try_grow(bytes as u64),
            None => {
                *repeated = self.budget.try_reserve(bytes as u64);
                repeated.is_some()
            }
        }
    }

    fn drop_stream(&mut self, index: usize, cause: &str) {
        if let Some(stream) = self.streams.get_mut(index) {
            stream.stop();
            let address = std::sync::Arc::clone(stream.address());
            self.add_failure(&address, cause);
        }
    }

    /// Reads the next series of a stream whose last one was `after`.
    async fn refill(&mut self, index: usize, after: &Labels) -> Result<(), SourceFailure> {
        let Some(stream) = self.streams.get_mut(index) else {
            return Ok(());
        };
        let next = stream.next().await;
        self.take(index, next, Some(after)).await
    }

    async fn take(
        &mut self,
        index: usize,
        mut next: Result<Next, PeerFailure>,
        after: Option<&Labels>,
    ) -> Result<(), SourceFailure> {
        loop {
            let Some(stream) = self.streams.get_mut(index) else {
                return Ok(());
            };
            match next {
                Ok(Next::End) => return Ok(()),
                Ok(Next::Series(labels, chunks)) => {
                    if after.is_some_and(|after| labels < *after) {
                        self.drop_stream(index, "series come out of order, the rest is left out");
                        return Ok(());
                    }
                    self.heads.push(Head {
                        labels,
                        chunks,
                        stream: index,
                    });
                    return Ok(());
                }
                Ok(Next::Warning(text)) => {
                    let told = format!("{}: {text}", stream.address());
                    next = stream.next().await;
                    self.troubles.push_back(told);
                }
                Err(PeerFailure::Peer(cause)) => {
                    self.drop_stream(index, &cause);
                    return Ok(());
                }
                Err(PeerFailure::Memory(cause)) => return Err(SourceFailure::Limit(cause)),
                Err(PeerFailure::Deadline) => {
                    let address = stream.address();
                    return Err(SourceFailure::Timeout(format!(
                        "the time for the query was over while {address} was answering"
                    )));
                }
            }
        }
    }
}

impl Ord for Head {
    /// The smallest labels are the greatest for the heap; equal ones come in the order of the streams.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.labels.cmp(&self.labels)).then(other.stream.cmp(&self.stream))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
