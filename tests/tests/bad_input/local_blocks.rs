//! Blocks in Prometheus' directory that are not whole, as a sidecar ships them.
//!
//! Index and segments go up as they are: whoever reads them verifies them (see [`super::blocks`]).

use std::{fs, path::Path, sync::Arc};

use sabre_block::upload::HashFunc;
use sabre_model::Labels;
use sabre_objstore::{MemoryBucket, SharedBucket};
use sabre_runtime::metrics::Registry;
use sabre_sidecar::{
    metrics::SidecarMetrics,
    shipper::{Policy, Shipper, ShipperConfig, SyncError, SyncReport},
};
use sabre_testkit::blocks::{Block, BlockBuilder};
use tokio_util::sync::CancellationToken;

use super::support::{Log, NOW_MS, and};

struct Row {
    what: &'static str,
    /// Given the folder of the block.
    damage: fn(&Path),
    says: &'static [&'static str],
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

const ROWS: &[Row] = &[
    Row {
        what: "half a meta.json",
        damage: |dir| change(&dir.join("meta.json"), |bytes| bytes.truncate(bytes.len() / 2)),
        says: &["meta.json"],
    },
    Row {
        what: "an empty meta.json",
        damage: |dir| change(&dir.join("meta.json"), Vec::clear),
        says: &["meta.json"],
    },
    Row {
        what: "a bit in a meta.json",
        damage: |dir| change(&dir.join("meta.json"), |bytes| bytes[0] ^= 1),
        says: &["meta.json", "line 1"],
    },
    Row {
        what: "meta.json of version 2",
        damage: |dir| {
            change(&dir.join("meta.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                *bytes = text.replace("\"version\": 1", "\"version\": 2").into();
            });
        },
        says: &["meta.json", "version 2"],
    },
    Row {
        what: "a meta.json of another block",
        damage: |dir| {
            change(&dir.join("meta.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let own = dir.file_name().unwrap().to_str().unwrap();
                *bytes = text.replace(own, "01KE1Y3XTRWGF29YHY29V0RWTZ").into();
            });
        },
        says: &["meta.json", "01KE1Y3XTRWGF29YHY29V0RWTZ"],
    },
    Row {
        what: "no index",
        damage: |dir| fs::remove_file(dir.join("index")).unwrap(),
        says: &["index"],
    },
    Row {
        what: "an index that is a directory",
        damage: |dir| {
            fs::remove_file(dir.join("index")).unwrap();
            fs::create_dir(dir.join("index")).unwrap();
        },
        says: &["index"],
    },
    Row {
        what: "no directory of chunks",
        damage: |dir| fs::remove_dir_all(dir.join("chunks")).unwrap(),
        says: &["chunks"],
    },
    Row {
        what: "a block without chunks",
        damage: |dir| fs::remove_file(dir.join("chunks/000001")).unwrap(),
        says: &["chunks", "no segments"],
    },
];

/// A directory with blocks 1 and 2.
fn two_blocks() -> (tempfile::TempDir, [Block; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let blocks = [1, 2].map(|number| {
        let start = number as i64 * 7_200_000;
        let builder = BlockBuilder::new(number).counters(2, start..start + 600_000, 15_000);
        builder.build().unwrap()
    });
    for block in &blocks {
        block.write_to(dir.path()).unwrap();
    }
    (dir, blocks)
}

/// One look at the directory, as the sidecar has every 30 s.
pub(super) async fn ship(dir: &Path, bucket: &SharedBucket) -> Result<SyncReport, SyncError> {
    let config = ShipperConfig {
        tsdb_dir: dir.to_owned(),
        state_file: "thanos.shipper.json".to_owned(),
        source: "sidecar".to_owned(),
        policy: Policy::default(),
        skip_corrupted: true,
        upload_concurrency: 1,
        hash: HashFunc::None,
        now_ms: || NOW_MS,
    };
    let shipper = Shipper::new(config, Arc::clone(bucket), SidecarMetrics::new(&Registry::new()));
    let labels = Labels::from_pairs([("cluster", "eu1")]).unwrap();
    shipper.sync(&labels, &CancellationToken::new()).await
}

/// What Prometheus may compact, by the state file.
pub(super) fn recorded(dir: &Path) -> String {
    fs::read_to_string(dir.join("thanos.shipper.json")).unwrap_or_default()
}

/// The files in which a sidecar notes what it shipped and what waits.
const STATE_FILES: [&str; 2] = ["thanos.shipper.json", "sabre.waiting.json"];

/// Names and contents below a directory, of the blocks only.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !STATE_FILES.iter().any(|name| path.ends_with(name)) {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_block_is_named_and_stays_and_the_other_is_shipped() {
    for row in ROWS {
        let (what, log) = (row.what, Log::keep());
        let (dir, [bad, good]) = two_blocks();
        let (bad_id, good_id) = (bad.meta.ulid.to_string(), good.meta.ulid.to_string());
        (row.damage)(&dir.path().join(&bad_id));
        let before = contents(dir.path());
        let memory = Arc::new(MemoryBucket::new("test"));
        let bucket = Arc::clone(&memory) as SharedBucket;

        let report = ship(dir.path(), &bucket).await.unwrap();
        assert_eq!(report.shipped, [good.meta.ulid], "{what}");
        assert_eq!(report.failed, [bad.meta.ulid], "{what}");
        log.assert_has(what, &and(&bad_id, row.says));
        assert!(
            memory.objects().iter().all(|(key, _)| key.starts_with(&good_id)),
            "{what}"
        );
        assert!(
            !recorded(dir.path()).contains(&bad_id),
            "{what}: Prometheus must keep it"
        );
        assert!(recorded(dir.path()).contains(&good_id), "{what}");
        assert_eq!(contents(dir.path()), before, "{what}: nothing local is touched");

        fs::remove_dir_all(dir.path().join(&bad_id)).unwrap();
        bad.write_to(dir.path()).unwrap();
        assert_eq!(
            ship(dir.path(), &bucket).await.unwrap().shipped,
            [bad.meta.ulid],
            "{what}"
        );
    }
}
