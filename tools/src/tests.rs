//! The tools on a bucket of files.

use std::path::Path;

use sabre_runtime::flags::parse_groups;
use sabre_testkit::blocks::BlockBuilder;
use tempfile::TempDir;

use crate::flags::command;
use crate::run::run;

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

struct Bucket {
    dir: TempDir,
    ids: Vec<String>,
}

impl Bucket {
    /// Three blocks of two hours.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ids = Vec::new();
        for n in 0..3 {
            let from = START_MS as i64 + n * 2 * HOUR_MS;
            let block = BlockBuilder::new(START_MS + n as u64)
                .ext_labels(&[("cluster", "eu1")])
                .time_range(from..from + 2 * HOUR_MS)
                .counters(2, from..from + 2 * HOUR_MS, 60_000)
                .build()
                .unwrap();
            block.write_to(dir.path()).unwrap();
            ids.push(block.meta.ulid.to_string());
        }
        Self { dir, ids }
    }

    fn path(&self, n: usize, file: &str) -> std::path::PathBuf {
        self.dir.path().join(&self.ids[n]).join(file)
    }

    /// Runs a tool and returns its answer, and its error if it ended in one.
    async fn run(&self, tool: &str, arguments: &[&str]) -> (String, Option<String>) {
        let bucket = command().commands.remove(0);
        let mut groups = bucket.groups.clone();
        let found = bucket
            .commands
            .into_iter()
            .find(|command| command.name == tool)
            .unwrap();
        groups.extend(found.groups);
        groups.extend(sabre_runtime::flags::groups::global());
        let config = format!(
            "--objstore.config={{type: FILESYSTEM, config: {{directory: {:?}}}}}",
            self.dir.path().display().to_string()
        );
        let mut all = vec![config.as_str()];
        all.extend(arguments);
        let flags = match parse_groups(&groups, &all) {
            Ok(flags) => flags,
            Err(error) => return (String::new(), Some(error.text)),
        };
        let mut out = Vec::new();
        let outcome = run(&["tools", "bucket", tool], &flags, &mut out).await;
        let text = String::from_utf8(out).unwrap();
        (text, outcome.err().map(|error| error.to_string()))
    }
}

fn exists(path: &Path) -> bool {
    path.exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_lists_names_lines_json_and_templates() {
    let bucket = Bucket::new();
    let (text, error) = bucket.run("ls", &[]).await;
    assert_eq!(
        (text.lines().map(str::to_owned).collect::<Vec<_>>(), error),
        (bucket.ids.clone(), None)
    );
    let (text, _) = bucket.run("ls", &["-o", "wide"]).await;
    let line = format!(
        "{} -- 2023-11-14T22:13:20Z - 2023-11-15T00:13:20Z Diff: 2h0m0s, Compaction: 1, Downsample: 0, Source: sidecar",
        bucket.ids[0]
    );
    assert_eq!(text.lines().next(), Some(line.as_str()));
    let (text, _) = bucket.run("ls", &["--output=json"]).await;
    assert!(text.starts_with("{\n\t\"ulid\""), "{text}");
    let template =
        "{{.ULID}}|{{ .MinTime }}|{{.Stats.NumSeries}}|{{.Thanos.Labels.cluster}}|{{.Stats.NumTombstones}}";
    let (text, _) = bucket.run("ls", &["-o", template]).await;
    let line = format!("{}|1700000000000|2|eu1|null", bucket.ids[0]);
    assert_eq!(text.lines().next(), Some(line.as_str()));
    for wrong in ["wider", "{{.Nothing}}", "{{range .}}{{end}}", "{{.ULID"] {
        assert!(
            bucket
                .run("ls", &["-o", wrong])
                .await
                .1
                .unwrap()
                .contains("--output"),
            "{wrong}"
        );
    }
    let (text, _) = bucket.run("ls", &["--min-time=2023-11-15T02:13:21Z"]).await;
    assert_eq!(text.trim(), bucket.ids[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_set_once_and_removed() {
    let bucket = Bucket::new();
    let id = format!("--id={}", bucket.ids[1]);
    for marker in [
        "deletion-mark.json",
        "no-compact-mark.json",
        "no-downsample-mark.json",
    ] {
        let marker_flag = format!("--marker={marker}");
        let (_, error) = bucket.run("mark", &[&id, &marker_flag]).await;
        assert!(error.unwrap().contains("--details"));
        let set = [id.as_str(), &marker_flag, "--details=because"];
        let (text, error) = bucket.run("mark", &set).await;
        assert_eq!((text, error), (format!("{} {marker} set\n", bucket.ids[1]), None));
        assert!(exists(&bucket.path(1, marker)));
        let (text, _) = bucket.run("mark", &set).await;
        assert!(text.contains("stays as it is"));
        if marker == "deletion-mark.json" {
            let (text, _) = bucket.run("ls", &["--exclude-delete"]).await;
            assert_eq!(text.lines().count(), 2);
        }
        bucket.run("mark", &[&id, &marker_flag, "--remove"]).await;
        assert!(!exists(&bucket.path(1, marker)));
    }
    assert!(
        bucket
            .run("mark", &["--id=nonsense", "--marker=deletion-mark.json"])
            .await
            .1
            .unwrap()
            .contains("--id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_a_table() {
    let bucket = Bucket::new();
    let (text, error) = bucket.run("inspect", &[]).await;
    assert_eq!(error, None);
    for part in [
        "ULID",
        "UNTIL-DOWN",
        "2h0m0s",
        "38h0m0s",
        "cluster=eu1",
        &bucket.ids[2],
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let (text, _) = bucket
        .run(
            "inspect",
            &["--output=csv", "--sort-by=ULID", "-l", "cluster=\"eu1\""],
        )
        .await;
    assert_eq!(text.lines().count(), 4);
    assert!(text.lines().nth(1).unwrap().starts_with(&bucket.ids[0]));
    let (text, _) = bucket
        .run("inspect", &["--output=tsv", "-l", "cluster=\"other\""])
        .await;
    assert_eq!(text.lines().count(), 1);
    assert!(
        bucket
            .run("inspect", &["--sort-by=WEIGHT"])
            .await
            .1
            .unwrap()
            .contains("--sort-by")
    );
}

/// Blocks whose order is another one by each column.
#[tokio::test(flavor = "multi_thread")]
async fn inspect_sorts_by_the_columns_of_the_flag() {
    let bucket = Bucket {
        dir: tempfile::tempdir().unwrap(),
        ids: Vec::new(),
    };
    let start_ms = START_MS as i64;
    let mut names = std::collections::BTreeMap::new();
    for (name, number, from_h, hours, series) in [
        ('a', 1, 4, 2, 20),
        ('b', 2, 0, 2, 3),
        ('c', 3, 8, 1, 3),
        ('d', 4, 2, 12, 100),
    ] {
        let from_ms = start_ms + from_h * HOUR_MS;
        let range = from_ms..from_ms + hours * HOUR_MS;
        let block = BlockBuilder::new(START_MS + number)
            .ext_labels(&[("cluster", "eu1")])
            .time_range(range.clone())
            .counters(series, range, 600_000)
            .build()
            .unwrap();
        block.write_to(bucket.dir.path()).unwrap();
        names.insert(block.meta.ulid.to_string(), name);
    }
    for (columns, order) in [
        ("ULID", "abcd"),
        ("FROM", "bdac"),
        ("RANGE,FROM", "cbad"),
        // As a number: 3, 20, 100.
        ("#SERIES,ULID", "bcad"),
        ("#SERIES,FROM", "bcad"),
        ("#SERIES,RANGE", "cbad"),
    ] {
        let flags: Vec<String> = columns
            .split(',')
            .map(|column| format!("--sort-by={column}"))
            .collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--output=csv"]).collect();
        let (text, error) = bucket.run("inspect", &flags).await;
        assert_eq!(error, None);
        let ids = text.lines().skip(1).map(|line| line.split(',').next().unwrap());
        let seen: String = ids.map(|id| names[id]).collect();
        assert_eq!(seen, order, "{columns}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_is_broken_and_what_overlaps() {
    let bucket = Bucket::new();
    let (text, error) = bucket.run("verify", &[]).await;
    assert_eq!(error, None, "{text}");
    assert_eq!(text.matches(" ok: 2 series, ").count(), 3);
    let segment = bucket.path(1, "chunks/000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (text, error) = bucket.run("verify", &[]).await;
    assert_eq!(error.as_deref(), Some("1 issues found"));
    assert!(text.contains(&format!("{} broken: ", bucket.ids[1])), "{text}");
    assert!(
        text.contains("chunks/000001") && text.contains("offset"),
        "{text}"
    );
    let only = format!("--id={}", bucket.ids[0]);
    assert_eq!(
        bucket.run("verify", &["-i", "index_known_issues", &only]).await.1,
        None
    );
    let absent = "01KE1Y3XTRWGF29YHY29V0RWTA";
    let (text, error) = bucket
        .run("verify", &["-i", "index_known_issues", &format!("--id={absent}")])
        .await;
    assert_eq!(error.as_deref(), Some("1 issues found"));
    assert_eq!(text, format!("{absent} is not in the bucket\n"));
    let twin = BlockBuilder::new(START_MS + 9)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(START_MS as i64..START_MS as i64 + HOUR_MS)
        .build()
        .unwrap();
    twin.write_to(bucket.dir.path()).unwrap();
    let (text, _) = bucket.run("verify", &["--issues=overlapped_blocks"]).await;
    assert!(text.contains("overlap from 2023-11-14T22:13:20Z"), "{text}");
    assert!(
        bucket
            .run("verify", &["--issues=gremlins"])
            .await
            .1
            .unwrap()
            .contains("--issues")
    );
    assert!(
        bucket
            .run("verify", &["--repair"])
            .await
            .1
            .unwrap()
            .contains("repair")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_deletes_what_was_marked_long_enough() {
    let bucket = Bucket::new();
    let mark = |time_s: i64, n: usize| {
        let text = format!(
            "{{\"id\":\"{}\",\"version\":1,\"deletion_time\":{time_s}}}",
            bucket.ids[n]
        );
        std::fs::write(bucket.path(n, "deletion-mark.json"), text).unwrap();
    };
    mark(1_700_000_000, 0);
    mark(sabre_runtime::clock::now_ms() / 1000, 1);
    let (text, error) = bucket.run("cleanup", &["--dry-run"]).await;
    assert_eq!(error, None);
    assert!(
        text.contains("delete") && text.contains(&bucket.ids[0]) && !text.contains(&bucket.ids[1]),
        "{text}"
    );
    assert!(exists(&bucket.path(0, "index")));
    bucket.run("cleanup", &[]).await;
    assert!(!exists(&bucket.path(0, "")) && exists(&bucket.path(1, "index")));
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_leaves_blocks_alone_that_are_younger_than_the_delay() {
    let bucket = Bucket::new();
    let text = format!(
        "{{\"id\":\"{}\",\"version\":1,\"deletion_time\":1}}",
        bucket.ids[0]
    );
    std::fs::write(bucket.path(0, "deletion-mark.json"), text).unwrap();
    // Older than a year at any time at which this can be run, and younger than two hundred.
    let (text, error) = bucket.run("cleanup", &["--consistency-delay=200y"]).await;
    assert_eq!(error, None);
    assert!(
        text.starts_with("nothing to do; ") && text.contains("younger than --consistency-delay (200y)"),
        "{text}"
    );
    assert!(exists(&bucket.path(0, "index")));
    bucket.run("cleanup", &["--consistency-delay=1y"]).await;
    assert!(!exists(&bucket.path(0, "")));
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_select_blocks_select_them() {
    let bucket = Bucket::new();
    let (text, _) = bucket.run("ls", &["--max-time=2023-11-14T23:13:20Z"]).await;
    assert_eq!(text.trim(), bucket.ids[0]);
    let (text, _) = bucket.run("inspect", &["--selector=cluster=\"us1\""]).await;
    assert!(!text.contains(&bucket.ids[0]), "{text}");
    let drop = "--selector.relabel-config=[{action: drop, source_labels: [cluster], regex: eu1}]";
    assert_eq!(bucket.run("ls", &[drop]).await, (String::new(), None));

    let text = format!(
        "{{\"id\":\"{}\",\"version\":1,\"deletion_time\":1}}",
        bucket.ids[0]
    );
    std::fs::write(bucket.path(0, "deletion-mark.json"), text).unwrap();
    bucket.run("cleanup", &[drop]).await;
    assert!(
        exists(&bucket.path(0, "index")),
        "it is not of those that were selected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_there_is_no_empty_bucket() {
    let bucket = Bucket::new();
    let path = bucket.dir.path().to_owned();
    std::fs::remove_dir_all(&path).unwrap();
    for tool in ["ls", "inspect", "verify", "cleanup"] {
        let (_, error) = bucket.run(tool, &[]).await;
        let error = error.expect(tool);
        let says = format!("there is no directory {}", path.display());
        assert!(error.contains(&says), "{tool}: {error}");
    }
    assert!(!path.exists(), "no tool makes it");
}
