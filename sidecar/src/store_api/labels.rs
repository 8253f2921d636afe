//! `LabelNames` and `LabelValues`, from Prometheus' label API.

use std::collections::BTreeSet;

use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, LabelValuesResponse},
};
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
) -> Result<LabelNamesResponse, Status> {
    let Selected::Matching(matchers) = select(matchers_from_wire(&request.matchers)?, &known.external_labels)
    else {
        return Ok(LabelNamesResponse::default());
    };
    let text = (!matchers.is_empty()).then(|| selector(&matchers));
    let selection = Selection {
        selector: text.as_deref(),
        mint_ms: request.start,
        maxt_ms: request.end,
        limit: request.limit,
    };
    let mut names: BTreeSet<String> = client
        .label_names(&selection)
        .await
        .map_err(status_of)?
        .value
        .into_iter()
        .collect();
    if !names.is_empty() {
        let external = known.external_labels.without(&request.without_replica_labels);
        names.extend(external.iter().map(|(name, _)| name.to_string()));
    }
    let names = cut(names.into_iter().collect(), request.limit);
    Ok(LabelNamesResponse {
        names,
        ..LabelNamesResponse::default()
    })
}

pub(crate) async fn label_values(
    client: &PrometheusClient,
    known: &Known,
    request: &LabelValuesRequest,
) -> Result<LabelValuesResponse, Status> {
    if request.label.is_empty() {
        return Err(Status::invalid_argument("label name parameter cannot be empty"));
    }
    if request.without_replica_labels.contains(&request.label) {
        return Ok(LabelValuesResponse::default());
    }
    let Selected::Matching(matchers) = select(matchers_from_wire(&request.matchers)?, &known.external_labels)
    else {
        return Ok(LabelValuesResponse::default());
    };
    let text = (!matchers.is_empty()).then(|| selector(&matchers));
    let selection = Selection {
        selector: text.as_deref(),
        mint_ms: request.start,
        maxt_ms: request.end,
        limit: request.limit,
    };
    let mut values = match known
        .external_labels
        .get(&request.label)
        .filter(|value| !value.is_empty())
    {
        Some(value) if matchers.is_empty() => vec![value.to_string()],
        Some(value) => {
            let one = Selection {
                limit: 1,
                ..selection
            };
            let any = !client.series(&one).await.map_err(status_of)?.value.is_empty();
            any.then(|| value.to_string()).into_iter().collect()
        }
        None => {
            client
                .label_values(&request.label, &selection)
                .await
                .map_err(status_of)?
                .value
        }
    };
    values.sort_unstable();
    values.dedup();
    Ok(LabelValuesResponse {
        values: cut(values, request.limit),
        ..LabelValuesResponse::default()
    })
}

fn cut(mut list: Vec<String>, limit: i64) -> Vec<String> {
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        list.truncate(limit);
    }
    list
}
