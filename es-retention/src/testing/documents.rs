//! Documents, and what indices do with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{FakeIndex, FakeShard, World};

/// A document.
pub(crate) type DocId = u64;

impl FakeIndex {
    pub(crate) fn new(uuid: String, created_ms: i64, shards: usize) -> Self {
        let empty = FakeShard {
            docs: BTreeSet::new(),
            fresh: BTreeSet::new(),
            max_seq_no: -1,
        };
        Self {
            uuid,
            created_ms,
            shards: vec![empty; shards],
            replicas: 1,
            ..Self::default()
        }
    }

    pub(crate) fn all_docs(&self) -> BTreeSet<DocId> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| shard.docs.iter().chain(&shard.fresh).copied())
            .collect()
    }

    pub(crate) fn refresh(&mut self) {
        for shard in &mut self.shards {
            let mut fresh = std::mem::take(&mut shard.fresh);
            shard.docs.append(&mut fresh);
        }
    }
}

impl World {
    /// Makes an index unless it is there.
    pub(crate) fn make_index(&mut self, name: &str, shards: usize) {
        if !self.indices.contains_key(name) {
            let uuid = self.next_uuid();
            let index = FakeIndex::new(uuid, self.clock_ms, shards);
            self.indices.insert(name.to_owned(), index);
        }
    }

    /// Writes a document as shippers do: the index is made when it is missing. `false` when it is blocked.
    pub(crate) fn write(&mut self, name: &str, doc: DocId) -> bool {
        self.make_index(name, 2);
        let index = self.indices.get_mut(name).unwrap();
        if index.closed || !index.blocks.is_empty() {
            return false;
        }
        let shards = index.shards.len();
        let shard = &mut index.shards[usize::try_from(doc).unwrap() % shards];
        shard.fresh.insert(doc);
        shard.max_seq_no += 1;
        true
    }

    /// Writes `count` new documents into the index of a day and adds them to what was ever written.
    pub(crate) fn write_day(
        &mut self,
        ever: &mut BTreeMap<Date, BTreeSet<DocId>>,
        day: Date,
        name: &str,
        count: u64,
    ) {
        for _ in 0..count {
            let doc = ever.values().map(|docs| docs.len() as u64).sum::<u64>();
            if self.write(name, doc) {
                ever.entry(day).or_default().insert(doc);
            }
        }
    }
}
