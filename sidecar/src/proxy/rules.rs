//! `/thanos.Rules/Rules`, from `/api/v1/rules`.

use sabre_model::Labels;
use sabre_proto::{
    convert::label_set,
    thanos::{
        Alert, AlertInstance, AlertState, PartialResponseStrategy, RecordingRule, Rule, RuleGroup,
        RulesRequest, RulesResponse, rule, rules_request, rules_response, rules_server::Rules,
    },
};
use sabre_runtime::yaml::null_is_default;
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::{Answers, PrometheusProxy, answers, extended, json::Time};
use crate::store_api::status_of;

#[derive(Deserialize)]
struct RuleGroupsJson {
    #[serde(default, deserialize_with = "null_is_default")]
    groups: Vec<RuleGroupJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleGroupJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    file: String,
    #[serde(default, deserialize_with = "null_is_default")]
    rules: Vec<RuleJson>,
    #[serde(default)]
    interval: f64,
    #[serde(default)]
    limit: i64,
    #[serde(default)]
    evaluation_time: f64,
    #[serde(default)]
    last_evaluation: Time,
}

/// A rule of either type: what the other has stays empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleJson {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    query: String,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: Labels,
    #[serde(default)]
    health: String,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    evaluation_time: f64,
    #[serde(default)]
    last_evaluation: Time,
    #[serde(default)]
    state: String,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    keep_firing_for: f64,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    alerts: Vec<AlertJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertJson {
    #[serde(default, deserialize_with = "null_is_default")]
    labels: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: Labels,
    #[serde(default)]
    state: String,
    active_at: Option<Time>,
    #[serde(default)]
    value: String,
}

#[tonic::async_trait]
impl Rules for PrometheusProxy {
    async fn rules(
        &self,
        request: Request<RulesRequest>,
    ) -> Result<Response<Answers<RulesResponse>>, Status> {
        let known = self.known()?;
        let params = match request.get_ref().r#type() {
            rules_request::Type::All => vec![],
            rules_request::Type::Alert => vec![("type", "alert".to_string())],
            rules_request::Type::Record => vec![("type", "record".to_string())],
        };
        let found = self
            .client
            .get::<RuleGroupsJson>("rules", "api/v1/rules", &params)
            .await
            .map_err(status_of)?;
        Ok(answers(
            found.map(|found| responses(found, &known.external_labels)),
        ))
    }
}

/// Groups in Prometheus' order, empty ones among them, then what could not be passed on.
fn responses(found: RuleGroupsJson, external: &Labels) -> Vec<RulesResponse> {
    let mut warnings = Vec::new();
    let mut results = Vec::with_capacity(found.groups.len());
    for group in found.groups {
        results.push(rules_response::Result::Group(
            group.into_wire(external, &mut warnings),
        ));
    }
    results.extend(warnings.into_iter().map(rules_response::Result::Warning));
    let response = |result| RulesResponse { result: Some(result) };
    results.into_iter().map(response).collect()
}

impl RuleGroupJson {
    fn into_wire(self, external: &Labels, warnings: &mut Vec<String>) -> RuleGroup {
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in self.rules {
            match rule.kind.to_ascii_lowercase().as_str() {
                "recording" => rules.push(rule::Result::Recording(rule.recording(external))),
                "alerting" => rules.push(rule::Result::Alert(rule.alert(external))),
                other => warnings.push(format!(
                    "rule {:?} of group {:?} in {:?} is left out: its type {other:?} is neither recording nor alerting",
                    rule.name, self.name, self.file
                )),
            }
        }
        RuleGroup {
            name: self.name,
            file: self.file,
            rules: rules
                .into_iter()
                .map(|result| Rule { result: Some(result) })
                .collect(),
            interval: self.interval,
            evaluation_duration_seconds: self.evaluation_time,
            last_evaluation: Some(self.last_evaluation.to_wire()),
            // Prometheus knows nothing of it: an answer is whole or an error.
            partial_response_strategy: PartialResponseStrategy::Abort as i32,
            limit: self.limit,
        }
    }
}

impl RuleJson {
    fn recording(self, external: &Labels) -> RecordingRule {
        RecordingRule {
            labels: extended(&self.labels, external),
            name: self.name,
            query: self.query,
            health: self.health,
            last_error: self.last_error,
            evaluation_duration_seconds: self.evaluation_time,
            last_evaluation: Some(self.last_evaluation.to_wire()),
        }
    }

    fn alert(self, external: &Labels) -> Alert {
        Alert {
            state: alert_state(&self.state) as i32,
            labels: extended(&self.labels, external),
            name: self.name,
            query: self.query,
            duration_seconds: self.duration,
            annotations: Some(label_set(&self.annotations)),
            alerts: self.alerts.into_iter().map(AlertJson::into_wire).collect(),
            health: self.health,
            last_error: self.last_error,
            evaluation_duration_seconds: self.evaluation_time,
            last_evaluation: Some(self.last_evaluation.to_wire()),
            keep_firing_for_seconds: self.keep_firing_for,
        }
    }
}

impl AlertJson {
    /// An instance keeps the labels it has in Prometheus: external labels come at the Alertmanager.
    fn into_wire(self) -> AlertInstance {
        AlertInstance {
            labels: Some(label_set(&self.labels)),
            annotations: Some(label_set(&self.annotations)),
            state: alert_state(&self.state) as i32,
            active_at: self.active_at.map(Time::to_wire),
            value: self.value,
            partial_response_strategy: PartialResponseStrategy::Warn as i32,
        }
    }
}

fn alert_state(text: &str) -> AlertState {
    match text.to_ascii_lowercase().as_str() {
        "inactive" => AlertState::Inactive,
        "pending" => AlertState::Pending,
        "firing" => AlertState::Firing,
        _ => AlertState::Unknown,
    }
}
