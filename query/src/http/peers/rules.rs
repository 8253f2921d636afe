//! Rules of all peers: groups of one file and name are one, and of rules that differ by replica labels only one is
//! kept: the more pressing alert, then the one evaluated last.

use std::cmp::Ordering;

use prost_types::Timestamp;
use sabre_model::{Labels, Matcher};
use sabre_proto::thanos::{
    Alert, AlertState, RecordingRule, Rule, RuleGroup, RulesRequest, RulesResponse, rule, rules_response,
};
use serde_json::{Value, json};

use super::{
    Call, Gathered,
    gather::{Question, Said, gather},
    json,
    shapes::RULES,
    without_replica,
};
use crate::{
    endpoints::{Api, Pool},
    http::failure::ApiFailure,
};

/// Which rules are wanted; empty lists want all.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedRules {
    /// `thanos.RulesRequest.Type`.
    pub(crate) kind: i32,
    pub(crate) matchers: Vec<Vec<Matcher>>,
    /// The same as texts.
    pub(crate) matcher_texts: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) files: Vec<String>,
}

/// A rule and its labels without those of replicas.
struct Labelled {
    rule: rule::Result,
    labels: Labels,
}

/// Asks all peers.
pub(crate) async fn ask(
    pool: &Pool,
    call: &Call,
    wanted: &WantedRules,
    replica_labels: &[String],
) -> Result<Gathered<Value>, ApiFailure> {
    let request = RulesRequest {
        r#type: wanted.kind,
        partial_response_strategy: call.strategy(),
        matcher_string: wanted.matcher_texts.clone(),
        rule_name: wanted.names.clone(),
        rule_group: wanted.groups.clone(),
        file: wanted.files.clone(),
    };
    let gathered = fetch(pool, call, &request).await?;
    Ok(Gathered {
        items: merged(gathered.items, wanted, replica_labels),
        warnings: gathered.warnings,
        charge: gathered.charge,
    })
}

/// Groups as all peers say them.
pub(crate) async fn fetch(
    pool: &Pool,
    call: &Call,
    request: &RulesRequest,
) -> Result<Gathered<RuleGroup>, ApiFailure> {
    let read = |response: RulesResponse| match response.result {
        Some(rules_response::Result::Group(group)) => Said::Item(group),
        Some(rules_response::Result::Warning(warning)) => Said::Warning(warning),
        None => Said::Nothing,
    };
    let question = Question {
        api: Api::Rules,
        path: "/thanos.Rules/Rules",
        shape: &RULES,
        read,
    };
    gather(pool, call, question, |_| Some(request.clone())).await
}

/// Filters, merges, and takes off replica labels; sorted by file and name.
pub(super) fn merged(
    mut groups: Vec<RuleGroup>,
    wanted: &WantedRules,
    replica_labels: &[String],
) -> Vec<Value> {
    let key = |group: &RuleGroup| format!("{};{}", group.file, group.name);
    groups.retain(|group| {
        let wants = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        wants(&wanted.groups, &group.name) && wants(&wanted.files, &group.file)
    });
    groups.sort_by_cached_key(key);
    let mut out = Vec::new();
    let mut groups = groups.into_iter().peekable();
    while let Some(mut group) = groups.next() {
        let mut rules = std::mem::take(&mut group.rules);
        while let Some(same) = groups.next_if(|next| next.file == group.file && next.name == group.name) {
            rules.extend(same.rules);
        }
        let had_none = rules.is_empty();
        let rules = merged_rules(rules, wanted, replica_labels);
        // A group that lost all its rules to the filter goes with them.
        let is_filtered = !wanted.names.is_empty() || !wanted.matchers.is_empty();
        if rules.is_empty() && (is_filtered || !had_none) {
            continue;
        }
        out.push(group_json(&group, &rules));
    }
    out
}

fn merged_rules(rules: Vec<Rule>, wanted: &WantedRules, replica_labels: &[String]) -> Vec<Labelled> {
    let mut labelled = Vec::new();
    for rule in rules.into_iter().filter_map(|rule| rule.result) {
        let all = without_replica(labels_of(&rule), &[]);
        if !is_wanted(&rule, &all, wanted) {
            continue;
        }
        let labels = all.without(replica_labels);
        labelled.push(Labelled { rule, labels });
    }
    labelled.sort_by(compare);
    let mut kept: Vec<Labelled> = Vec::new();
    for rule in labelled {
        match kept.last_mut() {
            Some(last) if compare(last, &rule) == Ordering::Equal => {
                if rank(&rule.rule) > rank(&last.rule) {
                    *last = rule;
                }
            }
            _ => kept.push(rule),
        }
    }
    kept
}

fn is_wanted(rule: &rule::Result, labels: &Labels, wanted: &WantedRules) -> bool {
    if !wanted.names.is_empty() && !wanted.names.iter().any(|name| name == name_of(rule)) {
        return false;
    }
    // As in Thanos all of all sets must match; labels that are templates are there when the rule is evaluated only.
    let matches = |matcher: &Matcher| {
        let value = labels.get(matcher.name()).unwrap_or_default();
        matcher.matches(if value.contains("{{") { "" } else { value })
    };
    wanted.matchers.iter().flatten().all(matches)
}

/// Alerts first, then by name, labels, query, and for alerts by duration.
fn compare(a: &Labelled, b: &Labelled) -> Ordering {
    let kind = |rule: &Labelled| matches!(rule.rule, rule::Result::Recording(_));
    kind(a)
        .cmp(&kind(b))
        .then_with(|| name_of(&a.rule).cmp(name_of(&b.rule)))
        .then_with(|| a.labels.cmp(&b.labels))
        .then_with(|| query_of(&a.rule).cmp(query_of(&b.rule)))
        .then_with(|| match (&a.rule, &b.rule) {
            (rule::Result::Alert(a), rule::Result::Alert(b)) => {
                a.duration_seconds.total_cmp(&b.duration_seconds)
            }
            _ => Ordering::Equal,
        })
}

/// What of two equal rules is the better one to show.
fn rank(rule: &rule::Result) -> (i32, (i64, i32)) {
    match rule {
        rule::Result::Alert(alert) => (alert.state, json::order(alert.last_evaluation)),
        rule::Result::Recording(rule) => (0, json::order(rule.last_evaluation)),
    }
}

fn labels_of(rule: &rule::Result) -> Option<&sabre_proto::thanos::LabelSet> {
    match rule {
        rule::Result::Alert(alert) => alert.labels.as_ref(),
        rule::Result::Recording(rule) => rule.labels.as_ref(),
    }
}

fn name_of(rule: &rule::Result) -> &str {
    match rule {
        rule::Result::Alert(alert) => &alert.name,
        rule::Result::Recording(rule) => &rule.name,
    }
}

fn query_of(rule: &rule::Result) -> &str {
    match rule {
        rule::Result::Alert(alert) => &alert.query,
        rule::Result::Recording(rule) => &rule.query,
    }
}

fn group_json(group: &RuleGroup, rules: &[Labelled]) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules.iter().map(rule_json).collect::<Vec<_>>(),
        "interval": json::number(group.interval),
        "evaluationTime": json::number(group.evaluation_duration_seconds),
        "lastEvaluation": json::time(group.last_evaluation),
        "limit": group.limit,
        "partialResponseStrategy": json::strategy(group.partial_response_strategy),
    })
}

fn rule_json(rule: &Labelled) -> Value {
    let mut json = match &rule.rule {
        rule::Result::Alert(alert) => alert_json(alert, &rule.labels),
        rule::Result::Recording(recording) => recording_json(recording, &rule.labels),
    };
    let error = match &rule.rule {
        rule::Result::Alert(alert) => &alert.last_error,
        rule::Result::Recording(recording) => &recording.last_error,
    };
    if let (false, Some(members)) = (error.is_empty(), json.as_object_mut()) {
        members.insert("lastError".to_owned(), Value::String(error.clone()));
    }
    json
}

fn recording_json(rule: &RecordingRule, labels: &Labels) -> Value {
    json!({
        "name": rule.name,
        "query": rule.query,
        "labels": json::labels(labels),
        "health": rule.health,
        "evaluationTime": json::number(rule.evaluation_duration_seconds),
        "lastEvaluation": json::time(rule.last_evaluation),
        "type": "recording",
    })
}

fn alert_json(alert: &Alert, labels: &Labels) -> Value {
    let instances = alert.alerts.iter().map(|instance| {
        json!({
            "labels": json::labels(&without_replica(instance.labels.as_ref(), &[])),
            "annotations": json::labels(&without_replica(instance.annotations.as_ref(), &[])),
            "state": state(instance.state),
            "activeAt": instance.active_at.map(present),
            "value": instance.value,
            "partialResponseStrategy": json::strategy(instance.partial_response_strategy),
        })
    });
    json!({
        "state": state(alert.state),
        "name": alert.name,
        "query": alert.query,
        "duration": json::number(alert.duration_seconds),
        "keepFiringFor": json::number(alert.keep_firing_for_seconds),
        "labels": json::labels(labels),
        "annotations": json::labels(&without_replica(alert.annotations.as_ref(), &[])),
        "alerts": instances.collect::<Vec<_>>(),
        "health": alert.health,
        "evaluationTime": json::number(alert.evaluation_duration_seconds),
        "lastEvaluation": json::time(alert.last_evaluation),
        "type": "alerting",
    })
}

fn present(time: Timestamp) -> Value {
    json::time(Some(time))
}

fn state(number: i32) -> &'static str {
    match AlertState::try_from(number) {
        Ok(AlertState::Firing) => "firing",
        Ok(AlertState::Pending) => "pending",
        Ok(AlertState::Inactive) => "inactive",
        _ => "unknown",
    }
}
