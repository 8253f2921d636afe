//! The course of weeks: blocks come, are compacted and downsampled, and go; and nothing goes without a trace.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use sabre_block::fetcher::Marks;
use sabre_block::filter::FilterChain;
use sabre_block::{BlockError, View};
use sabre_tsdb::meta::{DeletionMark, NoCompactMark, NoCompactReason};

use super::*;
use crate::plan::simulate::virtual_result;
use crate::unclear::unplaced;

/// So long blocks come, in hours: one of the longest ranges and some of another.
const COURSE_H: i64 = 600;
/// After so long nothing can come any more to what there is, in hours.
const END_H: i64 = 1_500;
/// The range of a block that comes, in hours.
const STEP_H: i64 = 4;

/// How blocks come.
#[derive(Clone, Copy)]
struct Source {
    cluster: &'static str,
    /// Replicas, whose blocks overlap and are merged.
    replicas: u8,
    /// One in so many blocks does not come.
    outages: u64,
    /// When the first comes, in hours after all others.
    late_h: i64,
}

const SOURCES: [Source; 3] = [
    Source {
        cluster: "eu1",
        replicas: 1,
        outages: u64::MAX,
        late_h: 0,
    },
    Source {
        cluster: "us1",
        replicas: 2,
        outages: u64::MAX,
        late_h: 32,
    },
    Source {
        cluster: "asia1",
        replicas: 1,
        outages: 8,
        late_h: 8,
    },
];

/// One in so many blocks that come is marked no-compact, and as many are marked for deletion.
const MARKED: u64 = 30;
/// One in so many no-compact marks is taken away again, in every iteration.
const UNMARKED: u64 = 8;
/// One in so many blocks cannot be read, in every second iteration.
const UNREAD: u64 = 12;

/// What is drawn.
#[derive(Debug, Clone)]
struct Course {
    seed: u64,
    start: i64,
    raw_h: i64,
    five_h: i64,
    /// Whether blocks that overlap are merged; else there are no replicas.
    vertical: bool,
    /// Whether all blocks can be read at all times.
    is_well: bool,
    /// Between iterations, in steps, and whether blocks that cannot be read are waited for.
    pauses: Vec<(i64, bool)>,
}

/// An iteration.
#[derive(Clone, Copy)]
struct Run {
    number: u64,
    now_ms: i64,
    is_patient: bool,
    /// Whether all can be read.
    is_well: bool,
}

/// A bucket of several groups, and what came.
struct World {
    seed: u64,
    blocks: Vec<BlockInfo>,
    marks: Marks,
    policy: Policy,
    made: u64,
    /// The sources that came, except those that were marked for deletion.
    came: BTreeSet<BlockId>,
    /// Groups in which blocks overlapped that are not merged: begin, end and level of each, in hours.
    overlaps: Vec<String>,
}

/// Whether one in `many` is meant by `what`: the same in every world.
fn is_meant(seed: u64, what: impl Hash, many: u64) -> bool {
    let mut hasher = DefaultHasher::new();
    (seed, what).hash(&mut hasher);
    hasher.finish().is_multiple_of(many)
}

impl World {
    fn new(course: &Course) -> Self {
        Self {
            seed: course.seed,
            blocks: Vec::new(),
            marks: Marks::default(),
            policy: Policy {
                retention: RetentionPolicy {
                    raw_ms: course.raw_h * HOUR_MS,
                    five_minutes_ms: course.five_h * HOUR_MS,
                    one_hour_ms: 0,
                },
                vertical: course.vertical,
                merges_aggregates: course.vertical,
                ..Policy::default()
            },
            made: 0,
            came: BTreeSet::new(),
            overlaps: Vec::new(),
        }
    }

    /// Adds a block under a name of its own.
    fn add(&mut self, block: BlockInfo) -> BlockId {
        self.made += 1;
        let id = BlockId::from_parts(self.made, [0; 10]);
        let block = change(block, |meta| meta.ulid = id);
        self.blocks.push(block);
        id
    }

    /// Some hours of raw data come.
    fn arrive(&mut self, place: u8, replica: u8, from_h: i64) {
        let cluster = SOURCES[usize::from(place)].cluster;
        let source = BlockId::from_parts(from_h.unsigned_abs(), [1 + place * 8 + replica; 10]);
        let id = self.add(change(block(0, from_h, from_h + STEP_H), |meta| {
            meta.compaction.sources = vec![source];
            let labels = Labels::from_pairs([("cluster", cluster)]).unwrap();
            meta.thanos.as_mut().unwrap().labels = Some(labels);
        }));
        if is_meant(self.seed, ("no-compact", source.to_bytes()), MARKED) {
            let mark = NoCompactMark {
                id,
                details: String::new(),
                no_compact_time_s: 0,
                reason: NoCompactReason::Manual,
            };
            self.marks.no_compact.insert(id, mark);
        }
        if is_meant(self.seed, ("deletion", source.to_bytes()), MARKED) {
            let mark = DeletionMark {
                id,
                details: String::new(),
                deletion_time_s: (from_h + STEP_H) * 3_600,
            };
            self.marks.deletion.insert(id, mark);
        } else {
            self.came.insert(source);
        }
    }

    /// What the compactor sees, and what it leaves alone.
    fn look(&self, run: Run) -> (View, Restraint) {
        let mut view = View {
            marks: self.marks.clone(),
            ..View::default()
        };
        for block in &self.blocks {
            let name = (
                block.meta.resolution_ms(),
                block.meta.compaction.sources[0].to_bytes(),
            );
            let is_unread =
                !run.is_well && run.number % 2 == 1 && is_meant(self.seed, (run.number, name), UNREAD);
            if is_unread {
                let error = BlockError::invalid(block.id(), "meta.json", "no access");
                view.failures.insert(block.id(), error);
            } else {
                view.known.push(Arc::clone(&block.meta));
            }
        }
        let chain = FilterChain {
            ignore_deletion_marks_delay_ms: Some(self.policy.delete_delay_ms / 2),
            drop_duplicates: true,
            ..FilterChain::default()
        };
        let filtered = chain.apply(view.known.clone(), &view.marks.deletion, run.now_ms);
        (view.metas, view.dropped, view.duplicates) = (filtered.kept, filtered.dropped, filtered.duplicates);
        let unread: BTreeSet<BlockId> = view.failures.keys().copied().collect();
        let marked_for_deletion: BTreeSet<BlockId> = view.marks.deletion.keys().copied().collect();
        let marked_no_compact: BTreeSet<BlockId> = view.marks.no_compact.keys().copied().collect();
        let gone: BTreeSet<BlockId> = unread.union(&marked_for_deletion).copied().collect();
        let holds_gaps = !unplaced(&view).is_empty();
        let restraint = Restraint {
            not_compacted: gone.union(&marked_no_compact).copied().collect(),
            not_downsampled: gone.clone(),
            never_downsampled: BTreeSet::new(),
            not_retained: unread,
            not_relied_on: gone,
            marked_no_compact,
            marked_for_deletion,
            holds_aggregates: holds_gaps && run.is_patient,
            holds_gaps,
        };
        (view, restraint)
    }

    /// What the compactor does in one iteration.
    fn iterate(&mut self, run: Run) {
        while self.compact(run) {}
        for _ in 0..2 {
            let (view, restraint) = self.tidy(run);
            let blocks = BlockInfo::all(&view);
            for due in plan_downsampling(&blocks, &restraint, &self.policy, run.now_ms) {
                self.add(at_resolution(due.block, due.to_ms));
            }
        }
        let (view, restraint) = self.look(run);
        let plan = retention_of(&view, &restraint, &self.policy, run.now_ms);
        self.remove(&plan.expired.iter().map(BlockInfo::id).collect());
        self.unmark(run);
    }

    /// Takes some marks away, of blocks of these days.
    fn unmark(&mut self, run: Run) {
        let mut unmarked = BTreeSet::new();
        for block in &self.blocks {
            let is_new = run.now_ms - block.meta.max_time < 48 * HOUR_MS;
            let name = ("unmarked", run.number, block.id().to_bytes());
            if is_new && is_meant(self.seed, name, UNMARKED) {
                unmarked.insert(block.id());
            }
        }
        self.marks.no_compact.retain(|block, _| !unmarked.contains(block));
    }

    /// Takes away what is garbage, and what is marked for long; says what was seen before.
    fn tidy(&mut self, run: Run) -> (View, Restraint) {
        let (view, restraint) = self.look(run);
        let mut gone: BTreeSet<BlockId> = plan_garbage(&view, &BTreeSet::new()).into_iter().collect();
        let cleaning = plan_cleaning(&view, &[], &[], &self.policy, run.now_ms);
        gone.extend(cleaning.marked.into_iter().map(|(block, _)| block));
        self.remove(&gone);
        (view, restraint)
    }

    fn remove(&mut self, gone: &BTreeSet<BlockId>) {
        self.blocks.retain(|block| !gone.contains(&block.id()));
        self.marks.deletion.retain(|block, _| !gone.contains(block));
        self.marks.no_compact.retain(|block, _| !gone.contains(block));
    }

    /// One compaction of each group; false if no group has one.
    fn compact(&mut self, run: Run) -> bool {
        let (view, restraint) = self.tidy(run);
        let blocks = BlockInfo::all(&view);
        let mut does_something = false;
        for group in planned_groups(&blocks, &restraint, &self.policy, run.now_ms) {
            let planned = plan_group(&group, &restraint.not_compacted, &self.policy);
            if !planned.overlaps.is_empty() {
                let blocks = group.blocks.iter();
                let hours = |ms: i64| ms / HOUR_MS;
                let blocks = blocks.map(|block| {
                    (
                        hours(block.meta.min_time),
                        hours(block.meta.max_time),
                        block.meta.compaction.level,
                    )
                });
                let blocks: Vec<_> = blocks.collect();
                self.overlaps.push(format!("{} {blocks:?}", group.key));
            }
            let Some(plan) = planned.compaction else { continue };
            let to_ms = due_from_result(&plan, &blocks, &restraint, &self.policy, run.now_ms);
            self.remove(&plan.sources.iter().map(BlockInfo::id).collect());
            let result = virtual_result(&plan, 0);
            self.add(result.clone());
            if let Some(to_ms) = to_ms {
                self.add(at_resolution(result, to_ms));
            }
            does_something = true;
        }
        does_something
    }

    /// The sources of which there is nothing left.
    fn lost(&self) -> Vec<i64> {
        let mut lost = self.came.clone();
        for block in &self.blocks {
            for source in &block.meta.compaction.sources {
                lost.remove(source);
            }
        }
        lost.iter().map(|source| source.time_ms()).collect()
    }
}

/// Lives a course through, and says what went wrong.
fn live(course: &Course) -> Result<(), TestCaseError> {
    let mut world = World::new(course);
    let mut pauses = course.pauses.iter().cycle();
    let start_h = course.start * 48;
    let (mut next_run_h, mut number) = (start_h, 0);
    for from_h in (start_h..start_h + COURSE_H).step_by(STEP_H.unsigned_abs() as usize) {
        for (place, source) in (0..).zip(SOURCES) {
            let is_down = is_meant(course.seed, ("outage", place, from_h), source.outages);
            if is_down || from_h < start_h + source.late_h {
                continue;
            }
            let replicas = if course.vertical { source.replicas } else { 1 };
            for replica in 0..replicas {
                world.arrive(place, replica, from_h);
            }
        }
        let now_h = from_h + STEP_H + 1;
        if now_h < next_run_h {
            continue;
        }
        let (pause, is_patient) = *pauses.next().unwrap();
        let run = Run {
            number,
            now_ms: now_h * HOUR_MS,
            // What cannot be read for long may be what is made again: without merging, the two would overlap.
            is_patient: is_patient || !course.vertical,
            is_well: course.is_well,
        };
        world.iterate(run);
        let lost = world.lost();
        prop_assert!(
            lost.is_empty(),
            "nothing is left at hour {} of: {:?}",
            now_h,
            lost
        );
        prop_assert!(
            world.overlaps.is_empty(),
            "at hour {} there overlap: {:?}",
            now_h,
            world.overlaps
        );
        number += 1;
        next_run_h = now_h + STEP_H * pause;
    }
    for now_h in (start_h + COURSE_H..start_h + END_H).step_by(48) {
        let run = Run {
            number,
            now_ms: now_h * HOUR_MS,
            is_patient: true,
            is_well: true,
        };
        world.iterate(run);
        number += 1;
    }
    prop_assert!(
        world.overlaps.is_empty(),
        "in the end there overlap: {:?}",
        world.overlaps
    );
    let lost = world.lost();
    prop_assert!(lost.is_empty(), "nothing is left in the end of: {:?}", lost);
    if !course.vertical {
        // Where marks came and went, or blocks could not be read, an aggregate may be in the way of one still to be made:
        // the finer data waits.
        return Ok(());
    }
    let finer = world
        .blocks
        .iter()
        .filter(|block| block.meta.resolution_ms() != RESOLUTION_1H_MS);
    let finer: Vec<_> = finer
        .map(|block| {
            (
                block.meta.resolution_ms(),
                block.meta.ext_labels(),
                block.meta.min_time / HOUR_MS,
                block.meta.max_time / HOUR_MS,
            )
        })
        .collect();
    prop_assert!(finer.is_empty(), "still there in the end: {:?}", finer);
    Ok(())
}

fn courses() -> impl Strategy<Value = Course> {
    let pauses = proptest::collection::vec((1..14_i64, any::<bool>()), 40);
    let numbers = (
        any::<u64>(),
        0..7_i64,
        40..200_i64,
        240..400_i64,
        any::<bool>(),
        any::<bool>(),
        pauses,
    );
    numbers.prop_map(|(seed, start, raw_h, five_h, vertical, is_well, pauses)| Course {
        seed,
        start,
        raw_h,
        five_h,
        vertical,
        is_well,
        pauses,
    })
}

/// What is drawn is the same each time: a case takes long.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(6),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })
}

/// Whenever the compactor runs, however short blocks are kept, whatever is marked or cannot be read for a while: of each block
/// that came there is data at all times, and no two aggregates of a group overlap; and where what overlaps is merged there is in
/// the end data of 1 hour of all of it, and nothing finer.
#[test]
fn nothing_goes_before_what_is_to_be_made_of_it() {
    runner(4).run(&courses(), |course| live(&course)).unwrap();
}

/// The same with as many cases as `SABRE_COURSES` says.
#[test]
#[ignore = "takes minutes"]
fn nothing_goes_in_many_courses() {
    let cases = std::env::var("SABRE_COURSES").map_or(200, |cases| cases.parse().unwrap());
    runner(cases).run(&courses(), |course| live(&course)).unwrap();
}
