//! Targets of all peers: of those that differ by replica labels only one is kept.

use std::cmp::Ordering;

use sabre_model::Labels;
use sabre_proto::thanos::{
    ActiveTarget, DroppedTarget, TargetDiscovery, TargetsRequest, TargetsResponse, active_target::Health,
    targets_response,
};
use serde_json::{Value, json};

use super::{
    Call, Gathered,
    gather::{Question, Said, gather},
    json,
    shapes::TARGETS,
    without_replica,
};
use crate::{
    endpoints::{Api, Pool},
    http::failure::ApiFailure,
};

struct Labelled {
    target: ActiveTarget,
    discovered: Labels,
    labels: Labels,
}

/// Asks all peers for targets in a state, a number of `thanos.TargetsRequest.State`.
pub(crate) async fn ask(
    pool: &Pool,
    call: &Call,
    state: i32,
    replica_labels: &[String],
) -> Result<Gathered<Value>, ApiFailure> {
    let gathered = fetch(pool, call, state).await?;
    Ok(Gathered {
        items: vec![merged(gathered.items, replica_labels)],
        warnings: gathered.warnings,
        charge: gathered.charge,
    })
}

/// Targets as all peers say them.
pub(crate) async fn fetch(
    pool: &Pool,
    call: &Call,
    state: i32,
) -> Result<Gathered<TargetDiscovery>, ApiFailure> {
    let message = |_: &_| {
        Some(TargetsRequest {
            state,
            partial_response_strategy: call.strategy(),
        })
    };
    let read = |response: TargetsResponse| match response.result {
        Some(targets_response::Result::Targets(targets)) => Said::Item(targets),
        Some(targets_response::Result::Warning(warning)) => Said::Warning(warning),
        None => Said::Nothing,
    };
    let question = Question {
        api: Api::Targets,
        path: "/thanos.Targets/Targets",
        shape: &TARGETS,
        read,
    };
    gather(pool, call, question, message).await
}

/// One answer of all, sorted.
pub(super) fn merged(all: Vec<TargetDiscovery>, replica_labels: &[String]) -> Value {
    let (mut active, mut dropped) = (Vec::new(), Vec::new());
    for targets in all {
        active.extend(targets.active_targets);
        dropped.extend(targets.dropped_targets);
    }
    json!({
        "activeTargets": merged_active(active, replica_labels),
        "droppedTargets": merged_dropped(&dropped, replica_labels),
    })
}

fn merged_active(targets: Vec<ActiveTarget>, replica_labels: &[String]) -> Vec<Value> {
    let labelled = targets.into_iter().map(|target| Labelled {
        discovered: without_replica(target.discovered_labels.as_ref(), replica_labels),
        labels: without_replica(target.labels.as_ref(), replica_labels),
        target,
    });
    let mut labelled: Vec<_> = labelled.collect();
    labelled.sort_by(compare);
    let mut kept: Vec<Labelled> = Vec::new();
    for target in labelled {
        match kept.last_mut() {
            Some(last) if compare(last, &target) == Ordering::Equal => {
                if is_better(&target.target, &last.target) {
                    *last = target;
                }
            }
            _ => kept.push(target),
        }
    }
    kept.iter().map(active_json).collect()
}

fn compare(a: &Labelled, b: &Labelled) -> Ordering {
    (
        &a.target.scrape_url,
        &a.target.scrape_pool,
        &a.discovered,
        &a.labels,
    )
        .cmp(&(
            &b.target.scrape_url,
            &b.target.scrape_pool,
            &b.discovered,
            &b.labels,
        ))
}

/// A target that is down for one replica is worth seeing; else the newest scrape counts.
fn is_better(a: &ActiveTarget, b: &ActiveTarget) -> bool {
    let newer = json::order(a.last_scrape) > json::order(b.last_scrape);
    a.health < b.health || (a.health == b.health && newer)
}

fn merged_dropped(targets: &[DroppedTarget], replica_labels: &[String]) -> Vec<Value> {
    let labels = targets
        .iter()
        .map(|target| without_replica(target.discovered_labels.as_ref(), replica_labels));
    let mut labels: Vec<_> = labels.collect();
    labels.sort();
    labels.dedup();
    let dropped = labels
        .iter()
        .map(|labels| json!({ "discoveredLabels": json::labels(labels) }));
    dropped.collect()
}

fn active_json(labelled: &Labelled) -> Value {
    let target = &labelled.target;
    json!({
        "discoveredLabels": json::labels(&labelled.discovered),
        "labels": json::labels(&labelled.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.global_url,
        "lastError": target.last_error,
        "lastScrape": json::time(target.last_scrape),
        "lastScrapeDuration": json::number(target.last_scrape_duration),
        "health": match Health::try_from(target.health) {
            Ok(Health::Down) => "down",
            Ok(Health::Up) => "up",
            _ => "unknown",
        },
    })
}
