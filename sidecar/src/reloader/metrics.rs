//! The reloader's metrics, under Thanos' names.

use sabre_runtime::metrics::{Counter, Gauge, GaugeF64, Gauges, Registry};

/// Handles; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloaderMetrics {
    /// Reloads asked for.
    pub reloads: Counter,
    /// Of those, how many failed.
    pub reload_errors: Counter,
    /// 1 when the last one went well.
    pub last_successful: Gauge,
    /// When one last went well, in seconds since the epoch.
    pub last_success_seconds: GaugeF64,
    /// Looks at the configuration.
    pub applies: Counter,
    /// Of those, how many found one that cannot be used.
    pub apply_errors: Counter,
    /// Variables that were not set at the last look.
    pub unset_variables: Gauge,
    /// Files and directories watched.
    pub watches: Gauge,
    /// Changes the file system told of.
    pub watch_events: Counter,
    /// Errors it told of.
    pub watch_errors: Counter,
    /// 1, by `method`.
    pub info: Gauges<1>,
}

impl ReloaderMetrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> ReloaderMetrics {
        let name = |rest: &str| format!("thanos_sidecar_reloader_{rest}");
        let counter = |rest: &str, help: &str| registry.counter(&name(rest), help);
        let gauge = |rest: &str, help: &str| registry.gauge(&name(rest), help);
        ReloaderMetrics {
            reloads: counter("reloads_total", "Total number of reload requests."),
            reload_errors: counter(
                "reloads_failed_total",
                "Total number of reload requests that failed.",
            ),
            last_successful: gauge(
                "last_reload_successful",
                "Whether the last reload attempt was successful",
            ),
            last_success_seconds: registry.gauge_f64(
                &name("last_reload_success_timestamp_seconds"),
                "Timestamp of the last successful reload",
            ),
            applies: counter(
                "config_apply_operations_total",
                "Total number of config apply operations.",
            ),
            apply_errors: counter(
                "config_apply_operations_failed_total",
                "Total number of config apply operations that failed.",
            ),
            unset_variables: gauge(
                "config_environment_variable_expansion_errors",
                "Number of environment variable expansions that failed during the last operation.",
            ),
            watches: gauge("watches", "Number of resources watched by the reloader."),
            watch_events: counter(
                "watch_events_total",
                "Total number of events received by the reloader from the watcher.",
            ),
            watch_errors: counter(
                "watch_errors_total",
                "Total number of errors received by the reloader from the watcher.",
            ),
            info: registry.gauges(
                &name("info"),
                "A metric with a constant '1' value labeled by reload method (either 'http' or 'signal').",
                ["method"],
            ),
        }
    }
}
