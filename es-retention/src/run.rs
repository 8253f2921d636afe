//! From flags to a command that has ended.

#[cfg(test)]
mod tests;

use std::{io::Write as _, sync::Arc};

use jiff::civil::Date;
use sabre_runtime::{
    clock,
    flags::Flags,
    http_server::{HttpOptions, HttpServer},
    metrics::Registry,
    probe::Probe,
    shutdown::Tasks,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    access::HttpTransport,
    cluster::{CallError, Client, transport::Transport},
    config::{Config, Overrides},
    execute::{Job, JobError, Report},
    exit::Exit,
    flags::read_date,
    observe::{Look, observe},
    output::{self, RunMetrics},
    plan::plan,
    restore::restore,
    schedule::{sleep_until, utc_day},
    status::status,
};

/// The name under which metrics are pushed.
const PUSH_JOB: &str = "sabre-es-retention";

/// What all commands need.
struct Setup {
    config: Config,
    day: Date,
    transport: Arc<dyn Transport>,
    stop: CancellationToken,
}

/// Runs `command`, a word of the table, until it has ended or `stop` is cancelled.
///
/// # Errors
/// An exit code other than 0, and why.
pub async fn run(
    command: &str,
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
) -> Result<(), Exit> {
    let lookup = |name: &str| std::env::var(name).ok();
    run_in(&lookup, command, flags, registry, stop).await
}

/// Whether commands can use the flags and the file that they name; nobody is asked.
///
/// # Errors
/// What is wrong, with the exit code of the commands.
pub fn check(flags: &Flags) -> Result<(), Exit> {
    let lookup = |name: &str| std::env::var(name).ok();
    Setup::new(&lookup, flags, CancellationToken::new()).map(drop)
}

/// [`run`] with the environment as `lookup` gives it.
async fn run_in(
    lookup: &(dyn Fn(&str) -> Option<String> + Sync),
    command: &str,
    flags: &Flags,
    registry: Registry,
    stop: CancellationToken,
) -> Result<(), Exit> {
    let setup = Setup::new(lookup, flags, stop)?;
    match command {
        "register-repo" => setup.register().await,
        "plan" => setup.plan(flags).await,
        "run" => setup.run_once(flags, &registry).await,
        "status" => setup.status(flags).await,
        "restore" => setup.restore(flags).await,
        "schedule" => setup.schedule(flags, registry).await,
        other => Err(Exit::failed(format!(
            "command {other} is in the table and is not known here"
        ))),
    }
}

impl Setup {
    /// Reads and checks everything; touches no network.
    fn new(
        lookup: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
        stop: CancellationToken,
    ) -> Result<Self, Exit> {
        let file = flags.text("config-file").map_err(Exit::configuration)?;
        let text = std::fs::read_to_string(file)
            .map_err(|error| Exit::configuration(format!("--config-file: cannot read {file}: {error}")))?;
        let max_deletes = match flags.is_given("max-deletes") {
            true => Some(flags.count("max-deletes").map_err(Exit::configuration)?),
            false => None,
        };
        let overrides = Overrides {
            role_arn: Some(flags.text("role-arn").map_err(Exit::configuration)?.to_owned()),
            max_deletes,
        };
        let config = Config::read(file, &text, lookup, &overrides).map_err(Exit::configuration)?;
        let transport = HttpTransport::new(&config.endpoint, &config.region, &config.access)
            .map_err(|error| Exit::configuration(format!("{file}: {error}")))?;
        if !config.unused.is_empty() {
            tracing::info!(
                keys = config.unused.join(", "),
                "these keys have no meaning here and are not used"
            );
        }
        if !config.overridden.is_empty() {
            tracing::info!(
                variables = config.overridden.join(", "),
                "these variables of the environment override the file"
            );
        }
        Ok(Self {
            day: day(flags)?,
            config,
            transport: Arc::new(transport),
            stop,
        })
    }

    async fn connect(&self) -> Result<Client, CallError> {
        let transport = Arc::clone(&self.transport);
        let client = Client::connect(transport, self.config.patience, self.stop.clone()).await?;
        tracing::info!(engine = %client.engine, endpoint = self.config.endpoint, "connected");
        Ok(client)
    }

    async fn register(&self) -> Result<(), Exit> {
        let client = self.connect().await.map_err(Exit::failed)?;
        let name = &self.config.repository_name;
        let repository = &self.config.repository;
        client
            .put_repository(name, repository)
            .await
            .map_err(Exit::failed)?;
        let nodes = client.verify_repository(name).await.map_err(Exit::failed)?;
        print(&format!(
            "repository {name} of type {} is registered, {nodes} nodes can use it\n",
            repository.kind
        ))
    }

    async fn plan(&self, flags: &Flags) -> Result<(), Exit> {
        let client = self.connect().await.map_err(Exit::failed)?;
        let config = &self.config;
        let state = observe(
            &client,
            &config.repository_name,
            &config.policies,
            self.day,
            Look::Only,
        )
        .await
        .map_err(|error| self.not_answered(error))?;
        let plan = plan(self.day, &state, &config.policies, config.max_deletes);
        show(flags, &plan, output::plan_table)
    }

    async fn status(&self, flags: &Flags) -> Result<(), Exit> {
        let client = self.connect().await.map_err(Exit::failed)?;
        let config = &self.config;
        let found = status(
            &client,
            &config.repository_name,
            &config.policies,
            &config.warn,
            self.day,
            config.max_deletes,
        )
        .await
        .map_err(|error| self.not_answered(error))?;
        show(flags, &found, output::status_table)
    }

    async fn restore(&self, flags: &Flags) -> Result<(), Exit> {
        let client = self.connect().await.map_err(Exit::failed)?;
        let index = flags.text("index").map_err(Exit::configuration)?;
        let restored = restore(&client, &self.config.repository_name, index)
            .await
            .map_err(|error| self.not_answered(error))?;
        if restored.is_empty() {
            return Err(Exit::failed(format!(
                "the repository {} has no snapshot of {index}",
                self.config.repository_name
            )));
        }
        show(flags, &restored, |restored| output::restored_table(restored))?;
        let failed = restored.iter().filter(|one| one.outcome.is_err()).count();
        match failed {
            0 => Ok(()),
            _ if failed == restored.len() => Exit::of_run(1),
            _ => Exit::of_run(3),
        }
    }

    /// A question that was not answered; a repository that is not there is said to be registered first.
    fn not_answered(&self, error: CallError) -> Exit {
        if error.is("repository_missing_exception") {
            return Exit::failed(JobError::NoRepository(self.config.repository_name.clone()));
        }
        Exit::failed(error)
    }

    async fn run_once(&self, flags: &Flags, registry: &Registry) -> Result<(), Exit> {
        let metrics = RunMetrics::new(registry);
        let result = self.job(self.day).await;
        metrics.observe(result.as_ref().ok(), clock::now_ms());
        let published = self.publish(flags, registry).await;
        let report = result?;
        show(flags, &report, output::report_table)?;
        published
            .map_err(|error| Exit::failed(format!("the run is over, its metrics are lost: {error:#}")))?;
        Exit::of_run(report.exit_code())
    }

    async fn job(&self, day: Date) -> Result<Report, Exit> {
        let client = self.connect().await.map_err(Exit::failed)?;
        let job = Job {
            client,
            repository: self.config.repository_name.clone(),
            policies: self.config.policies.clone(),
            max_deletes: self.config.max_deletes,
            warn: self.config.warn,
            day,
        };
        job.run().await.map_err(Exit::failed)
    }

    async fn publish(&self, flags: &Flags, registry: &Registry) -> anyhow::Result<()> {
        let metrics = &self.config.metrics;
        let textfile = match flags.text("metrics.textfile")? {
            "" => metrics.textfile.clone(),
            path => Some(path.into()),
        };
        let gateway = match flags.text("metrics.push-gateway")? {
            "" => metrics.push_gateway.clone(),
            address => Some(address.to_owned()),
        };
        let page = registry.classic();
        if let Some(path) = textfile {
            output::write_textfile(&path, &page).await?;
        }
        if let Some(gateway) = gateway {
            output::push(&gateway, metrics.job.as_deref().unwrap_or(PUSH_JOB), page).await?;
        }
        Ok(())
    }

    async fn schedule(self, flags: &Flags, registry: Registry) -> Result<(), Exit> {
        if flags.is_given("date") {
            return Err(Exit::configuration(
                "--date: a schedule runs on the days as they come",
            ));
        }
        let http = HttpOptions::from_flags(flags).map_err(Exit::configuration)?;
        let probe = Probe::new(&registry);
        let metrics = RunMetrics::new(&registry);
        let http = HttpServer::new(http, &registry, &probe)
            .bind()
            .await
            .map_err(Exit::failed)?;
        let mut tasks = Tasks::new(self.stop.clone());
        tasks.serve("http", |stop| http.serve(stop));
        tasks.spawn_main("schedule", async move {
            probe.set_ready();
            self.run_by_schedule(&metrics, clock::now_ms).await;
            Ok(())
        });
        tasks.run().await.map_err(Exit::failed)
    }

    /// Runs whenever the pattern says, on the day of UTC that it is then, until it is told to stop.
    async fn run_by_schedule(&self, metrics: &RunMetrics, now_ms: fn() -> i64) {
        while let Some(next_ms) = self.config.schedule.next_after(now_ms()) {
            let next = jiff::Timestamp::from_millisecond(next_ms).unwrap_or_default();
            tracing::info!(%next, "waiting for the next run");
            if !sleep_until(next_ms, now_ms, &self.stop).await {
                return;
            }
            let Some(day) = utc_day(now_ms()) else {
                return;
            };
            let result = self.job(day).await;
            metrics.observe(result.as_ref().ok(), now_ms());
            match result {
                Ok(report) => {
                    for line in output::summary(&report).lines() {
                        tracing::info!("{line}");
                    }
                }
                Err(error) => tracing::error!(err = %error, "the run failed, the next one tries again"),
            }
        }
        tracing::warn!("the schedule has no next run");
    }
}

/// `--date`, or today in UTC. A day that has not come is refused: everything would be too old.
fn day(flags: &Flags) -> Result<Date, Exit> {
    let today = utc_day(clock::now_ms()).ok_or_else(|| Exit::failed("the clock cannot be read"))?;
    let text = flags.text("date").map_err(Exit::configuration)?;
    if text.is_empty() {
        return Ok(today);
    }
    let day = read_date(text).map_err(Exit::configuration)?;
    if day > today {
        return Err(Exit::configuration(format!(
            "--date: {day} has not come, today is {today} (UTC)"
        )));
    }
    Ok(day)
}

fn show<T: Serialize>(flags: &Flags, value: &T, as_table: impl Fn(&T) -> String) -> Result<(), Exit> {
    let text = match flags.text("output").map_err(Exit::configuration)? {
        "json" => {
            let mut text = serde_json::to_string_pretty(value).map_err(Exit::failed)?;
            text.push('\n');
            text
        }
        _ => as_table(value),
    };
    print(&text)
}

fn print(text: &str) -> Result<(), Exit> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that closed the pipe has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Exit::failed(error)),
        _ => Ok(()),
    }
}
