//! Series, names and values of labels, without their samples.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use sabre_model::{Labels, Matcher};
use sabre_proto::thanos::Aggr;

use super::answer::{Charged, NamesAnswer, SeriesAnswer};
use super::bridge::enforce;
use super::engine::{Engine, timed_out};
use super::failure::QueryFailure;
use super::ledger::{Charge, Ledger};
use super::request::SeriesRequest;
use crate::source::{SelectRequest, SeriesItem};

const CUT: &str = "results truncated due to limit";

/// What of labels is wanted.
#[derive(Clone, Copy)]
enum Wanted<'l> {
    Names,
    ValuesOf(&'l str),
}

impl Engine {
    /// Finds series. Dropping the future ends the calls.
    ///
    /// # Errors
    /// No matchers, or the series cannot be had in the time and the memory allowed.
    pub async fn series(&self, request: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        if request.matchers.is_empty() {
            return Err(QueryFailure::bad_data("no match[] parameter provided"));
        }
        // Who may not ask is told so before memory is waited for.
        let selects = self.selects(request)?;
        let deadline = self.deadline(&request.context, Instant::now());
        let budget = self.budget();
        let ledger = self.ledger(&budget, deadline).await?;
        let options = self.select_options(&request.context, deadline, &budget);
        let found = async {
            let mut found = Found::default();
            for select in selects {
                let stream = self.source.select(select, options.clone()).await?;
                found.add(stream, &ledger).await?;
            }
            Ok::<_, QueryFailure>(found)
        };
        let found = within(deadline, found).await?;
        let mut answer = SeriesAnswer {
            series: found.series.into_iter().collect(),
            warnings: found.warnings.into_iter().collect(),
            charged: Charged::of(found.charges),
        };
        ledger.shrink();
        if cut(&mut answer.series, request.limit) {
            answer.warnings.push(CUT.to_owned());
        }
        Ok(answer)
    }

    /// Names of labels, of all series where there are no matchers.
    ///
    /// # Errors
    /// They cannot be had in the time allowed.
    pub async fn label_names(&self, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        self.names(request, Wanted::Names).await
    }

    /// Values of a label, of all series where there are no matchers.
    ///
    /// # Errors
    /// They cannot be had in the time allowed.
    pub async fn label_values(
        &self,
        label: &str,
        request: &SeriesRequest,
    ) -> Result<NamesAnswer, QueryFailure> {
        self.names(request, Wanted::ValuesOf(label)).await
    }

    async fn names(&self, request: &SeriesRequest, wanted: Wanted<'_>) -> Result<NamesAnswer, QueryFailure> {
        let mut selects = self.selects(request)?;
        let deadline = self.deadline(&request.context, Instant::now());
        let budget = self.budget();
        let ledger = self.ledger(&budget, deadline).await?;
        let mut options = self.select_options(&request.context, deadline, &budget);
        // Names and values are those of all replicas, whatever `dedup` is.
        options.without_replica_labels.clear();
        if let [select] = selects.as_mut_slice() {
            select.limit = asked_limit(request.limit);
        }
        let found = async {
            let (mut values, mut warnings) = (BTreeSet::new(), BTreeSet::new());
            let mut charges = Vec::new();
            for select in selects {
                let options = options.clone();
                let (more, remarks) = match wanted {
                    Wanted::Names => self.source.label_names(select, options).await?,
                    Wanted::ValuesOf(label) => self.source.label_values(label, select, options).await?,
                };
                charges.push(charged(&ledger, texts_bytes(&more))?);
                values.extend(more);
                warnings.extend(remarks);
            }
            Ok::<_, QueryFailure>((values, warnings, charges))
        };
        let (values, warnings, charges) = within(deadline, found).await?;
        let mut answer = NamesAnswer {
            values: values.into_iter().collect(),
            warnings: warnings.into_iter().collect(),
            charged: Charged::of(charges),
        };
        ledger.shrink();
        if cut(&mut answer.values, request.limit) {
            answer.warnings.push(CUT.to_owned());
        }
        Ok(answer)
    }

    /// A select for each set of matchers; one without where there are none.
    fn selects(&self, request: &SeriesRequest) -> Result<Vec<SelectRequest>, QueryFailure> {
        let enforced = self.enforced(&request.context)?;
        let select = |matchers: &[Matcher]| SelectRequest {
            matchers: enforce(matchers, enforced.as_ref()),
            mint: request.start_ms,
            maxt: request.end_ms,
            max_resolution_ms: i64::MAX,
            aggregates: vec![Aggr::Count.into(), Aggr::Sum.into()],
            skip_chunks: true,
            hints: None,
            shard: None,
            limit: 0,
        };
        if request.matchers.is_empty() {
            return Ok(vec![select(&[])]);
        }
        let mut selects: Vec<SelectRequest> = request.matchers.iter().map(|set| select(set)).collect();
        if let [only] = selects.as_mut_slice() {
            only.limit = asked_limit(request.limit);
        }
        Ok(selects)
    }
}

/// One more than wanted, to see whether there are more.
fn asked_limit(limit: usize) -> u64 {
    if limit == 0 {
        0
    } else {
        (limit as u64).saturating_add(1)
    }
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, QueryFailure>>,
) -> Result<T, QueryFailure> {
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(result) => result,
        Err(_elapsed) => Err(timed_out("select of series")),
    }
}

fn charged(ledger: &Arc<Ledger>, bytes: usize) -> Result<Charge, QueryFailure> {
    let charge = ledger.charge(bytes as u64);
    charge.map_err(|over| QueryFailure::execution(ledger.refusal(&over)))
}

/// What texts take in a set, and then in a list.
fn texts_bytes(texts: &[String]) -> usize {
    let each = 3 * size_of::<String>();
    let own: usize = texts.iter().map(String::capacity).sum();
    own.saturating_add(texts.len().saturating_mul(each))
}

fn cut<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let more = limit > 0 && items.len() > limit;
    if more {
        items.truncate(limit);
    }
    more
}

/// Series of all selects, each once.
#[derive(Default)]
struct Found {
    series: BTreeSet<Labels>,
    warnings: BTreeSet<String>,
    charges: Vec<Charge>,
}

impl Found {
    async fn add(
        &mut self,
        mut stream: crate::source::SeriesStream,
        ledger: &Arc<Ledger>,
    ) -> Result<(), QueryFailure> {
        while let Some(item) = stream.next().await {
            match item? {
                SeriesItem::Warning(text) => {
                    self.warnings.insert(text);
                }
                SeriesItem::Series(labels, _) => {
                    let bytes = labels.heap_bytes().saturating_add(3 * size_of::<Labels>());
                    if !self.series.insert(labels) {
                        continue;
                    }
                    self.charges.push(charged(ledger, bytes)?);
                }
            }
        }
        Ok(())
    }
}
