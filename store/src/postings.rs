//! Reads and combines the postings lists that a plan names.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sabre_block::{BlockError, index_header::IndexHeader};
use sabre_model::{MatchKind, Matcher};
use sabre_tsdb::{Corruption, index::PostingsList, postings};

use crate::{
    block::ServedBlock,
    context::CallContext,
    cpu,
    error::RequestError,
    index_cache::{ListName, ListPlace},
    limits::Fetching,
    partition::{PART_BYTES, partition},
    postings_cost::{CostRule, GroupCost},
    postings_plan::{LabelIndex, Plan, plan},
    refs::SeriesRefs,
    stats::RequestStats,
    view::Selected,
};

/// Lists closer than this are read together.
const LIST_GAP_BYTES: u64 = 128 << 10;

/// How many reads of one block run at once.
const PARALLEL_READS: usize = 8;

/// Length, count and checksum around the references of a list.
const LIST_FRAME_BYTES: u64 = 12;

/// Bytes of a reference in a list.
const REF_BYTES: u64 = 4;

/// What combining is done on a thread of its own for.
const INLINE_BYTES: u64 = 32 << 10;

/// Where the index has a list, and what a shared cache calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    range: Range<u64>,
    name: Option<ListName>,
}

impl List {
    fn count(&self) -> u64 {
        range_bytes(&self.range).saturating_sub(LIST_FRAME_BYTES) / REF_BYTES
    }

    fn place(&self, last_ref: u32) -> ListPlace {
        ListPlace {
            offset: self.range.start,
            count: self.count(),
            last_ref,
            name: self.name,
        }
    }
}

/// An index-header, and whether lists are to be called by name.
struct Lists<'a> {
    header: &'a IndexHeader,
    with_names: bool,
}

impl Lists<'_> {
    fn named(&self, name: &str, value: &str, range: Range<u64>) -> List {
        List {
            range,
            name: self.with_names.then(|| ListName::new(name, value)),
        }
    }
}

impl LabelIndex for Lists<'_> {
    type List = List;
    type Error = BlockError;

    fn list(&self, name: &str, value: &str) -> Result<Option<List>, BlockError> {
        let range = self.header.postings_range(name, value)?;
        Ok(range.map(|range| self.named(name, value, range)))
    }

    fn visit(&self, name: &str, prefix: &str, visit: &mut dyn FnMut(&str, List)) -> Result<(), BlockError> {
        self.header.for_each_value(name, prefix, |value, range| {
            visit(value, self.named(name, value, range));
            std::ops::ControlFlow::Continue(())
        })
    }

    fn all(&self) -> Result<Option<List>, BlockError> {
        let range = self.header.all_postings_range()?;
        Ok(range.map(|range| self.named("", "", range)))
    }
}

/// Whether at most `few` series of all blocks together match, as far as the lists of single values tell; may read the
/// disk.
pub(crate) fn has_few_series(selected: &[Selected], few: u64) -> Result<bool, BlockError> {
    let mut series = 0u64;
    for Selected { block, matchers } in selected {
        let lists = Lists {
            header: &block.header,
            with_names: false,
        };
        let mut most = u64::MAX;
        for matcher in matchers.iter() {
            if matcher.kind() == MatchKind::Eq && !matcher.value().is_empty() {
                let list = lists.list(matcher.name(), matcher.value())?;
                most = most.min(list.as_ref().map_or(0, List::count));
            }
        }
        series = series.saturating_add(most);
        if series > few {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The lists to read of one block.
#[derive(Debug)]
pub(crate) struct PostingsWork {
    adds: Vec<Vec<List>>,
    removes: Vec<List>,
    /// Matchers whose lists are not read: they are to be tried on the labels of the series.
    deferred: Vec<Matcher>,
}

impl PostingsWork {
    /// Looks the matchers up in the index-header, which may read the disk; `None` if no series can match.
    pub(crate) fn plan(
        header: &IndexHeader,
        matchers: &[Matcher],
        with_names: bool,
    ) -> Result<Option<Self>, BlockError> {
        let lists = Lists { header, with_names };
        let Plan::Select { mut adds, removes } = plan(&lists, matchers)? else {
            return Ok(None);
        };
        drop_all_encompassing(&mut adds, lists.all()?);
        Ok(Some(Self {
            adds,
            removes,
            deferred: Vec::new(),
        }))
    }

    /// As [`PostingsWork::plan`], but lists that are not worth their bytes are left out.
    pub(crate) fn plan_by_cost(
        block: &ServedBlock,
        matchers: &[Matcher],
        with_names: bool,
        rule: CostRule,
    ) -> Result<Option<Self>, BlockError> {
        let header = &block.header;
        let Some(whole) = Self::plan(header, matchers, with_names)? else {
            return Ok(None);
        };
        let lists = Lists { header, with_names };
        let all = lists.all()?;
        let every = all.as_ref().map_or(0, List::count);
        if whole.list_bytes() < rule.always_below_bytes || every == 0 {
            return Ok(Some(whole));
        }
        let mut by_name: BTreeMap<&str, Vec<Matcher>> = BTreeMap::new();
        for matcher in matchers {
            by_name.entry(matcher.name()).or_default().push(matcher.clone());
        }
        let mut groups = Vec::new();
        for (name, of_name) in by_name {
            let Plan::Select { adds, removes } = plan(&lists, &of_name)? else {
                return Ok(None);
            };
            // A label that is also an external one does not show what the series itself has.
            let is_hidden = block.external.get(name).is_some();
            groups.push((
                of_name,
                adds.into_iter().flatten().collect::<Vec<_>>(),
                removes,
                is_hidden,
            ));
        }
        let costs: Vec<GroupCost> = groups
            .iter()
            .map(|(_, adds, removes, is_hidden)| {
                let is_negative = series_of(adds) >= every;
                let lists = if is_negative { removes } else { adds };
                GroupCost {
                    series: series_of(lists),
                    lists: lists.len() as u64,
                    bytes: if *is_hidden {
                        0
                    } else {
                        lists.iter().map(|list| range_bytes(&list.range)).sum()
                    },
                    is_negative,
                }
            })
            .collect();
        // An index is little more than its series.
        let entry_bytes = header.index_size_bytes() / 2 / every;
        let left_out = rule.left_out(&costs, entry_bytes);
        let mut work = Self {
            adds: Vec::new(),
            removes: Vec::new(),
            deferred: Vec::new(),
        };
        for ((of_name, adds, removes, is_hidden), (cost, left_out)) in
            groups.into_iter().zip(costs.iter().zip(left_out))
        {
            match (left_out && !is_hidden, cost.is_negative) {
                (true, _) => work.deferred.extend(of_name),
                (false, true) => work.removes.extend(removes),
                (false, false) => work.adds.push(adds),
            }
        }
        if work.deferred.is_empty() {
            return Ok(Some(whole));
        }
        drop_all_encompassing(&mut work.adds, all);
        Ok(Some(work))
    }

    /// The matchers that are to be tried on the labels of the series.
    pub(crate) fn deferred(&self) -> &[Matcher] {
        &self.deferred
    }

    /// Bytes of all lists.
    pub(crate) fn list_bytes(&self) -> u64 {
        self.lists().map(|list| range_bytes(&list.range)).sum()
    }

    /// How many lists there are.
    pub(crate) fn list_count(&self) -> usize {
        self.lists().count()
    }

    /// The result has no more series than this.
    pub(crate) fn most_series(&self) -> u64 {
        self.adds.iter().map(|lists| series_of(lists)).min().unwrap_or(0)
    }

    /// Memory it takes to combine the lists: their bytes with the gaps between them, and numbers made of them.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let reads: u64 = self.parts(|_| true).iter().map(range_bytes).sum();
        let bookkeeping = self.list_count() as u64 * (size_of::<List>() + size_of::<ListPlace>()) as u64;
        reads
            .saturating_add(self.list_bytes().saturating_mul(2))
            .saturating_add(bookkeeping)
    }

    fn lists(&self) -> impl Iterator<Item = &List> {
        self.adds.iter().flatten().chain(&self.removes)
    }

    /// The reads for those of the lists that are wanted, by their number.
    fn parts(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<Range<u64>> {
        let wanted = self.lists().enumerate().filter(|(number, _)| is_wanted(*number));
        let mut spans: Vec<(u64, u64)> = wanted
            .map(|(_, list)| (list.range.start, list.range.end))
            .collect();
        spans.sort_unstable();
        partition(spans, LIST_GAP_BYTES, PART_BYTES)
            .into_iter()
            .map(|part| part.start..part.end)
            .collect()
    }
}

/// A group of one label whose lists have as many series as there are selects all of them: every series has a label
/// once. It is left out, or replaced by the one list of all series if it is the only group.
fn drop_all_encompassing(adds: &mut Vec<Vec<List>>, all: Option<List>) {
    let Some(all) = all else { return };
    let every = series_of(std::slice::from_ref(&all));
    adds.retain(|lists| lists.len() == 1 || series_of(lists) < every);
    if adds.is_empty() {
        adds.push(vec![all]);
    }
}

fn series_of(lists: &[List]) -> u64 {
    lists.iter().map(List::count).sum()
}

fn range_bytes(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Reads the lists and combines them, as far as the answer is not known already.
pub(crate) async fn expand(
    block: &Arc<ServedBlock>,
    work: PostingsWork,
    matchers: &Arc<[Matcher]>,
    context: &CallContext,
) -> Result<SeriesRefs, RequestError> {
    let CallContext {
        cache, limits, stats, ..
    } = context;
    let id = block.id();
    // Of what lists alone say nothing is kept but the lists.
    let is_exact = work.deferred.is_empty();
    if is_exact && let Some(refs) = cache.expanded_elsewhere(id, matchers, work.most_series()).await {
        limits.bytes(Fetching::Postings, refs.size_bytes() as u64)?;
        return Ok(refs);
    }
    let places: Vec<ListPlace> = work.lists().map(|list| list.place(block.last_ref())).collect();
    let known = cache.postings(id, &places).await;
    let known_bytes: u64 = known.iter().flatten().map(|refs| refs.size_bytes() as u64).sum();
    limits.bytes(Fetching::Postings, known_bytes)?;
    let is_missing = |number: usize| known.get(number).is_none_or(Option::is_none);
    let parts = work.parts(is_missing);
    let bytes: u64 = parts.iter().map(range_bytes).sum();
    limits.bytes(Fetching::Postings, bytes)?;
    stats.postings.touched.add(work.list_count() as u64);
    stats.postings.touched_bytes.add(work.list_bytes());
    let missing = known.iter().filter(|list| list.is_none()).count() as u64;
    let is_long = bytes + known_bytes * REF_BYTES > INLINE_BYTES;
    let mut known = known;
    let mut work = work;
    for is_final in [false, true] {
        let fetched = read_parts(block, &parts, is_final, stats).await?;
        let read_bytes = fetched.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        stats.postings.fetch(missing, read_bytes);
        let combine = {
            let lists = Sources { fetched, known };
            move || {
                let refs = combine(&work, &lists);
                (refs, work, lists)
            }
        };
        let (refs, lists);
        (refs, work, lists) = if is_long {
            cpu::run(combine).await?
        } else {
            combine()
        };
        match refs {
            Ok(refs) => {
                keep(&work, &lists, &places, context, id);
                if is_exact {
                    cache.keep_expanded(id, matchers, &refs);
                }
                return Ok(refs);
            }
            Err(corruption) if is_final => return Err(RequestError::Postings(block.index_error(corruption))),
            // It is read again before it is believed.
            Err(_) => known = lists.known,
        }
    }
    // The second time ends it either way.
    Ok(SeriesRefs::default())
}

/// Reads parts of the index: their starts and bytes. From no cache if `is_final`.
async fn read_parts(
    block: &ServedBlock,
    parts: &[Range<u64>],
    is_final: bool,
    stats: &RequestStats,
) -> Result<Vec<(u64, Bytes)>, RequestError> {
    let reads = stream::iter(parts.to_vec())
        .map(|part| async move {
            let bytes = match is_final {
                false => block.read_index(part.start, part.end).await?,
                true => block.reread_index(part.start, part.end).await?,
            };
            Ok((part.start, bytes))
        })
        .buffered(PARALLEL_READS)
        .try_collect();
    let read = stats.postings.timed(parts.len(), reads).await;
    read.map_err(RequestError::Postings)
}

/// Keeps the lists that were read.
fn keep(
    work: &PostingsWork,
    lists: &Sources,
    places: &[ListPlace],
    context: &CallContext,
    id: sabre_model::BlockId,
) {
    if !context.cache.keeps_postings() {
        return;
    }
    for (number, (list, place)) in work.lists().zip(places).enumerate() {
        if lists.known(number).is_none()
            && let Ok(read) = lists.read(list)
        {
            context
                .cache
                .keep_postings(id, place, &SeriesRefs::from_sorted(read.iter()));
        }
    }
}

/// Where lists come from: what was read, sorted by offset, and by their number those that were known.
struct Sources {
    fetched: Vec<(u64, Bytes)>,
    known: Vec<Option<SeriesRefs>>,
}

impl Sources {
    fn known(&self, number: usize) -> Option<&SeriesRefs> {
        self.known.get(number)?.as_ref()
    }

    fn read(&self, list: &List) -> Result<PostingsList<'_>, Corruption> {
        list_at(&self.fetched, &list.range)
    }

    /// Appends the references of a list.
    fn append(&self, number: usize, list: &List, out: &mut Vec<u32>) -> Result<(), Corruption> {
        match self.known(number) {
            Some(refs) => out.extend(refs.clone().cursor()),
            None => out.extend(self.read(list)?.iter()),
        }
        Ok(())
    }
}

fn combine(work: &PostingsWork, sources: &Sources) -> Result<SeriesRefs, Corruption> {
    if let ([lists], []) = (work.adds.as_slice(), work.removes.as_slice())
        && let [list] = lists.as_slice()
    {
        return match sources.known(0) {
            Some(refs) => Ok(refs.clone()),
            None => Ok(SeriesRefs::from_sorted(sources.read(list)?.iter())),
        };
    }
    let mut groups = Vec::with_capacity(work.adds.len());
    let mut number = 0;
    for lists in &work.adds {
        groups.push(union(lists, number, sources)?);
        number += lists.len();
    }
    let groups: Vec<&[u32]> = groups.iter().map(Vec::as_slice).collect();
    let selected = postings::intersect(&groups);
    if work.removes.is_empty() || selected.is_empty() {
        return Ok(SeriesRefs::from_sorted(selected));
    }
    let removed = union(&work.removes, number, sources)?;
    Ok(SeriesRefs::from_sorted(postings::subtract(&selected, &removed)))
}

/// All references of `lists`, the first of which has this number.
fn union(lists: &[List], first: usize, sources: &Sources) -> Result<Vec<u32>, Corruption> {
    let mut all = Vec::new();
    for (number, list) in (first..).zip(lists) {
        sources.append(number, list, &mut all)?;
    }
    if lists.len() > 1 {
        // Ascending runs, which the stable sort finds and merges.
        all.sort();
        all.dedup();
    }
    Ok(all)
}

/// The verified list that begins at the start of `range`.
fn list_at<'a>(fetched: &'a [(u64, Bytes)], range: &Range<u64>) -> Result<PostingsList<'a>, Corruption> {
    let at = fetched.partition_point(|(start, _)| *start <= range.start);
    let part = at.checked_sub(1).and_then(|at| fetched.get(at));
    let bytes = part.and_then(|(start, bytes)| {
        let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
        bytes.get(from..to.min(bytes.len()))
    });
    let decoded = PostingsList::decode_bounded(bytes.unwrap_or_default());
    decoded
        .map(|(list, _)| list)
        .map_err(|corruption| corruption.shifted(range.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_of(adds: Vec<Vec<List>>, removes: Vec<List>) -> PostingsWork {
        PostingsWork {
            adds,
            removes,
            deferred: Vec::new(),
        }
    }

    fn of(range: Range<u64>) -> List {
        List { range, name: None }
    }

    /// A list at `offset` with these references, as a fetched part.
    fn list(offset: u64, refs: &[u32]) -> (List, (u64, Bytes)) {
        let mut content = u32::try_from(refs.len()).unwrap().to_be_bytes().to_vec();
        content.extend(refs.iter().flat_map(|reference| reference.to_be_bytes()));
        let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(&content);
        bytes.extend(sabre_tsdb::crc32c(&content).to_be_bytes());
        (
            of(offset..offset + bytes.len() as u64),
            (offset, Bytes::from(bytes)),
        )
    }

    /// Combines lists, of which every other one is known.
    fn combined(adds: &[&[&[u32]]], removes: &[&[u32]]) -> Result<Vec<u32>, Corruption> {
        let mut offset = 0;
        let mut fetched = Vec::new();
        let mut known = Vec::new();
        let mut place = |refs: &[u32]| {
            offset += 1000;
            let (range, part) = list(offset, refs);
            match offset % 2000 {
                0 => known.push(Some(SeriesRefs::from_sorted(refs.iter().copied()))),
                _ => {
                    fetched.push(part);
                    known.push(None);
                }
            }
            range
        };
        let adds = adds
            .iter()
            .map(|lists| lists.iter().map(|refs| place(refs)).collect())
            .collect();
        let removes = removes.iter().map(|refs| place(refs)).collect();
        Ok(combine(&work_of(adds, removes), &Sources { fetched, known })?
            .cursor()
            .collect())
    }

    #[test]
    fn groups_are_intersected_and_removes_left_out() {
        assert_eq!(combined(&[&[&[1, 2, 3]]], &[]), Ok(vec![1, 2, 3]));
        assert_eq!(
            combined(&[&[&[1, 5], &[2, 3]], &[&[2, 5, 9]]], &[]),
            Ok(vec![2, 5])
        );
        assert_eq!(combined(&[&[&[1, 2, 3, 4]]], &[&[2], &[4, 9]]), Ok(vec![1, 3]));
        assert_eq!(combined(&[&[&[1]], &[&[2]]], &[&[1]]), Ok(vec![]));
    }

    #[test]
    fn a_broken_list_says_where_it_is() {
        let (range, (start, bytes)) = list(64, &[1, 2]);
        let mut bytes = bytes.to_vec();
        bytes[9] ^= 1;
        let work = work_of(vec![vec![range]], vec![]);
        let sources = |fetched| Sources {
            fetched,
            known: Vec::new(),
        };
        let error = combine(&work, &sources(vec![(start, Bytes::from(bytes))])).unwrap_err();
        assert_eq!(error.offset, 64);
        let missing = combine(&work, &sources(vec![])).unwrap_err();
        assert_eq!(missing.offset, 64);
    }

    #[test]
    fn a_group_of_all_series_says_nothing() {
        let all = of(0..12 + 4 * 10);
        let half = |start| of(start..start + 12 + 4 * 5);
        let mut adds = vec![vec![half(100), half(200)], vec![half(300)]];
        drop_all_encompassing(&mut adds, Some(all.clone()));
        assert_eq!(adds, [vec![half(300)]]);
        let mut adds = vec![vec![half(100), half(200)]];
        drop_all_encompassing(&mut adds, Some(all.clone()));
        assert_eq!(adds, [vec![all]]);
    }

    #[test]
    fn the_smallest_group_bounds_the_result() {
        let adds = vec![vec![of(0..92)], vec![of(100..132), of(200..232)]];
        let work = work_of(adds, vec![of(300..340), of(360..400)]);
        assert_eq!(work.most_series(), 10);
        assert_eq!(work.list_bytes(), 92 + 64 + 80);
    }
}
