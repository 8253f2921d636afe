//! The rules of merging as they are written, with everything in memory and every merge on top of the other.

use std::collections::VecDeque;

use super::*;
use crate::merge::heap::Heap;

type Samples = Vec<(i64, f64)>;

/// A chunk in the heap, and the list it is from: compared by time alone.
struct Ranked(SeriesChunk, usize);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        (self.0.mint, self.0.maxt) == (other.0.mint, other.0.maxt)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.0.mint, self.0.maxt).partial_cmp(&(other.0.mint, other.0.maxt))
    }
}

/// Merges lists of chunks; `encode` makes one list of samples of the first chunk and those that overlap it.
pub(super) fn merge(
    sources: &[Vec<SeriesChunk>],
    encode: impl Fn(Samples, Vec<Samples>) -> Samples,
) -> Vec<SeriesChunk> {
    let mut lists: Vec<VecDeque<SeriesChunk>> = sources.iter().map(|chunks| chunks.clone().into()).collect();
    let mut heap = Heap::default();
    for (source, list) in lists.iter_mut().enumerate() {
        list.pop_front()
            .into_iter()
            .for_each(|chunk| heap.push(Ranked(chunk, source)));
    }
    let mut merged = Vec::new();
    while let Some(first) = pop(&mut heap, &mut lists) {
        let (mut maxt, mut previous, mut over) = (first.maxt, first.clone(), Vec::new());
        while heap.peek().is_some_and(|top: &Ranked| top.0.mint <= maxt) {
            let next = pop(&mut heap, &mut lists).unwrap();
            if !next.is_same(&previous) {
                maxt = maxt.max(next.maxt);
                over.push(next.clone());
                previous = next;
            }
        }
        if over.is_empty() {
            merged.push(first);
            continue;
        }
        let over = over.iter().map(decoded).collect();
        let mut result: VecDeque<SeriesChunk> = floats(&encode(decoded(&first), over)).into();
        merged.extend(result.pop_front());
        let next = result.pop_front();
        next.into_iter()
            .for_each(|chunk| heap.push(Ranked(chunk, lists.len())));
        lists.push(result);
    }
    merged
}

/// Takes the first chunk, and puts the next one of its list into the heap.
fn pop(heap: &mut Heap<Ranked>, lists: &mut [VecDeque<SeriesChunk>]) -> Option<SeriesChunk> {
    let Ranked(chunk, source) = heap.pop()?;
    let next = lists[source].pop_front();
    next.into_iter()
        .for_each(|chunk| heap.push(Ranked(chunk, source)));
    Some(chunk)
}

fn decoded(chunk: &SeriesChunk) -> Samples {
    let float = |sample: Sample| match sample.value {
        Value::Float(value) => (sample.t, value),
        other => panic!("{other:?}"),
    };
    samples(std::slice::from_ref(chunk))
        .into_iter()
        .map(float)
        .collect()
}

/// A list compared by the time of its first sample.
struct Head(VecDeque<(i64, f64)>);

impl Head {
    fn t(&self) -> i64 {
        self.0[0].0
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.t() == other.t()
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.t().partial_cmp(&other.t())
    }
}

pub(super) fn chain(first: Samples, over: Vec<Samples>) -> Samples {
    let mut lists = over.into_iter().chain([first]).map(VecDeque::from);
    // The list that is used; its first element is the sample at which it stands, none before the first step.
    let mut current: VecDeque<(i64, f64)> = lists.next().unwrap();
    current.push_front((i64::MIN, 0.0));
    let mut heap = Heap::default();
    lists.for_each(|list| heap.push(Head(list)));
    let (mut out, mut last) = (Samples::new(), i64::MIN);
    loop {
        current.pop_front();
        match current.front().copied() {
            None => {
                let Some(head) = heap.pop() else { return out };
                current = head.0;
            }
            Some((t, _)) if t == last => continue,
            Some((t, value)) => {
                if heap.peek().is_none_or(|top: &Head| t < top.t()) {
                    last = t;
                    out.push((t, value));
                    continue;
                }
                heap.push(Head(current));
                current = heap.pop().unwrap().0;
            }
        }
        if current[0].0 != last {
            last = current[0].0;
            out.push(current[0]);
        }
    }
}

pub(super) fn penalty(first: Samples, over: Vec<Samples>) -> Samples {
    over.into_iter()
        .fold(first, |left, right| penalty_of_two(&left, &right))
}

/// Both lists whole: what the left one gives does not depend on what is asked of it.
fn penalty_of_two(left: &[(i64, f64)], right: &[(i64, f64)]) -> Samples {
    let (mut left, mut right) = (left, right);
    let (mut left_penalty, mut right_penalty, mut last) = (0, 0, i64::MIN);
    let mut out = Samples::new();
    loop {
        left = seek(left, last.saturating_add(1) + left_penalty);
        right = seek(right, last.saturating_add(1) + right_penalty);
        let penalty = |t: i64| if last == i64::MIN { 5000 } else { 2 * (t - last) };
        let chosen = match (left.first(), right.first()) {
            (None, None) => return out,
            (None, Some(&chosen)) => {
                right_penalty = 0;
                chosen
            }
            (Some(&chosen), None) => {
                left_penalty = 0;
                chosen
            }
            (Some(&one), Some(&other)) if one.0 <= other.0 => {
                (left_penalty, right_penalty) = (0, penalty(one.0));
                one
            }
            (Some(_), Some(&other)) => {
                (left_penalty, right_penalty) = (penalty(other.0), 0);
                other
            }
        };
        last = chosen.0;
        out.push(chosen);
    }
}

fn seek(list: &[(i64, f64)], t: i64) -> &[(i64, f64)] {
    let passed = list.iter().take_while(|sample| sample.0 < t).count();
    &list[passed..]
}
