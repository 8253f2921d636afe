//! The end of the process: signals, and tasks that live and die together.

use std::{future::Future, process::ExitCode, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::cpu::panic_text;

/// The error of a task, whatever it is.
pub type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// How long tasks may take to end after they were told to, beyond the grace periods of the servers.
const LAST_GRACE: Duration = Duration::from_secs(150);

/// What signals ask for. Clones share it.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Cancelled by SIGINT, SIGTERM and the failure of a task.
    pub stop: CancellationToken,
    reloads: watch::Sender<u64>,
}

/// Tasks that run until one of them fails or [`Signals::stop`] is cancelled.
#[derive(Debug)]
pub struct Tasks {
    stop: CancellationToken,
    set: JoinSet<(Ending, TaskResult)>,
    names: Vec<(Id, &'static str)>,
}

/// What the good end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    OfItself,
    OfAll,
}

/// The task that failed first.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task ended with an error.
    #[error("{name}: {source}")]
    Failed {
        /// Its name.
        name: &'static str,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A task panicked.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// Its name.
        name: &'static str,
        /// The message of the panic.
        message: String,
    },
}

impl Signals {
    /// Signals that nothing in the system sends, for tests.
    pub fn silent() -> Self {
        Self {
            stop: CancellationToken::new(),
            reloads: watch::Sender::new(0),
        }
    }

    /// Listens for SIGINT and SIGTERM, which cancel [`Signals::stop`] (the second one ends the process at once with
    /// code 1), and for SIGHUP, which asks for a reload.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        let signals = Self::silent();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(watch_stop(signals.stop.clone(), interrupt, terminate));
        tokio::spawn(watch_reload(signals.clone(), hangup));
        Ok(signals)
    }

    /// Follows the number of reloads asked for.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Asks for a reload, as SIGHUP does.
    pub fn ask_reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }
}

async fn watch_stop(stop: CancellationToken, mut interrupt: Signal, mut terminate: Signal) {
    let mut next = async || {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    };
    let first = next().await;
    tracing::info!(
        signal = first,
        "shutting down, the same signal again ends the process at once"
    );
    stop.cancel();
    let second = next().await;
    tracing::warn!(signal = second, "ending at once");
    std::process::exit(1);
}

async fn watch_reload(signals: Signals, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!(signal = "SIGHUP", "reload asked for");
        signals.ask_reload();
    }
}

impl Tasks {
    /// Makes an empty set that ends when `stop` is cancelled, and cancels it when a task fails.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            set: JoinSet::new(),
            names: Vec::new(),
        }
    }

    /// The token that tasks should heed.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task whose good end ends only itself.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = TaskResult> + Send + 'static) {
        self.start(name, Ending::OfItself, task);
    }

    /// Starts a task whose good end stops all others, such as the work of a command that runs once.
    pub fn spawn_main(
        &mut self,
        name: &'static str,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        self.start(name, Ending::OfAll, task);
    }

    /// Starts a server, which is handed the token and cannot fail any more.
    pub fn serve<F>(&mut self, name: &'static str, server: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serving = server(self.stop.clone());
        self.spawn(name, async move {
            serving.await;
            Ok(())
        });
    }

    /// Waits until all tasks have ended. Tasks that do not end within 150 s of being told to are given up.
    ///
    /// # Errors
    /// The first failure; it cancels the token, and the others end in their own good time.
    pub async fn run(mut self) -> Result<(), TaskError> {
        let mut outcome = Ok(());
        loop {
            let joined = tokio::select! {
                joined = self.set.join_next_with_id() => joined,
                () = give_up(&self.stop) => {
                    tracing::error!(left = self.set.len(), "tasks did not end in time and are given up");
                    break;
                }
            };
            let (id, failure) = match joined {
                None => break,
                Some(Ok((_, (ending, Ok(()))))) => {
                    if ending == Ending::OfAll {
                        self.stop.cancel();
                    }
                    continue;
                }
                Some(Ok((id, (_, Err(source))))) => (id, Ok(source)),
                Some(Err(error)) => (error.id(), Err(error)),
            };
            let failure = self.failure(id, failure);
            tracing::error!(err = %failure, "task failed, all others are stopped");
            self.stop.cancel();
            outcome = outcome.and(Err(failure));
        }
        outcome
    }

    fn start(
        &mut self,
        name: &'static str,
        ending: Ending,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let handle = self.set.spawn(async move { (ending, task.await) });
        self.names.push((handle.id(), name));
    }

    fn failure(
        &self,
        id: Id,
        failure: Result<Box<dyn std::error::Error + Send + Sync>, tokio::task::JoinError>,
    ) -> TaskError {
        let name = self
            .names
            .iter()
            .find(|(known, _)| *known == id)
            .map_or("task", |(_, name)| name);
        match failure {
            Ok(source) => TaskError::Failed { name, source },
            Err(error) => {
                let message = error
                    .try_into_panic()
                    .map_or_else(|error| error.to_string(), |panic| panic_text(&*panic));
                TaskError::Panicked { name, message }
            }
        }
    }
}

async fn give_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_GRACE).await;
}

/// The exit code of a process: 0 for a clean stop, 1 for a failure, which is logged.
pub fn exit_code<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => {
            tracing::info!("exiting");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(err = %error, "running failed");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(stop: &CancellationToken) -> impl Future<Output = TaskResult> + Send + 'static {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_first_failure_stops_all_and_is_named() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        tasks.spawn("waiter", waits(&stop));
        tasks.spawn("short", async { Ok(()) });
        tasks.spawn("broken", async { Err("disk is full".into()) });
        let error = tasks.run().await.unwrap_err();
        assert_eq!(error.to_string(), "broken: disk is full");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        tasks.spawn("waiter", waits(&stop));
        tasks.spawn("broken", async { panic!("oh {}", "no") });
        assert_eq!(
            tasks.run().await.unwrap_err().to_string(),
            "broken panicked: oh no"
        );
    }

    #[tokio::test]
    async fn the_end_of_the_main_task_is_the_good_end_of_all() {
        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        tasks.spawn("waiter", waits(&stop));
        tasks.spawn_main("compact once", async { Ok(()) });
        assert!(tasks.run().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_given_up() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("stubborn", std::future::pending());
        tasks.stop().cancel();
        assert!(tasks.run().await.is_ok());
    }

    #[tokio::test]
    async fn reloads_are_counted() {
        let signals = Signals::silent();
        let mut reloads = signals.reloads();
        signals.ask_reload();
        reloads.changed().await.unwrap();
        assert_eq!(*reloads.borrow_and_update(), 1);
    }

    #[test]
    fn exit_codes_are_those_of_thanos() {
        let shown = |outcome: Result<(), &str>| format!("{:?}", exit_code(outcome));
        assert_eq!(shown(Ok(())), format!("{:?}", ExitCode::from(0)));
        assert_eq!(shown(Err("x")), format!("{:?}", ExitCode::from(1)));
    }
}
