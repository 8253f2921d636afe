//! Blocks in a bucket whose files are not what they should be, as a store meets them.

use tonic::Code;

use super::support::{
    Files, LATER_MS, Log, Store, all_or_nothing, and, assert_says, block, everything, of_cluster, two_blocks,
};

/// Where the damage shows.
enum Shown {
    /// When the store looks at the bucket: the block is left out, and a log line says so.
    AtSync,
    /// When the bytes are read: requests that need the block fail, and say so.
    AtQuery(Code),
}

struct Row {
    what: &'static str,
    damage: fn(&mut Files),
    shown: Shown,
    /// What is said beside the name of the block.
    says: &'static [&'static str],
}

const SEGMENT: &str = "chunks/000001";

const ROWS: &[Row] = &[
    Row {
        what: "an index without an end",
        damage: |files| files.cut("index", 300),
        shown: Shown::AtSync,
        says: &["index", "offset"],
    },
    Row {
        what: "an empty index",
        damage: |files| files.cut("index", 0),
        shown: Shown::AtSync,
        says: &["index"],
    },
    Row {
        what: "no index",
        damage: |files| files.remove("index"),
        shown: Shown::AtSync,
        says: &["index is missing"],
    },
    Row {
        what: "a bit in the first bytes of an index",
        damage: |files| files.flip("index", 2),
        shown: Shown::AtSync,
        says: &["index", "header", "offset 0"],
    },
    Row {
        what: "an index of a version that nobody wrote",
        damage: |files| files.get("index")[4] = 9,
        shown: Shown::AtSync,
        says: &["index", "version 9"],
    },
    Row {
        what: "a bit in the symbols",
        damage: |files| files.flip("index", 20),
        shown: Shown::AtSync,
        says: &["index", "symbols", "offset", "crc32c"],
    },
    Row {
        what: "a bit in the table of postings",
        damage: |files| {
            let at = files.toc(5) + 9;
            files.flip("index", at);
        },
        shown: Shown::AtSync,
        says: &["index", "postings offset table", "offset", "crc32c"],
    },
    Row {
        what: "a bit in the table of contents",
        damage: |files| {
            let at = files.get("index").len() - 20;
            files.flip("index", at);
        },
        shown: Shown::AtSync,
        says: &["index", "index toc", "offset", "crc32c"],
    },
    Row {
        what: "a bit in a list of postings",
        damage: |files| {
            let at = files.toc(4).next_multiple_of(4) + 11;
            files.flip("index", at);
        },
        shown: Shown::AtQuery(Code::Aborted),
        says: &["index", "postings", "offset", "crc32c"],
    },
    Row {
        what: "a bit in an entry of a series",
        damage: |files| {
            let at = files.toc(1).next_multiple_of(16) + 3;
            files.flip("index", at);
        },
        shown: Shown::AtQuery(Code::Unknown),
        says: &["index", "series", "offset", "crc32c"],
    },
    Row {
        what: "a segment that ends in its first record",
        damage: |files| files.cut(SEGMENT, 40),
        shown: Shown::AtQuery(Code::Unknown),
        says: &[SEGMENT, "offset 8"],
    },
    Row {
        what: "an empty segment",
        damage: |files| files.cut(SEGMENT, 0),
        shown: Shown::AtQuery(Code::Unknown),
        says: &[SEGMENT],
    },
    Row {
        what: "a bit in a chunk",
        damage: |files| files.flip(SEGMENT, 60),
        shown: Shown::AtQuery(Code::Unknown),
        says: &[SEGMENT, "offset", "crc32c"],
    },
    Row {
        what: "a bit in the length of a chunk",
        damage: |files| files.get(SEGMENT)[8] ^= 0x40,
        shown: Shown::AtQuery(Code::Unknown),
        says: &[SEGMENT, "offset"],
    },
    Row {
        what: "an encoding that newer Prometheus can be told to write",
        damage: |files| {
            // The first record anew: length, encoding, data, checksum.
            let mut record = vec![4; 21];
            record.extend(sabre_tsdb::crc32c(&record[..]).to_be_bytes());
            files.get(SEGMENT)[8] = 20;
            files.get(SEGMENT)[9..34].copy_from_slice(&record);
        },
        shown: Shown::AtQuery(Code::Unknown),
        says: &[SEGMENT, "offset 8", "XOR2"],
    },
    Row {
        what: "a block without chunks",
        damage: |files| files.remove("chunks/"),
        shown: Shown::AtSync,
        says: &["chunks/000001 is missing", "not used"],
    },
    Row {
        what: "a block without chunks whose meta.json names none",
        damage: |files| {
            files.remove("chunks/");
            files.replace("meta.json", "\"segment_files\"", "\"x\"");
            files.replace("meta.json", "\"files\"", "\"y\"");
        },
        shown: Shown::AtQuery(Code::Unknown),
        says: &["index", "refers to segment 0 of 0"],
    },
    Row {
        what: "half a meta.json",
        damage: |files| {
            let half = files.get("meta.json").len() / 2;
            files.cut("meta.json", half);
        },
        shown: Shown::AtSync,
        says: &["meta.json", "not used"],
    },
    Row {
        what: "an empty meta.json",
        damage: |files| files.cut("meta.json", 0),
        shown: Shown::AtSync,
        says: &["meta.json", "not used"],
    },
    Row {
        what: "a bit in a meta.json",
        damage: |files| files.flip("meta.json", 0),
        shown: Shown::AtSync,
        says: &["meta.json", "line 1"],
    },
    Row {
        what: "a number that is a text",
        damage: |files| files.replace("meta.json", "\"minTime\": 0", "\"minTime\": \"0\""),
        shown: Shown::AtSync,
        says: &["meta.json", "minTime"],
    },
    Row {
        what: "meta.json of version 2",
        damage: |files| {
            files.replace(
                "meta.json",
                "\"version\": 1,\n\t\"thanos\"",
                "\"version\": 2,\n\t\"thanos\"",
            );
        },
        shown: Shown::AtSync,
        says: &["meta.json", "version 2", "not used"],
    },
    Row {
        what: "meta.json of Thanos' version 2",
        damage: |files| {
            files.replace(
                "meta.json",
                "\"version\": 1,\n\t\t\"labels\"",
                "\"version\": 2,\n\t\t\"labels\"",
            );
        },
        shown: Shown::AtSync,
        says: &["meta.json", "thanos", "version 2", "not used"],
    },
];

#[tokio::test]
async fn a_damaged_block_is_named_the_others_are_served_and_mending_it_brings_it_back() {
    for row in ROWS {
        let what = row.what;
        let log = Log::keep();
        let (memory, bad, good) = two_blocks().await;
        let mut files = Files::of(&bad);
        (row.damage)(&mut files);
        for (name, _) in &bad.files {
            sabre_objstore::Bucket::delete(&*memory, &format!("{}/{name}", bad.meta.ulid))
                .await
                .unwrap();
        }
        files.put(&*memory, &bad).await;
        let objects = memory.objects();

        let store = Store::start(&memory).await;
        let idle_bytes = store.held_bytes();
        let id = bad.meta.ulid.to_string();
        let good_answer = store.series(of_cluster("good")).await.unwrap();
        match row.shown {
            Shown::AtSync => {
                log.assert_has(what, &and(&id, row.says));
                let answer = store.series(everything()).await.unwrap();
                assert_eq!(answer.series, good_answer.series, "{what}");
                // Of a block without a good meta.json nobody knows what it would answer, and one that is not whole is
                // still on its way up.
                let is_used = |says: &&str| !says.contains("meta.json") && !says.contains("is missing");
                let is_known = row.says.iter().all(is_used);
                let is_told = answer.warnings.iter().any(|warning| warning.contains(&id));
                assert_eq!(is_told, is_known, "{what}: {:?}", answer.warnings);
            }
            Shown::AtQuery(code) => {
                let answer = store.series(everything()).await.unwrap();
                assert_eq!(answer.series, good_answer.series, "{what}");
                let warnings = answer.warnings.join("\n");
                for part in and(&id, row.says) {
                    assert!(warnings.contains(part), "{what}: {part:?} in {warnings}");
                }
                log.assert_has(what, &[&id]);
                // The first to ask has the error itself, and later ones that of the first.
                let other = Store::start(&memory).await;
                for _ in 0..2 {
                    let status = other.series(all_or_nothing()).await.expect_err(what);
                    assert!(
                        status.code() == code || status.message().contains("set aside"),
                        "{what}: {status}"
                    );
                    assert_says(what, &status, &and(&id, row.says));
                }
            }
        }
        let served = store.series(of_cluster("good")).await.unwrap();
        assert_eq!(served.series.len() as u64, good.meta.stats.num_series, "{what}");
        store.memory_is_back(idle_bytes).await;
        assert_eq!(memory.objects(), objects, "{what}: a store only reads");

        memory.set_now_ms(LATER_MS);
        Files::of(&bad).put(&*memory, &bad).await;
        drop(store);
        // The index-header of a damaged index is no better than the index: a store that starts anew has none.
        let store = Store::start(&memory).await;
        assert_eq!(
            store.series(everything()).await.unwrap().series.len(),
            6,
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_block_that_is_mended_is_taken_up_by_the_running_store() {
    for row in ROWS.iter().filter(|row| matches!(row.shown, Shown::AtSync)) {
        let (memory, bad, _) = two_blocks().await;
        let mut files = Files::of(&bad);
        (row.damage)(&mut files);
        for (name, _) in &bad.files {
            sabre_objstore::Bucket::delete(&*memory, &format!("{}/{name}", bad.meta.ulid))
                .await
                .unwrap();
        }
        files.put(&*memory, &bad).await;
        let store = Store::start(&memory).await;
        assert_eq!(
            store.series(everything()).await.unwrap().series.len(),
            3,
            "{}",
            row.what
        );
        memory.set_now_ms(LATER_MS);
        Files::of(&bad).put(&*memory, &bad).await;
        // Requests know the time of the clock, so the pause counts from there.
        let later_ms = sabre_runtime::clock::now_ms() + 86_400_000;
        store.gateway.sync(later_ms).await.unwrap();
        assert_eq!(
            store.series(everything()).await.unwrap().series.len(),
            6,
            "{}",
            row.what
        );
    }
}

/// Whatever bit of whatever file is wrong: no panic, no wrong answer, and the other block is served.
#[tokio::test]
async fn no_flipped_bit_is_served_as_if_it_were_right() {
    let (memory, _, _) = two_blocks().await;
    let right = Store::start(&memory).await.series(everything()).await.unwrap();
    let bad = block(1, "bad");
    let id = bad.meta.ulid.to_string();
    for file in ["index", SEGMENT] {
        let len = bad.file(file).unwrap().len();
        for at in (0..len).step_by(31) {
            let log = Log::keep();
            let (memory, _, _) = two_blocks().await;
            let mut files = Files::of(&bad);
            files.get(file)[at] ^= 1 << (at % 8);
            files.put(&*memory, &bad).await;
            let store = Store::start(&memory).await;
            let what = format!("byte {at} of {file}");
            match store.series(everything()).await {
                // Padding, and what nobody needs to read, may be anything.
                Ok(answer) if answer == right => {}
                Ok(answer) => {
                    assert_eq!(answer.series.len(), 3, "{what}");
                    log.assert_has(&what, &[&id, file]);
                }
                Err(status) => assert_says(&what, &status, &[&id, file]),
            }
            let good = store.series(of_cluster("good")).await.unwrap();
            assert_eq!(
                good.series,
                right
                    .series
                    .iter()
                    .filter(|(labels, _)| labels.get("cluster") == Some("good"))
                    .cloned()
                    .collect::<Vec<_>>(),
                "{what}"
            );
        }
    }
}

/// JSON has no checksum: a flipped bit may go unseen, and must not do more than that.
#[tokio::test]
async fn a_meta_json_with_any_bit_flipped_harms_no_other_block() {
    let bad = block(1, "bad");
    let len = bad.file("meta.json").unwrap().len();
    for at in (0..len).step_by(5) {
        let (memory, _, _) = two_blocks().await;
        let mut files = Files::of(&bad);
        files.get("meta.json")[at] ^= 1 << (at % 8);
        files.put(&*memory, &bad).await;
        let store = Store::start(&memory).await;
        let good = store.series(of_cluster("good")).await.unwrap();
        assert_eq!(good.series.len(), 3, "byte {at}");
    }
}
