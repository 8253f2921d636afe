//! Whether the index of a block keeps the rules, checked series by series while it is read.

use sabre_tsdb::index::{ChunkMeta, SeriesEntry};

/// Which rules count, and for which block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HealthRules {
    /// Begin of the block, in milliseconds.
    pub(crate) min_time: i64,
    /// End of the block, in milliseconds.
    pub(crate) max_time: i64,
    /// Whether label names out of order are accepted.
    pub(crate) accepts_label_order: bool,
}

/// A rule that was broken. What each means is Thanos' word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// Label names of a series are not in order.
    LabelOrder,
    /// Series are not in the order of their labels, or one comes twice.
    SeriesOrder,
    /// A series has no labels.
    NoLabels,
    /// A series has no chunks.
    NoChunks,
    /// Chunks of a series overlap without being the same.
    OutOfOrderChunks,
    /// A chunk lies outside of the block's time range, partly or wholly.
    OutsideChunk,
}

/// What was seen of an index so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Series.
    pub(crate) series: u64,
    /// Chunks.
    pub(crate) chunks: u64,
    /// Chunks that begin at the very end of the block, and are left out of what is made of it.
    pub(crate) at_end: u64,
    /// Chunks with the time range of the one before.
    pub(crate) duplicates: u64,
}

impl Defect {
    /// The defect in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LabelOrder => "label names are not in order",
            Self::SeriesOrder => "series are not in order",
            Self::NoLabels => "a series has no labels",
            Self::NoChunks => "a series has no chunks",
            Self::OutOfOrderChunks => "chunks of a series overlap",
            Self::OutsideChunk => "a chunk lies outside of the time range of the block",
        }
    }
}

impl Health {
    /// Checks a series, and takes the chunks out of it that begin at the end of the block: an old Prometheus wrote
    /// them, and the next block has their samples too.
    ///
    /// The error names the rule and, in words, the chunk.
    pub(crate) fn check(
        &mut self,
        rules: &HealthRules,
        entry: &mut SeriesEntry,
        names_ascend: bool,
    ) -> Result<(), (Defect, String)> {
        if entry.labels.is_empty() {
            return Err((Defect::NoLabels, String::new()));
        }
        if !names_ascend && !rules.accepts_label_order {
            return Err((Defect::LabelOrder, String::new()));
        }
        if entry.chunks.is_empty() {
            return Err((Defect::NoChunks, String::new()));
        }
        let mut previous: Option<&ChunkMeta> = None;
        let mut at_end = 0;
        for chunk in &entry.chunks {
            at_end += u64::from(is_at_end(rules, chunk)?);
            if let Some(previous) = previous.filter(|previous| chunk.mint <= previous.maxt) {
                if (chunk.mint, chunk.maxt) != (previous.mint, previous.maxt) {
                    let what = format!(
                        "chunk of {} to {} comes behind one of {} to {}",
                        chunk.mint, chunk.maxt, previous.mint, previous.maxt
                    );
                    return Err((Defect::OutOfOrderChunks, what));
                }
                self.duplicates += 1;
            }
            previous = Some(chunk);
        }
        if at_end > 0 {
            self.at_end += at_end;
            entry
                .chunks
                .retain(|chunk| chunk.mint != rules.max_time || chunk.maxt == rules.max_time);
        }
        Ok(())
    }
}

/// A last sample at the very end of the range is accepted, although the end does not belong to it.
fn is_at_end(rules: &HealthRules, chunk: &ChunkMeta) -> Result<bool, (Defect, String)> {
    if chunk.mint >= rules.min_time && chunk.maxt <= rules.max_time {
        return Ok(false);
    }
    if chunk.mint == rules.max_time {
        return Ok(true);
    }
    let what = format!(
        "chunk of {} to {} in a block of {} to {}",
        chunk.mint, chunk.maxt, rules.min_time, rules.max_time
    );
    Err((Defect::OutsideChunk, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules = HealthRules {
        min_time: 0,
        max_time: 100,
        accepts_label_order: false,
    };

    fn check(chunks: &[(i64, i64)], rules: &HealthRules, ascend: bool) -> (Result<usize, Defect>, Health) {
        let mut entry = SeriesEntry {
            labels: vec![(1, 2)],
            chunks: chunks
                .iter()
                .map(|(mint, maxt)| ChunkMeta {
                    mint: *mint,
                    maxt: *maxt,
                    chunk_ref: 8,
                })
                .collect(),
        };
        let mut health = Health::default();
        let result = health.check(rules, &mut entry, ascend);
        (
            result.map(|()| entry.chunks.len()).map_err(|(defect, _)| defect),
            health,
        )
    }

    #[test]
    fn every_rule_has_its_case() {
        let defect = |chunks: &[(i64, i64)]| check(chunks, &RULES, true).0;
        assert_eq!(
            defect(&[(0, 10), (11, 100)]),
            Ok(2),
            "an end at the end of the block is accepted"
        );
        assert_eq!(defect(&[]), Err(Defect::NoChunks));
        assert_eq!(defect(&[(0, 10), (10, 20)]), Err(Defect::OutOfOrderChunks));
        assert_eq!(defect(&[(20, 30), (0, 10)]), Err(Defect::OutOfOrderChunks));
        assert_eq!(defect(&[(-1, 10)]), Err(Defect::OutsideChunk));
        assert_eq!(defect(&[(90, 101)]), Err(Defect::OutsideChunk));
        assert_eq!(defect(&[(200, 300)]), Err(Defect::OutsideChunk));
        let mut entry = SeriesEntry::default();
        let unlabelled = Health::default().check(&RULES, &mut entry, true);
        assert_eq!(unlabelled.unwrap_err().0, Defect::NoLabels);
    }

    #[test]
    fn chunks_that_begin_at_the_end_of_the_block_are_left_out() {
        let (left, health) = check(&[(0, 10), (100, 150)], &RULES, true);
        assert_eq!((left, health.at_end), (Ok(1), 1));
    }

    #[test]
    fn the_same_range_twice_is_counted_only() {
        let (left, health) = check(&[(0, 10), (0, 10)], &RULES, true);
        assert_eq!((left, health.duplicates), (Ok(2), 1));
    }

    #[test]
    fn labels_out_of_order_are_accepted_when_told() {
        assert_eq!(check(&[(0, 10)], &RULES, false).0, Err(Defect::LabelOrder));
        let rules = HealthRules {
            accepts_label_order: true,
            ..RULES
        };
        assert_eq!(check(&[(0, 10)], &rules, false).0, Ok(1));
    }
}
