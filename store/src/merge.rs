//! A tree of losers: the smallest head of many sorted streams, with one comparison per level of the tree.

/// Which of `k` streams has the smallest head. The heads live with the caller, who answers `less(a, b)`: whether the
/// head of stream `a` goes before that of stream `b`. A stream that has ended must be greater than every other.
#[derive(Debug)]
pub(crate) struct LoserTree {
    /// The winner first, then the loser of every inner node; leaf `i` hangs below node `(i + k) / 2`.
    nodes: Vec<usize>,
}

impl LoserTree {
    /// Plays all matches once.
    pub(crate) fn new(streams: usize, less: impl Fn(usize, usize) -> bool) -> Self {
        let mut winners: Vec<usize> = vec![0; streams.saturating_mul(2)];
        let mut nodes = vec![0; streams];
        for stream in 0..streams {
            if let Some(leaf) = winners.get_mut(streams + stream) {
                *leaf = stream;
            }
        }
        for node in (1..streams).rev() {
            let (Some(&left), Some(&right)) = (winners.get(2 * node), winners.get(2 * node + 1)) else {
                continue;
            };
            let (winner, loser) = if less(right, left) {
                (right, left)
            } else {
                (left, right)
            };
            if let (Some(up), Some(here)) = (winners.get_mut(node), nodes.get_mut(node)) {
                *up = winner;
                *here = loser;
            }
        }
        if let (Some(top), Some(&winner)) = (nodes.first_mut(), winners.get(1)) {
            *top = winner;
        }
        Self { nodes }
    }

    /// The stream with the smallest head; `None` if there are no streams at all.
    pub(crate) fn winner(&self) -> Option<usize> {
        self.nodes.first().copied()
    }

    /// Plays the matches of the winner again, after its head has changed.
    pub(crate) fn replay(&mut self, less: impl Fn(usize, usize) -> bool) {
        let Some(mut winner) = self.winner() else { return };
        let mut node = (winner + self.nodes.len()) / 2;
        while node > 0 {
            if let Some(loser) = self.nodes.get_mut(node)
                && less(*loser, winner)
            {
                std::mem::swap(loser, &mut winner);
            }
            node /= 2;
        }
        if let Some(top) = self.nodes.first_mut() {
            *top = winner;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(streams: &[Vec<u32>]) -> Vec<u32> {
        let mut at = vec![0; streams.len()];
        let less = |at: &[usize], a: usize, b: usize| match (streams[a].get(at[a]), streams[b].get(at[b])) {
            (Some(a), Some(b)) => a < b,
            (a, b) => a.is_some() && b.is_none(),
        };
        let mut tree = LoserTree::new(streams.len(), |a, b| less(&at, a, b));
        let mut out = Vec::new();
        while let Some(winner) = tree.winner() {
            let Some(&head) = streams[winner].get(at[winner]) else {
                break;
            };
            out.push(head);
            at[winner] += 1;
            tree.replay(|a, b| less(&at, a, b));
        }
        out
    }

    #[test]
    fn no_streams_have_no_winner() {
        assert_eq!(merged(&[]), Vec::<u32>::new());
        assert_eq!(LoserTree::new(0, |_, _| false).winner(), None);
    }

    #[test]
    fn one_stream_passes_through() {
        assert_eq!(merged(&[vec![1, 2, 2, 3]]), [1, 2, 2, 3]);
    }

    proptest! {
        #[test]
        fn merging_is_sorting(mut streams in proptest::collection::vec(proptest::collection::vec(0u32..50, 0..20), 0..12)) {
            for stream in &mut streams {
                stream.sort_unstable();
            }
            let mut sorted: Vec<u32> = streams.concat();
            sorted.sort_unstable();
            prop_assert_eq!(merged(&streams), sorted);
        }
    }
}
