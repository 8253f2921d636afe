//! Labels, matchers, durations, ULIDs: the words everything else is written in.

pub mod block_id;
pub mod duration;
pub mod labels;
pub mod matcher;
pub mod quote;

pub use block_id::{BlockId, BlockIdError};
pub use labels::{Label, Labels, LabelsError, group_key};
pub use matcher::{MatchKind, Matcher, MatcherError};
