//! What lib/promql takes for its storage: selects of all stores, replicas made one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sabre_model::Matcher;
use sabre_promql::source::{
    AggregateChoice, HistogramMeans, Queryable, SampleBuffer, SampleSource, SelectHints, Series, SeriesItem,
    SeriesSet, SourceError,
};
use sabre_proto::thanos::{Aggr, Func, Grouping, QueryHints, Range, ShardInfo};
use sabre_runtime::{budget::Budget, trace::carried};
use sabre_tsdb::chunk::aggregate::Aggregate;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ahead::Opened;
use super::feed::{Fed, FedSeries, Feed, Select};
use super::foresight::Foreseen;
use super::gate::SelectGate;
use super::ledger::{Charge, Ledger};
use super::plan::selector_resolution_ms;
use crate::dedup::{DedupFunc, SampleOptions, samples};
use crate::source::{SelectOptions, SelectRequest, StoreSource};

/// The stores as the storage of one query.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) source: Arc<dyn StoreSource>,
    pub(super) options: SelectOptions,
    pub(super) max_resolution_ms: i64,
    /// The part of the series that is wanted.
    pub(super) shard: Option<ShardInfo>,
    /// How replicas are made one, if they are.
    pub(super) dedup: Option<DedupFunc>,
    pub(super) means: HistogramMeans,
    /// What every selector must ask for, whatever it says about that label.
    pub(super) enforced: Option<Matcher>,
    pub(super) gate: SelectGate,
    pub(super) ledger: Arc<Ledger>,
    /// What selects that are open ahead of their time are charged to; none are opened without it. It is not the budget
    /// of the query: what is wanted now must never be refused because of what may be wanted later.
    pub(super) early: Option<Budget>,
    /// How long a select may take to open while others are open ahead of their time.
    pub(super) patience: Duration,
    pub(super) cancelled: CancellationToken,
    pub(super) counters: Arc<Counters>,
    /// Whether decoding is measured.
    pub(super) wants_times: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) selects: AtomicU64,
    pub(super) series: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) chunk_bytes: AtomicU64,
    pub(super) fan_out_us: AtomicU64,
    pub(super) decode_ns: AtomicU64,
}

/// The series of a selector.
struct Selected<'b> {
    bridge: &'b Bridge,
    feed: Feed,
    samples: SampleOptions,
}

/// The samples of a series, counted; what it holds is given back with it.
struct Counted {
    samples: Box<dyn SampleSource + Send>,
    counters: Arc<Counters>,
    count: u64,
    /// How long it took, if that is wanted.
    took: Option<Duration>,
    _charge: Charge,
}

impl Bridge {
    /// Opens selects in the order in which they will be wanted: the first one at once, so that it stands before the
    /// others at stores, and others as far as there are places; one stays free for what was not foreseen.
    pub(super) fn open_ahead(&self, foreseen: Vec<Foreseen>) {
        let Some(early) = &self.early else { return };
        for (number, foreseen) in foreseen.into_iter().enumerate() {
            if number > 0 && self.gate.free() < 2 {
                return;
            }
            let Some(place) = self.gate.try_enter() else {
                return;
            };
            let request = self.request(&foreseen.matchers, &foreseen.hints);
            let (source, mut options) = (Arc::clone(&self.source), self.options.clone());
            if number > 0 {
                options.budget = early.clone();
            }
            let task = self.runtime.spawn(carried(async move {
                let stream = source.select(request, options).await;
                Opened { stream, place }
            }));
            self.ledger.ahead().keep(foreseen, AbortOnDropHandle::new(task));
        }
    }

    fn request(&self, matchers: &[Matcher], hints: &SelectHints) -> SelectRequest {
        SelectRequest {
            matchers: enforce(matchers, self.enforced.as_ref()),
            mint: hints.start_ms,
            maxt: hints.end_ms,
            max_resolution_ms: selector_resolution_ms(self.max_resolution_ms, hints.func, hints.range_ms),
            aggregates: aggregates(hints.func),
            skip_chunks: false,
            hints: Some(query_hints(hints)),
            shard: self.shard.clone(),
            limit: 0,
        }
    }
}

/// What a selector asks for, with what it must ask for in place of what it says about the same label.
pub(super) fn enforce(matchers: &[Matcher], enforced: Option<&Matcher>) -> Vec<Matcher> {
    let Some(enforced) = enforced else {
        return matchers.to_vec();
    };
    let others = matchers
        .iter()
        .filter(|matcher| matcher.name() != enforced.name());
    others.chain([enforced]).cloned().collect()
}

fn aggregates(func: &str) -> Vec<i32> {
    let wanted = AggregateChoice::for_function(func).aggregates().iter();
    wanted
        .map(|aggregate| match aggregate {
            Aggregate::Count => Aggr::Count.into(),
            Aggregate::Sum => Aggr::Sum.into(),
            Aggregate::Min => Aggr::Min.into(),
            Aggregate::Max => Aggr::Max.into(),
            Aggregate::Counter => Aggr::Counter.into(),
        })
        .collect()
}

fn query_hints(hints: &SelectHints) -> QueryHints {
    QueryHints {
        step_millis: hints.step_ms,
        func: (!hints.func.is_empty()).then(|| Func {
            name: hints.func.to_owned(),
        }),
        grouping: (!hints.grouping.is_empty()).then(|| Grouping {
            by: hints.by,
            labels: hints.grouping.clone(),
        }),
        range: (hints.range_ms > 0).then_some(Range {
            millis: hints.range_ms,
        }),
        ..QueryHints::default()
    }
}

impl Queryable for Bridge {
    fn select<'q>(&'q self, matchers: &[Matcher], hints: &SelectHints) -> Result<SeriesSet<'q>, SourceError> {
        self.counters.selects.fetch_add(1, Ordering::Relaxed);
        let select = Select {
            source: Arc::clone(&self.source),
            request: self.request(matchers, hints),
            options: self.options.clone(),
            gate: self.gate.clone(),
            ledger: Arc::clone(&self.ledger),
            cancelled: self.cancelled.clone(),
            opening: self.ledger.ahead().take(matchers, hints),
            patience: self.patience,
        };
        let times = (hints.query_start_ms, hints.query_end_ms);
        Ok(Box::new(Selected {
            bridge: self,
            feed: select.start(&self.runtime),
            samples: SampleOptions {
                means: self.means,
                ..SampleOptions::for_function(hints.func, times, self.dedup)
            },
        }))
    }
}

impl Selected<'_> {
    fn series(&self, fed: FedSeries) -> Result<Series<'static>, SourceError> {
        let counters = &self.bridge.counters;
        counters.series.fetch_add(1, Ordering::Relaxed);
        counters.chunk_bytes.fetch_add(fed.chunk_bytes, Ordering::Relaxed);
        Ok(Series {
            labels: fed.labels,
            samples: Box::new(Counted {
                samples: samples(fed.chunks, &self.samples)?,
                counters: Arc::clone(counters),
                count: 0,
                took: self.bridge.wants_times.then_some(Duration::ZERO),
                _charge: fed.charge,
            }),
        })
    }
}

impl<'b> Iterator for Selected<'b> {
    type Item = Result<SeriesItem<'b>, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.feed.next()? {
            Ok(Fed::Warning(text)) => Ok(SeriesItem::Warning(text)),
            Ok(Fed::Series(fed)) => self.series(fed).map(SeriesItem::Series),
            Err(failure) => Err(SourceError::from_error(failure)),
        })
    }
}

impl Drop for Selected<'_> {
    fn drop(&mut self) {
        let waited_us = u64::try_from(self.feed.waited.as_micros()).unwrap_or(u64::MAX);
        self.bridge
            .counters
            .fan_out_us
            .fetch_add(waited_us, Ordering::Relaxed);
    }
}

impl SampleSource for Counted {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        let before = buffer.timestamps.len() + buffer.histograms.len();
        let start = self.took.is_some().then(Instant::now);
        let more = self.samples.next_into(buffer)?;
        if let (Some(took), Some(start)) = (&mut self.took, start) {
            *took += start.elapsed();
        }
        let after = buffer.timestamps.len() + buffer.histograms.len();
        self.count += after.saturating_sub(before) as u64;
        Ok(more)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.samples.fetch_add(self.count, Ordering::Relaxed);
        if let Some(took) = self.took {
            let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.counters.decode_ns.fetch_add(took_ns, Ordering::Relaxed);
        }
    }
}
