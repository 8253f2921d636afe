//! Work that reads or writes local files, kept off the threads that run futures.

use sabre_model::BlockId;

use crate::error::{BlockError, Cause, Result};

/// Runs `work` on a thread that may block; what fails concerns `file` of `block`.
pub(crate) async fn run<T: Send + 'static>(
    block: BlockId,
    file: &str,
    work: impl FnOnce() -> Result<T, Cause> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|cause| BlockError::new(block, file, cause)),
        Err(error) => Err(BlockError::new(block, file, stopped(error))),
    }
}

/// Runs `work`, which names block and file in its own errors, on a thread that may block.
pub(crate) async fn run_block<T: Send + 'static>(
    block: BlockId,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(BlockError::new(block, "local files", stopped(error))),
    }
}

fn stopped(error: tokio::task::JoinError) -> Cause {
    if error.is_cancelled() {
        Cause::Cancelled
    } else {
        Cause::Local(std::io::Error::other(error))
    }
}
