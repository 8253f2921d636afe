//! What it means that two answers are equal (the README of the golden data).

use super::{Answer, Call, Case, LIMITED_BLOCKS, Outcome};
use crate::series::SeriesAnswer;
use sabre_model::Labels;
use sabre_proto::hints::unpack;
use sabre_proto::hintspb::{LabelNamesResponseHints, LabelValuesResponseHints};
use sabre_proto::thanos::{AggrChunk, LabelSet, SeriesRequest, info};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

/// How many differences of a kind are described.
const SHOWN: usize = 5;

type Difference = Result<(), String>;
/// Labels and time range of one set of labels that a store has.
type TsdbRange = (Vec<(String, String)>, i64, i64);

/// Compares what a store said with what Thanos said; the error describes what differs.
pub fn compare(case: &Case, outcome: &Outcome) -> Difference {
    match (&case.expected, &outcome.answer) {
        (Ok(expected), Ok(answer)) => compare_answers(case, expected, answer, outcome.unlimited.as_ref()),
        (Err(code), Err(status)) if *code == status.code() => Ok(()),
        (Err(code), Err(status)) => Err(format!(
            "expected {code:?}, got {:?}: {}",
            status.code(),
            status.message()
        )),
        (Err(code), Ok(_)) => Err(format!("expected {code:?}, got an answer")),
        (Ok(_), Err(status)) => Err(format!(
            "expected an answer, got {:?}: {}",
            status.code(),
            status.message()
        )),
    }
}

fn compare_answers(
    case: &Case,
    expected: &Answer,
    answer: &Answer,
    unlimited: Option<&SeriesAnswer>,
) -> Difference {
    match (&case.call, expected, answer) {
        (Call::Series(request), Answer::Series(expected), Answer::Series(answer)) => {
            compare_form(request, answer)?;
            if request.limit > 0 {
                compare_limited(request, expected, answer, unlimited)
            } else {
                compare_series(&expected.by_labels(), &answer.by_labels())
            }
        }
        (_, Answer::LabelNames(expected), Answer::LabelNames(answer)) => {
            compare_lists("names", &expected.names, &answer.names)?;
            let blocks = |hints: &Option<prost_types::Any>| hints.as_ref().map(names_blocks).transpose();
            compare_blocks(&blocks(&expected.hints)?, &blocks(&answer.hints)?)
        }
        (_, Answer::LabelValues(expected), Answer::LabelValues(answer)) => {
            compare_lists("values", &expected.values, &answer.values)?;
            let blocks = |hints: &Option<prost_types::Any>| hints.as_ref().map(values_blocks).transpose();
            compare_blocks(&blocks(&expected.hints)?, &blocks(&answer.hints)?)
        }
        (_, Answer::Info(expected), Answer::Info(answer)) => compare_info(expected, answer),
        _ => Err("the answer is of another call".into()),
    }
}

/// Order, size of messages, no warnings.
fn compare_form(request: &SeriesRequest, answer: &SeriesAnswer) -> Difference {
    if let Some(disorder) = answer.disorder() {
        return Err(disorder);
    }
    let max = usize::try_from(request.response_batch_size).unwrap_or(1).max(1);
    if let Some(count) = answer.message_series.iter().find(|count| **count > max) {
        return Err(format!(
            "a message has {count} series, at most {max} were asked for"
        ));
    }
    if answer.warnings.is_empty() {
        Ok(())
    } else {
        Err(format!("warnings: {:?}", answer.warnings))
    }
}

/// True series, as many as asked for, at most that many of each block.
fn compare_limited(
    request: &SeriesRequest,
    expected: &SeriesAnswer,
    answer: &SeriesAnswer,
    unlimited: Option<&SeriesAnswer>,
) -> Difference {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let all = unlimited
        .ok_or("the answer without the limit is not known")?
        .by_labels();
    let (fewest, most) = (limit.min(all.len()), limit.saturating_mul(LIMITED_BLOCKS));
    let count = answer.series.len();
    if count < fewest || count > most {
        return Err(format!("{count} series, expected {fewest} to {most}"));
    }
    for (labels, _) in answer.series.iter().chain(&expected.series) {
        if !all.contains_key(labels) {
            return Err(format!("series {labels} is not in the answer without limit"));
        }
    }
    let chunks_of = |(labels, chunks): &(Labels, Vec<AggrChunk>)| {
        all.get(labels)
            .is_some_and(|all| chunk_set(chunks).is_subset(&chunk_set(all)))
    };
    match answer.series.iter().find(|series| !chunks_of(series)) {
        Some((labels, _)) => Err(format!(
            "series {labels} has chunks that the answer without limit lacks"
        )),
        None => Ok(()),
    }
}

fn compare_series(
    expected: &BTreeMap<Labels, Vec<AggrChunk>>,
    answer: &BTreeMap<Labels, Vec<AggrChunk>>,
) -> Difference {
    let mut text = String::new();
    let missing = expected.keys().filter(|labels| !answer.contains_key(*labels));
    list(&mut text, "missing series", missing);
    list(
        &mut text,
        "additional series",
        answer.keys().filter(|labels| !expected.contains_key(*labels)),
    );
    let both = expected
        .iter()
        .filter_map(|(labels, chunks)| Some((labels, chunks, answer.get(labels)?)));
    let differing = both.filter_map(|(labels, expected, answer)| {
        let difference = chunk_difference(expected, answer)?;
        Some(format!("{labels}\n{difference}"))
    });
    list(&mut text, "series with other chunks", differing);
    if text.is_empty() { Ok(()) } else { Err(text) }
}

/// Times, and type and bytes of what there is of raw, count, sum, min, max and counter.
type ChunkKey<'a> = (i64, i64, [Option<(i32, &'a [u8])>; 6]);

fn chunk_key(chunk: &AggrChunk) -> ChunkKey<'_> {
    let parts = chunk
        .parts()
        .map(|part| part.map(|part| (part.r#type, &*part.data)));
    (chunk.min_time, chunk.max_time, parts)
}

fn chunk_set(chunks: &[AggrChunk]) -> BTreeSet<ChunkKey<'_>> {
    chunks.iter().map(chunk_key).collect()
}

fn chunk_difference(expected: &[AggrChunk], answer: &[AggrChunk]) -> Option<String> {
    let (expected_set, answer_set) = (chunk_set(expected), chunk_set(answer));
    let mut text = String::new();
    list(
        &mut text,
        "  missing chunks",
        expected_set.difference(&answer_set).map(describe),
    );
    list(
        &mut text,
        "  additional chunks",
        answer_set.difference(&expected_set).map(describe),
    );
    list(
        &mut text,
        "  chunks with a wrong hash",
        wrong_hashes(expected, answer).map(|key| describe(&key)),
    );
    (!text.is_empty()).then_some(text)
}

/// Chunks of the answer whose hashes, where given, are not those that Thanos computed.
fn wrong_hashes<'a>(expected: &[AggrChunk], answer: &'a [AggrChunk]) -> impl Iterator<Item = ChunkKey<'a>> {
    let hashes = |chunk: &AggrChunk| chunk.parts().map(|part| part.map_or(0, |part| part.hash));
    let known: BTreeMap<ChunkKey<'_>, [u64; 6]> = expected
        .iter()
        .map(|chunk| (chunk_key(chunk), hashes(chunk)))
        .collect();
    let wrong = move |chunk: &&AggrChunk| {
        let known = known.get(&chunk_key(chunk));
        let pairs = known.into_iter().flatten().zip(hashes(chunk));
        pairs.into_iter().any(|(known, hash)| hash != 0 && hash != *known)
    };
    let found: Vec<_> = answer.iter().filter(wrong).map(chunk_key).collect();
    found.into_iter()
}

fn describe((mint, maxt, parts): &ChunkKey<'_>) -> String {
    let mut text = format!("[{mint}, {maxt}]");
    for (name, part) in ["raw", "count", "sum", "min", "max", "counter"].iter().zip(parts) {
        if let Some((kind, data)) = part {
            let start: String = data.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
            let _ = write!(text, " {name}(type {kind}, {} bytes {start}..)", data.len());
        }
    }
    text
}

fn compare_lists(what: &str, expected: &[String], answer: &[String]) -> Difference {
    if !answer.is_sorted() {
        return Err(format!("{what} are not sorted: {answer:?}"));
    }
    if expected == answer {
        return Ok(());
    }
    let mut text = String::new();
    list(
        &mut text,
        &format!("missing {what}"),
        expected.iter().filter(|text| !answer.contains(text)),
    );
    list(
        &mut text,
        &format!("additional {what}"),
        answer.iter().filter(|text| !expected.contains(text)),
    );
    if text.is_empty() {
        text = format!("{what} come more than once: {answer:?}");
    }
    Err(text)
}

fn names_blocks(hints: &prost_types::Any) -> Result<BTreeSet<String>, String> {
    let hints: LabelNamesResponseHints = unpack(hints).map_err(|error| error.to_string())?;
    Ok(hints.queried_blocks.into_iter().map(|block| block.id).collect())
}

fn values_blocks(hints: &prost_types::Any) -> Result<BTreeSet<String>, String> {
    let hints: LabelValuesResponseHints = unpack(hints).map_err(|error| error.to_string())?;
    Ok(hints.queried_blocks.into_iter().map(|block| block.id).collect())
}

/// The blocks in the hints: the same, in any order.
fn compare_blocks(expected: &Option<BTreeSet<String>>, answer: &Option<BTreeSet<String>>) -> Difference {
    if expected == answer {
        Ok(())
    } else {
        Err(format!("hints name the blocks {answer:?}, expected {expected:?}"))
    }
}

/// Label sets in their order, ranges by labels in any; what is served and supported.
fn compare_info(expected: &info::InfoResponse, answer: &info::InfoResponse) -> Difference {
    let sorted = |response: &info::InfoResponse| {
        let mut response = response.clone();
        if let Some(store) = &mut response.store {
            store.tsdb_infos.sort_by_key(tsdb_range);
        }
        response
    };
    let (expected, answer) = (sorted(expected), sorted(answer));
    if expected == answer {
        Ok(())
    } else {
        Err(format!("got {answer:#?}\nexpected {expected:#?}"))
    }
}

fn tsdb_range(info: &info::TsdbInfo) -> TsdbRange {
    let labels = info.labels.iter().flat_map(|set: &LabelSet| &set.labels);
    let pairs = labels
        .map(|label| (label.name.clone(), label.value.clone()))
        .collect();
    (pairs, info.min_time, info.max_time)
}

/// Adds the first few items under a heading with their number.
fn list(text: &mut String, heading: &str, items: impl Iterator<Item = impl Display>) {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return;
    }
    let _ = write!(text, "\n{heading}: {}", items.len());
    for item in items.iter().take(SHOWN) {
        let _ = write!(text, "\n    {item}");
    }
    if items.len() > SHOWN {
        text.push_str("\n    ..");
    }
}
