//! A redis server as a cache.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use sabre_runtime::{budget::Budget, metrics::Registry, tls};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::protocol;
use crate::{
    config::{CacheConfigError, RedisConfig, invalid},
    metrics::ClientMetrics,
    pool::{Connect, Pool},
    reads::Reads,
    remote::{Hits, RemoteCache},
    wire::{ValueLimits, Wire, WireError},
    writer::{Set, Writer, WriterOptions},
};

/// No larger values are read or written.
const MAX_VALUE_BYTES: u64 = 512 << 20;

/// Unused connections that are kept.
const MAX_IDLE: usize = 100;

/// What stands for a time that is not limited.
const NO_LIMIT: Duration = Duration::from_secs(3600);

/// Talks to a redis server. Its tasks end when it is dropped.
#[derive(Debug)]
pub struct RedisClient {
    server: Arc<Server>,
    writer: Writer,
}

struct Server {
    config: RedisConfig,
    addresses: Vec<String>,
    /// Which of the addresses answered last.
    current: Mutex<usize>,
    pool: Pool,
    reads: Reads,
}

/// How connections are opened.
struct Dial {
    config: RedisConfig,
    tls: Option<TlsConnector>,
    limits: ValueLimits,
}

impl RedisClient {
    /// Starts; `name` says what the cache is for, `what` is the document. The server need not answer. Values that are
    /// held are charged to `budget`. Must be called where tokio runs.
    ///
    /// # Errors
    /// A key of the document that makes no sense, or a certificate that cannot be read.
    pub fn start(
        name: &str,
        what: &str,
        config: RedisConfig,
        budget: &Budget,
        registry: &Registry,
    ) -> Result<Self, CacheConfigError> {
        config.check(what)?;
        let addresses: Vec<String> = config
            .addr
            .split(',')
            .map(|address| address.trim().to_owned())
            .collect();
        for address in &addresses {
            if address
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.parse::<u16>().is_err())
            {
                let problem = format!("{address:?}: a port is missing, as in host:6379");
                return Err(invalid(what, "config.addr", problem));
            }
        }
        if config.cache_size.0 > 0 {
            tracing::info!(
                "{what}: key config.cache_size is accepted and ignored: there is no cache in the client"
            );
        }
        let tls = match config.tls_enabled {
            false => None,
            true => {
                let tls = tls::client_config(&config.tls_config.files());
                let tls = tls.map_err(|problem| invalid(what, "config.tls_config", problem.to_string()))?;
                Some(TlsConnector::from(Arc::new(tls)))
            }
        };
        let limits = ValueLimits {
            max_bytes: MAX_VALUE_BYTES,
            budget: budget.child("values of a cache"),
        };
        let metrics = ClientMetrics::register(registry, "redis", name);
        let dial = Dial {
            config: config.clone(),
            tls,
            limits,
        };
        let options = WriterOptions {
            waiting: config.max_async_buffer_size,
            writers: config.max_async_concurrency,
            max_item_bytes: MAX_VALUE_BYTES,
            breaker: config.set_async_circuit_breaker_config,
        };
        let server = Arc::new(Server {
            addresses,
            current: Mutex::new(0),
            pool: Pool::new(Box::new(dial), MAX_IDLE),
            reads: Reads::new(name, config.max_get_multi_concurrency, metrics.clone()),
            config,
        });
        let set: Arc<dyn Set> = Arc::<Server>::clone(&server);
        let writer = Writer::start(set, options, budget.child("writes to a cache"), metrics);
        Ok(Self { server, writer })
    }
}

#[async_trait]
impl RemoteCache for RedisClient {
    fn name(&self) -> &str {
        &self.server.reads.name
    }

    async fn get_multi(&self, keys: &[String]) -> Hits {
        let most = self.server.config.get_multi_batch_size.clamp(1, 4096);
        let mut reads = Vec::new();
        for keys in keys.chunks(most) {
            reads.push(self.server.get_batch(keys).boxed());
        }
        Reads::all(reads).await
    }

    fn set_later(&self, key: String, value: Bytes, ttl: Duration) {
        self.writer.add(key, &value, ttl);
    }
}

impl Server {
    async fn get_batch(&self, keys: &[String]) -> Hits {
        let full: Vec<Vec<u8>> = keys.iter().map(|key| self.full_key(key)).collect();
        let limit = limit(self.config.read_timeout.get());
        let read = async || {
            let read = async |wire: &mut Wire| protocol::get(wire, &full).await;
            let values = self.on_server(limit, read).await?;
            let found = keys.iter().cloned().zip(values);
            Ok(found.filter_map(|(key, value)| Some((key, value?))).collect())
        };
        self.reads.batch(self.up().is_some(), read).await
    }

    fn full_key(&self, key: &str) -> Vec<u8> {
        [self.config.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// The address to talk to: the one that answered last if it still does, else the next that may.
    fn up(&self) -> Option<&str> {
        let mut current = self.current.lock();
        let now = Instant::now();
        for _ in 0..self.addresses.len() {
            let address = self.addresses.get(*current)?;
            if self.pool.is_up(address, now) {
                return Some(address);
            }
            *current = (*current + 1) % self.addresses.len();
        }
        None
    }

    async fn on_server<T>(
        &self,
        limit: Duration,
        operation: impl AsyncFnOnce(&mut Wire) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let Some(address) = self.up() else {
            return Err(WireError::Refused("is left alone for a while".to_owned()));
        };
        let mut wire = match self.pool.take(address).await {
            Ok(wire) => wire,
            Err(error) => {
                self.pool.failed(address, Instant::now());
                return Err(error);
            }
        };
        let outcome = match timeout(limit, operation(&mut wire)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WireError::TimedOut(limit)),
        };
        self.pool.settle(address, wire, &outcome);
        outcome
    }
}

#[async_trait]
impl Set for Server {
    async fn set(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), WireError> {
        let key = self.full_key(key);
        let limit = limit(self.config.write_timeout.get());
        self.on_server(limit, async |wire| protocol::set(wire, &key, value, ttl).await)
            .await
    }
}

fn limit(timeout: Duration) -> Duration {
    if timeout.is_zero() { NO_LIMIT } else { timeout }
}

impl Dial {
    async fn open(&self, address: &str) -> Result<Wire, WireError> {
        let RedisConfig {
            username,
            password,
            db,
            master_name,
            ..
        } = &self.config;
        if master_name.is_empty() {
            let mut wire = self.stream(address).await?;
            protocol::greet(&mut wire, (username, password.reveal()), *db).await?;
            return Ok(wire);
        }
        let mut sentinel = self.stream(address).await?;
        let master = protocol::master(&mut sentinel, master_name).await?;
        let mut wire = self.stream(&master).await?;
        protocol::greet(&mut wire, (username, password.reveal()), *db).await?;
        Ok(wire)
    }

    async fn stream(&self, address: &str) -> Result<Wire, WireError> {
        let Some(tls) = &self.tls else {
            return Wire::connect(address, self.limits.clone()).await;
        };
        let host = match self.config.tls_config.server_name.as_str() {
            "" => address.rsplit_once(':').map_or(address, |(host, _)| host),
            name => name,
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| WireError::Nonsense(format!("{host:?} is no name of a server")))?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = tls.connect(name, stream).await?;
        Ok(Wire::new(Box::new(stream), self.limits.clone()))
    }
}

#[async_trait]
impl Connect for Dial {
    async fn connect(&self, address: &str) -> Result<Wire, WireError> {
        let limit = limit(self.config.dial_timeout.get());
        match timeout(limit, self.open(address)).await {
            Ok(opened) => opened,
            Err(_) => Err(WireError::TimedOut(limit)),
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
