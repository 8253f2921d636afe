//! Why a request failed, and by which gRPC code it says so.

use std::sync::Arc;

use sabre_block::{BlockError, Cause};
use sabre_model::BlockId;
use sabre_runtime::budget::BudgetError;
use tonic::{Code, Status};

use crate::{handle::OpenError, limits::LimitExceeded};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The postings of a block could not be read.
    #[error("expand matching postings: {0}")]
    Postings(BlockError),
    /// The index-header of a block could not be opened.
    #[error("open the index-header: {0}")]
    Header(BlockError),
    /// There was no memory for the index-header of a block.
    #[error("no memory for {0}")]
    HeaderMemory(String),
    /// Series or chunks of a block could not be read.
    #[error("receive series from {block}: {file}: {cause}", block = .0.block(), file = .0.file(), cause = .0.cause())]
    Block(BlockError),
    /// A downsampled chunk has no aggregate that the request asks for; the block may be as whole as can be.
    #[error("receive series from {block}: {file}: {cause}", block = .0.block(), file = .0.file(), cause = .0.cause())]
    NoAggregate(BlockError),
    /// A block that this request needs was found broken a while ago.
    #[error("{0}; the block is set aside and tried again later")]
    SetAside(Arc<str>),
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
    /// The caller took nothing of the answer for long, and others waited for its place.
    #[error(
        "the caller took nothing of the answer for {} s while other requests wait for a place \
         (--store.grpc.series-max-concurrency) or for memory (--sabre.memory-budget); ask again, and read faster",
        sabre_proto::raw_body::STALL_PATIENCE.as_secs()
    )]
    Stalled,
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
            Self::Postings(error) | Self::Block(error) | Self::Header(error) => Some((error.block(), error)),
            _ => None,
        }
    }

    /// The block whose bytes are broken, if that is why the request failed.
    pub(crate) fn broken_block(&self) -> Option<BlockId> {
        if self.is_unopened() {
            return None;
        }
        let (block, error) = self.block()?;
        let is_unreadable = matches!(error.cause(), Cause::Invalid(_));
        (error.is_corrupt() || is_unreadable).then_some(block)
    }

    /// Whether an index-header could not be opened, for which the block is left alone for a while already.
    pub(crate) fn is_unopened(&self) -> bool {
        match self {
            Self::Header(error) => !error.is_gone(),
            Self::SetAside(_) | Self::HeaderMemory(_) => true,
            _ => false,
        }
    }

    /// The status a caller gets.
    pub(crate) fn status(&self, call: Call) -> Status {
        let code = match (self, call) {
            (Self::Invalid(_), _) => Code::InvalidArgument,
            (
                Self::Limit(_)
                | Self::Budget(_)
                | Self::NoMemory { .. }
                | Self::HeaderMemory(_)
                | Self::TooLong(_),
                _,
            ) => Code::ResourceExhausted,
            (Self::Cancelled, _) => Code::Cancelled,
            (Self::Stalled, _) => Code::DeadlineExceeded,
            (Self::Panic(_), _)
            | (
                Self::Postings(_)
                | Self::Header(_)
                | Self::Block(_)
                | Self::NoAggregate(_)
                | Self::SetAside(_),
                Call::Labels,
            ) => Code::Internal,
            (Self::Postings(_) | Self::Header(_), Call::Series) => Code::Aborted,
            (Self::Block(_) | Self::NoAggregate(_) | Self::SetAside(_), Call::Series) => Code::Unknown,
        };
        Status::new(code, self.to_string())
    }
}

impl From<OpenError> for RequestError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Failed(error) => Self::Header(error),
            OpenError::SetAside(reason) => Self::SetAside(reason),
            OpenError::NoMemory(what) => Self::HeaderMemory(what),
        }
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
    fn what_is_broken_is_the_block_and_not_the_memory_for_its_header() {
        let block = BlockId::from_parts(1, [0; 10]);
        let corruption = sabre_tsdb::Corruption::at("chunk segment", 8, "crc32c mismatch");
        let broken = BlockError::new(block, "chunks/000001", corruption);
        assert_eq!(RequestError::Block(broken).broken_block(), Some(block));
        let unknown = BlockError::invalid(block, "chunks/000001", "chunk at offset 8: encoding 77");
        assert_eq!(RequestError::Block(unknown).broken_block(), Some(block));
        let memory = RequestError::HeaderMemory("the index-header of block x".to_owned());
        assert_eq!((memory.broken_block(), memory.block().is_none()), (None, true));
        assert!(memory.is_unopened(), "a request may do without the block");
        for call in [Call::Series, Call::Labels] {
            assert_eq!(memory.status(call).code(), Code::ResourceExhausted);
        }
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
