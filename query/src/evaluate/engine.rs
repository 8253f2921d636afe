//! The engine: a gate, a clock, and a thread for each query that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sabre_model::Matcher;
use sabre_promql::QueryError;
use sabre_runtime::{budget::Budget, metrics::Registry, trace::Span};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::bridge::{Bridge, Counters};
use super::config::EngineConfig;
use super::failure::{FailureKind, QueryFailure};
use super::gate::{SelectGate, SelectMetrics};
use super::job::Job;
use super::ledger::Ledger;
use super::places::Places;
use super::plan::Plan;
use super::request::{QueryRequest, RequestContext};
use crate::source::{Account, SelectOptions, StoreSource};

/// What a query takes before it starts. The rest is taken when it is free, and refused when it is not.
const FIRST_BYTES: u64 = 1 << 20;

/// Longer queries wait for their turn before they are read.
const CHECKED_BYTES: usize = 64 << 10;

/// Answers queries over all stores.
#[derive(Debug)]
pub struct Engine {
    pub(super) source: Arc<dyn StoreSource>,
    pub(super) config: EngineConfig,
    places: Places,
    selects: Option<SelectMetrics>,
}

/// Tells the work that nobody waits for it, when this goes.
#[derive(Debug)]
struct Waiting {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
        self.token.cancel();
    }
}

impl Engine {
    /// An engine over all stores.
    pub fn new(source: Arc<dyn StoreSource>, config: EngineConfig) -> Engine {
        Engine {
            source,
            places: Places::new(config.max_concurrent),
            config,
            selects: None,
        }
    }

    /// Tells of its queries and their selects.
    #[must_use]
    pub fn with_metrics(mut self, registry: &Registry) -> Engine {
        let most = self.config.max_concurrent_select;
        self.selects = Some(SelectMetrics::register(most, registry));
        self.places.tell(registry);
        self
    }

    /// Queries that run now, and the most that may.
    pub fn in_flight(&self) -> (usize, usize) {
        self.places.in_flight()
    }

    /// Evaluates a query. Dropping the future ends its work.
    ///
    /// # Errors
    /// The query is wrong, its series cannot be had, or it takes more time or memory than it may.
    pub async fn query(&self, request: &QueryRequest) -> Result<Answer, QueryFailure> {
        let plan = Plan::new(&self.config, request)?;
        let enforced = self.enforced(&request.context)?;
        self.check(&request.expression).await?;
        let arrival = Instant::now();
        let deadline = self.deadline(&request.context, arrival);
        let place = self.places.enter(deadline).await?;
        let budget = self.budget();
        let ledger = self.ledger(&budget, deadline).await?;
        let queue = arrival.elapsed();
        let waiting = Waiting {
            flag: Arc::default(),
            token: CancellationToken::new(),
        };
        let bridge = Bridge {
            runtime: tokio::runtime::Handle::current(),
            source: Arc::clone(&self.source),
            options: self.select_options(&request.context, deadline, &budget),
            max_resolution_ms: plan.max_resolution_ms,
            shard: request.context.shard.clone(),
            dedup: self.dedups(&request.context).then_some(self.config.dedup_func),
            means: self.config.histogram_means,
            enforced,
            gate: SelectGate::new(self.config.max_concurrent_select, self.selects.clone()),
            ledger,
            early: self.early(),
            patience: self.config.select_patience,
            cancelled: waiting.token.clone(),
            counters: Arc::new(Counters::default()),
            wants_times: request.wants_times,
        };
        let job = Job {
            expression: request.expression.clone(),
            plan,
            bridge,
            cancelled: Arc::clone(&waiting.flag),
            parse: self.config.parse,
            subquery_step_ms: self.config.subquery_step_ms,
            threads: self.config.threads,
            limit: request.limit,
        };
        let work = sabre_runtime::cpu::blocking(move || {
            // A query that was given up holds its place until it noticed.
            let _place = place;
            job.run()
        });
        let mut span = Span::child(request.times.span_name());
        span.attribute("query", request.expression.as_str());
        let outcome = span.within(tokio::time::timeout_at(deadline.into(), work)).await;
        if !matches!(outcome, Ok(Ok(Ok(_)))) {
            span.fail("the query failed");
        }
        match outcome {
            Ok(Ok(answer)) => {
                let mut answer = answer?;
                answer.statistics.queue_us = u64::try_from(queue.as_micros()).unwrap_or(u64::MAX);
                Ok(answer)
            }
            Ok(Err(panicked)) => Err(QueryFailure::new(FailureKind::Internal, panicked.to_string())),
            Err(_elapsed) => Err(timed_out("expression evaluation")),
        }
    }

    /// Refuses what is no query before it waits for a place. What is long waits, because reading it takes memory.
    async fn check(&self, expression: &str) -> Result<(), QueryFailure> {
        if expression.len() > CHECKED_BYTES {
            return Ok(());
        }
        let (text, options) = (expression.to_owned(), self.config.parse);
        let read = sabre_runtime::run_cpu(move || sabre_promql::parse(&text, options).map(drop)).await;
        match read {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(QueryFailure::bad_data(QueryError::from(error).to_string())),
            Err(panicked) => Err(QueryFailure::new(FailureKind::Internal, panicked.to_string())),
        }
    }

    pub(super) fn deadline(&self, context: &RequestContext, now: Instant) -> Instant {
        let most = self.config.timeout;
        let timeout = context.timeout.map_or(most, |asked| asked.min(most));
        now.checked_add(timeout).unwrap_or(now)
    }

    pub(super) fn budget(&self) -> Budget {
        let (bytes, flag) = (self.config.query_bytes, self.config.query_bytes_flag.clone());
        self.config.budget.limited_child("a query", bytes, flag)
    }

    /// What selects may be charged to before they are wanted, while few queries run and memory is plenty: then nobody
    /// waits because of them.
    fn early(&self) -> Option<Budget> {
        let (running, most) = self.in_flight();
        let memory = self.config.budget.usage();
        let is_quiet = running.saturating_mul(4) <= most
            && memory.waiting == 0
            && memory.used_bytes <= self.config.budget.limit_bytes() / 2;
        is_quiet.then(|| self.budget())
    }

    /// Takes what a query needs to start, as soon as it is free.
    pub(super) async fn ledger(
        &self,
        budget: &Budget,
        deadline: Instant,
    ) -> Result<Arc<Ledger>, QueryFailure> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let first = budget.reserve_within(FIRST_BYTES, patience.max(Duration::from_millis(1)));
        let first = first
            .await
            .map_err(|error| QueryFailure::execution(error.to_string()))?;
        let flag = self.config.query_bytes_flag.clone();
        Ok(Arc::new(Ledger::new(budget, first, flag)))
    }

    /// Whether replicas are made one.
    fn dedups(&self, context: &RequestContext) -> bool {
        !self.replica_labels(context).is_empty()
    }

    fn replica_labels(&self, context: &RequestContext) -> Vec<String> {
        if !context.dedup {
            return Vec::new();
        }
        let asked = context.replica_labels.as_ref();
        asked.unwrap_or(&self.config.replica_labels).clone()
    }

    pub(super) fn select_options(
        &self,
        context: &RequestContext,
        deadline: Instant,
        budget: &Budget,
    ) -> SelectOptions {
        SelectOptions {
            without_replica_labels: self.replica_labels(context),
            store_matchers: context.store_matchers.clone(),
            partial_response: context.partial_response.unwrap_or(self.config.partial_response),
            deadline: Some(deadline),
            metadata: context.metadata.clone(),
            budget: budget.clone(),
            account: Arc::new(Account::default()),
        }
    }

    /// What a tenant must ask for.
    pub(super) fn enforced(&self, context: &RequestContext) -> Result<Option<Matcher>, QueryFailure> {
        match (&self.config.enforced_tenant_label, &context.tenant) {
            (None, _) => Ok(None),
            (Some(label), Some(tenant)) => Ok(Some(Matcher::equal(label, tenant))),
            (Some(_), None) => Err(QueryFailure::bad_data(
                "no tenant is named, and tenants may see their own series only (--query.enforce-tenancy)",
            )),
        }
    }
}

pub(super) fn timed_out(place: &str) -> QueryFailure {
    QueryFailure::new(FailureKind::Timeout, format!("query timed out in {place}"))
}
