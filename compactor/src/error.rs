//! What an error means for the process: try again, leave a block alone, or stop.

use sabre_block::{BlockError, ErrorClass};
use sabre_model::BlockId;
use sabre_tsdb::index::IndexWriteError;

use crate::merge::JobError;
use crate::source::Defect;

/// What is to be done about a failed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// The same may succeed later: the bucket, the disk, the network.
    Retry,
    /// One of these blocks seems broken: they are read again, and those that are so are left alone.
    Suspect(Vec<BlockId>),
    /// The index of the result passes what the format can refer to.
    TooLarge,
    /// It would fail the same way again, and no block is known to be at fault: the whole plan is left alone.
    Stuck,
}

/// An iteration that did not do all it wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    /// The blocks of the bucket could not be looked up, or not all of them.
    #[error("{0}")]
    Sync(String),
    /// Something failed that is tried again.
    #[error("{0}")]
    Retry(String),
    /// A flag says that this stops the process.
    #[error("{0}; stopped, because --debug.halt-on-error is given")]
    Halt(String),
    /// Blocks are left alone, which an operator has to look at.
    #[error("{0}")]
    Trouble(String),
}

impl Class {
    pub(crate) fn of(error: &JobError) -> Self {
        match error {
            JobError::Source(error) => Self::of_source(error),
            JobError::Unhealthy { block, .. } => Self::Suspect(vec![*block]),
            JobError::Chunks { blocks, .. } => Self::Suspect(blocks.clone()),
            JobError::Index(IndexWriteError::TooLarge { .. }) => Self::TooLarge,
            JobError::Index(IndexWriteError::Write(_))
            | JobError::Local { .. }
            | JobError::Upload(_)
            | JobError::Budget(_)
            | JobError::Closed => Self::Retry,
            JobError::Index(_) | JobError::Panicked(_) | JobError::Unwritable(_) => Self::Stuck,
        }
    }

    fn of_source(error: &BlockError) -> Self {
        match error.class() {
            ErrorClass::Corrupt | ErrorClass::Gone => Self::Suspect(vec![error.block()]),
            ErrorClass::Retryable | ErrorClass::Permanent => Self::Retry,
        }
    }
}

/// The defect that was found, if it is one of the index.
pub(crate) fn defect(error: &JobError) -> Option<(BlockId, Defect)> {
    match error {
        JobError::Unhealthy { block, defect, .. } => Some((*block, *defect)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sabre_objstore::{Error, ErrorKind, Operation};
    use sabre_tsdb::Corruption;

    use super::*;

    #[test]
    fn errors_are_classed_by_what_helps() {
        let block = BlockId::from_parts(7, [0; 10]);
        let bucket = |kind| {
            BlockError::new(
                block,
                "index",
                Error::new(kind, Operation::GetRange, "b", "k", "why"),
            )
        };
        let suspect = Class::Suspect(vec![block]);
        for (error, class) in [
            (JobError::Source(bucket(ErrorKind::Throttled)), Class::Retry),
            (JobError::Source(bucket(ErrorKind::AccessDenied)), Class::Retry),
            (JobError::Source(bucket(ErrorKind::NotFound)), suspect.clone()),
            (JobError::Source(bucket(ErrorKind::Invalid)), suspect.clone()),
            (
                JobError::Source(BlockError::new(block, "index", Corruption::at("toc", 1, "x"))),
                suspect.clone(),
            ),
            (
                JobError::Unhealthy {
                    block,
                    defect: Defect::OutOfOrderChunks,
                    what: String::new(),
                },
                suspect.clone(),
            ),
            (JobError::Upload(bucket(ErrorKind::AccessDenied)), Class::Retry),
            (
                JobError::Index(IndexWriteError::TooLarge {
                    what: "index",
                    max_bytes: 1,
                }),
                Class::TooLarge,
            ),
            (JobError::Unwritable(String::new()), Class::Stuck),
        ] {
            assert_eq!(Class::of(&error), class, "{error}");
        }
    }
}
