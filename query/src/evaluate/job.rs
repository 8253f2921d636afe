//! A query on its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sabre_promql::annotation::Severity;
use sabre_promql::source::Queryable;
use sabre_promql::value::{QueryResult, Value};
use sabre_promql::{EvalOptions, ParseOptions, QueryError, query_instant, query_range};

use super::answer::{Answer, Charged, Statistics};
use super::bridge::Bridge;
use super::failure::{FailureKind, QueryFailure};
use super::foresight::{Nothing, is_worth_a_look};
use super::plan::Plan;
use super::request::QueryTimes;
use crate::source::SourceFailure;

/// A query to be evaluated.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) expression: String,
    pub(super) plan: Plan,
    pub(super) bridge: Bridge,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) parse: ParseOptions,
    pub(super) subquery_step_ms: i64,
    pub(super) threads: usize,
    pub(super) limit: usize,
}

impl Job {
    /// Evaluates the query; waits for series.
    pub(super) fn run(self) -> Result<Answer, QueryFailure> {
        let start = Instant::now();
        self.look_ahead();
        let result = self.evaluate(&self.bridge);
        self.bridge.ledger.ahead().give_up();
        let evaluation_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let QueryResult {
            mut value,
            annotations,
        } = result.map_err(|error| self.failure(&error))?;
        let mut warnings = annotations.texts(Severity::Warning, &self.expression);
        if cut(&mut value, self.limit) {
            warnings.push("results truncated due to limit".to_owned());
        }
        let mut statistics = self.statistics(evaluation_us);
        let charge = self.bridge.ledger.charge(value.memory_bytes() as u64);
        statistics.charged = Charged::new(charge.map_err(|error| self.failure(&error.into()))?);
        self.bridge.ledger.shrink();
        Ok(Answer {
            value,
            warnings,
            infos: annotations.texts(Severity::Info, &self.expression),
            statistics,
        })
    }

    /// Opens the first select and what is wanted after it.
    fn look_ahead(&self) {
        let most = self.bridge.gate.free();
        if most < 2 || self.bridge.early.is_none() || !is_worth_a_look(&self.expression, self.parse) {
            return;
        }
        let nothing = Nothing::new(most);
        // An error says that as much was seen as is wanted, or will come again.
        drop(self.evaluate(&nothing));
        let foreseen = nothing.seen();
        if foreseen.len() > 1 {
            self.bridge.open_ahead(foreseen);
        }
    }

    fn evaluate(&self, source: &dyn Queryable) -> Result<QueryResult, QueryError> {
        let options = EvalOptions {
            parse: self.parse,
            lookback_ms: self.plan.lookback_ms,
            subquery_step_ms: self.subquery_step_ms,
            delayed_name_removal: false,
            threads: self.threads,
            budget: &*self.bridge.ledger,
            cancelled: Some(&self.cancelled),
        };
        match self.plan.times {
            QueryTimes::Instant { time_ms } => query_instant(source, &self.expression, time_ms, &options),
            QueryTimes::Range {
                start_ms,
                end_ms,
                step_ms,
            } => query_range(source, &self.expression, start_ms, end_ms, step_ms, &options),
        }
    }

    fn statistics(&self, evaluation_us: u64) -> Statistics {
        let counters = &self.bridge.counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            queue_us: 0,
            evaluation_us,
            fan_out_us: read(&counters.fan_out_us),
            decode_us: read(&counters.decode_ns) / 1000,
            selects: read(&counters.selects),
            series: read(&counters.series),
            samples: read(&counters.samples),
            chunk_bytes: read(&counters.chunk_bytes),
            peak_bytes: self.bridge.ledger.peak_bytes(),
            charged: Charged::default(),
            endpoints: self.bridge.options.account.endpoints.lock().clone(),
        }
    }

    fn failure(&self, error: &QueryError) -> QueryFailure {
        let kind = match error {
            QueryError::Parse(_) | QueryError::Times(_) | QueryError::Type(_) => FailureKind::BadData,
            QueryError::Evaluation(_) => FailureKind::Execution,
            QueryError::Cancelled => FailureKind::Canceled,
            QueryError::Budget(over) => return QueryFailure::execution(self.bridge.ledger.refusal(over)),
            QueryError::Source(source) => self.kind_of_source(source),
        };
        QueryFailure::new(kind, error.to_string())
    }

    /// What stores do wrong is internal for an instant and a failed execution for a range, as in Thanos.
    fn kind_of_source(&self, error: &sabre_promql::source::SourceError) -> FailureKind {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<SourceFailure>());
        match (cause, self.plan.times) {
            (Some(SourceFailure::Cancelled), _) => FailureKind::Canceled,
            (Some(SourceFailure::Timeout(_)), _) => FailureKind::Timeout,
            (Some(SourceFailure::Limit(_)), _) | (_, QueryTimes::Range { .. }) => FailureKind::Execution,
            (_, QueryTimes::Instant { .. }) => FailureKind::Internal,
        }
    }
}

/// Cuts a value to so many series; says whether there were more.
fn cut(value: &mut Value, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    match value {
        Value::Scalar { .. } | Value::String { .. } => false,
        Value::Vector(samples) => {
            let more = samples.len() > limit;
            samples.truncate(limit);
            more
        }
        Value::Matrix(series) => {
            let more = series.len() > limit;
            series.truncate(limit);
            more
        }
    }
}
