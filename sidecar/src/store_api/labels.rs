//! `LabelNames` and `LabelValues`, from Prometheus' label API: so many at once, and each answer with its charge.

use std::collections::BTreeSet;

use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, LabelValuesResponse},
};
use sabre_runtime::budget::Reservation;
use tonic::Status;

use super::{
    select::{Selected, select, selector},
    series::status_of,
};
use crate::{
    known::Known,
    prometheus::{PrometheusClient, Selection},
};

pub(crate) async fn label_names(
    client: &PrometheusClient,
    known: &Known,
    request: &LabelNamesRequest,
) -> Result<(LabelNamesResponse, Option<Reservation>), Status> {
    let Selected::Matching(matchers) = select(matchers_from_wire(&request.matchers)?, &known.external_labels)
    else {
        return Ok((LabelNamesResponse::default(), None));
    };
    let text = (!matchers.is_empty()).then(|| selector(&matchers));
    let selection = Selection {
        selector: text.as_deref(),
        mint_ms: request.start,
        maxt_ms: request.end,
        limit: request.limit,
    };
    // Before the memory: whoever waits for Prometheus holds none of it.
    let _turn = client.label_turn(range_ms(request.start, request.end)).await;
    let found = client.label_names(&selection).await.map_err(status_of)?;
    let (found, charge) = found.into_parts();
    let mut names: BTreeSet<String> = found.into_iter().collect();
    if !names.is_empty() {
        let external = known.external_labels.without(&request.without_replica_labels);
        names.extend(external.iter().map(|(name, _)| name.to_string()));
    }
    let names = cut(names.into_iter().collect(), request.limit);
    let answer = LabelNamesResponse {
        names,
        ..LabelNamesResponse::default()
    };
    Ok((answer, Some(charge)))
}

pub(crate) async fn label_values(
    client: &PrometheusClient,
    known: &Known,
    request: &LabelValuesRequest,
) -> Result<(LabelValuesResponse, Option<Reservation>), Status> {
    if request.label.is_empty() {
        return Err(Status::invalid_argument("label name parameter cannot be empty"));
    }
    if request.without_replica_labels.contains(&request.label) {
        return Ok((LabelValuesResponse::default(), None));
    }
    let Selected::Matching(matchers) = select(matchers_from_wire(&request.matchers)?, &known.external_labels)
    else {
        return Ok((LabelValuesResponse::default(), None));
    };
    let text = (!matchers.is_empty()).then(|| selector(&matchers));
    let selection = Selection {
        selector: text.as_deref(),
        mint_ms: request.start,
        maxt_ms: request.end,
        limit: request.limit,
    };
    let turn = client.label_turn(range_ms(request.start, request.end));
    let (mut values, charge) = match known
        .external_labels
        .get(&request.label)
        .filter(|value| !value.is_empty())
    {
        Some(value) if matchers.is_empty() => (vec![value.to_string()], None),
        Some(value) => {
            let one = Selection {
                limit: 1,
                ..selection
            };
            let _turn = turn.await;
            let any = !client.series(&one).await.map_err(status_of)?.value.is_empty();
            (any.then(|| value.to_string()).into_iter().collect(), None)
        }
        None => {
            let _turn = turn.await;
            let found = client.label_values(&request.label, &selection).await;
            let (values, charge) = found.map_err(status_of)?.into_parts();
            (values, Some(charge))
        }
    };
    values.sort_unstable();
    values.dedup();
    let answer = LabelValuesResponse {
        values: cut(values, request.limit),
        ..LabelValuesResponse::default()
    };
    Ok((answer, charge))
}

fn range_ms(start_ms: i64, end_ms: i64) -> u64 {
    u64::try_from(end_ms.saturating_sub(start_ms)).unwrap_or(0)
}

fn cut(mut list: Vec<String>, limit: i64) -> Vec<String> {
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        list.truncate(limit);
    }
    list
}
