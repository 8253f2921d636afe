//! What may go wrong soon, told before anything is done.

use crate::{
    cluster::{Client, health::Health},
    config::Warn,
    plan::{ClusterState, Policy},
};

/// Sentences on disks, blocks and shards. What cannot be read is one of them: it stops nothing.
pub(crate) async fn findings(
    client: &Client,
    warn: &Warn,
    policies: &[Policy],
    state: &ClusterState,
) -> Vec<String> {
    let mut found = match client.health().await {
        Ok(health) => judge(&health, warn, policies),
        Err(error) => vec![format!("the health of the cluster cannot be told: {error}")],
    };
    found.extend(blocked(state));
    found
}

/// Indices that a full disk or somebody made read-only.
fn blocked(state: &ClusterState) -> Vec<String> {
    let mut found = Vec::new();
    for index in &state.indices {
        let name = &index.index.name;
        if index.index.blocks.read_only {
            found.push(format!("{name} has index.blocks.read_only and cannot be deleted"));
        } else if index.index.blocks.read_only_allow_delete {
            found.push(format!(
                "{name} has index.blocks.read_only_allow_delete: the disk of a node was full"
            ));
        }
    }
    found
}

fn judge(health: &Health, warn: &Warn, policies: &[Policy]) -> Vec<String> {
    let mut found = Vec::new();
    if health.status == "red" {
        found.push(
            "the cluster is red: primary shards are missing, their indices cannot be snapshotted".to_owned(),
        );
    }
    for (node, percent) in &health.disks {
        if *percent >= warn.disk_percent {
            found.push(format!("the disk of node {node} is {percent} % full"));
        }
    }
    if health.read_only {
        found.push("cluster.blocks.read_only is set: nothing can be created or deleted".to_owned());
    }
    let limit = health.max_shards_per_node.saturating_mul(health.data_nodes);
    let new: u64 = policies
        .iter()
        .filter(|policy| policy.create_ahead)
        .map(|policy| u64::from(policy.shards).saturating_mul(u64::from(policy.replicas).saturating_add(1)))
        .sum();
    let after = health.shards.saturating_add(new);
    if limit > 0 && after > limit {
        found.push(format!(
            "the cluster has {} of {limit} shards (cluster.max_shards_per_node): there is no room for the {new} of new indices",
            health.shards
        ));
    } else if limit > 0 && after.saturating_mul(100) >= limit.saturating_mul(warn.shards_percent) {
        found.push(format!(
            "the cluster has {} of {limit} shards (cluster.max_shards_per_node)",
            health.shards
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_before_they_are_hit() {
        let warn = Warn {
            disk_percent: 85,
            shards_percent: 90,
        };
        let calm = Health {
            status: "yellow".to_owned(),
            data_nodes: 2,
            shards: 100,
            max_shards_per_node: 1000,
            read_only: false,
            disks: vec![("a".to_owned(), 84)],
        };
        assert_eq!(judge(&calm, &warn, &[]), Vec::<String>::new());
        let told = judge(
            &Health {
                status: "red".to_owned(),
                shards: 1800,
                read_only: true,
                disks: vec![("a".to_owned(), 85), ("b".to_owned(), 10)],
                ..calm
            },
            &warn,
            &[],
        );
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told[1].contains("node a is 85 % full") && told[3].contains("1800 of 2000"),
            "{told:?}"
        );
    }
}
