//! Labels, matchers, durations, ULIDs: the words everything else is written in.

pub mod block_id;
pub mod duration;
pub mod go_regex;
pub mod labels;
pub mod matcher;
pub mod quote;
pub mod selector;
pub mod series_order;
pub mod shard;
pub mod size;
pub mod time;

pub use block_id::{BlockId, BlockIdError};
pub use labels::{Label, Labels, LabelsError, group_key};
pub use matcher::{MatchKind, Matcher, MatcherError};
