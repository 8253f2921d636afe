//! The series of one peer: decoded one at a time, in order, and no further than asked for.

use std::{sync::Arc, time::Duration, vec};

use bytes::Bytes;
use sabre_model::{Labels, shard::Shard};
use sabre_proto::thanos::AggrChunk;
use tokio::time::Instant;
use tonic::Status;

use super::{
    messages::Messages,
    tally::Tally,
    wire::{self, Part, WireError},
};

/// What a series takes in memory beside the bytes of its message.
const SERIES_BYTES: usize = 256;

/// Most warnings of one peer that are passed on; more are only counted.
pub(crate) const MAX_WARNINGS: usize = 100;

/// A peer that sends more is taken for one that never ends.
const ENDLESS_WARNINGS: usize = 100_000;

/// A decoded series.
pub(crate) type Decoded = (Labels, Vec<AggrChunk>);

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A series.
    Series(Labels, Vec<AggrChunk>),
    /// Something the peer wants to be told.
    Warning(String),
    /// Nothing any more.
    End,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerFailure {
    /// The peer's fault, or that of the way to it.
    Peer(String),
    /// The time for the whole request is over.
    Deadline,
    /// There is no memory for the answer of anybody.
    Memory(String),
}

/// How the answer of a peer is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Labels that the peer does not take off itself.
    pub(crate) without: Vec<String>,
    /// The series to keep, if the peer does not pick them itself.
    pub(crate) shard: Option<Shard>,
    /// Whether its order cannot be relied on.
    pub(crate) sort: bool,
    /// The longest pause before a message.
    pub(crate) timeout: Option<Duration>,
    /// When all must be done.
    pub(crate) deadline: Option<Instant>,
}

/// The answer of one peer.
#[derive(Debug)]
pub(crate) struct PeerStream {
    address: Arc<str>,
    reading: Reading,
    source: Source,
    batch: Bytes,
    tally: Tally,
    scratch: Vec<u8>,
    /// How many warnings came.
    warnings: usize,
    /// How many of them were neither passed on nor told of.
    untold: usize,
}

#[derive(Debug)]
enum Source {
    Live(Box<Messages>),
    /// All of it, with what it is charged to.
    Sorted(
        vec::IntoIter<Decoded>,
        Vec<String>,
        #[expect(dead_code, reason = "held for its bytes")] Box<Messages>,
    ),
    Ended,
}

impl PeerStream {
    pub(crate) fn new(address: Arc<str>, reading: Reading, messages: Messages, tally: Tally) -> Self {
        Self {
            address,
            reading,
            source: Source::Live(Box::new(messages)),
            batch: Bytes::new(),
            tally,
            scratch: Vec::new(),
            warnings: 0,
            untold: 0,
        }
    }

    /// Who answers.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Whether anything came at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.tally.is_empty()
    }

    /// What comes next.
    ///
    /// # Errors
    /// Nothing comes after one.
    pub(crate) async fn next(&mut self) -> Result<Next, PeerFailure> {
        let next = self.advance().await;
        match &next {
            Ok(Next::End) | Err(_) => self.stop(),
            Ok(_) => {}
        }
        next
    }

    /// Gives up what may still come.
    pub(crate) fn stop(&mut self) {
        self.source = Source::Ended;
        self.batch = Bytes::new();
        self.tally.finish();
    }

    async fn advance(&mut self) -> Result<Next, PeerFailure> {
        if self.reading.sort && matches!(self.source, Source::Live(_)) {
            self.sort().await?;
        }
        match &mut self.source {
            Source::Live(_) => self.read().await,
            Source::Ended => Ok(Next::End),
            Source::Sorted(series, warnings, _) => {
                if let Some(warning) = warnings.pop() {
                    return Ok(Next::Warning(warning));
                }
                let next = series.next();
                Ok(next.map_or(Next::End, |(labels, chunks)| Next::Series(labels, chunks)))
            }
        }
    }

    /// The next series or warning, as they come.
    async fn read(&mut self) -> Result<Next, PeerFailure> {
        loop {
            while let Some(series) = wire::next_of_batch(&mut self.batch).map_err(garbage)? {
                if let Some((labels, chunks)) = self.decode(&series).await? {
                    return Ok(Next::Series(labels, chunks));
                }
            }
            let Some(message) = self.message().await? else {
                return Ok(match std::mem::take(&mut self.untold) {
                    0 => Next::End,
                    untold => Next::Warning(format!("{untold} more warnings")),
                });
            };
            self.tally.message(message.len());
            match wire::part(&message).map_err(garbage)? {
                Part::Series(series) => {
                    if let Some((labels, chunks)) = self.decode(&series).await? {
                        return Ok(Next::Series(labels, chunks));
                    }
                }
                Part::Batch(batch) => self.batch = batch,
                Part::Warning(text) => {
                    if self.count_warning()? {
                        return Ok(Next::Warning(text));
                    }
                }
                Part::Other => {}
            }
        }
    }

    /// Counts a warning and tells whether it is passed on.
    fn count_warning(&mut self) -> Result<bool, PeerFailure> {
        self.warnings = self.warnings.saturating_add(1);
        if self.warnings > ENDLESS_WARNINGS {
            return Err(PeerFailure::Peer("sends warnings without end".to_owned()));
        }
        let is_told = self.warnings <= MAX_WARNINGS;
        self.untold = self.untold.saturating_add(usize::from(!is_told));
        Ok(is_told)
    }

    async fn message(&mut self) -> Result<Option<Bytes>, PeerFailure> {
        let Source::Live(messages) = &mut self.source else {
            return Ok(None);
        };
        within(&self.reading, messages.next()).await
    }

    /// A series, unless it belongs to another shard.
    async fn decode(&mut self, series: &Bytes) -> Result<Option<Decoded>, PeerFailure> {
        let count = wire::count_chunks(series).map_err(garbage)?;
        if !self.reading.sort {
            self.hold(decoded_bytes(series, count)).await?;
        }
        let labels = wire::labels(series, &self.reading.without).map_err(garbage)?;
        if let Some(shard) = &self.reading.shard
            && !shard.holds(labels.iter(), &mut self.scratch)
        {
            return Ok(None);
        }
        let mut chunks = wire::chunks(series, count).map_err(garbage)?;
        if let Source::Live(messages) = &self.source {
            wire::detach(&mut chunks, messages.backing_bytes());
        }
        self.tally.series(&chunks);
        Ok(Some((labels, chunks)))
    }

    /// Makes sure that so many bytes may be held beside what the connection holds.
    async fn hold(&mut self, bytes: usize) -> Result<(), PeerFailure> {
        match &mut self.source {
            Source::Live(messages) => messages.reserve(bytes).await.map_err(|status| failure(&status)),
            Source::Sorted(..) | Source::Ended => Ok(()),
        }
    }

    /// Reads everything and puts it in order.
    async fn sort(&mut self) -> Result<(), PeerFailure> {
        let (mut all, mut warnings, mut held_bytes) = (Vec::new(), Vec::new(), 0_usize);
        loop {
            match self.read().await? {
                Next::Series(labels, chunks) => {
                    let data: usize = chunks.iter().map(AggrChunk::data_bytes).sum();
                    let own = SERIES_BYTES + labels.heap_bytes() + chunks.len() * size_of::<AggrChunk>();
                    held_bytes = held_bytes.saturating_add(own).saturating_add(data);
                    self.hold(held_bytes).await?;
                    all.push((labels, chunks));
                }
                Next::Warning(text) => {
                    held_bytes = held_bytes.saturating_add(text.len()).saturating_add(SERIES_BYTES);
                    self.hold(held_bytes).await?;
                    warnings.push(text);
                }
                Next::End => break,
            }
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        warnings.reverse();
        let source = std::mem::replace(&mut self.source, Source::Ended);
        if let Source::Live(messages) = source {
            self.source = Source::Sorted(all.into_iter(), warnings, messages);
        }
        Ok(())
    }
}

/// Waits for a peer as long as is allowed.
pub(crate) async fn within<T>(
    reading: &Reading,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, PeerFailure> {
    let patience = reading.timeout.map(|timeout| Instant::now() + timeout);
    let until = [patience, reading.deadline].into_iter().flatten().min();
    let Some(until) = until else {
        return answer.await.map_err(|status| failure(&status));
    };
    match tokio::time::timeout_at(until, answer).await {
        // The peer knows how long there is, and may say that it is over before our own clock is asked.
        Ok(Err(_))
            if reading
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline) =>
        {
            Err(PeerFailure::Deadline)
        }
        Ok(answer) => answer.map_err(|status| failure(&status)),
        Err(_) if reading.deadline == Some(until) => Err(PeerFailure::Deadline),
        Err(_) => {
            let waited = reading.timeout.unwrap_or_default();
            Err(PeerFailure::Peer(format!(
                "nothing came for {waited:?}, which is as long as --store.response-timeout allows"
            )))
        }
    }
}

fn decoded_bytes(series: &Bytes, chunks: usize) -> usize {
    let structs = chunks.saturating_mul(size_of::<AggrChunk>());
    series.len().saturating_add(structs).saturating_add(SERIES_BYTES)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn garbage(error: WireError) -> PeerFailure {
    PeerFailure::Peer(error.to_string())
}

/// As gRPC words it, which is what people look for.
fn failure(status: &Status) -> PeerFailure {
    PeerFailure::Peer(status_text(status))
}

/// `rpc error: code = Unavailable desc = ...`.
pub(crate) fn status_text(status: &Status) -> String {
    let code = sabre_runtime::grpc_server::code_name(status.code());
    format!("rpc error: code = {code} desc = {}", status.message())
}
