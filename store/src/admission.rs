//! What a request needs before it starts: the lists to read, and memory for all of its parts at once.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use sabre_runtime::budget::Reservation;

use crate::{
    context::CallContext,
    cpu,
    error::RequestError,
    postings::{PostingsWork, expand},
    refs::SeriesRefs,
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
}

/// Finds the matching series of all blocks, and reserves `fixed_bytes`, `stream_bytes` for each block that has any,
/// and what the references take. What is returned is the whole memory of the request.
pub(crate) async fn open(
    selected: Vec<Selected>,
    (fixed_bytes, stream_bytes): (u64, u64),
    context: &CallContext,
) -> Result<(Vec<Opened>, Reservation), RequestError> {
    let CallContext {
        budget,
        limits,
        stats,
        ..
    } = context;
    let planned = plan_all(selected).await?;
    let refs_bytes: u64 = planned.iter().map(|(_, work)| most_ref_bytes(work)).sum();
    let mut expansions: Vec<u64> = planned.iter().map(|(_, work)| work.memory_bytes()).collect();
    expansions.sort_unstable_by(|a, b| b.cmp(a));
    let held_bytes = fixed_bytes + refs_bytes + stream_bytes.saturating_mul(planned.len() as u64);
    let parallel = parallel_expansions(&expansions, budget.limit_bytes().saturating_sub(held_bytes));
    let work_bytes: u64 = expansions.iter().take(parallel).sum();
    let mut memory = budget
        .reserve_within(held_bytes.saturating_add(work_bytes), PATIENCE)
        .await?;
    let opened: Vec<Option<Opened>> = stream::iter(planned)
        .map(|(selected, work)| async move {
            let refs = expand(&selected.block, work, limits, stats).await?;
            Ok::<_, RequestError>((refs.len() > 0).then_some(Opened { selected, refs }))
        })
        .buffered(parallel)
        .try_collect()
        .await?;
    let opened: Vec<Opened> = opened.into_iter().flatten().collect();
    let refs_bytes: u64 = opened.iter().map(|block| block.refs.size_bytes() as u64).sum();
    memory.shrink_to(fixed_bytes + refs_bytes + stream_bytes.saturating_mul(opened.len() as u64));
    Ok((opened, memory))
}

/// Plans the lookups of all blocks; those where nothing can match are left out.
async fn plan_all(mut selected: Vec<Selected>) -> Result<Vec<(Selected, PostingsWork)>, RequestError> {
    let mut groups = Vec::new();
    while !selected.is_empty() {
        let rest = selected.split_off(selected.len().min(PLANS_TOGETHER));
        groups.push(std::mem::replace(&mut selected, rest));
    }
    let planned: Vec<Vec<(Selected, PostingsWork)>> = stream::iter(groups)
        .map(|group| async move { cpu::run_blocking(move || plan_group(group)).await? })
        .buffered(PARALLEL_PLANS)
        .try_collect()
        .await?;
    Ok(planned.into_iter().flatten().collect())
}

fn plan_group(group: Vec<Selected>) -> Result<Vec<(Selected, PostingsWork)>, RequestError> {
    let mut planned = Vec::with_capacity(group.len());
    for selected in group {
        let work = PostingsWork::plan(&selected.block.header, &selected.matchers);
        planned.extend(work.map_err(RequestError::Postings)?.map(|work| (selected, work)));
    }
    Ok(planned)
}

/// Upper bound of what the references of a block's series take: differences of numbers below 2^32 take five bytes
/// at most, and four on average as soon as there are sixteen of them.
fn most_ref_bytes(work: &PostingsWork) -> u64 {
    work.most_series().saturating_mul(4).saturating_add(16)
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
