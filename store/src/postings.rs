//! Reads and combines the postings lists that a plan names.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sabre_block::{BlockError, index_header::IndexHeader};
use sabre_model::Matcher;
use sabre_tsdb::{Corruption, index::PostingsList, postings};

use crate::{
    block::ServedBlock,
    cpu,
    error::RequestError,
    limits::RequestLimits,
    partition::{PART_BYTES, partition},
    postings_plan::{LabelIndex, Plan, plan},
    refs::SeriesRefs,
    stats::RequestStats,
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

impl LabelIndex for IndexHeader {
    type List = Range<u64>;
    type Error = BlockError;

    fn list(&self, name: &str, value: &str) -> Result<Option<Range<u64>>, BlockError> {
        self.postings_range(name, value)
    }

    fn visit(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, Range<u64>),
    ) -> Result<(), BlockError> {
        self.for_each_value(name, prefix, |value, range| {
            visit(value, range);
            std::ops::ControlFlow::Continue(())
        })
    }

    fn all(&self) -> Result<Option<Range<u64>>, BlockError> {
        self.all_postings_range()
    }
}

/// The lists to read of one block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostingsWork {
    adds: Vec<Vec<Range<u64>>>,
    removes: Vec<Range<u64>>,
}

impl PostingsWork {
    /// Looks the matchers up in the index-header, which may read the disk; `None` if no series can match.
    pub(crate) fn plan(header: &IndexHeader, matchers: &[Matcher]) -> Result<Option<Self>, BlockError> {
        let Plan::Select { mut adds, removes } = plan(header, matchers)? else {
            return Ok(None);
        };
        drop_all_encompassing(&mut adds, header.all_postings_range()?);
        Ok(Some(Self { adds, removes }))
    }

    /// Bytes of all lists.
    pub(crate) fn list_bytes(&self) -> u64 {
        self.lists().map(range_bytes).sum()
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
        let reads: u64 = self
            .parts()
            .iter()
            .map(|part| part.end.saturating_sub(part.start))
            .sum();
        reads.saturating_add(self.list_bytes().saturating_mul(2))
    }

    fn lists(&self) -> impl Iterator<Item = &Range<u64>> {
        self.adds.iter().flatten().chain(&self.removes)
    }

    fn parts(&self) -> Vec<Range<u64>> {
        let mut spans: Vec<(u64, u64)> = self.lists().map(|list| (list.start, list.end)).collect();
        spans.sort_unstable();
        partition(spans, LIST_GAP_BYTES, PART_BYTES)
            .into_iter()
            .map(|part| part.start..part.end)
            .collect()
    }
}

/// A group of one label whose lists have as many series as there are selects all of them: every series has a label
/// once. It is left out, or replaced by the one list of all series if it is the only group.
fn drop_all_encompassing(adds: &mut Vec<Vec<Range<u64>>>, all: Option<Range<u64>>) {
    let Some(all) = all else { return };
    let every = series_of(std::slice::from_ref(&all));
    adds.retain(|lists| lists.len() == 1 || series_of(lists) < every);
    if adds.is_empty() {
        adds.push(vec![all]);
    }
}

fn series_of(lists: &[Range<u64>]) -> u64 {
    lists
        .iter()
        .map(|list| range_bytes(list).saturating_sub(LIST_FRAME_BYTES) / REF_BYTES)
        .sum()
}

fn range_bytes(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Reads the lists and combines them.
pub(crate) async fn expand(
    block: &Arc<ServedBlock>,
    work: PostingsWork,
    limits: &RequestLimits,
    stats: &RequestStats,
) -> Result<SeriesRefs, RequestError> {
    let parts = work.parts();
    let bytes: u64 = parts.iter().map(range_bytes).sum();
    limits.bytes(bytes)?;
    stats.postings.touched.add(work.list_count() as u64);
    stats.postings.touched_bytes.add(work.list_bytes());
    stats.postings.fetched.add(work.list_count() as u64);
    stats.postings.fetched_bytes.add(bytes);
    let fetched: Vec<(u64, Bytes)> = stream::iter(parts)
        .map(|part| async move { Ok((part.start, block.read_index(part.start, part.end).await?)) })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await
        .map_err(RequestError::Postings)?;
    let combine = {
        let block = Arc::clone(block);
        move || combine(&work, &fetched).map_err(|error| block.index_error(error))
    };
    let refs = if bytes > INLINE_BYTES {
        cpu::run(combine).await?
    } else {
        combine()
    };
    let refs = refs.map_err(RequestError::Postings)?;
    limits.series(refs.len() as u64)?;
    Ok(refs)
}

/// `fetched` is sorted by offset and covers all lists of `work`.
fn combine(work: &PostingsWork, fetched: &[(u64, Bytes)]) -> Result<SeriesRefs, Corruption> {
    if let ([lists], []) = (work.adds.as_slice(), work.removes.as_slice())
        && let [list] = lists.as_slice()
    {
        return Ok(SeriesRefs::from_sorted(list_at(fetched, list)?.iter()));
    }
    let mut groups = Vec::with_capacity(work.adds.len());
    for lists in &work.adds {
        groups.push(union(lists, fetched)?);
    }
    let groups: Vec<&[u32]> = groups.iter().map(Vec::as_slice).collect();
    let selected = postings::intersect(&groups);
    if work.removes.is_empty() || selected.is_empty() {
        return Ok(SeriesRefs::from_sorted(selected));
    }
    let removed = union(&work.removes, fetched)?;
    Ok(SeriesRefs::from_sorted(postings::subtract(&selected, &removed)))
}

fn union(lists: &[Range<u64>], fetched: &[(u64, Bytes)]) -> Result<Vec<u32>, Corruption> {
    if let [list] = lists {
        return Ok(list_at(fetched, list)?.to_vec());
    }
    let mut all = Vec::new();
    for list in lists {
        all.extend(list_at(fetched, list)?.iter());
    }
    // Ascending runs, which the stable sort finds and merges.
    all.sort();
    all.dedup();
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

    /// A list at `offset` with these references, as a fetched part.
    fn list(offset: u64, refs: &[u32]) -> (Range<u64>, (u64, Bytes)) {
        let mut content = u32::try_from(refs.len()).unwrap().to_be_bytes().to_vec();
        content.extend(refs.iter().flat_map(|reference| reference.to_be_bytes()));
        let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(&content);
        bytes.extend(sabre_tsdb::crc32c(&content).to_be_bytes());
        (offset..offset + bytes.len() as u64, (offset, Bytes::from(bytes)))
    }

    fn combined(adds: &[&[&[u32]]], removes: &[&[u32]]) -> Result<Vec<u32>, Corruption> {
        let mut offset = 0;
        let mut fetched = Vec::new();
        let mut place = |refs: &[u32]| {
            offset += 1000;
            let (range, part) = list(offset, refs);
            fetched.push(part);
            range
        };
        let adds = adds
            .iter()
            .map(|lists| lists.iter().map(|refs| place(refs)).collect())
            .collect();
        let removes = removes.iter().map(|refs| place(refs)).collect();
        Ok(combine(&PostingsWork { adds, removes }, &fetched)?
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
        let work = PostingsWork {
            adds: vec![vec![range]],
            removes: vec![],
        };
        let error = combine(&work, &[(start, Bytes::from(bytes))]).unwrap_err();
        assert_eq!(error.offset, 64);
        let missing = combine(&work, &[]).unwrap_err();
        assert_eq!(missing.offset, 64);
    }

    #[test]
    fn a_group_of_all_series_says_nothing() {
        let all = 0..12 + 4 * 10;
        let half = |start| start..start + 12 + 4 * 5;
        let mut adds = vec![vec![half(100), half(200)], vec![half(300)]];
        drop_all_encompassing(&mut adds, Some(all.clone()));
        assert_eq!(adds, [vec![half(300)]]);
        let mut adds = vec![vec![half(100), half(200)]];
        drop_all_encompassing(&mut adds, Some(all.clone()));
        assert_eq!(adds, [vec![all]]);
    }

    #[test]
    fn the_smallest_group_bounds_the_result() {
        let work = PostingsWork {
            adds: vec![vec![0..92], vec![100..132, 200..232]],
            removes: vec![300..340, 360..400],
        };
        assert_eq!(work.most_series(), 10);
        assert_eq!(work.list_bytes(), 92 + 64 + 80);
    }
}
