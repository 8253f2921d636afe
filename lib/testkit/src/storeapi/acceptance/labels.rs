//! Checks of the label calls and of `Info`.

use std::collections::BTreeSet;

use sabre_model::{
    Labels,
    MatchKind::{self, Eq, Neq, Re},
};
use sabre_proto::thanos::{
    LabelMatcher, LabelNamesRequest, LabelValuesRequest, info, store_client::StoreClient,
};
use tonic::Code;

use super::{
    World,
    data::{END_MS, START_MS, matcher, selects, wire_matchers},
};

/// Matchers of label calls; where there are any, one at least is about a label of the series themselves.
const CASES: &[&[(MatchKind, &str, &str)]] = &[
    &[],
    &[(Eq, "__name__", "up")],
    &[(Eq, "__name__", "up"), (Eq, "job", "db")],
    &[(Eq, "__name__", "odd"), (Neq, "c", "")],
    &[(Re, "__name__", "odd|up")],
    &[(Eq, "__name__", "nothing")],
    &[(Eq, "__name__", "up"), (Eq, "cluster", "eu")],
];

fn wire(matchers: &[(MatchKind, &str, &str)]) -> Vec<LabelMatcher> {
    matchers
        .iter()
        .map(|(kind, name, value)| matcher(*kind, name, value))
        .collect()
}

/// Labels of all series that the matchers select, as answers have them.
fn selected(world: &World<'_>, matchers: &[LabelMatcher], removed: &[String]) -> Vec<Labels> {
    let matchers = wire_matchers(matchers);
    let of_set = |set: &'_ super::DataSet| {
        let own = set.series.iter().filter(|(own, _)| selects(set, own, &matchers));
        own.map(|(own, _)| own.overlaid(&set.external).without(removed))
            .collect::<Vec<_>>()
    };
    world.data.iter().flat_map(of_set).collect()
}

fn limited(all: &BTreeSet<String>, limit: i64) -> Vec<String> {
    let limit = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    all.iter().take(limit).cloned().collect()
}

pub(super) async fn names(world: &World<'_>) -> Result<(), String> {
    let mut client = StoreClient::new(world.channel.clone());
    for removed in [&[][..], &["replica".to_owned()]] {
        for (case, limit) in CASES.iter().flat_map(|case| [(case, 0), (case, 2)]) {
            let matchers = wire(case);
            let all: BTreeSet<String> = selected(world, &matchers, removed)
                .iter()
                .flat_map(|lset| lset.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>())
                .collect();
            let asked = LabelNamesRequest {
                start: START_MS,
                end: END_MS,
                matchers,
                without_replica_labels: removed.to_vec(),
                limit,
                ..LabelNamesRequest::default()
            };
            let answer = client.label_names(asked).await;
            let got = answer
                .map_err(|status| format!("{case:?}: {status}"))?
                .into_inner()
                .names;
            let wanted = limited(&all, limit);
            if got != wanted {
                return Err(format!(
                    "{case:?}, limit {limit}, without {removed:?}: {got:?} instead of {wanted:?}"
                ));
            }
        }
    }
    Ok(())
}

pub(super) async fn values(world: &World<'_>) -> Result<(), String> {
    let mut client = StoreClient::new(world.channel.clone());
    for label in ["__name__", "job", "a", "cluster", "replica", "nothing"] {
        for (case, limit) in CASES.iter().flat_map(|case| [(case, 0), (case, 1)]) {
            let matchers = wire(case);
            let all: BTreeSet<String> = selected(world, &matchers, &[])
                .iter()
                .filter_map(|lset| {
                    lset.get(label)
                        .filter(|value| !value.is_empty())
                        .map(str::to_owned)
                })
                .collect();
            let asked = LabelValuesRequest {
                label: label.to_owned(),
                start: START_MS,
                end: END_MS,
                matchers,
                limit,
                ..LabelValuesRequest::default()
            };
            let answer = client.label_values(asked).await;
            let got = answer
                .map_err(|status| format!("{label} of {case:?}: {status}"))?
                .into_inner()
                .values;
            let wanted = limited(&all, limit);
            if got != wanted {
                return Err(format!(
                    "{label} of {case:?}, limit {limit}: {got:?} instead of {wanted:?}"
                ));
            }
        }
    }
    for (label, removed, wanted) in [("replica", "replica", false), ("job", "replica", true)] {
        let asked = LabelValuesRequest {
            label: label.to_owned(),
            start: START_MS,
            end: END_MS,
            without_replica_labels: vec![removed.to_owned()],
            ..LabelValuesRequest::default()
        };
        let answer = client
            .label_values(asked)
            .await
            .map_err(|status| status.to_string())?;
        let got = answer.into_inner().values;
        if got.is_empty() == wanted {
            return Err(format!("{label} without {removed}: {got:?}"));
        }
    }
    out_of_range(&mut client).await?;
    let bad = LabelValuesRequest {
        label: "a".to_owned(),
        start: START_MS,
        end: END_MS,
        matchers: wire(&[(Re, "a", "(")]),
        ..LabelValuesRequest::default()
    };
    match client.label_values(bad).await {
        Err(status) if status.code() == Code::InvalidArgument => Ok(()),
        other => Err(format!(
            "a bad expression is answered by {other:?} and not InvalidArgument"
        )),
    }
}

/// Before all samples and behind them there are neither names nor values of series.
async fn out_of_range(client: &mut StoreClient<tonic::transport::Channel>) -> Result<(), String> {
    const MONTH_MS: i64 = 30 * 24 * 3_600_000;
    for (start, end) in [
        (START_MS - 2 * MONTH_MS, START_MS - MONTH_MS),
        (END_MS + MONTH_MS, END_MS + 2 * MONTH_MS),
    ] {
        let names = LabelNamesRequest {
            start,
            end,
            ..LabelNamesRequest::default()
        };
        let values = LabelValuesRequest {
            label: "__name__".to_owned(),
            start,
            end,
            ..LabelValuesRequest::default()
        };
        let names = client
            .label_names(names)
            .await
            .map_err(|status| status.to_string())?;
        let values = client
            .label_values(values)
            .await
            .map_err(|status| status.to_string())?;
        let (names, values) = (names.into_inner().names, values.into_inner().values);
        if names.contains(&"__name__".to_owned()) || !values.is_empty() {
            return Err(format!(
                "from {start} to {end} there are {names:?} with {values:?}"
            ));
        }
    }
    Ok(())
}

pub(super) async fn info(world: &World<'_>) -> Result<(), String> {
    let mut client = info::info_client::InfoClient::new(world.channel.clone());
    let answer = client
        .info(info::InfoRequest {})
        .await
        .map_err(|status| status.to_string())?;
    let info::InfoResponse {
        label_sets,
        component_type,
        store,
        ..
    } = answer.into_inner();
    let store = store.ok_or("Info does not offer StoreAPI")?;
    if component_type.is_empty() {
        return Err("Info names no component".to_owned());
    }
    if store.min_time > START_MS || store.max_time < END_MS {
        let (mint, maxt) = (store.min_time, store.max_time);
        return Err(format!(
            "advertises {mint} to {maxt}, serves {START_MS} to {END_MS}"
        ));
    }
    if !store.supports_sharding || !store.supports_without_replica_labels {
        return Err("advertises neither sharding nor removal of replica labels".to_owned());
    }
    let mut got = Vec::new();
    for set in &label_sets {
        got.push(sabre_proto::convert::labels_from_wire(&set.labels).map_err(|error| error.to_string())?);
    }
    let sets: BTreeSet<&Labels> = world.data.iter().map(|set| &set.external).collect();
    let advertised: BTreeSet<&Labels> = got.iter().collect();
    let without_empty = |sets: BTreeSet<&Labels>| {
        sets.into_iter()
            .filter(|set| !set.is_empty())
            .cloned()
            .collect::<Vec<_>>()
    };
    if without_empty(advertised) != without_empty(sets) {
        return Err(format!("advertises the label sets {got:?}"));
    }
    Ok(())
}
