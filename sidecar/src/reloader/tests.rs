//! The reloader beside a Prometheus that answers what it is told.

use std::{fs, path::PathBuf, sync::Arc};

use sabre_runtime::metrics::Registry;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{ScriptedPrometheus, eventually};

mod by_signal;

struct World {
    dir: tempfile::TempDir,
    prometheus: Arc<ScriptedPrometheus>,
    registry: Registry,
    stop: CancellationToken,
}

fn lookup(name: &str) -> Option<String> {
    (name == "REPLICA").then(|| "a".to_string())
}

fn now_ms() -> i64 {
    1_767_225_600_500
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rules/deep")).unwrap();
        fs::write(dir.path().join("in.yml"), "replica: $(REPLICA)\n").unwrap();
        fs::write(dir.path().join("rules/a.yml"), "a").unwrap();
        let prometheus = Arc::new(ScriptedPrometheus::start().await);
        prometheus.answers("-/reload", 200, "");
        World {
            dir,
            prometheus,
            registry: Registry::new(),
            stop: CancellationToken::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> ReloaderConfig {
        ReloaderConfig {
            config_file: Some(self.path("in.yml")),
            rendered_file: Some(self.path("out.yml")),
            rule_dirs: vec![self.path("rules")],
            watch_interval: Duration::from_secs(3600),
            retry_interval: Duration::from_millis(5),
        }
    }

    fn reloader(&self, change: impl FnOnce(&mut ReloaderConfig)) -> Reloader {
        let mut config = self.config();
        change(&mut config);
        let trigger = Trigger::Http(self.prometheus.client());
        Reloader::new(
            config,
            trigger,
            ReloaderMetrics::new(&self.registry),
            lookup,
            now_ms,
        )
    }

    fn start(&self, change: impl FnOnce(&mut ReloaderConfig)) -> JoinHandle<Result<(), ReloadError>> {
        tokio::spawn(self.reloader(change).run(self.stop.clone()))
    }

    fn reloads(&self) -> usize {
        self.prometheus
            .asked()
            .iter()
            .filter(|asked| *asked == "POST -/reload")
            .count()
    }

    fn metric(&self, name: &str) -> f64 {
        let page = self.registry.classic();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("thanos_sidecar_reloader_{name} ")))
            .unwrap_or_else(|| panic!("no {name} in\n{page}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

#[tokio::test]
async fn every_change_of_file_and_rules_reloads_once() {
    let world = World::new().await;
    let task = world.start(|_| {});
    eventually("the first reload", async || world.metric("reloads_total") == 1.0).await;
    assert_eq!(fs::read_to_string(world.path("out.yml")).unwrap(), "replica: a\n");
    let changes: [(&str, &dyn Fn()); 4] = [
        ("the file", &|| {
            fs::write(world.path("new"), "replica: $(REPLICA)2\n").unwrap();
            fs::rename(world.path("new"), world.path("in.yml")).unwrap();
        }),
        ("a rule", &|| fs::write(world.path("rules/a.yml"), "b").unwrap()),
        ("a rule below", &|| {
            fs::write(world.path("rules/deep/c.yml"), "c").unwrap();
        }),
        ("a rule that goes", &|| {
            fs::remove_file(world.path("rules/a.yml")).unwrap();
        }),
    ];
    for (number, (what, change)) in changes.into_iter().enumerate() {
        change();
        eventually(what, async || world.reloads() == number + 2).await;
    }
    assert_eq!(
        fs::read_to_string(world.path("out.yml")).unwrap(),
        "replica: a2\n"
    );
    assert_eq!(world.metric("last_reload_successful"), 1.0);
    assert_eq!(
        world.metric("last_reload_success_timestamp_seconds"),
        1_767_225_600.5
    );
    assert_eq!(world.metric("reloads_failed_total"), 0.0);
    assert_eq!(world.metric("watches"), 2.0);
    assert!(world.metric("watch_events_total") >= 4.0);
    assert!(
        world
            .registry
            .classic()
            .contains("thanos_sidecar_reloader_info{method=\"http\"} 1")
    );
    world.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reload_that_fails_is_tried_until_it_works() {
    let world = World::new().await;
    world
        .prometheus
        .answers("-/reload", 500, "failed to reload config");
    let task = world.start(|_| {});
    eventually("some failures", async || world.reloads() >= 3).await;
    assert_eq!(world.metric("last_reload_successful"), 0.0);
    assert!(world.metric("reloads_failed_total") >= 2.0);
    world.prometheus.answers("-/reload", 200, "");
    eventually("the reload", async || {
        world.metric("last_reload_successful") == 1.0
    })
    .await;
    let reloads = world.reloads();
    world.stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(world.reloads(), reloads, "once it worked there is nothing to do");
}

#[tokio::test]
async fn a_look_without_a_change_does_not_reload() {
    let world = World::new().await;
    let mut reloader = world.reloader(|_| {});
    reloader.look().await.unwrap();
    reloader.look().await.unwrap();
    assert_eq!(world.reloads(), 1);
    assert_eq!(world.metric("config_apply_operations_total"), 2.0);
}

#[tokio::test]
async fn a_variable_that_is_not_set_keeps_the_old_file_and_is_counted() {
    let world = World::new().await;
    let mut reloader = world.reloader(|_| {});
    reloader.look().await.unwrap();
    fs::write(world.path("in.yml"), "$(A) $(B)").unwrap();
    let error = reloader.look().await.unwrap_err();
    assert!(error.to_string().contains("A, B"), "{error}");
    assert_eq!(world.metric("config_environment_variable_expansion_errors"), 2.0);
    assert_eq!(world.reloads(), 1);
    fs::write(world.path("in.yml"), "a").unwrap();
    reloader.look().await.unwrap();
    assert_eq!(world.metric("config_environment_variable_expansion_errors"), 0.0);
    assert_eq!(world.reloads(), 2);
}

#[tokio::test]
async fn at_the_start_a_broken_configuration_is_fatal_later_it_is_not() {
    let world = World::new().await;
    fs::write(world.path("in.yml"), "$(NOT_SET)").unwrap();
    let error = world.start(|_| {}).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::Render(RenderError::Unset { .. })));

    fs::write(world.path("in.yml"), "fine").unwrap();
    let task = world.start(|_| {});
    eventually("the first reload", async || world.reloads() == 1).await;
    fs::write(world.path("in.yml"), "$(NOT_SET)").unwrap();
    eventually("the complaint", async || {
        world.metric("config_apply_operations_failed_total") >= 1.0
    })
    .await;
    fs::write(world.path("in.yml"), "mended").unwrap();
    eventually("the second reload", async || world.reloads() == 2).await;
    world.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn without_a_watch_interval_the_file_is_rendered_and_prometheus_left_alone() {
    let world = World::new().await;
    let task = world.start(|config| config.watch_interval = Duration::ZERO);
    task.await.unwrap().unwrap();
    assert!(world.path("out.yml").exists());
    assert_eq!(world.reloads(), 0);
    let nothing = world.reloader(|config| {
        config.config_file = None;
        config.rule_dirs.clear();
    });
    nothing.run(CancellationToken::new()).await.unwrap();
}

/// As where one file is mounted: the kernel tells nothing of what is behind a link.
#[tokio::test]
async fn what_the_kernel_says_nothing_of_is_found_after_the_watch_interval() {
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.yml");
    fs::write(&target, "one").unwrap();
    fs::remove_file(world.path("in.yml")).unwrap();
    std::os::unix::fs::symlink(&target, world.path("in.yml")).unwrap();
    let task = world.start(|config| config.watch_interval = Duration::from_secs(1));
    eventually("the first reload", async || {
        world.metric("last_reload_successful") == 1.0
    })
    .await;
    let reloads = world.reloads();
    fs::write(&target, "two").unwrap();
    eventually("the second reload", async || world.reloads() > reloads).await;
    assert_eq!(fs::read_to_string(world.path("out.yml")).unwrap(), "two");
    assert_eq!(world.metric("watch_events_total"), 0.0);
    world.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_prometheus_that_does_not_allow_reloads_is_named_with_its_flag() {
    let world = World::new().await;
    world
        .prometheus
        .answers("-/reload", 403, "Lifecycle API is not enabled.");
    let error = world.reloader(|_| {}).look().await.unwrap_err().to_string();
    assert!(error.contains("--web.enable-lifecycle"), "{error}");
}
