//! What a request needs before it starts: the lists to read, and memory for all of its parts at once.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use sabre_model::Matcher;
use sabre_runtime::budget::Reservation;

use crate::{
    context::CallContext,
    cpu,
    error::RequestError,
    index_cache::IndexCache,
    limits::Fetching,
    postings::{PostingsWork, expand},
    postings_cost::CostRule,
    refs::SeriesRefs,
    small_lane::SMALL_SERIES,
    view::Selected,
};

/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many threads ask index-headers at once.
const PARALLEL_PLANS: usize = 4;

/// How many index-headers a thread asks one after the other: mostly that is quicker than waking another.
const PLANS_TOGETHER: usize = 8;

/// How many blocks' postings are read and combined at once, if there is memory for it.
const PARALLEL_EXPANSIONS: usize = 6;

/// A block with series to send.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) selected: Selected,
    pub(crate) refs: SeriesRefs,
    /// Matchers that are to be tried on the labels of the series.
    pub(crate) deferred: Arc<[Matcher]>,
}

/// Memory that a request holds while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// However many blocks have a part in it.
    pub(crate) fixed_bytes: u64,
    /// The least of that with which a request for few series can do.
    pub(crate) slim_bytes: u64,
    /// For each block with series.
    pub(crate) stream_bytes: u64,
}

/// What a request holds while it runs.
#[derive(Debug)]
pub(crate) struct Held {
    /// As long as this lives.
    pub(crate) memory: Reservation,
    /// Whether it has to do with the least.
    pub(crate) is_slim: bool,
}

/// Finds the matching series of all blocks, and reserves what the request needs and what the references take. What is
/// returned is the whole memory of the request. `most_series` is how many of a block the answer can have, 0 for any
/// number.
pub(crate) async fn open(
    selected: Vec<Selected>,
    needs: Needs,
    most_series: u64,
    context: &CallContext,
) -> Result<(Vec<Opened>, Held), RequestError> {
    let CallContext { budget, limits, .. } = context;
    let planned = plan_all(selected, context).await?;
    let refs_bytes: u64 = planned.iter().map(|(_, work)| work.most_ref_bytes()).sum();
    let mut expansions: Vec<u64> = planned.iter().map(|(_, work)| work.memory_bytes()).collect();
    expansions.sort_unstable_by(|a, b| b.cmp(a));
    let streams_bytes = needs.stream_bytes.saturating_mul(planned.len() as u64);
    let others_bytes = refs_bytes.saturating_add(streams_bytes);
    let held_bytes = needs.fixed_bytes.saturating_add(others_bytes);
    let parallel = parallel_expansions(&expansions, budget.limit_bytes().saturating_sub(held_bytes));
    let work_bytes: u64 = expansions.iter().take(parallel).sum();
    let series = planned.iter().map(|(_, work)| work.most_series());
    let is_small = series.fold(0, u64::saturating_add) <= SMALL_SERIES;
    let others_bytes = others_bytes.saturating_add(work_bytes);
    let (mut memory, is_slim) = reserve(needs, others_bytes, is_small, context).await?;
    let opened: Vec<Option<Opened>> = stream::iter(planned)
        .map(|(selected, work)| async move {
            let deferred: Arc<[Matcher]> = match &work {
                Work::Known(_) => Arc::default(),
                Work::Planned(work) => work.deferred().into(),
            };
            let refs = match work {
                Work::Known(refs) => {
                    limits.bytes(Fetching::Postings, refs.size_bytes() as u64)?;
                    refs
                }
                Work::Planned(work) => expand(&selected.block, work, &selected.matchers, context).await?,
            };
            context.stats.lazy_postings.add(u64::from(!deferred.is_empty()));
            context.stats.empty_postings.add(u64::from(refs.len() == 0));
            // A request for few series touches no more of them than that.
            let touched = match most_series {
                0 => refs.len() as u64,
                most => most.min(refs.len() as u64),
            };
            // Where matchers are still to be tried, series are counted as they pass them.
            if deferred.is_empty() {
                limits.series(touched)?;
            }
            Ok::<_, RequestError>((refs.len() > 0).then_some(Opened {
                selected,
                refs,
                deferred,
            }))
        })
        .buffered(parallel)
        .try_collect()
        .await?;
    let opened: Vec<Opened> = opened.into_iter().flatten().collect();
    let refs_bytes: u64 = opened.iter().map(|block| block.refs.size_bytes() as u64).sum();
    let fixed_bytes = if is_slim {
        needs.slim_bytes
    } else {
        needs.fixed_bytes
    };
    memory.shrink_to(fixed_bytes + refs_bytes + needs.stream_bytes.saturating_mul(opened.len() as u64));
    let held = Held { memory, is_slim };
    Ok((opened, held))
}

/// Reserves what a request needs, and `others_bytes`; true if that is the least. Where others wait for memory already,
/// a small request takes that which is kept for small ones.
async fn reserve(
    needs: Needs,
    others_bytes: u64,
    is_small: bool,
    context: &CallContext,
) -> Result<(Reservation, bool), RequestError> {
    let CallContext {
        budget, small_lane, ..
    } = context;
    let bytes = needs.fixed_bytes.saturating_add(others_bytes);
    let slim_bytes = needs.slim_bytes.saturating_add(others_bytes);
    // A call for labels cannot do with less, and asks for more later, of what all have: it waits with all.
    let can_be_slim = is_small && needs.slim_bytes < needs.fixed_bytes;
    if can_be_slim && small_lane.has(slim_bytes) {
        if let Some(memory) = budget.try_reserve(bytes) {
            return Ok((memory, false));
        }
        // What comes first: other small ones may have taken all that is kept for them.
        return tokio::select! {
            biased;
            memory = small_lane.reserve_within(slim_bytes, PATIENCE) => Ok((memory?, true)),
            memory = budget.reserve_within(bytes, PATIENCE), if bytes <= budget.limit_bytes() => Ok((memory?, false)),
        };
    }
    let memory = budget.reserve_within(bytes, PATIENCE).await?;
    Ok((memory, false))
}

/// Plans the lookups of all blocks; those where nothing can match are left out.
async fn plan_all(
    mut selected: Vec<Selected>,
    context: &CallContext,
) -> Result<Vec<(Selected, Work)>, RequestError> {
    let mut groups = Vec::new();
    while !selected.is_empty() {
        let rest = selected.split_off(selected.len().min(PLANS_TOGETHER));
        groups.push(std::mem::replace(&mut selected, rest));
    }
    let planned: Vec<Vec<(Selected, Work)>> = stream::iter(groups)
        .map(|group| async move {
            if let Some(known) = all_known(&group, &context.cache) {
                return Ok(known);
            }
            let (cache, rule) = (Arc::clone(&context.cache), context.cost_rule);
            cpu::run_blocking(move || plan_group(group, &cache, rule)).await?
        })
        .buffered(PARALLEL_PLANS)
        .try_collect()
        .await?;
    Ok(planned.into_iter().flatten().collect())
}

/// The answers of a group if this process knows all of them: then no thread need be woken.
fn all_known(group: &[Selected], cache: &IndexCache) -> Option<Vec<(Selected, Work)>> {
    let known = |selected: &Selected| {
        let refs = cache.expanded_here(selected.block.id(), &selected.matchers)?;
        Some((selected.clone(), Work::Known(refs)))
    };
    group.iter().map(known).collect()
}

fn plan_group(
    group: Vec<Selected>,
    cache: &IndexCache,
    rule: Option<CostRule>,
) -> Result<Vec<(Selected, Work)>, RequestError> {
    let mut planned = Vec::with_capacity(group.len());
    for selected in group {
        if let Some(refs) = cache.expanded_here(selected.block.id(), &selected.matchers) {
            planned.push((selected, Work::Known(refs)));
            continue;
        }
        let (block, matchers, names) = (&selected.block, &selected.matchers, cache.wants_names());
        let work = match rule {
            Some(rule) => PostingsWork::plan_by_cost(block, matchers, names, rule),
            None => PostingsWork::plan(&block.header, matchers, names),
        };
        match work.map_err(RequestError::Postings)? {
            Some(work) => planned.push((selected, Work::Planned(work))),
            None => cache.keep_expanded(selected.block.id(), &selected.matchers, &SeriesRefs::default()),
        }
    }
    Ok(planned)
}

/// What has to be done to know the matching series of a block.
#[derive(Debug)]
enum Work {
    Known(SeriesRefs),
    Planned(PostingsWork),
}

impl Work {
    /// Upper bound of what the references of a block's series take: differences of numbers below 2^32 take five bytes
    /// at most, and four on average as soon as there are sixteen of them.
    fn most_ref_bytes(&self) -> u64 {
        match self {
            Self::Known(refs) => refs.size_bytes() as u64,
            Self::Planned(work) => work.most_series().saturating_mul(4).saturating_add(16),
        }
    }

    /// Upper bound of how many series of the block match.
    fn most_series(&self) -> u64 {
        match self {
            Self::Known(refs) => refs.len() as u64,
            Self::Planned(work) => work.most_series(),
        }
    }

    /// Memory it takes to do it.
    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Known(_) => 0,
            Self::Planned(work) => work.memory_bytes(),
        }
    }
}

/// As many of the largest expansions as fit into `free_bytes`, at least one.
fn parallel_expansions(largest_first: &[u64], free_bytes: u64) -> usize {
    let mut total = 0u64;
    let fitting = largest_first
        .iter()
        .take(PARALLEL_EXPANSIONS)
        .take_while(|bytes| {
            total = total.saturating_add(**bytes);
            total <= free_bytes
        });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_expansions_run_as_there_is_memory_for() {
        assert_eq!(parallel_expansions(&[50, 40, 30], 100), 2);
        assert_eq!(parallel_expansions(&[50], 10), 1);
        assert_eq!(parallel_expansions(&[], 10), 1);
        assert_eq!(parallel_expansions(&[1; 50], u64::MAX), PARALLEL_EXPANSIONS);
    }
}
