//! Metadata of metrics of all peers, each entry once.

use std::collections::BTreeMap;

use sabre_proto::thanos::{
    Meta, MetricMetadata, MetricMetadataRequest, MetricMetadataResponse, metric_metadata_response,
};
use serde_json::{Map, Value, json};

use super::{
    Call, Gathered,
    gather::{Question, Said, gather},
    shapes::METADATA,
};
use crate::{
    endpoints::{Api, Pool},
    http::failure::ApiFailure,
};

/// Asks all peers about a metric, or all if it is empty; `limit` below zero is none.
pub(crate) async fn ask(
    pool: &Pool,
    call: &Call,
    metric: &str,
    limit: i32,
) -> Result<Gathered<Value>, ApiFailure> {
    let gathered = fetch(pool, call, metric, limit).await?;
    Ok(Gathered {
        items: vec![merged(gathered.items, limit)],
        warnings: gathered.warnings,
        charge: gathered.charge,
    })
}

/// Metadata as all peers say them.
pub(crate) async fn fetch(
    pool: &Pool,
    call: &Call,
    metric: &str,
    limit: i32,
) -> Result<Gathered<MetricMetadata>, ApiFailure> {
    let message = |_: &_| {
        Some(MetricMetadataRequest {
            metric: metric.to_owned(),
            limit,
            partial_response_strategy: call.strategy(),
        })
    };
    let read = |response: MetricMetadataResponse| match response.result {
        Some(metric_metadata_response::Result::Metadata(metadata)) => Said::Item(metadata),
        Some(metric_metadata_response::Result::Warning(warning)) => Said::Warning(warning),
        None => Said::Nothing,
    };
    let question = Question {
        api: Api::Metadata,
        path: "/thanos.Metadata/MetricMetadata",
        shape: &METADATA,
        read,
    };
    gather(pool, call, question, message).await
}

/// By metric; of more metrics than the limit the first by name are kept.
pub(super) fn merged(all: Vec<MetricMetadata>, limit: i32) -> Value {
    let mut by_metric: BTreeMap<String, Vec<Meta>> = BTreeMap::new();
    for (metric, entry) in all.into_iter().flat_map(|metadata| metadata.metadata) {
        let known = by_metric.entry(metric).or_default();
        for meta in entry.metas {
            if !known.contains(&meta) {
                known.push(meta);
            }
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let members = by_metric.into_iter().take(limit).map(|(metric, metas)| {
        let metas = metas
            .iter()
            .map(|meta| json!({ "type": meta.r#type, "help": meta.help, "unit": meta.unit }));
        (metric, Value::Array(metas.collect()))
    });
    Value::Object(members.collect::<Map<_, _>>())
}
