//! Figures about the process, read from `/proc` at every scrape.

use std::{fmt, fs, path::PathBuf};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::Registry;

/// Ticks a second in `/proc`: 100 on every Linux that Rust runs on, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// The version of the program, for `thanos_build_info`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildInfo {
    /// Version number.
    pub version: &'static str,
    /// Commit.
    pub revision: &'static str,
    /// Branch.
    pub branch: &'static str,
}

#[derive(Debug)]
struct ProcessCollector {
    proc: PathBuf,
}

/// What `/proc` says; what cannot be read is not exported.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: Option<f64>,
    start_time_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Registry {
    /// Exports the version as `thanos_build_info`.
    pub fn register_build_info(&self, build: BuildInfo) {
        let labels = [
            "version",
            "revision",
            "branch",
            "goversion",
            "goos",
            "goarch",
            "tags",
        ];
        let help = "The version of the program; goversion is that of Rust";
        let rust = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let values = [
            build.version,
            build.revision,
            build.branch,
            rust,
            std::env::consts::OS,
            arch,
            "",
        ];
        self.gauges("thanos_build_info", help, labels).with(values).set(1);
    }

    /// Exports CPU time, memory, file descriptors and the start of the process as `process_*`.
    pub fn register_process(&self) {
        self.collector(
            "process",
            Box::new(ProcessCollector {
                proc: PathBuf::from("/proc"),
            }),
        );
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.read();
        if let Some(seconds) = figures.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let help = "User and system CPU time in seconds";
            let metric_type = counter.metric_type();
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, metric_type)?)?;
        }
        if let Some(seconds) = figures.start_time_seconds {
            let gauge = ConstGauge::new(seconds);
            let help = "Start of the process in seconds since the Unix epoch";
            let metric_type = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(
                "process_start_time_seconds",
                help,
                None,
                metric_type,
            )?)?;
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory in bytes",
                figures.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory in bytes",
                figures.virtual_bytes,
            ),
            ("process_threads", "Threads", figures.threads),
            ("process_open_fds", "Open file descriptors", figures.open_fds),
            (
                "process_max_fds",
                "File descriptors that may be open",
                figures.max_fds,
            ),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

impl ProcessCollector {
    fn read(&self) -> Figures {
        let text = |name: &str| fs::read_to_string(self.proc.join(name)).unwrap_or_default();
        let (stat, status, limits, system) = (
            text("self/stat"),
            text("self/status"),
            text("self/limits"),
            text("stat"),
        );
        // Field 2 is the name in parentheses, which may hold anything: count from behind it, where field 3 follows.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |number: usize| {
            fields
                .get(number - 3)?
                .parse::<f64>()
                .ok()
                .map(|ticks| ticks / TICKS_PER_SECOND)
        };
        let boot: Option<f64> = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|rest| rest.trim().parse().ok());
        Figures {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            start_time_seconds: ticks(22).zip(boot).map(|(since_boot, boot)| boot + since_boot),
            resident_bytes: number_after(&status, "VmRSS:").map(|kibibytes| kibibytes.saturating_mul(1024)),
            virtual_bytes: number_after(&status, "VmSize:").map(|kibibytes| kibibytes.saturating_mul(1024)),
            threads: number_after(&status, "Threads:"),
            open_fds: fs::read_dir(self.proc.join("self/fd"))
                .ok()
                .map(|entries| entries.count() as u64),
            max_fds: number_after(&limits, "Max open files"),
        }
    }
}

/// User and system CPU time of this process.
pub(crate) fn cpu_seconds() -> Option<f64> {
    this_process().cpu_seconds
}

/// Memory of this process that is in use.
pub(crate) fn resident_bytes() -> Option<u64> {
    this_process().resident_bytes
}

fn this_process() -> Figures {
    let proc = PathBuf::from("/proc");
    ProcessCollector { proc }.read()
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_proc() {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "self/stat",
                "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 5000 1 2 3",
            ),
            (
                "self/status",
                "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n",
            ),
            (
                "self/limits",
                "Limit  Soft  Hard  Units\nMax open files            1024  4096  files\n",
            ),
            ("self/fd/0", ""),
            ("self/fd/1", ""),
            ("stat", "cpu 1 2 3\nbtime 1700000000\n"),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let figures = ProcessCollector {
            proc: root.path().to_owned(),
        }
        .read();
        let expected = Figures {
            cpu_seconds: Some(4.0),
            start_time_seconds: Some(1_700_000_050.0),
            resident_bytes: Some(1 << 20),
            virtual_bytes: Some(2 << 20),
            threads: Some(9),
            open_fds: Some(2),
            max_fds: Some(1024),
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn nothing_readable_exports_nothing() {
        let figures = ProcessCollector {
            proc: PathBuf::from("/does/not/exist"),
        }
        .read();
        assert_eq!(figures, Figures::default());
    }

    #[test]
    fn this_process_is_exported() {
        let registry = Registry::new();
        registry.register_process();
        registry.register_process();
        registry.register_build_info(BuildInfo {
            version: "0.1.0",
            revision: "abc",
            branch: "main",
        });
        let page = registry.classic();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert_eq!(
                page.lines().filter(|line| line.starts_with(name)).count(),
                1,
                "{name} in\n{page}"
            );
        }
        assert!(page.contains(
            "thanos_build_info{version=\"0.1.0\",revision=\"abc\",branch=\"main\",goversion=\"rust1."
        ));
    }
}
