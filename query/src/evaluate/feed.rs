//! Series on their way from the stores to the threads that evaluate.
//!
//! A task reads the stream of a select and hands on what is ready in one piece; when nobody takes it, the stream is
//! not read. Chunks go through as they came: they are decoded where they are evaluated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use sabre_model::Labels;
use sabre_proto::thanos::AggrChunk;
use sabre_runtime::trace::carried;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ahead::{Opened, Opening};
use super::gate::SelectGate;
use super::ledger::{Charge, Ledger};
use crate::source::{SelectOptions, SelectRequest, SeriesItem, SourceFailure, StoreSource};

/// Most items that are handed on in one piece.
const ITEMS_AT_ONCE: usize = 128;

/// Pieces that wait to be taken.
const PIECES: usize = 2;

/// A series with what it holds of the budget.
#[derive(Debug)]
pub(super) struct FedSeries {
    pub(super) labels: Labels,
    pub(super) chunks: Vec<AggrChunk>,
    pub(super) charge: Charge,
    pub(super) chunk_bytes: u64,
}

#[derive(Debug)]
pub(super) enum Fed {
    Series(FedSeries),
    Warning(String),
}

#[derive(Debug)]
enum Message {
    Piece(Vec<Result<Fed, SourceFailure>>),
    End,
}

/// What a select is made with.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) source: Arc<dyn StoreSource>,
    pub(super) request: SelectRequest,
    pub(super) options: SelectOptions,
    /// Selects that may run at a time.
    pub(super) gate: SelectGate,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cancelled: CancellationToken,
    /// The select itself, if it was foreseen.
    pub(super) opening: Option<Opening>,
    /// What is open ahead of its time is given up if this is not open after so long.
    pub(super) patience: Duration,
}

/// The series of a select, for a thread that may wait.
#[derive(Debug)]
pub(super) struct Feed {
    receiver: mpsc::Receiver<Message>,
    piece: std::vec::IntoIter<Result<Fed, SourceFailure>>,
    ended: bool,
    /// How long was waited.
    pub(super) waited: Duration,
}

impl Select {
    /// Starts to read.
    pub(super) fn start(self, runtime: &tokio::runtime::Handle) -> Feed {
        let (sender, receiver) = mpsc::channel(PIECES);
        let cancelled = self.cancelled.clone();
        runtime.spawn(carried(async move {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = self.run(&sender) => {}
                () = sender.closed() => {}
            }
        }));
        Feed {
            receiver,
            piece: Vec::new().into_iter(),
            ended: false,
            waited: Duration::ZERO,
        }
    }

    async fn run(mut self, sender: &mpsc::Sender<Message>) {
        let foreseen = self.opening.take();
        let Some(Opened {
            stream,
            place: _place,
        }) = self.open(foreseen).await
        else {
            return;
        };
        let mut pieces = match stream {
            Ok(stream) => stream.ready_chunks(ITEMS_AT_ONCE),
            Err(failure) => {
                // Nobody may be there any more to whom it matters.
                let _ = sender.send(Message::Piece(vec![Err(failure)])).await;
                return;
            }
        };
        while let Some(items) = pieces.next().await {
            let piece: Vec<_> = items.into_iter().map(|item| fed(item, &self.ledger)).collect();
            let failed = piece.iter().any(Result::is_err);
            if sender.send(Message::Piece(piece)).await.is_err() || failed {
                return;
            }
        }
        let _ = sender.send(Message::End).await;
    }

    /// Opens the stream; `None` if the query is over.
    async fn open(&self, foreseen: Option<Opening>) -> Option<Opened> {
        let opening = async {
            match foreseen {
                None => self.open_now().await,
                Some(foreseen) => match foreseen.await {
                    Ok(opened) if !matches!(opened.stream, Err(SourceFailure::Limit(_))) => Some(opened),
                    // What had no memory ahead of its time may have some now.
                    _ => self.open_now().await,
                },
            }
        };
        tokio::pin!(opening);
        match tokio::time::timeout(self.patience, &mut opening).await {
            Ok(opened) => opened,
            Err(_elapsed) => {
                self.ledger.ahead().give_up();
                opening.await
            }
        }
    }

    async fn open_now(&self) -> Option<Opened> {
        let place = self.gate.enter().await?;
        let stream = self.source.select(self.request.clone(), self.options.clone());
        Some(Opened {
            stream: stream.await,
            place,
        })
    }
}

fn fed(item: Result<SeriesItem, SourceFailure>, ledger: &Arc<Ledger>) -> Result<Fed, SourceFailure> {
    match item? {
        SeriesItem::Warning(text) => Ok(Fed::Warning(text)),
        SeriesItem::Series(labels, chunks) => {
            let chunk_bytes = chunks.iter().map(AggrChunk::data_bytes).sum::<usize>() as u64;
            let held_bytes = size_of_val(chunks.as_slice()) + labels.heap_bytes();
            let charge = ledger.charge((held_bytes as u64).saturating_add(chunk_bytes));
            Ok(Fed::Series(FedSeries {
                labels,
                chunks,
                charge: charge.map_err(|over| SourceFailure::Limit(ledger.refusal(&over)))?,
                chunk_bytes,
            }))
        }
    }
}

impl Iterator for Feed {
    type Item = Result<Fed, SourceFailure>;

    /// Waits for the next item; must not be called on a thread that runs tasks.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.piece.next() {
                self.ended |= item.is_err();
                return Some(item);
            }
            if self.ended {
                return None;
            }
            let before = Instant::now();
            let message = self.receiver.blocking_recv();
            self.waited += before.elapsed();
            match message {
                Some(Message::Piece(piece)) => self.piece = piece.into_iter(),
                Some(Message::End) => self.ended = true,
                // The task ends without a word only when it was told to.
                None => {
                    self.ended = true;
                    return Some(Err(SourceFailure::Cancelled));
                }
            }
        }
    }
}
