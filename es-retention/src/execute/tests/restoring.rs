//! Deleted indices come back whole.

use std::collections::BTreeSet;

use crate::{
    names::add_days,
    restore::restore,
    testing::lab::{FIRST, Lab, policy},
};

#[tokio::test(start_paused = true)]
async fn all_generations_are_restored_and_no_run_deletes_them() {
    let mut lab = Lab::new((Some("opensearch"), "2.19.1"), policy("logging-", 2, 6));
    lab.live(0..4).await;
    let of = add_days(FIRST, 1);
    lab.write(of, 2);
    lab.live(4..6).await;
    let name = lab.name(of);
    assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
    let job = lab.job(add_days(FIRST, 6)).await.unwrap();
    for _ in 0..2 {
        let restored = restore(&job.client, "repo", &name).await.unwrap();
        let names: Vec<&str> = restored.iter().map(|one| one.index.as_str()).collect();
        assert_eq!(names, [format!("restored-{name}"), format!("restored-{name}-2")]);
        let counts: Vec<u64> = restored.iter().map(|one| one.outcome.clone().unwrap()).collect();
        assert_eq!(counts, [3, 5]);
    }
    let there: BTreeSet<u64> = lab.cluster.with(|world| {
        let restored = world
            .indices
            .iter()
            .filter(|(name, _)| name.starts_with("restored-"));
        restored.flat_map(|(_, index)| index.all_docs()).collect()
    });
    assert_eq!(there, lab.ever[&of]);
    for number in 6..20 {
        lab.run_well(add_days(FIRST, number)).await;
    }
    assert!(
        lab.cluster
            .with(|world| world.indices.contains_key(&format!("restored-{name}")))
    );
    let nothing = restore(&job.client, "repo", &name).await.unwrap();
    assert_eq!(nothing, []);
}
