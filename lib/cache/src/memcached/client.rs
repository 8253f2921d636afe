//! A fleet of memcached servers as one cache.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use parking_lot::RwLock;
use sabre_runtime::{budget::Budget, clock, discovery, metrics::Registry};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::protocol;
use crate::{
    addresses,
    config::{CacheConfigError, MemcachedConfig, invalid},
    metrics::ClientMetrics,
    pool::{Connect, Pool},
    reads::Reads,
    remote::{Hits, RemoteCache},
    select::Servers,
    wire::{ValueLimits, Wire, WireError},
    writer::{Set, Writer, WriterOptions},
};

/// No server takes larger values.
const MAX_VALUE_BYTES: u64 = 128 << 20;

/// Most keys of one read where the document sets no limit.
const MAX_KEYS: usize = 4096;

/// All look-ups together may take so long at the start.
const FIRST_LOOKUP: Duration = Duration::from_secs(10);

/// Talks to memcached servers. Its tasks end when it is dropped.
#[derive(Debug)]
pub struct MemcachedClient {
    servers: Arc<Fleet>,
    writer: Writer,
    _lookups: AbortOnDropHandle<()>,
}

struct Fleet {
    config: MemcachedConfig,
    limits: ValueLimits,
    servers: RwLock<Arc<Servers>>,
    pool: Pool,
    reads: Reads,
    metrics: ClientMetrics,
}

#[derive(Debug)]
struct Plain(ValueLimits);

#[async_trait]
impl Connect for Plain {
    async fn connect(&self, address: &str) -> Result<Wire, WireError> {
        Wire::connect(address, self.0.clone()).await
    }
}

impl MemcachedClient {
    /// Looks the servers up and starts; `name` says what the cache is for, `what` is the document. No server need
    /// answer, but there must be one. Values that are held are charged to `budget`.
    ///
    /// # Errors
    /// A key of the document that makes no sense, or no server.
    pub async fn start(
        name: &str,
        what: &str,
        config: MemcachedConfig,
        budget: &Budget,
        registry: &Registry,
    ) -> Result<Self, CacheConfigError> {
        config.check(what)?;
        for address in &config.addresses {
            let checked = discovery::check(address);
            checked.map_err(|problem| invalid(what, "config.addresses", problem))?;
        }
        let max_bytes = match config.max_item_size.0 {
            0 => MAX_VALUE_BYTES,
            max => max.min(MAX_VALUE_BYTES),
        };
        let limits = ValueLimits {
            max_bytes,
            budget: budget.child("values of a cache"),
        };
        let metrics = ClientMetrics::register(registry, "memcached", name);
        let fleet = Arc::new(Fleet {
            pool: Pool::new(Box::new(Plain(limits.clone())), config.max_idle_connections),
            limits,
            servers: RwLock::default(),
            reads: Reads::new(name, config.max_get_multi_concurrency, metrics.clone()),
            metrics: metrics.clone(),
            config,
        });
        // Whatever is wrong was logged.
        let _ = timeout(FIRST_LOOKUP, fleet.look_up()).await;
        if fleet.servers.read().iter().next().is_none() {
            let problem = "no server was found; check the names and that they can be looked up".to_owned();
            return Err(invalid(what, "config.addresses", problem));
        }
        let options = WriterOptions {
            waiting: fleet.config.max_async_buffer_size,
            writers: fleet.config.max_async_concurrency,
            max_item_bytes: fleet.config.max_item_size.0,
            breaker: fleet.config.set_async_circuit_breaker_config,
        };
        let set: Arc<dyn Set> = Arc::<Fleet>::clone(&fleet);
        let writer = Writer::start(set, options, budget.child("writes to a cache"), metrics);
        let looking = Arc::clone(&fleet);
        let lookups = tokio::spawn(async move {
            loop {
                tokio::time::sleep(looking.config.dns_provider_update_interval.get()).await;
                looking.look_up().await;
            }
        });
        Ok(Self {
            servers: fleet,
            writer,
            _lookups: AbortOnDropHandle::new(lookups),
        })
    }
}

#[async_trait]
impl RemoteCache for MemcachedClient {
    fn name(&self) -> &str {
        &self.servers.reads.name
    }

    async fn get_multi(&self, keys: &[String]) -> Hits {
        self.servers.get_multi(keys).await
    }

    fn set_later(&self, key: String, value: Bytes, ttl: Duration) {
        self.writer.add(key, &value, ttl);
    }
}

impl Fleet {
    /// Finds out which servers there are; those of an address that cannot be looked up stay as they were.
    async fn look_up(&self) {
        let mut found = Vec::new();
        for address in &self.config.addresses {
            self.metrics.lookups.inc();
            let servers = if self.config.auto_discovery {
                let limit = self.config.timeout.get();
                let asked = addresses::discover(address, &self.limits, limit).await;
                asked.map_err(|error| error.to_string())
            } else {
                discovery::resolve(address).await
            };
            match servers {
                Ok(servers) => {
                    self.metrics.resolved(address, servers.len());
                    found.extend(servers);
                }
                Err(error) => {
                    self.metrics.lookup_failures.inc();
                    tracing::warn!(
                        name = self.reads.name,
                        address,
                        error,
                        "servers of a cache cannot be looked up"
                    );
                    // Half of the fleet would get the keys of all of it: better the fleet as it was.
                    return;
                }
            }
        }
        let servers = Servers::new(found);
        if servers.iter().next().is_none() || **self.servers.read() == servers {
            return;
        }
        self.pool
            .retain(|address| servers.iter().any(|server| server == address));
        *self.servers.write() = Arc::new(servers);
    }

    async fn get_multi(&self, keys: &[String]) -> Hits {
        let servers = Arc::clone(&self.servers.read());
        let mut by_server: HashMap<&str, Vec<&str>> = HashMap::new();
        for key in keys {
            if let (Ok(()), Some(server)) = (protocol::check_key(key), servers.of(key)) {
                by_server.entry(server).or_default().push(key);
            }
        }
        let most = match self.config.max_get_multi_batch_size {
            0 => MAX_KEYS,
            most => most.min(MAX_KEYS),
        };
        let mut reads = Vec::new();
        for (server, keys) in &by_server {
            for keys in keys.chunks(most) {
                reads.push(self.get_of_one(server, keys).boxed());
            }
        }
        Reads::all(reads).await
    }

    async fn get_of_one(&self, server: &str, keys: &[&str]) -> Hits {
        let read = async || {
            let read = async |wire: &mut Wire| protocol::get(wire, keys).await;
            self.on_server(server, read).await
        };
        let is_up = self.pool.is_up(server, Instant::now());
        self.reads.batch(is_up, read).await
    }

    /// Runs one operation within its time; the connection is kept if it is known to be sound.
    async fn on_server<T>(
        &self,
        server: &str,
        operation: impl AsyncFnOnce(&mut Wire) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let limit = self.config.timeout.get();
        let run = async {
            let mut wire = self.pool.take(server).await?;
            let outcome = operation(&mut wire).await;
            Ok::<_, WireError>((wire, outcome))
        };
        let (wire, outcome) = match timeout(limit, run).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                self.pool.failed(server, Instant::now());
                return Err(error);
            }
            Err(_) => {
                self.pool.failed(server, Instant::now());
                return Err(WireError::TimedOut(limit));
            }
        };
        self.pool.settle(server, wire, &outcome);
        outcome
    }
}

#[async_trait]
impl Set for Fleet {
    async fn set(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), WireError> {
        let servers = Arc::clone(&self.servers.read());
        let server = servers.of(key).ok_or(WireError::BadKey("no server"))?;
        if !self.pool.is_up(server, Instant::now()) {
            return Err(WireError::Refused("is left alone for a while".to_owned()));
        }
        let now_seconds = clock::since_epoch().as_secs();
        let life = (ttl, now_seconds);
        self.on_server(server, async |wire| protocol::set(wire, key, value, life).await)
            .await
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}
