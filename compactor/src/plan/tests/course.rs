//! The course of weeks: blocks come, are compacted and downsampled, and go.

use proptest::prelude::*;
use sabre_block::View;
use sabre_block::filter::duplicates;

use super::*;
use crate::plan::simulate::virtual_result;

/// So long blocks come, in hours: two of the longest ranges and some of a third.
const WEEKS_H: i64 = 800;

/// A bucket of one group, and what was ever in it.
struct World {
    blocks: Vec<BlockInfo>,
    policy: Policy,
    made: u64,
    /// The sources of which there was data, by resolution.
    ever: BTreeSet<(i64, BlockId)>,
}

impl World {
    fn new(retention: RetentionPolicy) -> Self {
        Self {
            blocks: Vec::new(),
            policy: Policy {
                retention,
                ..Policy::default()
            },
            made: 0,
            ever: BTreeSet::new(),
        }
    }

    /// Adds a block under a name of its own.
    fn add(&mut self, block: BlockInfo) {
        self.made += 1;
        let block = change(block, |meta| meta.ulid = BlockId::from_parts(self.made, [0; 10]));
        let resolution_ms = block.meta.resolution_ms();
        let sources = block.meta.compaction.sources.iter();
        self.ever.extend(sources.map(|source| (resolution_ms, *source)));
        self.blocks.push(block);
    }

    /// Two hours of raw data come.
    fn arrive(&mut self, from_h: i64) {
        let source = BlockId::from_parts(from_h.unsigned_abs(), [1; 10]);
        self.add(change(block(0, from_h, from_h + 2), |meta| {
            meta.compaction.sources = vec![source];
        }));
    }

    /// What the compactor does in one iteration.
    fn iterate(&mut self, now_ms: i64) {
        let free = Restraint::default();
        self.compact(now_ms);
        for _ in 0..2 {
            for due in plan_downsampling(&self.blocks, &free, &self.policy, now_ms) {
                self.add(at_resolution(due.block, due.to_ms));
            }
            self.drop_garbage();
        }
        let metas = self.blocks.iter().map(|block| Arc::clone(&block.meta));
        let view = View {
            metas: metas.collect(),
            ..View::default()
        };
        let plan = retention_of(&view, &groups(&self.blocks, false), &free, &self.policy, now_ms);
        let expired: BTreeSet<BlockId> = plan.expired.iter().map(BlockInfo::id).collect();
        self.blocks.retain(|block| !expired.contains(&block.id()));
    }

    fn drop_garbage(&mut self) {
        let metas: Vec<_> = self.blocks.iter().map(|block| Arc::clone(&block.meta)).collect();
        let garbage = duplicates(&metas);
        self.blocks.retain(|block| !garbage.contains(&block.id()));
    }

    fn compact(&mut self, now_ms: i64) {
        let free = Restraint::default();
        loop {
            self.drop_garbage();
            let groups = groups(&self.blocks, false);
            let mut plans = groups
                .iter()
                .map(|group| plan_group(group, &BTreeSet::new(), &self.policy));
            let Some(plan) = plans.find_map(|plan| plan.compaction) else {
                return;
            };
            let sources: BTreeSet<BlockId> = plan.sources.iter().map(BlockInfo::id).collect();
            let to_ms = due_from_result(&plan, &self.blocks, &free, &self.policy, now_ms);
            self.blocks.retain(|block| !sources.contains(&block.id()));
            let result = virtual_result(&plan, 0);
            self.add(result.clone());
            if let Some(to_ms) = to_ms {
                self.add(at_resolution(result, to_ms));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whenever the compactor runs, and however short blocks are kept: what becomes data of 5 minutes and of 1 hour where
    /// all is kept for ever does so here too.
    #[test]
    fn nothing_goes_before_what_is_to_be_made_of_it(
        start in 0..7_i64,
        raw_h in 40..120_i64,
        five_h in 240..360_i64,
        pauses in proptest::collection::vec(1..20_i64, 80),
    ) {
        let mut short = World::new(RetentionPolicy {
            raw_ms: raw_h * HOUR_MS,
            five_minutes_ms: five_h * HOUR_MS,
            one_hour_ms: 0,
        });
        let mut for_ever = World::new(RetentionPolicy::default());
        let mut pauses = pauses.into_iter().cycle();
        let start_h = start * 48;
        let mut next_run_h = start_h;
        for from_h in (start_h..start_h + WEEKS_H).step_by(2) {
            let now_h = from_h + 3;
            let runs = now_h >= next_run_h;
            for world in [&mut short, &mut for_ever] {
                world.arrive(from_h);
                if runs {
                    world.iterate(now_h * HOUR_MS);
                }
            }
            if runs {
                next_run_h = now_h + 2 * pauses.next().unwrap();
            }
        }
        for resolution_ms in [RESOLUTION_5M_MS, RESOLUTION_1H_MS] {
            let made = for_ever.ever.iter().filter(|(made_ms, _)| *made_ms == resolution_ms);
            let lost = made.filter(|made| !short.ever.contains(made)).count();
            prop_assert_eq!(lost, 0, "blocks without data at {}", resolution_ms);
        }
        prop_assert!(for_ever.ever.iter().any(|(made_ms, _)| *made_ms == RESOLUTION_1H_MS));
        prop_assert!(short.blocks.len() < for_ever.blocks.len(), "something has gone");
    }
}
