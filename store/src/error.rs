//! Why a request failed, and by which gRPC code it says so.

use sabre_block::BlockError;
use sabre_model::BlockId;
use sabre_runtime::budget::BudgetError;
use tonic::{Code, Status};

use crate::limits::LimitExceeded;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The postings of a block could not be read.
    #[error("expand matching postings: {0}")]
    Postings(BlockError),
    /// Series or chunks of a block could not be read.
    #[error("receive series from {block}: {file}: {cause}", block = .0.block(), file = .0.file(), cause = .0.cause())]
    Block(BlockError),
    /// A limit of the flags was exceeded.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// There was no memory for the request.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// There was no memory for a part of the request that could not wait for it.
    #[error("no memory is free for {what}; try again, or raise --sabre.memory-budget")]
    NoMemory {
        /// The part.
        what: String,
    },
    /// One series has more labels and chunk times than a message may hold.
    #[error(transparent)]
    TooLong(#[from] sabre_proto::flat::MessageTooLong),
    /// The server stops, or a part of the request was cancelled by another's failure.
    #[error("the request was cancelled")]
    Cancelled,
    /// A part of the request panicked; that is a bug.
    #[error("internal error, please report it: {0}")]
    Panic(String),
}

/// Which call a status is made for: their default codes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Series,
    Labels,
}

impl RequestError {
    /// The block that failed and how, if it was a block.
    pub(crate) fn block(&self) -> Option<(BlockId, &BlockError)> {
        match self {
            Self::Postings(error) | Self::Block(error) => Some((error.block(), error)),
            _ => None,
        }
    }

    /// The status a caller gets.
    pub(crate) fn status(&self, call: Call) -> Status {
        let code = match (self, call) {
            (Self::Invalid(_), _) => Code::InvalidArgument,
            (Self::Limit(_) | Self::Budget(_) | Self::NoMemory { .. } | Self::TooLong(_), _) => {
                Code::ResourceExhausted
            }
            (Self::Cancelled, _) => Code::Cancelled,
            (Self::Panic(_), _) | (Self::Postings(_) | Self::Block(_), Call::Labels) => Code::Internal,
            (Self::Postings(_), Call::Series) => Code::Aborted,
            (Self::Block(_), Call::Series) => Code::Unknown,
        };
        Status::new(code, self.to_string())
    }
}

impl From<tokio::task::JoinError> for RequestError {
    fn from(error: tokio::task::JoinError) -> Self {
        if error.is_cancelled() {
            Self::Cancelled
        } else {
            Self::Panic(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_block_is_named_with_file_and_place() {
        let block = BlockId::from_parts(1, [0; 10]);
        let corruption = sabre_tsdb::Corruption::at("chunk segment", 8, "crc32c mismatch");
        let error = RequestError::Block(BlockError::new(block, "chunks/000001", corruption));
        let text = format!(
            "receive series from {block}: chunks/000001: corrupt chunk segment at offset 8: crc32c mismatch"
        );
        assert_eq!(error.to_string(), text);
        assert_eq!(error.status(Call::Series).code(), Code::Unknown);
        assert_eq!(error.status(Call::Labels).code(), Code::Internal);
        let RequestError::Block(inner) = error else {
            panic!("is a block error")
        };
        assert_eq!(
            RequestError::Postings(inner).status(Call::Series).code(),
            Code::Aborted
        );
    }

    #[test]
    fn limits_are_resource_exhausted() {
        let limit = LimitExceeded {
            what: "series",
            when: "",
            asked: 2,
            limit: 1,
            flag: "--x",
        };
        assert_eq!(
            RequestError::from(limit).status(Call::Labels).code(),
            Code::ResourceExhausted
        );
        assert_eq!(
            RequestError::Invalid("x".to_owned()).status(Call::Series).code(),
            Code::InvalidArgument
        );
    }
}
