//! Work that takes the processor or the disk for long, kept off the threads that run futures.

use sabre_runtime::cpu;

use crate::error::RequestError;

/// Runs `work`, which computes; dropping the future gives up its outcome.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestError> {
    cpu::run_cpu(work)
        .await
        .map_err(|error| RequestError::Panic(error.to_string()))
}

/// Runs `work`, which may read the disk.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestError> {
    cpu::blocking(work)
        .await
        .map_err(|error| RequestError::Panic(error.to_string()))
}
