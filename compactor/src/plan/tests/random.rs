//! What holds for any blocks.

use proptest::prelude::*;
use sabre_block::filter::FilterChain;
use sabre_block::{BlockError, View};
use sabre_tsdb::meta::DeletionMark;

use super::*;

fn any_blocks() -> impl Strategy<Value = Vec<BlockInfo>> {
    let one = (0..40_i64, 1..5_usize, 0..3_usize);
    proptest::collection::vec(one, 0..30).prop_map(|shapes| {
        let mut blocks = Vec::new();
        for (n, (slot, range, resolution)) in shapes.into_iter().enumerate() {
            let hours = RANGES_MS[range] / HOUR_MS;
            let begin = slot * 2 / hours * hours;
            let resolution_ms = [0, RESOLUTION_5M_MS, RESOLUTION_1H_MS][resolution];
            let block = block(u8::try_from(n).unwrap(), begin, begin + hours);
            blocks.push(at_resolution(block, resolution_ms));
        }
        blocks
    })
}

/// Blocks of any of eight sources, some of them marked for deletion, unreadable or found broken.
fn any_view() -> impl Strategy<Value = (View, BTreeSet<BlockId>)> {
    let one = (
        proptest::collection::btree_set(1..9_u8, 0..6),
        0..2_usize,
        0..6_u8,
        any::<bool>(),
    );
    proptest::collection::vec(one, 0..20).prop_map(|shapes| {
        let mut view = View::default();
        let (mut metas, mut doubted) = (Vec::new(), BTreeSet::new());
        for (n, (sources, resolution, fate, is_old)) in (20..).zip(shapes) {
            let block = change(block(n, 0, 8), |meta| {
                meta.compaction.sources = sources.into_iter().map(id).collect();
            });
            metas.push(at_resolution(block, [0, RESOLUTION_5M_MS][resolution]).meta);
            match fate {
                0 => {
                    let mark = DeletionMark {
                        id: id(n),
                        details: String::new(),
                        deletion_time_s: if is_old { 0 } else { NOW_MS / 1000 },
                    };
                    view.marks.deletion.insert(id(n), mark);
                }
                1 => {
                    let error = BlockError::invalid(id(n), "deletion-mark.json", "no access");
                    view.failures.insert(id(n), error);
                }
                2 => {
                    doubted.insert(id(n));
                }
                _ => {}
            }
        }
        view.known = metas.clone();
        let chain = FilterChain {
            ignore_deletion_marks_delay_ms: Some(HOUR_MS),
            drop_duplicates: true,
            ..FilterChain::default()
        };
        let filtered = chain.apply(metas, &view.marks.deletion, NOW_MS);
        (view.metas, view.duplicates) = (filtered.kept, filtered.duplicates);
        (view, doubted)
    })
}

const NOW_MS: i64 = 100 * HOUR_MS;

proptest! {
    #[test]
    fn what_is_garbage_is_in_a_block_that_stays((view, doubted) in any_view()) {
        let garbage: BTreeSet<BlockId> = plan_garbage(&view, &doubted).into_iter().collect();
        let stays = |meta: &&Arc<BlockMeta>| {
            let block = meta.ulid;
            let is_sure = !doubted.contains(&block) && !view.failures.contains_key(&block);
            is_sure && !garbage.contains(&block) && !view.marks.deletion.contains_key(&block)
        };
        for lost in view.known.iter().filter(|meta| garbage.contains(&meta.ulid)) {
            prop_assert!(!view.marks.deletion.contains_key(&lost.ulid));
            let mut others = view.known.iter().filter(stays);
            let is_held = others.any(|meta| {
                let mut sources = lost.compaction.sources.iter();
                meta.resolution_ms() == lost.resolution_ms()
                    && sources.all(|source| meta.compaction.sources.contains(source))
            });
            prop_assert!(is_held, "{} is nowhere else", lost.ulid);
        }
    }

    #[test]
    fn plans_are_within_one_group_name_each_block_once_and_come_to_an_end(
        blocks in any_blocks(), marked in proptest::collection::btree_set(0..30_u8, 0..6), vertical: bool
    ) {
        let policy = Policy { vertical, ..Policy::default() };
        let excluded: BTreeSet<BlockId> = marked.into_iter().map(id).collect();
        for group in groups(&blocks, false) {
            let plan = plan_group(&group, &excluded, &policy);
            let Some(compaction) = &plan.compaction else { continue };
            let ids: BTreeSet<BlockId> = compaction.sources.iter().map(BlockInfo::id).collect();
            prop_assert_eq!(ids.len(), compaction.sources.len());
            prop_assert!(ids.is_disjoint(&excluded));
            prop_assert!(ids.iter().all(|id| group.blocks.iter().any(|block| block.id() == *id)));
            prop_assert_eq!(&plan.compaction.as_ref().map(|plan| plan.is_vertical && !vertical), &Some(false));
            let simulated = simulate(&group, &excluded, &policy);
            prop_assert!(simulated.compactions.len() <= group.blocks.len());
            let range = |blocks: &[BlockInfo]| blocks.iter().map(|block| block.meta.compaction.sources.len()).sum::<usize>();
            prop_assert_eq!(range(&simulated.blocks), range(&group.blocks), "no source is lost");
        }
    }

    #[test]
    fn nothing_is_deleted_that_no_rule_names(
        blocks in any_blocks(), raw_h in 0..100_i64, five_h in 0..100_i64, now_h in 0..500_i64
    ) {
        let policy = Policy {
            retention: RetentionPolicy {
                raw_ms: raw_h * HOUR_MS,
                five_minutes_ms: five_h * HOUR_MS,
                one_hour_ms: 0,
            },
            ..Policy::default()
        };
        let now_ms = now_h * HOUR_MS;
        let plan = plan_retention(&blocks, &Restraint::default(), &policy, now_ms);
        for block in &plan.expired {
            let kept_ms = policy.retention.of(block.meta.resolution_ms()).unwrap();
            prop_assert!(block.meta.max_time + kept_ms < now_ms);
            let due = plan_downsampling(&blocks, &Restraint::default(), &policy, now_ms);
            prop_assert!(due.iter().all(|due| due.block.id() != block.id()), "an aggregate is still due from it");
        }
    }
}
