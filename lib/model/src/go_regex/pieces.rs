//! What the parser holds of an expression that is not read to its end.

use super::syntax::{Flags, Node};

/// A part of an expression with what its limits need.
pub(super) struct Piece {
    pub(super) node: Node,
    /// Levels in it.
    pub(super) height: usize,
    /// The greatest product of counts of repetitions nested in it.
    pub(super) repeats: u32,
}

/// A group that is not closed yet, or the whole.
pub(super) struct Frame {
    /// The alternatives before the last bar.
    pub(super) alternatives: Vec<Piece>,
    /// What came since.
    pub(super) sequence: Vec<Piece>,
    pub(super) capture: bool,
    /// The flags to go back to where the group ends.
    pub(super) flags_before: Flags,
}

impl Frame {
    pub(super) fn new(capture: bool, flags_before: Flags) -> Frame {
        Frame {
            alternatives: Vec::new(),
            sequence: Vec::new(),
            capture,
            flags_before,
        }
    }

    /// What came since the last bar, as one piece.
    pub(super) fn take_sequence(&mut self) -> Piece {
        combine(std::mem::take(&mut self.sequence), Node::Concat)
    }

    /// The whole group as one piece.
    pub(super) fn finish(mut self) -> Piece {
        let last = self.take_sequence();
        self.alternatives.push(last);
        let piece = combine(self.alternatives, Node::Alternate);
        if !self.capture {
            return piece;
        }
        Piece {
            node: Node::Capture(Box::new(piece.node)),
            height: piece.height + 1,
            ..piece
        }
    }
}

/// Makes one piece of several; one alone stays what it is.
fn combine(mut pieces: Vec<Piece>, make: impl Fn(Vec<Node>) -> Node) -> Piece {
    match pieces.pop() {
        None => Piece {
            node: Node::Empty,
            height: 1,
            repeats: 1,
        },
        Some(only) if pieces.is_empty() => only,
        Some(last) => {
            pieces.push(last);
            let height = 1 + pieces.iter().map(|piece| piece.height).max().unwrap_or(0);
            let repeats = pieces.iter().map(|piece| piece.repeats).max().unwrap_or(1);
            Piece {
                node: make(pieces.into_iter().map(|piece| piece.node).collect()),
                height,
                repeats,
            }
        }
    }
}
