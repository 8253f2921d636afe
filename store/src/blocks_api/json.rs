//! A list of blocks as JSON, piece by piece.

use std::{io, sync::Arc};

use bytes::Bytes;
use sabre_model::time::{UtcTime, format_rfc3339_ms};
use sabre_runtime::budget::{Budget, BudgetError};
use sabre_tsdb::meta::BlockMeta;

use super::{BlockList, PATIENCE};

/// A piece is about so long; a block that is longer makes one of its own.
const PIECE_BYTES: u64 = 32 << 10;

/// Writes an answer from the beginning to the end.
#[derive(Debug)]
pub(super) struct Pages {
    list: BlockList,
    budget: Budget,
    /// How many blocks were written.
    written: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    Blocks,
    Done,
}

/// Counts what is written, and keeps nothing.
#[derive(Debug, Default)]
struct Counter(u64);

impl Pages {
    /// Charges what it writes to `budget`, until it is sent.
    pub(super) fn new(list: BlockList, budget: Budget) -> Self {
        Self {
            list,
            budget,
            written: 0,
            state: State::Begin,
        }
    }

    /// The next piece; `None` behind the last one.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BudgetError> {
        let mut fixed = Vec::new();
        if self.state == State::Done {
            return Ok(None);
        }
        if self.state == State::Begin {
            fixed.extend_from_slice(br#"{"status":"success","data":{"label":"#);
            fixed.extend_from_slice(text(&self.list.label).as_bytes());
            fixed.extend_from_slice(br#","blocks":["#);
            self.state = State::Blocks;
        }
        let (end, bytes) = self.measured();
        let tail = (end == self.list.blocks.len()).then(|| tail(&self.list));
        let tail_bytes = tail.as_ref().map_or(0, String::len);
        let bytes = bytes.saturating_add((fixed.len() + tail_bytes) as u64);
        let memory = self.budget.reserve_within(bytes, PATIENCE).await?;
        let mut out = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        out.append(&mut fixed);
        for meta in self.list.blocks.get(self.written..end).unwrap_or_default() {
            if self.written > 0 {
                out.push(b',');
            }
            self.written += 1;
            // A buffer takes all bytes.
            let _ = meta.write_json_line(&mut out);
        }
        if let Some(tail) = tail {
            out.extend_from_slice(tail.as_bytes());
            self.state = State::Done;
        }
        Ok(Some(memory.attach(out.into())))
    }

    /// Up to which block the next piece goes, and how long these are with the commas before them.
    fn measured(&self) -> (usize, u64) {
        let (mut end, mut all) = (self.written, 0_u64);
        for meta in self.list.blocks.get(self.written..).unwrap_or_default() {
            let with_this = all.saturating_add(length(meta)).saturating_add(1);
            if with_this > PIECE_BYTES && all > 0 {
                break;
            }
            (end, all) = (end + 1, with_this);
        }
        (end, all)
    }
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn length(meta: &Arc<BlockMeta>) -> u64 {
    let mut counter = Counter::default();
    // A counter takes all bytes.
    let _ = meta.write_json_line(&mut counter);
    counter.0
}

fn tail(list: &BlockList) -> String {
    let zero = || UtcTime::ZERO.to_string();
    let refreshed = text(&list.refreshed_ms.map_or_else(zero, format_rfc3339_ms));
    let error = list.error.as_deref().map_or_else(|| "null".to_owned(), text);
    format!(r#"],"refreshedAt":{refreshed},"err":{error}}}}}"#)
}

fn text(plain: &str) -> String {
    serde_json::Value::from(plain).to_string()
}
