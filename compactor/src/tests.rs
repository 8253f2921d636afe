//! The compactor as a whole, on buckets in memory and on golden data.

mod bad_input;
mod bucket;
mod data_dir;
mod faults;
mod fixture;
mod golden;
mod halting;
mod marks;
mod nameless;
mod planning;
mod proving;
mod running;
mod selection;
mod serving;
mod short;
mod sizes;
mod unclear;
