//! Blocks that are too young to be planned for.

use std::fmt;

use sabre_block::View;
use sabre_block::filter::{State, fresh_until_ms};
use sabre_model::{duration::format_model, time::format_rfc3339_ms};

/// The blocks that wait for `--consistency-delay`. Who uploads and asks for a plan at once should not have to guess why
/// there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Young {
    /// How many there are.
    blocks: usize,
    /// The delay, in milliseconds.
    delay_ms: i64,
    /// Until when the first of them waits.
    first_until_ms: i64,
}

impl Young {
    /// Those that a sync with this delay left out.
    pub fn of(view: &View, delay_ms: i64) -> Self {
        let young = view
            .known
            .iter()
            .filter(|meta| view.dropped.get(&meta.ulid) == Some(&State::TooFresh));
        let ends: Vec<i64> = young.map(|meta| fresh_until_ms(meta, delay_ms)).collect();
        Self {
            blocks: ends.len(),
            delay_ms,
            first_until_ms: ends.into_iter().min().unwrap_or(0),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }
}

impl fmt::Display for Young {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (delay, until) = (
            format_model(self.delay_ms),
            format_rfc3339_ms(self.first_until_ms),
        );
        match self.blocks {
            1 => write!(
                f,
                "1 block is younger than --consistency-delay ({delay}) and waits until {until}"
            ),
            blocks => write!(
                f,
                "{blocks} blocks are younger than --consistency-delay ({delay}) and wait, the first until {until}"
            ),
        }
    }
}
