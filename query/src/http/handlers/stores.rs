//! `stores`: who may be asked, and how they are.

use std::collections::BTreeMap;

use axum::{extract::State, http::HeaderMap, response::Response};
use sabre_model::time::{UtcTime, format_rfc3339_ms};
use serde_json::{Value, json};

use crate::{
    endpoints::EndpointStatus,
    http::{HttpApi, json::document::Document, peers::json, reply},
};

/// Of what kind somebody is who never said so.
const NEVER_ANSWERED: &str = "unknown";

pub(super) async fn stores(State(api): State<HttpApi>, headers: HeaderMap) -> Response {
    let data = by_kind(&api.inner.pool.statuses());
    reply::send(Document::json(&data, &[]), &[], &headers)
}

fn by_kind(statuses: &[EndpointStatus]) -> Value {
    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for status in statuses {
        let kind = status.component.as_deref().unwrap_or(NEVER_ANSWERED);
        kinds.entry(kind).or_default().push(endpoint(status));
    }
    json!(kinds)
}

fn endpoint(status: &EndpointStatus) -> Value {
    let last_check = match status.last_check_ms {
        Some(ms) => format_rfc3339_ms(ms),
        None => UtcTime::ZERO.to_string(),
    };
    json!({
        "name": status.address,
        "lastCheck": last_check,
        "lastError": status.last_error,
        "labelSets": status.label_sets.iter().map(json::labels).collect::<Vec<_>>(),
        "minTime": status.mint,
        "maxTime": status.maxt,
    })
}

#[cfg(test)]
mod tests {
    use sabre_model::Labels;

    use super::*;

    #[test]
    fn endpoints_are_listed_by_kind_also_those_who_never_answered() {
        let status = |address: &str, component: Option<&str>, error: Option<&str>| EndpointStatus {
            address: address.to_owned(),
            component: component.map(str::to_owned),
            label_sets: vec![Labels::from_pairs([("cluster", "eu")]).unwrap()],
            mint: -5,
            maxt: i64::MAX,
            last_check_ms: component.map(|_| 1_767_225_600_000),
            last_error: error.map(str::to_owned),
            healthy: error.is_none(),
            apis: Vec::new(),
        };
        let json = by_kind(&[
            status("a:1", Some("store"), None),
            status("b:1", None, Some("refused")),
        ]);
        assert_eq!(
            json["store"][0],
            json!({
                "name": "a:1", "lastCheck": "2026-01-01T00:00:00Z", "lastError": null,
                "labelSets": [{"cluster": "eu"}], "minTime": -5, "maxTime": i64::MAX,
            })
        );
        assert_eq!(json["unknown"][0]["lastError"], "refused");
        assert_eq!(json["unknown"][0]["lastCheck"], "0001-01-01T00:00:00Z");
    }
}
