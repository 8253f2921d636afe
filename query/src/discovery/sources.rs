//! All places where endpoints are named, read together.

use std::{collections::BTreeMap, time::Duration};

use sabre_runtime::{
    discovery::{Resolver, is_looked_up},
    metrics::{Counter, Registry},
    yaml,
};
use tokio::time::Instant;

use super::{
    EndpointSpec, Wanted, files,
    names::{NameMetrics, Names},
    parse_document,
};
use crate::endpoints::{ClientOptions, EndpointKind};

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// Endpoints of flags.
    pub fixed: Vec<Wanted>,
    /// `--store.sd-files`.
    pub target_files: Vec<String>,
    /// `--store.sd-interval`.
    pub target_files_interval: Duration,
    /// The document of `--endpoint.sd-config`.
    pub document: Option<String>,
    /// The file of `--endpoint.sd-config-file`, which is read again.
    pub document_file: Option<String>,
    /// `--endpoint.sd-config-reload-interval`.
    pub document_interval: Duration,
    /// `--store.sd-dns-interval`.
    pub names_interval: Duration,
    /// Who looks names up.
    pub resolver: Resolver,
    /// How those are spoken to who have nothing said of them.
    pub client: ClientOptions,
}

/// Look-ups, and what was named twice.
#[derive(Debug)]
pub struct DiscoveryMetrics {
    names: NameMetrics,
    groups: NameMetrics,
    duplicates: Counter,
}

impl DiscoveryMetrics {
    /// Makes them.
    pub fn register(registry: &Registry) -> Self {
        Self {
            names: NameMetrics::register(
                // Thanos' alerts and dashboards still ask for the old name.
                &["thanos_query_endpoints", "thanos_query_store_apis"],
                registry,
            ),
            groups: NameMetrics::register(&["thanos_query_endpoint_groups"], registry),
            duplicates: registry.counter(
                "thanos_query_duplicated_endpoint_addresses_total",
                "Endpoints that were named more than once",
            ),
        }
    }
}

/// All places where endpoints are named.
#[derive(Debug)]
pub struct Sources {
    options: SourceOptions,
    names: Names,
    groups: Names,
    duplicates: Counter,
    targets: Kept<Vec<String>>,
    document: Kept<Vec<Wanted>>,
}

/// What a file said when it could last be read.
#[derive(Debug, Default)]
struct Kept<T> {
    value: T,
    at: Option<Instant>,
}

impl<T> Kept<T> {
    fn is_due(&self, now: Instant, interval: Duration) -> bool {
        self.at
            .is_none_or(|at| now.saturating_duration_since(at) >= interval)
    }

    fn note(&mut self, read: Result<T, String>, what: &str, now: Instant) {
        self.at = Some(now);
        match read {
            Ok(value) => self.value = value,
            Err(error) => tracing::warn!(what, error, "endpoints cannot be read, those from before stay"),
        }
    }
}

impl Sources {
    /// Reads the document once, so that what is wrong with it is said at the start.
    ///
    /// # Errors
    /// The document is none.
    pub fn new(options: SourceOptions, metrics: DiscoveryMetrics) -> Result<Self, super::DocumentError> {
        let mut document = Kept::default();
        if let Some(text) = &options.document {
            document.value = parse_document("--endpoint.sd-config", text, &options.client)?;
            document.at = Some(Instant::now());
        }
        Ok(Self {
            names: Names::new(options.resolver.clone(), options.names_interval, metrics.names),
            groups: Names::new(options.resolver.clone(), options.names_interval, metrics.groups),
            duplicates: metrics.duplicates,
            targets: Kept::default(),
            document,
            options,
        })
    }

    /// All endpoints there should be now, each once: of those named twice the later counts.
    pub async fn specs(&mut self) -> Vec<EndpointSpec> {
        self.read_files().await;
        let client = &self.options.client;
        let targets = self.targets.value.iter().filter_map(|target| {
            let wanted = Wanted::new(target, EndpointKind::default(), client.clone());
            wanted
                .inspect_err(|error| tracing::warn!(error, "a target of --store.sd-files is left out"))
                .ok()
        });
        let fixed = self.options.fixed.iter().cloned();
        let all: Vec<Wanted> = fixed
            .chain(targets)
            .chain(self.document.value.iter().cloned())
            .collect();
        self.names
            .keep(|name| all.iter().any(|wanted| wanted.address == name));
        self.groups
            .keep(|name| all.iter().any(|wanted| wanted.address == name));
        let mut specs = BTreeMap::new();
        for wanted in all {
            for spec in self.expand(wanted).await {
                if specs.insert(spec.address.clone(), spec).is_some() {
                    self.duplicates.inc();
                }
            }
        }
        specs.into_values().collect()
    }

    async fn expand(&mut self, wanted: Wanted) -> Vec<EndpointSpec> {
        let spec = |address: String, servers| EndpointSpec {
            address,
            kind: wanted.kind,
            client: wanted.client.clone(),
            servers,
        };
        if wanted.kind.group {
            let servers = self.groups.servers(&wanted.address).await;
            return vec![spec(wanted.address.clone(), servers)];
        }
        if !is_looked_up(&wanted.address) {
            return vec![spec(wanted.address.clone(), Vec::new())];
        }
        let servers = self.names.servers(&wanted.address).await;
        servers
            .into_iter()
            .map(|server| spec(server, Vec::new()))
            .collect()
    }

    async fn read_files(&mut self) {
        let now = Instant::now();
        if !self.options.target_files.is_empty()
            && self.targets.is_due(now, self.options.target_files_interval)
        {
            let patterns = self.options.target_files.clone();
            let read = sabre_runtime::blocking(move || {
                let mut all = Vec::new();
                for pattern in patterns {
                    all.extend(files::read(&pattern)?);
                }
                Ok(all)
            });
            let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
            self.targets.note(read, "--store.sd-files", now);
        }
        if let Some(path) = self.options.document_file.clone()
            && self.document.is_due(now, self.options.document_interval)
        {
            let client = self.options.client.clone();
            let read = sabre_runtime::blocking(move || {
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
                let text = yaml::expand_env(&path, &text, &|variable| std::env::var(variable).ok());
                let text = text.map_err(|error| error.to_string())?;
                parse_document(&path, &text, &client).map_err(|error| error.to_string())
            });
            let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
            self.document.note(read, "--endpoint.sd-config-file", now);
        }
    }
}
