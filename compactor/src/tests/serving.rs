//! What the process says of itself over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sabre_objstore::FilesystemBucket;
use sabre_runtime::flags::{App, groups};
use sabre_runtime::metrics::Registry;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::running::{CLUSTERS, put_clusters};
use crate::flags::command;
use crate::run::run;

mod settings;

/// The code and the body of an answer.
async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = asked.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks for the status until it is as wanted.
async fn status_when(address: SocketAddr, is_wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (code, body) = get(address, "/api/v1/status/compactor").await;
        assert_eq!(code, 200);
        let json: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["status"], "success");
        if is_wanted(&json["data"]) {
            return json["data"].clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A compactor with `--wait` on a bucket of its own.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), String>>,
    dir: tempfile::TempDir,
}

impl Served {
    /// `damage` gets the folder of the bucket before the process starts.
    async fn start(damage: impl FnOnce(&std::path::Path)) -> Self {
        Self::start_with(&[], damage).await
    }

    /// With more arguments.
    async fn start_with(more: &[&'static str], damage: impl FnOnce(&std::path::Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bucket = dir.path().join("bucket");
        std::fs::create_dir(&bucket).unwrap();
        put_clusters(&FilesystemBucket::new(&bucket)).await;
        damage(&bucket);
        let objstore = format!(
            "--objstore.config={{type: FILESYSTEM, config: {{directory: {:?}}}}}",
            bucket.display().to_string()
        );
        let data = format!("--data-dir={}", dir.path().join("data").display());
        // With the flags that every component has.
        let app = App::new("sabre", "0", "")
            .global(groups::global())
            .command(command());
        let mut arguments = vec!["sabre", "compact", &objstore, &data, "--wait"];
        arguments.push("--http-address=127.0.0.1:0");
        arguments.extend(more);
        let parsed = app.parse(arguments).map_err(|error| error.text).unwrap();
        let stop = CancellationToken::new();
        let (listening, listens) = oneshot::channel();
        let (registry, stopped) = (Registry::new(), stop.clone());
        let running = tokio::spawn(async move {
            let outcome = run(&parsed.flags, registry, stopped, Some(listening)).await;
            outcome.map_err(|error| error.to_string())
        });
        let Ok(address) = listens.await else {
            panic!("it ended: {:?}", running.await);
        };
        Self {
            address,
            stop,
            running,
            dir,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_and_says_what_it_does() {
    let served = Served::start(|_| {}).await;
    let address = served.address;
    // It listens before it is ready, by a moment.
    while get(address, "/-/ready").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(address, "/-/healthy").await.0, 200);
    let is_done = |data: &Value| {
        let mut groups = data["groups"].as_array().unwrap().iter();
        data["plan"] != ""
            && data["groups"] != serde_json::json!([])
            && groups.all(|group| group["blocks"] == 2)
    };
    let data = status_when(address, is_done).await;
    let groups = data["groups"].as_array().unwrap();
    assert_eq!(groups.len(), CLUSTERS.len());
    for cluster in CLUSTERS {
        assert!(
            groups.iter().any(|group| group["labels"]["cluster"] == cluster),
            "{cluster}"
        );
    }
    for group in groups {
        assert_eq!(
            (&group["resolution_ms"], &group["left_alone"]),
            (&0.into(), &0.into())
        );
        assert!(group["size_bytes"].as_u64() > Some(0));
    }
    for empty in ["quarantined", "unclear", "overlapping", "errors", "running"] {
        assert_eq!(data[empty].as_array().map(Vec::len), Some(0), "{empty}");
    }
    assert_eq!(
        (&data["halted"], &data["stuck"], &data["trouble"]),
        (&false.into(), &false.into(), &"".into())
    );
    let (code, page) = get(address, "/blocks").await;
    assert_eq!(code, 200);
    // The page draws all that the status has.
    for part in data
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| *key != "planned_ms")
    {
        let is_drawn = page.contains(&format!("{part}: [")) || page.contains(&format!("data.{part}"));
        assert!(is_drawn, "{part}");
    }
    assert_eq!(get(address, "/").await.0, 307);
    let (code, metrics) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(
        metrics.contains("thanos_compact_group_compactions_total{resolution=\"0\"} 4\n"),
        "{metrics}"
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_wait_it_begins_again_after_the_interval() {
    // The default is five minutes, which is longer than this test may take.
    let served = Served::start_with(&["--wait-interval=10ms"], |_| {}).await;
    loop {
        let (_, metrics) = get(served.address, "/metrics").await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("thanos_compact_iterations_total "));
        if line.is_some_and(|count| count.parse::<f64>().unwrap() >= 3.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_which_groups_are_halted_and_why() {
    let served = Served::start(|bucket| {
        let mut blocks: Vec<_> = std::fs::read_dir(bucket)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        blocks.sort();
        // The second block of the first cluster.
        std::fs::write(blocks[1].join("index"), b"nothing").unwrap();
    })
    .await;
    let data = status_when(served.address, |data| data["stuck"] == true).await;
    assert_eq!(data["halted"], false, "the process goes on");
    let apart = data["quarantined"].as_array().unwrap();
    assert_eq!((apart.len(), &apart[0]["work"]), (1, &"compaction".into()));
    let (block, why) = (
        apart[0]["block"].as_str().unwrap(),
        apart[0]["why"].as_str().unwrap(),
    );
    assert!(why.contains(block) && why.contains("index"), "{why}");
    assert!(data["trouble"].as_str().unwrap().contains(why));
    // What is shown of the groups is as of the last look at the bucket.
    let is_shown = |data: &Value| {
        data["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["left_alone"] == 1)
    };
    let data = status_when(served.address, is_shown).await;
    let halted = data["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|group| group["left_alone"] != 0);
    assert_eq!(
        halted
            .map(|group| &group["labels"]["cluster"])
            .collect::<Vec<_>>(),
        [CLUSTERS[0]]
    );
    served.end().await;
}
