//! Blocks whose data another block holds as well.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use sabre_model::{BlockId, Labels};
use sabre_tsdb::meta::BlockMeta;

/// The blocks of one group that are kept, found by what they were made of.
#[derive(Default)]
struct Kept {
    sources: Vec<HashSet<BlockId>>,
    by_source: HashMap<BlockId, Vec<usize>>,
}

/// The blocks that the data of a block came from. One that names none, as its `meta.json` was edited by hand, counts as its own
/// source: so what is made of it can be told from what is made of others, and nothing else stands for it.
pub fn sources_of(meta: &BlockMeta) -> &[BlockId] {
    match meta.compaction.sources.as_slice() {
        [] => std::slice::from_ref(&meta.ulid),
        named => named,
    }
}

/// Finds the blocks that another one of the same resolution and external labels makes superfluous.
///
/// Within such a group blocks are taken by the number of their sources, most first, then by id; one is superfluous
/// if a block taken before, and kept, has all its sources. Of two with the same sources the older stays. For Thanos a
/// block that names no sources is superfluous wherever there is another one; here it is not, see [`sources_of`].
pub fn duplicates(metas: &[Arc<BlockMeta>]) -> HashSet<BlockId> {
    let mut groups: BTreeMap<(i64, Labels), Vec<&BlockMeta>> = BTreeMap::new();
    for meta in metas {
        groups
            .entry((meta.resolution_ms(), meta.ext_labels()))
            .or_default()
            .push(meta);
    }
    groups.into_values().flat_map(duplicates_of_group).collect()
}

fn duplicates_of_group(mut group: Vec<&BlockMeta>) -> Vec<BlockId> {
    group.sort_by_key(|meta| (Reverse(sources_of(meta).len()), meta.ulid));
    let mut kept = Kept::default();
    let mut superfluous = Vec::new();
    for meta in group {
        if kept.has_all_of(sources_of(meta)) {
            superfluous.push(meta.ulid);
        } else {
            kept.add(sources_of(meta));
        }
    }
    superfluous
}

impl Kept {
    fn has_all_of(&self, sources: &[BlockId]) -> bool {
        let Some(first) = sources.first() else {
            return !self.sources.is_empty();
        };
        let candidates = self.by_source.get(first).map(Vec::as_slice).unwrap_or_default();
        candidates.iter().any(|&candidate| {
            let held = self.sources.get(candidate);
            held.is_some_and(|held| sources.iter().all(|source| held.contains(source)))
        })
    }

    fn add(&mut self, sources: &[BlockId]) {
        let position = self.sources.len();
        for source in sources {
            self.by_source.entry(*source).or_default().push(position);
        }
        self.sources.push(sources.iter().copied().collect());
    }
}
