//! Checks of `Series`.

use sabre_model::{
    Labels,
    MatchKind::{self, Eq, Neq, Nre, Re},
};
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, ShardInfo, store_client::StoreClient};
use tonic::Code;

use super::{
    World,
    data::{BULK_SERIES, END_MS, START_MS, STEP_MS, Source, Truth, decoded, expected, matcher, request},
};
use crate::series::{SeriesAnswer, series};

const MAX_MESSAGE_BYTES: usize = 1 << 30;

pub(super) async fn ask(world: &World<'_>, request: &SeriesRequest) -> Result<SeriesAnswer, tonic::Status> {
    let client = StoreClient::new(world.channel.clone());
    series(
        &mut client.max_decoding_message_size(MAX_MESSAGE_BYTES),
        request.clone(),
    )
    .await
}

/// Asks and compares with the truth.
pub(super) async fn check(world: &World<'_>, request: &SeriesRequest) -> Result<SeriesAnswer, String> {
    let shown = shown(request);
    let answer = ask(world, request)
        .await
        .map_err(|status| format!("{shown}: {status}"))?;
    compare(world, request, &answer).map_err(|why| format!("{shown}: {why}"))?;
    Ok(answer)
}

/// The request without what it leaves at zero.
fn shown(request: &SeriesRequest) -> String {
    let matchers: Vec<String> = request
        .matchers
        .iter()
        .map(|one| {
            let operator = MatchKind::from_wire(one.r#type).map_or("?", MatchKind::operator);
            format!("{}{operator}{:?}", one.name, one.value)
        })
        .collect();
    format!(
        "{{{}}} from {} to {}, limit {}, without {:?}, shard {:?}, batches of {}",
        matchers.join(","),
        request.min_time,
        request.max_time,
        request.limit,
        request.without_replica_labels,
        request.shard_info,
        request.response_batch_size
    )
}

/// As [`compare`], given an answer that is right already.
pub(super) fn compare_with(
    world: &World<'_>,
    request: &SeriesRequest,
    answer: &SeriesAnswer,
    right: &SeriesAnswer,
) -> Result<(), String> {
    // Chunks of the same time may come in any order.
    if answer.warnings.is_empty() && answer.series == right.series {
        return Ok(());
    }
    compare(world, request, answer)
}

pub(super) fn compare(
    world: &World<'_>,
    request: &SeriesRequest,
    answer: &SeriesAnswer,
) -> Result<(), String> {
    if let Some(disorder) = answer.disorder() {
        return Err(disorder);
    }
    if let Some(warning) = answer.warnings.first() {
        return Err(format!("an unexpected warning: {warning}"));
    }
    let expected = expected(world.data, request);
    let got = decoded(answer)?;
    let wanted = match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 => expected.len().min(limit),
        _ => expected.len(),
    };
    if got.len() != wanted {
        let missing = expected.keys().find(|lset| !got.contains_key(*lset));
        let surplus = got.keys().find(|lset| !expected.contains_key(*lset));
        let count = got.len();
        return Err(format!(
            "{count} series instead of {wanted}; missing for example {missing:?}, too many {surplus:?}"
        ));
    }
    for (lset, samples) in &got {
        let Some(sources) = expected.get(lset) else {
            return Err(format!("series {lset} does not belong to the answer"));
        };
        if request.skip_chunks {
            if !samples.is_empty() {
                return Err(format!("series {lset} has chunks, only labels were asked for"));
            }
            continue;
        }
        compare_samples(lset, sources, samples)?;
    }
    Ok(())
}

/// Every sample of the range must be there; others must at least be true.
fn compare_samples(lset: &Labels, sources: &[Source<'_>], got: &[(i64, f64)]) -> Result<(), String> {
    if let [source] = sources
        && (got == source.all || got == source.inside)
    {
        return Ok(());
    }
    for source in sources {
        let is_there = |at: i64| got.binary_search_by_key(&at, |sample| sample.0).is_ok();
        if let Some((at, _)) = source.inside.iter().find(|(at, _)| !is_there(*at)) {
            return Err(format!("series {lset} lacks its sample at {at}"));
        }
    }
    for of_time in got.chunk_by(|a, b| a.0 == b.0) {
        for &(at, value) in of_time {
            let is_true = sources.iter().any(|source| {
                let found = source.all.binary_search_by_key(&at, |sample| sample.0);
                found.is_ok_and(|n| source.all.get(n).is_some_and(|sample| sample.1 == value))
            });
            if !is_true {
                return Err(format!(
                    "series {lset} has {value} at {at}, which no source holds"
                ));
            }
            if of_time.len() > sources.len() {
                return Err(format!(
                    "series {lset} has its sample at {at} {} times",
                    of_time.len()
                ));
            }
        }
    }
    Ok(())
}

pub(super) async fn matchers(world: &World<'_>) -> Result<(), String> {
    let cases: &[&[(MatchKind, &str, &str)]] = &[
        &[(Eq, "__name__", "up")],
        &[(Eq, "__name__", "up"), (Eq, "job", "api")],
        &[(Eq, "__name__", "up"), (Neq, "job", "api")],
        &[(Eq, "__name__", "up"), (Eq, "job", "")],
        &[(Eq, "__name__", "up"), (Neq, "job", "")],
        &[(Eq, "__name__", "up"), (Re, "job", "a.*|db")],
        &[(Eq, "__name__", "up"), (Re, "job", "")],
        &[(Eq, "__name__", "up"), (Re, "job", ".+")],
        &[(Eq, "__name__", "up"), (Re, "job", ".*")],
        &[(Eq, "__name__", "up"), (Nre, "job", "a.*")],
        &[(Eq, "__name__", "up"), (Nre, "job", ".+")],
        &[(Eq, "__name__", "up"), (Nre, "job", "")],
        &[(Eq, "__name__", "up"), (Re, "pod", "p")],
        &[(Re, "__name__", "up|odd"), (Eq, "pod", "p1")],
        &[(Re, "__name__", "odd|nothing")],
        &[(Eq, "__name__", "odd"), (Eq, "a", "1"), (Neq, "c", "1")],
        &[(Eq, "__name__", "odd"), (Re, "a", "ü.*")],
        &[(Eq, "__name__", "odd"), (Eq, "own", "yes")],
        &[(Eq, "__name__", "odd"), (Eq, "cluster", "inner")],
        &[(Eq, "__name__", "odd"), (Eq, "cluster", "eu")],
        &[(Eq, "__name__", "odd"), (Neq, "cluster", "eu")],
        &[
            (Eq, "__name__", "up"),
            (Re, "cluster", "e.|us"),
            (Eq, "replica", "r1"),
        ],
        &[(Eq, "__name__", "nothing")],
        &[(Eq, "__name__", "up"), (Eq, "nothing", "x")],
        &[(Eq, "__name__", "bulk"), (Re, "n", "000[0-4].")],
        &[(Eq, "__name__", "bulk"), (Re, "n", ".*7"), (Nre, "n", ".*77")],
        &[(Re, "__name__", ".+"), (Eq, "pod", "p9")],
        &[(Neq, "__name__", "bulk"), (Neq, "__name__", "odd")],
    ];
    for case in cases {
        check(world, &request(case)).await?;
    }
    Ok(())
}

pub(super) async fn time_bounds(world: &World<'_>) -> Result<(), String> {
    let middle = START_MS + 100 * STEP_MS;
    for (mint, maxt) in [
        (START_MS, START_MS),
        (END_MS, END_MS),
        (START_MS - 1000, START_MS - 1),
        (i64::MIN, START_MS - 1),
        (END_MS, i64::MAX),
        (middle, middle),
        (middle + 1, middle + STEP_MS),
        (middle - 10 * STEP_MS, middle + 50 * STEP_MS),
        (i64::MIN, i64::MAX),
    ] {
        let asked = SeriesRequest {
            min_time: mint,
            max_time: maxt,
            ..request(&[(Eq, "__name__", "up")])
        };
        check(world, &asked).await?;
    }
    Ok(())
}

pub(super) async fn labels_only(world: &World<'_>) -> Result<(), String> {
    for metric in ["up", "odd", "bulk"] {
        let asked = SeriesRequest {
            skip_chunks: true,
            ..request(&[(Eq, "__name__", metric)])
        };
        check(world, &asked).await?;
    }
    Ok(())
}

pub(super) async fn limits(world: &World<'_>) -> Result<(), String> {
    for limit in [1, 2, 5, 1_000_000] {
        for skip_chunks in [false, true] {
            let asked = SeriesRequest {
                limit,
                skip_chunks,
                ..request(&[(Re, "__name__", "up|odd")])
            };
            check(world, &asked).await?;
        }
    }
    Ok(())
}

pub(super) async fn shards(world: &World<'_>) -> Result<(), String> {
    for (by, of) in [
        (true, vec!["a", "pod"]),
        (false, vec!["a", "replica"]),
        (false, vec![]),
    ] {
        let mut together = 0;
        for shard_index in 0..3 {
            let asked = SeriesRequest {
                shard_info: Some(ShardInfo {
                    shard_index,
                    total_shards: 3,
                    by,
                    labels: of.iter().map(|&name| name.to_owned()).collect(),
                }),
                without_replica_labels: vec!["replica".to_owned()],
                ..request(&[(Re, "__name__", "up|odd")])
            };
            together += check(world, &asked).await?.by_labels().len();
        }
        let all = SeriesRequest {
            without_replica_labels: vec!["replica".to_owned()],
            ..request(&[(Re, "__name__", "up|odd")])
        };
        let all: Truth<'_> = expected(world.data, &all);
        if together != all.len() {
            return Err(format!("the shards have {together} of {} series", all.len()));
        }
    }
    Ok(())
}

pub(super) async fn replica_labels(world: &World<'_>) -> Result<(), String> {
    for removed in [&["replica"][..], &["replica", "cluster"], &["a"], &["nothing"]] {
        // Left without one of its own labels, a series may be equal to another: then both come as one.
        let asked = SeriesRequest {
            without_replica_labels: removed.iter().map(|&name| name.to_owned()).collect(),
            ..request(&[(Re, "__name__", "up|odd")])
        };
        check(world, &asked).await?;
    }
    Ok(())
}

pub(super) async fn batches(world: &World<'_>) -> Result<(), String> {
    for size in [0, 1, 2, 64, 100_000] {
        let asked = SeriesRequest {
            response_batch_size: size,
            ..request(&[(Eq, "__name__", "bulk"), (Re, "n", "000.*")])
        };
        let answer = check(world, &asked).await?;
        let largest = answer.message_series.iter().max().copied().unwrap_or(0);
        if largest as i64 > size.max(1) {
            return Err(format!(
                "a message of {largest} series where {size} were asked for"
            ));
        }
    }
    Ok(())
}

pub(super) async fn bad_requests(world: &World<'_>) -> Result<(), String> {
    let unknown_kind = LabelMatcher {
        r#type: 9,
        ..matcher(Eq, "a", "1")
    };
    for bad in [matcher(Re, "a", "("), matcher(Nre, "a", "*"), unknown_kind] {
        let mut asked = request(&[(Eq, "__name__", "up")]);
        asked.matchers.push(bad.clone());
        match ask(world, &asked).await {
            Err(status) if status.code() == Code::InvalidArgument => {}
            other => {
                return Err(format!(
                    "{bad:?} is answered by {other:?} and not InvalidArgument"
                ));
            }
        }
    }
    Ok(())
}

pub(super) async fn external_matchers_alone(world: &World<'_>) -> Result<(), String> {
    let cluster = world.data.first().and_then(|set| set.external.get("cluster"));
    let Some(cluster) = cluster else { return Ok(()) };
    let asked = request(&[(Eq, "cluster", cluster)]);
    match (
        ask(world, &asked).await,
        world.subject.refuses_external_matchers_alone(),
    ) {
        (Err(status), true) if status.code() == Code::InvalidArgument => Ok(()),
        (Ok(answer), false) if answer.series.is_empty() => Ok(()),
        (other, _) => Err(format!(
            "answered by {} series or {:?}",
            other.as_ref().map_or(0, |a| a.series.len()),
            other.err()
        )),
    }
}

/// The largest answer that the data allows.
pub(super) fn bulk() -> SeriesRequest {
    SeriesRequest {
        response_batch_size: 64,
        ..request(&[(Eq, "__name__", "bulk")])
    }
}

/// How many series that has.
pub(super) fn bulk_series(world: &World<'_>) -> usize {
    BULK_SERIES * world.data.len()
}
