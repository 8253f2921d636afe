//! The sidecar: ships Prometheus' blocks and answers StoreAPI from its remote read.
//!
//! Tasks share what is known of Prometheus ([`known`]): the [`heartbeat`] keeps asking, [`shipping`] sends blocks to the
//! bucket under the external labels, [`store_api`] answers queriers and [`proxy`] their questions for rules, targets and
//! the like; the [`reloader`] keeps Prometheus' configuration fresh. None of them needs the others to go on: while the
//! bucket is away queries are answered, and while Prometheus is away blocks are shipped.

pub mod flags;
pub mod heartbeat;
pub mod known;
pub mod metrics;
pub mod prometheus;
pub mod proxy;
pub mod reloader;
pub mod run;
pub mod shipper;
pub mod shipping;
pub mod store_api;
#[cfg(test)]
mod testing;
