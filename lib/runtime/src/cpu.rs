//! Work that would hold up the async threads: computing goes to a pool of one thread a core, waiting for files to
//! another. Anything that computes for more than about half a millisecond belongs here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::trace::carried_call;

/// Work that did not come to an end.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("work on another thread panicked: {0}")]
pub struct WorkPanicked(String);

/// Runs `work` on the pool for computing. If the caller is gone before it starts, it is skipped.
///
/// # Errors
/// When `work` panics.
pub async fn run_cpu<T, F>(work: F) -> Result<T, WorkPanicked>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let span = tracing::Span::current();
    let work = carried_call(work);
    rayon::spawn(move || {
        if sender.is_closed() {
            return;
        }
        let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(work)));
        // The caller may have left meanwhile.
        drop(sender.send(outcome.map_err(|panic| WorkPanicked(panic_text(&*panic)))));
    });
    match receiver.await {
        Ok(outcome) => outcome,
        Err(_closed) => Err(WorkPanicked("the pool dropped it".to_owned())),
    }
}

/// Runs `work`, which waits for files or other system calls, on the pool for blocking.
///
/// # Errors
/// When `work` panics.
pub async fn blocking<T, F>(work: F) -> Result<T, WorkPanicked>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let span = tracing::Span::current();
    let work = carried_call(work);
    let task = tokio::task::spawn_blocking(move || span.in_scope(work));
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => WorkPanicked(panic_text(&*panic)),
        Err(_cancelled) => WorkPanicked("the process shuts down".to_owned()),
    })
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    use super::*;

    #[tokio::test]
    async fn answers_come_back_from_both_pools() {
        assert_eq!(run_cpu(|| 6 * 7).await, Ok(42));
        assert_eq!(blocking(|| 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run_cpu(|| panic!("bad {}", 1)).await.unwrap_err();
        assert_eq!(error.to_string(), "work on another thread panicked: bad 1");
        assert_eq!(
            blocking(|| panic!("worse")).await.unwrap_err(),
            WorkPanicked("worse".to_owned())
        );
    }

    #[test]
    fn work_of_a_caller_that_left_is_skipped() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let ran = Arc::new(AtomicBool::new(false));
        let (open_gate, gate) = mpsc::channel::<()>();
        let (done, finished) = mpsc::channel::<()>();
        pool.install(|| {
            // rayon::spawn goes to the pool of the calling thread; its tasks run last in, first out.
            let seen = Arc::clone(&ran);
            let mut work = Box::pin(run_cpu(move || seen.store(true, Ordering::SeqCst)));
            let waker = std::task::Waker::noop();
            assert!(
                work.as_mut()
                    .poll(&mut std::task::Context::from_waker(waker))
                    .is_pending()
            );
            drop(work);
            open_gate.send(()).unwrap();
        });
        pool.spawn(move || done.send(()).unwrap());
        gate.recv().unwrap();
        finished.recv().unwrap();
        assert!(!ran.load(Ordering::SeqCst));
    }
}
