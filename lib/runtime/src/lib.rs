//! What every component shares: flags, logs, metrics, probes, servers, shutdown, budgets.
//!
//! A component reads its flags, makes its metrics, binds its servers, and runs them until a signal comes:
//! ```no_run
//! use sabre_runtime::{
//!     flags::groups, grpc_server::{GrpcOptions, GrpcServer}, http_server::{HttpOptions, HttpServer},
//!     logging, metrics::Registry, probe::Probe, request_log::RequestLog, shutdown::{Signals, Tasks},
//! };
//!
//! # type Failure = Box<dyn std::error::Error + Send + Sync>;
//! async fn run(flags: &sabre_runtime::flags::Flags) -> Result<(), Failure> {
//!     logging::init(flags)?;
//!     flags.log_notices();
//!     let (http, grpc) = (HttpOptions::from_flags(flags)?, GrpcOptions::from_flags(flags)?);
//!     let budget = groups::budget(flags)?;
//!
//!     let registry = Registry::new();
//!     registry.register_process();
//!     budget.register_metrics(&registry);
//!     let probe = Probe::new(&registry);
//!     let http = HttpServer::new(http, &registry, &probe).bind().await?;
//!     let log = RequestLog::from_flags(flags)?;
//!     let grpc = GrpcServer::new(grpc).with_log(log).bind(&registry, &probe).await?;
//!
//!     let signals = Signals::listen()?;
//!     let mut tasks = Tasks::new(signals.stop.clone());
//!     tasks.serve("http", |stop| http.serve(stop));
//!     tasks.serve("grpc", |stop| grpc.serve(stop));
//!     probe.set_ready();
//!     Ok(tasks.run().await?)
//! }
//! ```

pub mod budget;
mod causes;
pub mod clock;
pub mod component;
pub mod cpu;
pub mod discovery;
pub mod flags;
#[doc(hidden)]
pub mod fuzz;
pub mod grpc_server;
pub mod http_server;
pub mod limits;
pub mod logging;
pub mod metrics;
mod observed_body;
pub mod probe;
pub mod profiles;
pub mod request_log;
mod server;
pub mod shutdown;
pub mod tls;
pub mod trace;
pub mod yaml;

pub use causes::with_causes;
pub use cpu::{blocking, run_cpu};
