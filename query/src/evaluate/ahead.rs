//! Selects that are opened before the evaluator comes to them, so that stores look for all series of a query at once.
//!
//! What is open and not read holds places and memory at stores. Were queries to wait for one select while they hold
//! others, they could wait for one another for ever. So they do not wait for long: when a select that is wanted now is
//! not open after a while, or memory is short, those that are not wanted yet are given up, and opened in their turn.

use parking_lot::Mutex;
use sabre_model::Matcher;
use sabre_promql::source::SelectHints;
use tokio_util::task::AbortOnDropHandle;

use super::foresight::Foreseen;
use super::gate::SelectPlace;
use crate::source::{SeriesStream, SourceFailure};

/// What came of opening a select. The stream goes before its place does.
pub(super) struct Opened {
    pub(super) stream: Result<SeriesStream, SourceFailure>,
    /// Its place among the selects of the query.
    pub(super) place: SelectPlace,
}

/// A select on its way to the stores; it goes no further when this is dropped.
pub(super) type Opening = AbortOnDropHandle<Opened>;

/// The selects of a query that are not wanted yet.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Vec<(Foreseen, Opening)>>);

impl Ahead {
    /// Keeps a select until it is wanted.
    pub(super) fn keep(&self, foreseen: Foreseen, opening: Opening) {
        self.0.lock().push((foreseen, opening));
    }

    /// Takes one that is wanted now, if it was foreseen.
    pub(super) fn take(&self, matchers: &[Matcher], hints: &SelectHints) -> Option<Opening> {
        let mut kept = self.0.lock();
        let at = kept
            .iter()
            .position(|(foreseen, _)| foreseen.matchers == matchers && foreseen.hints == *hints)?;
        Some(kept.swap_remove(at).1)
    }

    /// Lets go of all that is not wanted yet.
    pub(super) fn give_up(&self) {
        let given_up = std::mem::take(&mut *self.0.lock());
        if !given_up.is_empty() {
            tracing::debug!(
                selects = given_up.len(),
                "selects that were opened ahead are given up"
            );
        }
    }
}
