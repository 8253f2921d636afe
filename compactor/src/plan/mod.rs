//! What is to be done, as values: which blocks are compacted, downsampled, kept, marked and deleted, and why.
//!
//! Nothing here reads a clock or a bucket. Executors do what a plan says; `--dry-run` prints it.

mod action;
mod block;
mod cleaning;
mod closed;
mod downsample;
mod group;
mod guard;
mod ladder;
mod policy;
mod restraint;
mod retention;
mod simulate;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod whole;
mod young;

pub use action::{Action, MarkReason};
pub use block::BlockInfo;
pub(crate) use cleaning::is_meta_listed;
pub use cleaning::{CleaningPlan, plan_cleaning, plan_garbage};
pub use downsample::{DownsamplePlan, due_from_result, plan_downsampling, target_resolution};
pub use group::{Group, groups, planned_groups};
pub use guard::{CompactionPlan, GroupPlan, NewMark, Overlap, plan_group};
pub use ladder::overlapping_run;
pub(crate) use policy::COARSER_MS;
pub use policy::{HOUR_MS, Policy, RANGES_MS, RESOLUTION_1H_MS, RESOLUTION_5M_MS, RetentionPolicy};
pub use restraint::Restraint;
pub use retention::{Kept, RetentionPlan, plan_retention, retention_of};
pub(crate) use sabre_block::filter::sources_of;
pub use simulate::{Todo, simulate, todo};
pub use table::render;
pub use whole::{PlanInput, plan_all};
pub use young::Young;
