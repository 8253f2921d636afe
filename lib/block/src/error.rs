//! The one error of this crate: which block, which file of it, what happened, and what that means.

use std::{error::Error as StdError, fmt, io};

use sabre_model::BlockId;
use sabre_objstore::ErrorKind;
use sabre_tsdb::Corruption;

/// What came of an operation on a block.
pub type Result<T, E = BlockError> = std::result::Result<T, E>;

/// An operation on one block that failed.
pub struct BlockError(Box<Failure>);

struct Failure {
    block: BlockId,
    file: String,
    cause: Cause,
}

/// Why it failed.
#[derive(Debug)]
pub enum Cause {
    /// A request to the bucket failed.
    Bucket(sabre_objstore::Error),
    /// A local file could not be read or written.
    Local(io::Error),
    /// The bytes are not what the format says.
    Corrupt(Corruption),
    /// The block is not what it should be; the text says what, and what to do.
    Invalid(String),
    /// So many bytes more were needed and are not free.
    NoMemory {
        /// How many.
        bytes: u64,
    },
    /// The work was stopped because the program ends.
    Cancelled,
}

/// What a caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same operation may succeed later.
    Retryable,
    /// The bytes are broken: the block wants to be set aside, others are not touched by it.
    Corrupt,
    /// The object does not exist (any more).
    Gone,
    /// It will fail again until somebody changes something: credentials, a full disk, the block itself.
    Permanent,
}

impl BlockError {
    /// Says that `cause` struck `file` (its name in the block, or a local path) of `block`.
    pub fn new(block: BlockId, file: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Failure {
            block,
            file: file.into(),
            cause: cause.into(),
        }))
    }

    /// Says that `file` of `block` is not what it should be.
    pub fn invalid(block: BlockId, file: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(block, file, Cause::Invalid(what.into()))
    }

    /// The block.
    pub fn block(&self) -> BlockId {
        self.0.block
    }

    /// The file: its name in the block, or a local path.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// What a caller should do about it.
    pub fn class(&self) -> ErrorClass {
        match &self.0.cause {
            Cause::Bucket(error) if error.is_not_found() => ErrorClass::Gone,
            Cause::Bucket(error) if error.is_retryable() => ErrorClass::Retryable,
            // A read behind the end of an object: it is shorter than its own index says.
            Cause::Bucket(error) if error.kind() == ErrorKind::Invalid => ErrorClass::Corrupt,
            Cause::Local(error) if error.kind() == io::ErrorKind::NotFound => ErrorClass::Gone,
            // A local file became shorter than it was.
            Cause::Local(error) if error.kind() == io::ErrorKind::UnexpectedEof => ErrorClass::Corrupt,
            Cause::Cancelled | Cause::NoMemory { .. } => ErrorClass::Retryable,
            Cause::Corrupt(_) => ErrorClass::Corrupt,
            Cause::Bucket(_) | Cause::Local(_) | Cause::Invalid(_) => ErrorClass::Permanent,
        }
    }

    /// Whether the same operation may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.class() == ErrorClass::Retryable
    }

    /// Whether the bytes of the block are broken.
    pub fn is_corrupt(&self) -> bool {
        self.class() == ErrorClass::Corrupt
    }

    /// Whether the object does not exist (any more).
    pub fn is_gone(&self) -> bool {
        self.class() == ErrorClass::Gone
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { block, file, cause } = &*self.0;
        match cause {
            // The error of a bucket names the key, which names the file.
            Cause::Bucket(_) => write!(f, "block {block}: {cause}"),
            _ => write!(f, "block {block}: {file}: {cause}"),
        }
    }
}

impl fmt::Debug for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { block, file, cause } = &*self.0;
        f.debug_struct("BlockError")
            .field("block", &block.to_string())
            .field("file", file)
            .field("cause", cause)
            .finish()
    }
}

impl StdError for BlockError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            Cause::Bucket(error) => error.source(),
            Cause::Local(error) => error.source(),
            Cause::Corrupt(_) | Cause::Invalid(_) | Cause::NoMemory { .. } | Cause::Cancelled => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(error) => error.fmt(f),
            Self::Local(error) => error.fmt(f),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Invalid(what) => f.write_str(what),
            Self::NoMemory { bytes } => write!(f, "no memory is free for {bytes} bytes more"),
            Self::Cancelled => f.write_str("stopped, because the program ends"),
        }
    }
}

impl From<sabre_objstore::Error> for Cause {
    fn from(error: sabre_objstore::Error) -> Self {
        Self::Bucket(error)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

impl From<Corruption> for Cause {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

#[cfg(test)]
mod tests {
    use sabre_objstore::{Error, Operation};

    use super::*;

    fn block() -> BlockId {
        BlockId::from_parts(1, [0; 10])
    }

    #[test]
    fn says_which_block_and_file() {
        let error = BlockError::new(block(), "index", Corruption::at("symbols", 7, "broken"));
        assert_eq!(
            error.to_string(),
            format!("block {}: index: corrupt symbols at offset 7: broken", block())
        );
        assert_eq!((error.block(), error.file()), (block(), "index"));
    }

    #[test]
    fn is_classed_by_its_cause() {
        let bucket = |kind| Cause::Bucket(Error::new(kind, Operation::Get, "b", "k", "why"));
        for (cause, class) in [
            (bucket(ErrorKind::NotFound), ErrorClass::Gone),
            (bucket(ErrorKind::Timeout), ErrorClass::Retryable),
            (bucket(ErrorKind::Truncated), ErrorClass::Retryable),
            (bucket(ErrorKind::Invalid), ErrorClass::Corrupt),
            (bucket(ErrorKind::AccessDenied), ErrorClass::Permanent),
            (Cause::Local(io::ErrorKind::NotFound.into()), ErrorClass::Gone),
            (
                Cause::Local(io::ErrorKind::UnexpectedEof.into()),
                ErrorClass::Corrupt,
            ),
            (
                Cause::Local(io::ErrorKind::StorageFull.into()),
                ErrorClass::Permanent,
            ),
            (Cause::Corrupt(Corruption::at("toc", 0, "")), ErrorClass::Corrupt),
            (Cause::Invalid("no labels".to_owned()), ErrorClass::Permanent),
            (Cause::Cancelled, ErrorClass::Retryable),
        ] {
            let error = BlockError::new(block(), "index", cause);
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
