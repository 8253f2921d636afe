//! Commands as they are typed, against a cluster behind a socket.

use std::path::PathBuf;

use sabre_runtime::flags::App;
use sabre_testkit::s3::{Answer, ScriptedServer};
use tokio::time::Instant;

use super::*;
use crate::{
    names::add_days,
    testing::{
        FakeCluster,
        lab::{FIRST, Lab, policy},
    },
};

/// A cluster with three documents of [`FIRST`], and the old stack's file for it.
struct Stage {
    lab: Lab,
    server: ScriptedServer,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let mut lab = Lab::new((Some("opensearch"), "3.8.0"), policy("logging-", 7, 9));
        lab.write(FIRST, 3);
        let server = lab.cluster.serve().await;
        let dir = tempfile::tempdir().unwrap();
        let stage = Self { lab, server, dir };
        stage.configure("'9'", "");
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the file with this retention and these lines in the new section.
    fn configure(&self, snapshot_retention: &str, own: &str) {
        let text = file(
            &format!("http://{}/", self.server.endpoint()),
            snapshot_retention,
            own,
        );
        std::fs::write(self.path("app-config.yml"), text).unwrap();
    }

    /// Runs a command line; `--config-file` is added.
    async fn type_in(&self, words: &[&str]) -> Result<(), Exit> {
        self.type_until(words, &Registry::new(), CancellationToken::new())
            .await
    }

    async fn type_until(
        &self,
        words: &[&str],
        registry: &Registry,
        stop: CancellationToken,
    ) -> Result<(), Exit> {
        let config = format!("--config-file={}", self.path("app-config.yml").display());
        let line = ["sabre", "es-retention"].iter().chain(words);
        let parsed = App::new("sabre", "test", "")
            .command(crate::flags::command())
            .parse(line.copied().chain([config.as_str()]))
            .unwrap();
        run_in(
            &|_| None,
            parsed.command()[1],
            &parsed.flags,
            registry.clone(),
            stop,
        )
        .await
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        self.lab.cluster.with(|world| std::mem::take(&mut world.log))
    }

    fn has(&self, index: &str) -> bool {
        self.lab.cluster.with(|world| world.indices.contains_key(index))
    }
}

fn file(endpoint: &str, snapshot_retention: &str, own: &str) -> String {
    format!(
        "es2s3:\n  account: '123456789012'\n  region: eu-west-1\n  s3: {{bucket_name: archive}}\n  lambda:\n    \
         es_repo_name: repo\n    es_endpoint: {endpoint}\n    es_index_prefix: logging-\n    snapshot_retention: \
         {snapshot_retention}\n    index_retention: '7'\nes_retention:\n  access: {{aws: {{access_key_id: AK, \
         secret_access_key: SK}}}}\n  timeouts: {{attempts: 1, poll_seconds: 1}}\n{own}"
    )
}

fn code(ended: Result<(), Exit>) -> u8 {
    ended.map_or_else(|exit| exit.code, |()| 0)
}

#[tokio::test]
async fn an_index_goes_its_way_by_commands() {
    let stage = Stage::new().await;
    stage.lab.cluster.with(|world| world.repository = None);
    for words in [
        &["plan"][..],
        &["status"],
        &["run"],
        &["restore", "logging-2026.01.01"],
    ] {
        let exit = stage.type_in(words).await.unwrap_err();
        assert_eq!(
            (exit.code, exit.problem.as_str()),
            (
                1,
                "the snapshot repository repo is not registered: run `sabre es-retention register-repo` first"
            ),
            "{words:?}"
        );
    }
    stage.asked();
    let role = "arn:aws:iam::123456789012:role/es-snapshots";
    stage
        .type_in(&["register-repo", &format!("--role-arn={role}")])
        .await
        .unwrap();
    stage.lab.cluster.with(|world| {
        let repository = world.repository.clone().unwrap();
        assert_eq!(repository["type"], "s3");
        let wanted = serde_json::json!({"bucket": "archive", "region": "eu-west-1", "role_arn": role});
        assert_eq!(repository["settings"], wanted);
    });
    assert_eq!(
        stage.asked(),
        ["GET /", "PUT /_snapshot/repo", "POST /_snapshot/repo/_verify"]
    );

    let index = stage.lab.name(FIRST);
    stage.type_in(&["run", "--date=2026-01-08"]).await.unwrap();
    assert!(stage.has(&index) && stage.has("logging-2026.01.09"));
    stage.type_in(&["run", "--date=2026-01-09"]).await.unwrap();
    assert!(!stage.has(&index));
    stage.type_in(&["restore", &index]).await.unwrap();
    assert!(stage.has(&format!("restored-{index}")));
    stage.type_in(&["run", "--date=2026-01-10"]).await.unwrap();
    assert!(
        stage
            .lab
            .cluster
            .with(|world| !world.snapshots.contains_key("sn_logging-2026.01.01"))
    );
    let ended = stage.type_in(&["restore", &index]).await.unwrap_err();
    assert_eq!(
        (ended.code, ended.problem.as_str()),
        (1, "the repository repo has no snapshot of logging-2026.01.01")
    );
    stage.lab.check(add_days(FIRST, 9), &"by commands");
}

#[tokio::test]
async fn plan_and_status_only_read() {
    let stage = Stage::new().await;
    let day = "--date=2026-01-08";
    for words in [
        &["plan", day][..],
        &["plan", day, "--output=json"],
        &["status", day],
        &["status", day, "-ojson"],
    ] {
        let before = stage
            .lab
            .cluster
            .with(|world| format!("{:?}{:?}", world.indices, world.snapshots));
        stage.type_in(words).await.unwrap();
        let asked = stage.asked();
        assert!(
            asked.len() > 3 && asked.iter().all(|request| request.starts_with("GET ")),
            "{words:?}: {asked:?}"
        );
        let after = stage
            .lab
            .cluster
            .with(|world| format!("{:?}{:?}", world.indices, world.snapshots));
        assert_eq!(before, after, "{words:?}");
    }
}

#[tokio::test]
async fn metrics_of_a_run_go_to_the_file_and_to_the_gateway() {
    let stage = Stage::new().await;
    let gateway = ScriptedServer::start([Answer::new(202), Answer::new(202)])
        .await
        .unwrap();
    let textfile = stage.path("es-retention.prom");
    let (to_file, to_gateway) = (
        format!("--metrics.textfile={}", textfile.display()),
        format!("--metrics.push-gateway=http://{}/", gateway.endpoint()),
    );
    stage
        .type_in(&["run", "--date=2026-01-08", &to_file, &to_gateway])
        .await
        .unwrap();
    let page = std::fs::read_to_string(&textfile).unwrap();
    for line in [
        "# TYPE sabre_es_retention_last_exit_code gauge",
        "sabre_es_retention_last_exit_code 0",
        "sabre_es_retention_runs_total{result=\"done\"} 1",
        "sabre_es_retention_steps_total{step=\"take snapshot\",result=\"done\"} 1",
        "sabre_es_retention_steps_total{step=\"delete index\",result=\"failed\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(!stage.path("es-retention.prom.tmp").exists());
    let pushed = gateway.requests().remove(0);
    assert_eq!(
        (pushed.method.as_str(), pushed.target.as_str()),
        ("PUT", "/metrics/job/sabre%2Des%2Dretention")
    );
    assert_eq!(String::from_utf8_lossy(&pushed.body), page);
    assert_eq!(
        pushed.header("content-type"),
        Some(sabre_runtime::metrics::CLASSIC_CONTENT_TYPE)
    );

    // The same by the file, of a run that fails.
    let own = format!(
        "  metrics: {{textfile: {}, push_gateway: 'http://{}', job: es}}\n",
        textfile.display(),
        gateway.endpoint()
    );
    stage.configure("'9'", &own);
    stage.lab.cluster.with(|world| world.repository = None);
    let ended = stage.type_in(&["run", "--date=2026-01-09"]).await.unwrap_err();
    assert!(ended.problem.contains("register-repo"), "{ended:?}");
    let page = std::fs::read_to_string(&textfile).unwrap();
    assert!(page.contains("sabre_es_retention_last_exit_code 1\n"), "{page}");
    assert_eq!(gateway.requests()[1].target, "/metrics/job/es");
}

#[tokio::test]
async fn metrics_that_are_lost_are_told_when_the_run_is_over() {
    let stage = Stage::new().await;
    let gateway = ScriptedServer::start([Answer::new(500)]).await.unwrap();
    let to_gateway = format!("--metrics.push-gateway=http://me:hunter2@{}", gateway.endpoint());
    let ended = stage
        .type_in(&["run", "--date=2026-01-08", &to_gateway])
        .await
        .unwrap_err();
    assert_eq!(
        ended.problem,
        "the run is over, its metrics are lost: the push gateway answers status 500"
    );
    assert!(ended.code == 1 && stage.has("logging-2026.01.09"));
}

#[tokio::test]
async fn what_is_wrong_ends_with_2_before_anything_is_asked() {
    let stage = Stage::new().await;
    let tomorrow = add_days(utc_day(clock::now_ms()).unwrap(), 1);
    let mut tried = 0;
    let mut refused = async |words: &[&str], wanted: &str| {
        let exit = stage.type_in(words).await.unwrap_err();
        assert!(
            exit.code == 2 && exit.problem.contains(wanted),
            "{words:?}: {exit:?}"
        );
        tried += 1;
    };
    refused(&["run", &format!("--date={tomorrow}")], "has not come").await;
    refused(&["plan", &format!("--date={tomorrow}")], "has not come").await;
    refused(&["schedule", "--date=2026-01-08"], "--date: a schedule runs").await;
    for command in ["register-repo", "run", "plan", "status", "schedule"] {
        stage.configure("'8'", "");
        refused(
            &[command],
            "app-config.yml: line 9: snapshot_retention 8 is below index_retention 7 + 2",
        )
        .await;
        stage.configure("'-9'", "");
        refused(&[command], "line 9: snapshot_retention: -9 is negative").await;
        stage.configure("'9'", "  max_delete: 1\n");
        refused(&[command], "line 14, column 3: unknown key `max_delete`").await;
        std::fs::write(
            stage.path("app-config.yml"),
            file("http://127.0.0.1:1", "'9'", "").replace(": logging-", ": ''"),
        )
        .unwrap();
        refused(&[command], "line 8: es_index_prefix must not be empty").await;
    }
    std::fs::remove_file(stage.path("app-config.yml")).unwrap();
    refused(&["restore", "logging-2026.01.01"], "--config-file: cannot read").await;
    assert_eq!(tried, 3 + 5 * 4 + 1);
    assert!(stage.server.requests().is_empty());
}

#[tokio::test]
async fn runs_end_with_1_when_nothing_is_done_and_with_3_when_a_part_is() {
    let stage = Stage::new().await;
    stage.lab.cluster.with(|world| world.next_ending = Some("FAILED"));
    assert_eq!(code(stage.type_in(&["run", "--date=2026-01-08"]).await), 3);
    assert_eq!(code(stage.type_in(&["run", "--date=2026-01-08"]).await), 0);
    stage.lab.cluster.with(|world| world.repository_works = false);
    assert_eq!(code(stage.type_in(&["run", "--date=2026-01-09"]).await), 1);
}

/// Asks until somebody listens; a test that hangs is ended from outside.
async fn page(address: &str, path: &str) -> (u16, String) {
    loop {
        if let Ok(answer) = reqwest::get(format!("http://{address}{path}")).await {
            return (answer.status().as_u16(), answer.text().await.unwrap());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_schedule_answers_probes_and_metrics_until_it_is_told_to_stop() {
    let stage = Stage::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let stop = CancellationToken::new();
    let registry = Registry::new();
    let listen = format!("--http-address={address}");
    let words = ["schedule", listen.as_str()];
    let schedule = stage.type_until(&words, &registry, stop.clone());
    let look = async {
        assert_eq!(page(&address, "/-/healthy").await.0, 200);
        assert_eq!(page(&address, "/-/ready").await.0, 200);
        let (status, metrics) = page(&address, "/metrics").await;
        assert_eq!(status, 200);
        for name in [
            "sabre_es_retention_runs_total",
            "sabre_es_retention_last_success_timestamp_seconds",
        ] {
            assert!(metrics.contains(name), "{metrics}");
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(schedule, look);
    ended.unwrap();
}

thread_local! {
    static BEGIN: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// A clock that goes with tokio's: it begins on the first of January at noon.
fn paused_clock_ms() -> i64 {
    let noon: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let begin = BEGIN.get().unwrap_or_else(|| {
        BEGIN.set(Some(Instant::now()));
        Instant::now()
    });
    noon.as_millisecond() + i64::try_from(begin.elapsed().as_millis()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_schedule_runs_at_its_hour_on_the_day_that_it_is_and_goes_on_after_a_failure() {
    let mut lab = Lab::new((Some("opensearch"), "3.8.0"), policy("logging-", 7, 9));
    lab.write(FIRST, 3);
    let text = file(
        "http://cluster.test",
        "'9'",
        "  schedule: {cron: '30 4 * * *', time_zone: Asia/Tokyo}\n",
    );
    let config = Config::read("f", &text, &|_| None, &Overrides::default()).unwrap();
    let registry = Registry::new();
    let metrics = RunMetrics::new(&registry);
    let setup = Setup {
        config,
        day: FIRST,
        transport: Arc::new(lab.cluster.clone()),
        stop: CancellationToken::new(),
    };
    let story = async {
        // 04:30 in Tokyo is 19:30 of the day before in UTC.
        assert_eq!(lab.cluster.with(|world| world.calls), 0);
        let hours = |hours: u64| tokio::time::sleep(std::time::Duration::from_secs(hours * 3600));
        hours(7).await;
        assert_eq!(lab.cluster.with(|world| world.calls), 0, "19:00");
        hours(1).await;
        let has = |cluster: &FakeCluster, name: &str| cluster.with(|world| world.indices.contains_key(name));
        assert!(has(&lab.cluster, "logging-2026.01.02"), "20:00");
        lab.cluster.with(|world| world.repository_works = false);
        hours(24).await;
        assert!(!has(&lab.cluster, "logging-2026.01.03"));
        lab.cluster.with(|world| world.repository_works = true);
        hours(24).await;
        assert!(has(&lab.cluster, "logging-2026.01.04"));
        hours(24 * 6).await;
        setup.stop.cancel();
    };
    tokio::join!(setup.run_by_schedule(&metrics, paused_clock_ms), story);
    let page = registry.classic();
    assert!(page.contains("runs_total{result=\"done\"} 8\n"), "{page}");
    assert!(page.contains("runs_total{result=\"failed\"} 1\n"), "{page}");
    // That of the first of January was snapshotted on the 8th and deleted on the 9th.
    assert!(
        !lab.cluster
            .with(|world| world.indices.contains_key(&lab.name(FIRST)))
    );
    lab.check(add_days(FIRST, 8), &"by schedule");
}
