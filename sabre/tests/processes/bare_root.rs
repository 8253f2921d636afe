//! Any user, a root that is read-only, no `/tmp`: a component writes into its own folder and nowhere else.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sabre_testkit::{blocks::BlockBuilder, prometheus::FakePrometheus, s3::S3Server};

use super::support::{Component, binary, command};

/// Nobody's name.
const USER: u32 = 54_321;
/// No file can be made in it, by whomever.
const UNWRITABLE: &str = "/proc";
const HOUR_MS: i64 = 3_600_000;

/// How components are started.
struct Starter {
    binary: PathBuf,
    /// Whether as [`USER`].
    as_user: bool,
}

impl Starter {
    /// Root starts as a user without a name, if that user can run a copy of the program in `dir`.
    fn new(dir: &Path) -> Self {
        everybody(dir);
        let copy = dir.join("sabre");
        if fs::hard_link(binary(), &copy).is_err() {
            fs::copy(binary(), &copy).unwrap();
        }
        let mut trial = Command::new(&copy);
        trial
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .uid(USER)
            .gid(USER);
        let as_user = trial.status().is_ok_and(|status| status.success());
        if !as_user {
            eprintln!("only root can start another user's process; started as oneself");
        }
        Self {
            binary: if as_user { copy } else { binary().to_owned() },
            as_user,
        }
    }

    fn start(&self, what: &str, arguments: &[String], dir: &Path) -> Component {
        let mut command = command(&self.binary);
        command
            .args(arguments)
            .current_dir(UNWRITABLE)
            .env("TMPDIR", "/nonexistent/tmp")
            .env("HOME", "/nonexistent/home");
        if self.as_user {
            command.uid(USER).gid(USER);
        }
        Component::start(what, command, dir)
    }
}

fn everybody(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

fn folder(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir(&path).unwrap();
    everybody(&path);
    path
}

/// A block of two hours, number `number` from the beginning of time.
fn two_hours(number: i64) -> BlockBuilder {
    let start_ms = number * 2 * HOUR_MS;
    BlockBuilder::new(u64::try_from(number).unwrap() + 1)
        .counters(20, start_ms..start_ms + 2 * HOUR_MS, 15_000)
        .time_range(start_ms..start_ms + 2 * HOUR_MS)
}

fn bucket(s3: &S3Server) -> String {
    format!(
        "--objstore.config={{type: S3, config: {{bucket: blocks, endpoint: '{}', insecure: true, access_key: access, \
         secret_key: secret}}}}",
        s3.endpoint()
    )
}

async fn s3(dir: &Path) -> S3Server {
    let root = dir.join("s3");
    fs::create_dir(&root).unwrap();
    let s3 = S3Server::start(&root, "access", "secret").await.unwrap();
    s3.create_bucket("blocks").unwrap();
    s3
}

fn put(s3: &S3Server, block: BlockBuilder) {
    let block = block.build().unwrap();
    let folder = s3.folder("blocks").join(block.meta.ulid.to_string());
    for (name, bytes) in &block.files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compactor_compacts_in_its_own_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let starter = Starter::new(dir.path());
    let s3 = s3(dir.path()).await;
    for number in 0..5 {
        put(&s3, two_hours(number).ext_labels(&[("cluster", "eu1")]));
    }
    let data = folder(dir.path(), "data");
    let arguments = [
        "compact".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", data.display()),
        bucket(&s3),
    ];
    let mut compactor = starter.start("the compactor", &arguments, dir.path());
    let status = compactor.end().await;
    assert!(status.success(), "{}", compactor.stderr());
    // Five were there, and the one that covers four of them came.
    let blocks = fs::read_dir(s3.folder("blocks")).unwrap();
    let complete = blocks.filter(|entry| entry.as_ref().unwrap().path().join("meta.json").exists());
    assert_eq!(complete.count(), 6, "{}", compactor.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_ready_with_its_own_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let starter = Starter::new(dir.path());
    let s3 = s3(dir.path()).await;
    put(&s3, two_hours(0).ext_labels(&[("cluster", "eu1")]));
    let data = folder(dir.path(), "data");
    let arguments = [
        "store".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        "--grpc-address=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", data.display()),
        bucket(&s3),
    ];
    let mut store = starter.start("the store", &arguments, dir.path());
    ready(&mut store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_ships_with_the_folder_of_prometheus_alone() {
    let dir = tempfile::tempdir().unwrap();
    let starter = Starter::new(dir.path());
    let s3 = s3(dir.path()).await;
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    let data = folder(dir.path(), "data");
    let block = two_hours(0).build().unwrap();
    let id = block.meta.ulid.to_string();
    let own = folder(&data, &id);
    everybody(&own);
    for (name, bytes) in &block.files {
        let path = own.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        // Its own files are what a user may link everywhere.
        everybody(&path);
    }
    let arguments = [
        "sidecar".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        "--grpc-address=127.0.0.1:0".to_owned(),
        format!("--prometheus.url={}", prometheus.url()),
        format!("--tsdb.path={}", data.display()),
        bucket(&s3),
    ];
    let mut sidecar = starter.start("the sidecar", &arguments, dir.path());
    ready_and(&mut sidecar, || {
        s3.folder("blocks").join(&id).join("meta.json").exists()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_querier_is_ready_without_any_folder() {
    let dir = tempfile::tempdir().unwrap();
    let starter = Starter::new(dir.path());
    let arguments = [
        "query".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        "--grpc-address=127.0.0.1:0".to_owned(),
    ];
    let mut querier = starter.start("the querier", &arguments, dir.path());
    ready(&mut querier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn es_retention_fails_by_its_cluster_and_not_by_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let starter = Starter::new(dir.path());
    let refusing = super::support::Refusing::new();
    let config = dir.path().join("config.yml");
    let text = format!(
        "es_endpoint: http://{}\nregion: eu-central-1\nes_repo_name: repo\nes_index_prefix: logs\nbucket_name: b\n\
         index_retention: 7\nsnapshot_retention: 30\nes_retention:\n  timeouts: {{attempts: 1}}\n",
        refusing.address()
    );
    fs::write(&config, text).unwrap();
    let arguments = [
        "es-retention",
        "plan",
        &format!("--config-file={}", config.display()),
    ]
    .map(str::to_owned);
    let mut job = starter.start("es-retention", &arguments, dir.path());
    let status = job.end().await;
    let log = job.stderr();
    assert!(!status.success() && log.contains("cannot connect"), "{log}");
}

async fn ready(component: &mut Component) {
    ready_and(component, || true).await;
}

/// Waits until it is ready and `is_so`, and stops it; it ends well.
async fn ready_and(component: &mut Component, is_so: impl Fn() -> bool) {
    let address = component.http_address().await;
    let address = address.unwrap_or_else(|| panic!("it ended: {}", component.stderr()));
    component.wait_until(&address, is_so).await;
    let status = component.stop().await;
    assert!(status.success(), "{}", component.stderr());
}
