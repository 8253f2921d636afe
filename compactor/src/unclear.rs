//! Blocks that cannot be judged: nobody can tell where they belong in time, or what marks they have. They are left
//! alone, and nothing is compacted across a place that one of them may fill.

use std::collections::{BTreeMap, BTreeSet};

use sabre_block::View;
use sabre_block::fetcher::PartialReason;
use sabre_model::BlockId;
use serde::Serialize;

use crate::plan::{is_meta_listed, sources_of};

/// A block that could not be read for so long, in milliseconds, is for an operator to look at, and is waited for no more.
pub(crate) const PATIENCE_MS: i64 = 15 * 60_000;

/// Why a block cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// A file that tells of it could not be read this time.
    Unreadable,
    /// Its `meta.json` was read and cannot be understood.
    BrokenMeta,
    /// A file that its `meta.json` names is not there.
    Incomplete,
}

/// A block that cannot be judged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unclear {
    pub(crate) reason: Reason,
    /// What was found.
    pub(crate) why: String,
    /// Since when that is so, in milliseconds since the epoch.
    pub(crate) since_ms: i64,
}

/// All blocks that cannot be judged, as of the last look.
pub(crate) type AllUnclear = BTreeMap<BlockId, Unclear>;

impl Reason {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Unreadable, Self::BrokenMeta, Self::Incomplete];

    /// The value of the label `reason`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::BrokenMeta => "broken-meta",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Unclear {
    /// Whether an operator has to look at it: what cannot be read now may be read in a minute.
    pub(crate) fn is_trouble(&self, now_ms: i64) -> bool {
        !self.may_be_read_soon(self.since_ms, now_ms)
    }

    /// Whether it may be read soon, if it could not be read since `since_ms`.
    pub(crate) fn may_be_read_soon(&self, since_ms: i64, now_ms: i64) -> bool {
        self.reason == Reason::Unreadable && now_ms.saturating_sub(since_ms) < PATIENCE_MS
    }
}

/// When the block was last changed, as far as the listing tells, in milliseconds since the epoch: its `meta.json` comes last.
pub(crate) fn changed_ms(view: &View, block: BlockId) -> i64 {
    let objects = view.listing.get(block);
    let meta_ms = objects
        .and_then(|objects| objects.meta)
        .map(|meta| meta.modified_ms);
    let changed_ms = meta_ms.or_else(|| objects.and_then(|objects| objects.newest_modified_ms));
    changed_ms.unwrap_or_else(|| block.time_ms())
}

/// The blocks of a view that cannot be judged. `before` are those of the view before it.
pub(crate) fn unclear(view: &View, before: &AllUnclear, now_ms: i64) -> AllUnclear {
    let mut all = AllUnclear::new();
    let mut add = |block: BlockId, reason: Reason, why: String| {
        let known = before.get(&block).filter(|known| known.reason == reason);
        let since_ms = known.map_or(now_ms, |known| known.since_ms);
        all.entry(block).or_insert(Unclear {
            reason,
            why,
            since_ms,
        });
    };
    // A mark says what becomes of the block, whatever else cannot be read of it.
    let is_settled = |block: &BlockId| view.marks.deletion.contains_key(block);
    for (block, error) in &view.failures {
        if !is_settled(block) {
            add(*block, Reason::Unreadable, error.to_string());
        }
    }
    for (block, partial) in &view.partial {
        match &partial.reason {
            PartialReason::CorruptMeta(why) if !is_settled(block) => {
                add(*block, Reason::BrokenMeta, format!("meta.json: {why}"));
            }
            PartialReason::NoMeta if is_meta_listed(view, *block) && !is_settled(block) => {
                let why = "meta.json is listed but cannot be found".to_owned();
                add(*block, Reason::Unreadable, why);
            }
            _ => {}
        }
    }
    for meta in &view.incomplete_metas {
        let block = meta.ulid;
        let is_left_out = is_settled(&block) || view.marks.no_compact.contains_key(&block);
        if let Some(found) = view.incomplete.get(&block).filter(|_| !is_left_out) {
            add(block, Reason::Incomplete, found.to_string());
        }
    }
    all
}

/// The blocks of which only the name is known: each may belong into any gap of any group, and may hold the aggregate of any
/// raw block. When it was made says little of that, as clocks and names may be wrong. Nor does what this process may have read of
/// it before: a `meta.json` is read again only when somebody replaced it, and he may have had a reason. Retention of what has its
/// aggregates waits for none of them.
///
/// One that is among the sources of raw data which is there to stay is in its place already, and one that is marked for
/// deletion comes to none. That an aggregate was made of it says nothing of where its own samples are.
pub(crate) fn unplaced(view: &View) -> BTreeSet<BlockId> {
    let unread = view.failures.keys().filter(|block| !is_placed(view, **block));
    let partial = view.partial.iter();
    let broken = partial.filter(|(block, partial)| match partial.reason {
        PartialReason::CorruptMeta(_) => true,
        PartialReason::NoMeta => is_meta_listed(view, **block),
    });
    let mut nameless: BTreeSet<BlockId> = unread.chain(broken.map(|(block, _)| block)).copied().collect();
    if nameless.is_empty() {
        return nameless;
    }
    let is_marked = |block: BlockId| view.marks.deletion.contains_key(&block);
    nameless.retain(|block| !is_marked(*block));
    for meta in &view.metas {
        let may_go = is_marked(meta.ulid) || view.failures.contains_key(&meta.ulid);
        if meta.resolution_ms() == 0 && !may_go {
            for source in sources_of(meta) {
                nameless.remove(source);
            }
        }
    }
    nameless
}

/// Whether it is known where the block belongs, though not all else.
fn is_placed(view: &View, block: BlockId) -> bool {
    let is_incomplete = || view.incomplete_metas.iter().any(|meta| meta.ulid == block);
    view.meta(block).is_some() || view.dropped.contains_key(&block) || is_incomplete()
}

#[cfg(test)]
mod tests {
    use sabre_block::fetcher::PartialBlock;
    use sabre_tsdb::meta::DeletionMark;

    use super::*;
    use crate::plan::tests::{at_resolution, block, change, id, numbers};
    use crate::plan::{BlockInfo, RESOLUTION_5M_MS};

    fn broken(n: u8) -> (BlockId, PartialBlock) {
        let partial = PartialBlock {
            reason: PartialReason::CorruptMeta("no JSON".to_owned()),
            newest_modified_ms: None,
        };
        (id(n), partial)
    }

    fn deletion(n: u8) -> (BlockId, DeletionMark) {
        let mark = DeletionMark {
            id: id(n),
            details: String::new(),
            deletion_time_s: 1,
        };
        (id(n), mark)
    }

    fn unplaced_numbers(view: &View) -> Vec<u8> {
        numbers(unplaced(view))
    }

    #[test]
    fn a_block_of_unknown_place_is_one_that_others_do_not_hold_and_nobody_gave_up() {
        let mut view = View::default();
        assert!(unplaced(&view).is_empty());
        view.partial.extend([broken(1), broken(2)]);
        assert_eq!(unplaced_numbers(&view), [1, 2]);
        let result = change(block(9, 0, 8), |meta| {
            meta.compaction.sources = vec![id(2), id(3)];
        });
        view.metas.push(result.meta);
        assert_eq!(
            unplaced_numbers(&view),
            [1],
            "the result has the place of the other"
        );
        view.marks.deletion.extend([deletion(1)]);
        assert!(unplaced(&view).is_empty());
        assert_eq!(
            unclear(&view, &AllUnclear::new(), 0).keys().collect::<Vec<_>>(),
            [&id(2)],
            "a mark says what becomes of it"
        );
    }

    #[test]
    fn only_raw_data_that_is_there_to_stay_has_the_place_of_its_sources() {
        let result = change(block(9, 0, 8), |meta| {
            meta.compaction.sources = vec![id(1), id(2)];
        });
        let with = |block: BlockInfo| {
            let mut view = View::default();
            view.partial.extend([broken(1)]);
            view.metas.push(block.meta);
            view
        };
        assert!(unplaced(&with(result.clone())).is_empty());
        let five = at_resolution(result.clone(), RESOLUTION_5M_MS);
        assert_eq!(
            unplaced_numbers(&with(five)),
            [1],
            "its own samples are not in the aggregate"
        );
        let mut marked = with(result.clone());
        marked.marks.deletion.extend([deletion(9)]);
        assert_eq!(unplaced_numbers(&marked), [1], "it may soon be all there is");
        let mut unread = with(result);
        let error = sabre_block::BlockError::invalid(id(9), "deletion-mark.json", "no access");
        unread.failures.insert(id(9), error);
        assert_eq!(unplaced_numbers(&unread), [1]);
    }

    #[test]
    fn what_cannot_be_read_is_trouble_when_it_stays_so() {
        let unclear = |reason| Unclear {
            reason,
            why: String::new(),
            since_ms: 1_000,
        };
        assert!(!unclear(Reason::Unreadable).is_trouble(1_000 + PATIENCE_MS - 1));
        assert!(unclear(Reason::Unreadable).is_trouble(1_000 + PATIENCE_MS));
        assert!(unclear(Reason::BrokenMeta).is_trouble(1_000));
        assert!(unclear(Reason::Incomplete).is_trouble(1_000));
    }

    #[test]
    fn what_was_found_before_keeps_its_time() {
        let mut view = View::default();
        view.partial.extend([broken(1)]);
        let first = unclear(&view, &AllUnclear::new(), 5);
        let second = unclear(&view, &first, 9);
        assert_eq!(second[&id(1)].since_ms, 5);
    }
}
