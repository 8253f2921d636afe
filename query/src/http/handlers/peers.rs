//! `rules`, `alerts`, `targets`, `metadata`, `query_exemplars` and `status/tsdb`: what peers know beside series.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use sabre_proto::thanos::{LabelMatcher, rules_request, targets_request};
use sabre_runtime::budget::Reservation;
use serde_json::{Value, json};

use crate::http::{
    HttpApi,
    asked::{self, time_or},
    failure::ApiFailure,
    form::Form,
    json::document::Document,
    peers::{
        Call, Gathered,
        exemplars::{self, WantedExemplars},
        metadata,
        rules::{self, WantedRules},
        statistics::{self, WantedStatistics},
        targets,
    },
    reply,
    tenant::Tenant,
    values::{self, MAX_TIME_MS, MIN_TIME_MS},
};

/// As many of the greatest numbers are told unless more are wanted.
const DEFAULT_STATISTICS: usize = 10;

impl HttpApi {
    fn call(&self, what: &'static str, partial: bool, tenant: &Tenant) -> Call {
        Call::new(what, partial, self.inner.peers.clone(), tenant)
    }
}

pub(super) async fn rules(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let kind = form.first("type").unwrap_or_default();
    let parsed = match kind {
        "" => Some(rules_request::Type::All),
        kind => rules_request::Type::from_str_name(&kind.to_uppercase()),
    };
    let parsed =
        parsed.ok_or_else(|| ApiFailure::bad_data(format!("invalid rules parameter type='{kind}'")))?;
    let wanted = WantedRules {
        kind: parsed.into(),
        matchers: asked::selectors(&form, "match[]")?,
        matcher_texts: form.list("match[]"),
        names: form.list("rule_name[]"),
        groups: form.list("rule_group[]"),
        files: form.list("file[]"),
    };
    let gathered = groups(&api, &tenant, &wanted).await?;
    let data = json!({ "groups": gathered.items });
    Ok(send(&data, &gathered.warnings, gathered.charge, &headers))
}

pub(super) async fn alerts(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    let wanted = WantedRules {
        kind: rules_request::Type::Alert.into(),
        ..WantedRules::default()
    };
    let mut gathered = groups(&api, &tenant, &wanted).await?;
    let mut alerts = Vec::new();
    let rules = gathered
        .items
        .iter_mut()
        .filter_map(|group| group["rules"].as_array_mut());
    for rule in rules.flatten() {
        if let Some(of_rule) = rule.get_mut("alerts").and_then(Value::as_array_mut) {
            alerts.append(of_rule);
        }
    }
    let data = json!({ "alerts": alerts });
    Ok(send(&data, &gathered.warnings, gathered.charge, &headers))
}

async fn groups(api: &HttpApi, tenant: &Tenant, wanted: &WantedRules) -> Result<Gathered<Value>, ApiFailure> {
    let options = &api.inner.options;
    let call = api.call("rules", options.partial_response.rules, tenant);
    rules::ask(&api.inner.pool, &call, wanted, &options.replica_labels).await
}

pub(super) async fn targets(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let state = form.first("state").unwrap_or_default();
    let parsed = match state {
        "" => Some(targets_request::State::Any),
        state => targets_request::State::from_str_name(&state.to_uppercase()),
    };
    let parsed =
        parsed.ok_or_else(|| ApiFailure::bad_data(format!("invalid targets parameter state='{state}'")))?;
    let options = &api.inner.options;
    let call = api.call("targets", options.partial_response.targets, &tenant);
    let gathered = targets::ask(&api.inner.pool, &call, parsed.into(), &options.replica_labels).await?;
    Ok(send_one(gathered, &headers))
}

pub(super) async fn metadata(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let limit = match form.first("limit") {
        None => -1,
        Some(text) => text
            .parse()
            .map_err(|_| ApiFailure::bad_data(format!("invalid metric metadata limit='{text}'")))?,
    };
    let metric = form.first("metric").unwrap_or_default();
    let call = api.call("metadata", api.inner.options.partial_response.metadata, &tenant);
    let gathered = metadata::ask(&api.inner.pool, &call, metric, limit).await?;
    Ok(send_one(gathered, &headers))
}

pub(super) async fn exemplars(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let start_ms = time_or(&form, "start", MIN_TIME_MS)?;
    let end_ms = time_or(&form, "end", MAX_TIME_MS)?;
    let query = form.first("query").unwrap_or_default();
    let options = &api.inner.options;
    let wanted = WantedExemplars::of(query, &options.selector_labels, (start_ms, end_ms))?;
    let call = api.call("exemplars", options.partial_response.exemplars, &tenant);
    let gathered = exemplars::ask(&api.inner.pool, &call, &wanted, &options.replica_labels).await?;
    let data = Value::Array(gathered.items);
    Ok(send(&data, &gathered.warnings, gathered.charge, &headers))
}

pub(super) async fn statistics(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let limit = match values::limit(form.first("limit"))? {
        0 => DEFAULT_STATISTICS,
        limit if i32::try_from(limit).is_err() => {
            return Err(ApiFailure::bad_data(format!("limit {limit} overflows int32")));
        }
        limit => limit,
    };
    let options = &api.inner.options;
    let mut matchers: Vec<LabelMatcher> = Vec::new();
    for matcher in asked::selectors(&form, "match[]")?.iter().flatten() {
        matchers.push(wire(matcher.kind().to_wire(), matcher.name(), matcher.value()));
    }
    let mut only = None;
    if let Some(label) = &options.tenancy.enforced_label {
        let Tenant(name) = &tenant;
        matchers.push(wire(sabre_model::MatchKind::Eq.to_wire(), label, name));
        only = Some(name.clone());
    }
    let wanted = WantedStatistics {
        matchers,
        limit,
        tenant: only,
    };
    let call = api.call("tsdb statistics", options.partial_response.status, &tenant);
    let gathered = statistics::ask(&api.inner.pool, &call, &wanted).await?;
    Ok(send_one(gathered, &headers))
}

fn wire(kind: i32, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: kind,
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Sends what was made one of all answers.
fn send_one(gathered: Gathered<Value>, headers: &HeaderMap) -> Response {
    let data = gathered.items.into_iter().next().unwrap_or(Value::Null);
    send(&data, &gathered.warnings, gathered.charge, headers)
}

/// Sends an answer, which stays charged until it is read.
fn send(data: &Value, warnings: &[String], charge: Arc<Reservation>, headers: &HeaderMap) -> Response {
    let document = Document::json(data, warnings).keeping(charge);
    reply::send(document, warnings, headers)
}
