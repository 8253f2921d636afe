//! Broken blocks and a world that does not play along: the rest goes on, and nothing is lost.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, BucketExt, ErrorKind, MemoryBucket, Operation};
use sabre_testkit::blocks::BlockBuilder;
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::chunk::{EncodedChunk, Sample, Value, encode_stream};
use sabre_tsdb::merge::OverlapRule;
use sabre_tsdb::meta::{BlockMeta, NoCompactMark};

use super::fixture::{Fixture, START_MS, counters};
use crate::error::PassError;
use crate::execute::JobOptions;
use crate::plan::HOUR_MS;
use crate::verify::BlockVerifier;
use sabre_runtime::budget::Budget;

/// Ten blocks of 2 h: two ranges of 8 h and a rest.
pub(super) async fn ten_blocks(fixture: &Fixture) -> Vec<BlockId> {
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(
            fixture
                .put(&counters(n as u64 + 1, n * 2, n * 2 + 2, 5).build().unwrap())
                .await,
        );
    }
    ids
}

pub(super) async fn levels(fixture: &Fixture) -> Vec<(i64, i64, i64)> {
    let blocks = fixture.blocks().await;
    let hours = |ms: i64| (ms - START_MS) / HOUR_MS;
    let of = |meta: &Arc<BlockMeta>| (hours(meta.min_time), hours(meta.max_time), meta.compaction.level);
    blocks.iter().map(of).collect()
}

fn is_trouble(outcome: &Result<(), PassError>) -> bool {
    matches!(outcome, Err(PassError::Trouble(_)))
}

/// What is left when the second of ten blocks is left alone.
pub(super) const AROUND_THE_SECOND: [(i64, i64, i64); 6] = [
    (0, 2, 1),
    (2, 4, 1),
    (4, 8, 2),
    (8, 16, 2),
    (16, 18, 1),
    (18, 20, 1),
];

pub(super) async fn damaged(fixture: &Fixture, key: &str, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let original = fixture.bucket.get_all(key, 1 << 30).await.unwrap();
    let mut bytes = original.to_vec();
    change(&mut bytes);
    fixture.bucket.put(key, Bytes::from(bytes)).await.unwrap();
    original
}

/// Breaks a file of the second block, sees the group go on around it, mends it, and sees the group made whole.
async fn goes_on_around(file: &str, change: impl FnOnce(&mut Vec<u8>), words: &[&str]) {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    let before = fixture.samples().await;
    let key = format!("{}/{file}", ids[1]);
    let original = damaged(&fixture, &key, change).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let outcome = compactor.iterate().await;
    assert!(is_trouble(&outcome), "{outcome:?}");
    let text = outcome.unwrap_err().to_string();
    for word in words.iter().copied().chain([ids[1].to_string().as_str()]) {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert_eq!(levels(&fixture).await, AROUND_THE_SECOND);
    assert!(fixture.metric("thanos_compact_halted 1"));
    assert!(fixture.metric("sabre_compact_quarantined_blocks{work=\"compaction\"} 1"));
    assert!(
        fixture.mark_names(ids[1]).await.is_empty(),
        "nothing is written into the bucket"
    );
    fixture.bucket.put(&key, original).await.unwrap();
    assert_eq!(fixture.samples().await, before);
    // The pause ends, and the block is found whole.
    fixture.now_ms.fetch_add(HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await[0], (0, 8, 3));
    assert!(fixture.metric("thanos_compact_halted 0"));
    assert_eq!(fixture.samples().await, before);
}

#[tokio::test]
async fn a_corrupt_series_in_the_index() {
    let change = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        // Somewhere in the series: the entries are most of such an index.
        for byte in &mut bytes[middle - 200..middle - 190] {
            *byte ^= 0x55;
        }
    };
    goes_on_around("index", change, &["index", "corrupt"]).await;
}

#[tokio::test]
async fn a_corrupt_table_of_contents() {
    let change = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    goes_on_around("index", change, &["index", "toc"]).await;
}

#[tokio::test]
async fn a_corrupt_symbol() {
    let change = |bytes: &mut Vec<u8>| bytes[16] ^= 1;
    goes_on_around("index", change, &["index", "symbols"]).await;
}

#[tokio::test]
async fn a_corrupt_chunk() {
    let change = |bytes: &mut Vec<u8>| bytes[40] ^= 1;
    goes_on_around(
        "chunks/000001",
        change,
        &["chunks/000001", "chunk segment", "offset"],
    )
    .await;
}

#[tokio::test]
async fn a_segment_that_ends_early() {
    let change = |bytes: &mut Vec<u8>| bytes.truncate(100);
    goes_on_around("chunks/000001", change, &["chunks/000001"]).await;
}

#[tokio::test]
async fn an_index_of_another_version() {
    let change = |bytes: &mut Vec<u8>| bytes[4] = 9;
    goes_on_around("index", change, &["version 9"]).await;
}

#[tokio::test]
async fn a_missing_segment_keeps_its_place_in_time() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    let key = format!("{}/chunks/000001", ids[1]);
    let original = fixture.bucket.get_all(&key, 1 << 30).await.unwrap();
    fixture.bucket.delete(&key).await.unwrap();
    let _ = fixture.iterate().await;
    let rest: Vec<_> = AROUND_THE_SECOND
        .into_iter()
        .filter(|range| range.0 != 2)
        .collect();
    assert_eq!(levels(&fixture).await, rest, "nothing was compacted across it");
    fixture.bucket.put(&key, original).await.unwrap();
    fixture.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await[0], (0, 8, 3));
}

#[tokio::test]
async fn blocks_that_overlap_are_left_alone() {
    let mut fixture = Fixture::new();
    ten_blocks(&fixture).await;
    let twin = fixture.put(&counters(50, 2, 4, 5).build().unwrap()).await;
    let outcome = fixture.iterate().await;
    assert!(is_trouble(&outcome), "{outcome:?}");
    let mut expected = AROUND_THE_SECOND.to_vec();
    expected.insert(2, (2, 4, 1));
    assert_eq!(levels(&fixture).await, expected);
    assert!(fixture.metric("thanos_compact_halted 1"));
    assert!(fixture.metric("sabre_compact_overlapping_blocks 2"));
    fixture.config.halts_on_error = true;
    assert!(matches!(fixture.iterate().await, Err(PassError::Halt(_))));
    fixture.config.halts_on_error = false;
    fixture.config.policy.vertical = true;
    fixture.iterate().await.unwrap();
    assert!(fixture.view().await.marks.deletion.contains_key(&twin));
}

/// A block whose one series has two chunks that overlap.
pub(super) fn out_of_order(n: u64) -> sabre_testkit::blocks::Block {
    let labels = Labels::from_pairs([("__name__", "disorder")]).unwrap();
    let begin = START_MS + 2 * HOUR_MS;
    let chunk = |from_s: i64| {
        let sample = |s: i64| Sample {
            t: begin + s * 1000,
            value: Value::Float(s as f64),
        };
        encode_stream((from_s..from_s + 20).map(sample))
            .unwrap()
            .remove(0)
    };
    BlockBuilder::new(START_MS as u64 + n)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(begin..begin + 2 * HOUR_MS)
        .chunks(labels, vec![chunk(0), chunk(10)])
        .build()
        .unwrap()
}

#[tokio::test]
async fn chunks_out_of_order_are_left_alone_or_marked_as_told() {
    for marks in [false, true] {
        let mut fixture = Fixture::new();
        fixture.config.marks_out_of_order = marks;
        let ids = ten_blocks(&fixture).await;
        sabre_block::delete_block(&*fixture.bucket, ids[1]).await.unwrap();
        let broken = fixture.put(&out_of_order(70)).await;
        let outcome = fixture.iterate().await;
        assert_eq!(is_trouble(&outcome), !marks, "{outcome:?}");
        assert_eq!(levels(&fixture).await, AROUND_THE_SECOND);
        let names = fixture.mark_names(broken).await;
        if marks {
            assert_eq!(names, [NoCompactMark::FILE_NAME]);
            let mark = fixture.view().await.marks.no_compact[&broken].clone();
            assert_eq!(mark.reason.to_string(), "block-index-out-of-order-chunk");
            fixture.iterate().await.unwrap();
        } else {
            assert!(names.is_empty());
            assert!(
                outcome
                    .unwrap_err()
                    .to_string()
                    .contains("chunks of a series overlap")
            );
        }
    }
}

#[tokio::test]
async fn wrong_stats_are_told_and_counted_anew() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    damaged(&fixture, &format!("{}/meta.json", ids[1]), |bytes| {
        let mut meta = BlockMeta::parse(bytes).unwrap();
        meta.stats.num_series = 1_000_000;
        *bytes = meta.to_json();
    })
    .await;
    fixture.iterate().await.unwrap();
    let blocks = fixture.blocks().await;
    assert_eq!((blocks[0].compaction.level, blocks[0].stats.num_series), (2, 5));
    assert!(fixture.metric("sabre_compact_wrong_stats_total 1"));
}

#[tokio::test]
async fn a_meta_that_names_too_few_segments() {
    let fixture = Fixture::new();
    for n in 0..10 {
        let block = counters(n as u64 + 1, n * 2, n * 2 + 2, 5).segment_bytes(600);
        let block = block.build().unwrap();
        assert!(block.file("chunks/000002").is_some(), "several segments");
        fixture.put(&block).await;
    }
    let (before, second) = (fixture.samples().await, fixture.blocks().await[1].ulid);
    damaged(&fixture, &format!("{second}/meta.json"), |bytes| {
        let mut meta = BlockMeta::parse(bytes).unwrap();
        meta.thanos.as_mut().unwrap().segment_files.truncate(1);
        *bytes = meta.to_json();
    })
    .await;
    fixture.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await[0], (0, 8, 2));
    assert_eq!(fixture.samples().await, before);
}

#[tokio::test]
async fn metas_edited_by_hand_stop_no_other_block() {
    for edit in [
        &b"not json"[..],
        b"{\"version\": 2}",
        b"{\"version\": 1, \"minTime\": \"soon\"}",
        b"",
    ] {
        let fixture = Fixture::new();
        let ids = ten_blocks(&fixture).await;
        damaged(&fixture, &format!("{}/meta.json", ids[9]), |bytes| {
            *bytes = edit.to_vec();
        })
        .await;
        let outcome = fixture.iterate().await;
        assert!(is_trouble(&outcome), "{outcome:?}");
        let levels = levels(&fixture).await;
        assert_eq!(levels[..2], [(0, 8, 2), (8, 16, 2)], "{levels:?}");
        assert!(fixture.view().await.listing.get(ids[9]).is_some());
    }
}

#[tokio::test]
async fn a_time_range_that_is_upside_down_is_left_alone() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    damaged(&fixture, &format!("{}/meta.json", ids[1]), |bytes| {
        let mut meta = BlockMeta::parse(bytes).unwrap();
        (meta.min_time, meta.max_time) = (meta.max_time, meta.min_time);
        *bytes = meta.to_json();
    })
    .await;
    let before = fixture.view().await.listing.len();
    let outcome = fixture.iterate().await;
    assert!(
        fixture.view().await.listing.len() > before,
        "others were compacted"
    );
    assert_eq!(fixture.mark_names(ids[1]).await, [""; 0]);
    assert!(outcome.unwrap_err().to_string().contains("ends before it begins"));
}

async fn until_it_works(operation: Operation, kind: ErrorKind) {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let fixture = Fixture::on(Arc::new(faulty.clone()));
    ten_blocks(&fixture).await;
    let before = fixture.samples().await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    faulty.add(Rule::next(operation, Fault::Error(kind)).times(usize::MAX));
    for _ in 0..3 {
        let outcome = compactor.iterate().await;
        assert!(
            matches!(outcome, Err(PassError::Retry(_) | PassError::Sync(_))),
            "{operation} {kind:?}: {outcome:?}"
        );
    }
    faulty.heal();
    assert_eq!(fixture.samples().await, before, "nothing is lost");
    compactor.iterate().await.unwrap();
    assert_eq!(fixture.samples().await, before);
    assert!(fixture.metric("thanos_compact_halted 0"), "no block is at fault");
}

#[tokio::test]
async fn a_read_only_bucket() {
    until_it_works(Operation::Upload, ErrorKind::AccessDenied).await;
}

#[tokio::test]
async fn a_bucket_without_room() {
    // What a folder answers when its disk is full.
    until_it_works(Operation::Upload, ErrorKind::Other).await;
}

#[tokio::test]
async fn throttled_reads_and_writes() {
    until_it_works(Operation::Upload, ErrorKind::Throttled).await;
    until_it_works(Operation::GetRange, ErrorKind::Throttled).await;
    until_it_works(Operation::Iter, ErrorKind::Throttled).await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing() {
    let fixture = Fixture::new();
    ten_blocks(&fixture).await;
    let compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let scratch = fixture.config.data_dir.join("compact");
    std::fs::remove_dir_all(&scratch).unwrap();
    std::fs::write(&scratch, b"in the way").unwrap();
    let error = compactor.iterate().await.unwrap_err();
    assert!(matches!(error, PassError::Retry(_)), "{error:?}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
    std::fs::remove_file(&scratch).unwrap();
    compactor.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await.len(), 4);
}

/// A device of Linux that is full and takes no byte stands for the disk.
fn open_on_a_full_disk(_: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/full")
}

#[tokio::test]
async fn a_full_disk_publishes_nothing_and_is_tried_again() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    let before = fixture.samples().await;
    let mut compactor = fixture.compactor();
    compactor.prepare().await.unwrap();
    let options = Arc::clone(&compactor.context.options);
    compactor.context.options = Arc::new(JobOptions {
        open_scratch: open_on_a_full_disk,
        ..JobOptions::clone(&options)
    });
    let error = compactor.iterate().await.unwrap_err();
    assert!(matches!(error, PassError::Retry(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("No space left") && text.contains("--data-dir"),
        "{text}"
    );
    let blocks = fixture.blocks().await;
    assert!(
        blocks.iter().map(|meta| meta.ulid).eq(ids),
        "nothing is published"
    );
    assert_eq!(fixture.samples().await, before);
    assert!(fixture.metric("thanos_compact_halted 0"), "no block is at fault");
    // There is room again.
    compactor.context.options = options;
    compactor.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await.len(), 4);
    assert_eq!(fixture.samples().await, before);
    // Two days on nothing of the failed attempt is left.
    fixture.now_ms.fetch_add(97 * HOUR_MS, Ordering::SeqCst);
    compactor.iterate().await.unwrap();
    assert!(fixture.view().await.partial.is_empty());
    assert!(fixture.bucket.pending_uploads("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_an_hour_behind_or_ahead() {
    for wrong_ms in [-HOUR_MS, HOUR_MS] {
        let fixture = Fixture::new();
        ten_blocks(&fixture).await;
        let before = fixture.samples().await;
        fixture.iterate().await.unwrap();
        fixture.now_ms.fetch_add(wrong_ms, Ordering::SeqCst);
        fixture.iterate().await.unwrap();
        assert_eq!(fixture.samples().await, before);
        assert_eq!(
            fixture.view().await.listing.len(),
            12,
            "marks are not an hour old, nor in the future"
        );
    }
}

#[tokio::test]
async fn blocks_without_samples() {
    let fixture = Fixture::new();
    for n in 0..4 {
        let range = START_MS + n * 2 * HOUR_MS..START_MS + (n + 1) * 2 * HOUR_MS;
        let empty = BlockBuilder::new(START_MS as u64 + n as u64)
            .ext_labels(&[("cluster", "eu1")])
            .time_range(range);
        fixture.put(&empty.build().unwrap()).await;
    }
    fixture.put(&counters(9, 8, 10, 1).build().unwrap()).await;
    fixture.iterate().await.unwrap();
    assert_eq!(
        levels(&fixture).await,
        [(8, 10, 1)],
        "the empty ones are marked, and nothing is made of them"
    );
    fixture.iterate().await.unwrap();
}

#[tokio::test]
async fn an_empty_block_among_others() {
    let fixture = Fixture::new();
    let ids = ten_blocks(&fixture).await;
    sabre_block::delete_block(&*fixture.bucket, ids[1]).await.unwrap();
    let range = START_MS + 2 * HOUR_MS..START_MS + 4 * HOUR_MS;
    let empty = BlockBuilder::new(START_MS as u64 + 90)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(range);
    fixture.put(&empty.build().unwrap()).await;
    let before = fixture.samples().await;
    fixture.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await[0], (0, 8, 2));
    assert_eq!(fixture.samples().await, before);
}

/// A series of so many chunks of one sample each.
fn many_chunks(n: u64, from_h: i64, chunks: i64) -> sabre_testkit::blocks::Block {
    let begin = START_MS + from_h * HOUR_MS;
    let step_ms = 2 * HOUR_MS / chunks;
    let chunk = |at: i64| -> EncodedChunk {
        let sample = Sample {
            t: begin + at * step_ms,
            value: Value::Float(at as f64),
        };
        encode_stream([sample]).unwrap().remove(0)
    };
    BlockBuilder::new(START_MS as u64 + n)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(begin..begin + 2 * HOUR_MS)
        .chunks(
            Labels::from_pairs([("__name__", "many")]).unwrap(),
            (0..chunks).map(chunk).collect(),
        )
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_series_of_a_hundred_thousand_chunks() {
    for vertical in [false, true] {
        let mut fixture = Fixture::new();
        fixture.config.policy.vertical = vertical;
        for n in 0..5 {
            let from_h = if vertical && n == 1 { 0 } else { n * 2 };
            fixture.put(&many_chunks(n as u64 + 1, from_h, 100_000)).await;
        }
        fixture.iterate().await.unwrap();
        let blocks = fixture.blocks().await;
        assert!(
            blocks
                .iter()
                .any(|meta| meta.stats.num_series == 1 && meta.compaction.level > 1)
        );
        let samples: u64 = blocks.iter().map(|meta| meta.stats.num_samples).sum();
        assert_eq!(samples, if vertical { 400_000 } else { 500_000 });
    }
}

#[tokio::test]
async fn two_blocks_with_the_same_time_in_their_names() {
    let fixture = Fixture::new();
    for n in 0..5_u8 {
        let hours = i64::from(n) * 2;
        let id = BlockId::from_parts(START_MS as u64, [n; 10]);
        fixture
            .put(&counters(0, hours, hours + 2, 3).id(id).build().unwrap())
            .await;
    }
    let before = fixture.samples().await;
    fixture.iterate().await.unwrap();
    assert_eq!(levels(&fixture).await, [(0, 8, 2), (8, 10, 1)]);
    assert_eq!(fixture.samples().await, before);
}

#[tokio::test]
async fn labels_that_differ_only_in_the_replica() {
    let mut fixture = Fixture::new();
    for (n, replica) in ["a", "b"].iter().enumerate() {
        let block = counters(n as u64 + 1, 0, 2, 3).ext_labels(&[("replica", replica)]);
        fixture.put(&block.build().unwrap()).await;
    }
    fixture.config.replica_labels = vec!["replica".to_owned()];
    fixture.config.policy.vertical = true;
    fixture.config.rule = OverlapRule::Penalty;
    fixture.config.policy.merges_aggregates = true;
    fixture.iterate().await.unwrap();
    let blocks = fixture.blocks().await;
    assert_eq!(blocks.len(), 1);
    let deduped = Labels::from_pairs([("replica", "deduped")]).unwrap();
    assert_eq!(blocks[0].ext_labels(), deduped);
    assert_eq!(blocks[0].stats.num_samples, 3 * 120);
}

#[tokio::test]
async fn a_bit_flipped_on_the_way_convicts_nobody() {
    let faulty = FaultBucket::new(Arc::new(MemoryBucket::new("b")));
    let fixture = Fixture::on(Arc::new(faulty.clone()));
    ten_blocks(&fixture).await;
    let before = fixture.samples().await;
    faulty.add(Rule::next(Operation::GetRange, Fault::BitFlip(777)).on("chunks"));
    fixture.iterate().await.unwrap();
    assert_eq!(faulty.triggered(), 1);
    assert_eq!(levels(&fixture).await.len(), 4);
    assert_eq!(fixture.samples().await, before);
    assert!(fixture.metric("thanos_compact_halted 0"));
}

#[tokio::test]
async fn every_flipped_bit_of_a_block_is_found_or_harmless() {
    let fixture = Fixture::new();
    let block = counters(1, 0, 2, 2).build().unwrap();
    let id = fixture.put(&block).await;
    let view = fixture.view().await;
    let meta = view.meta(id).unwrap();
    let verifier = BlockVerifier::new(Arc::clone(&fixture.bucket), Budget::unlimited());
    let whole = verifier.verify(&view, meta).await.unwrap();
    assert_eq!(
        (whole.series, whole.samples, whole.wrong_stats.len()),
        (2, 240, 0)
    );
    let (mut found, mut harmless) = (0, 0);
    for file in ["index", "chunks/000001"] {
        let key = format!("{id}/{file}");
        let original = fixture.bucket.get_all(&key, 1 << 30).await.unwrap();
        // Every 5th bit: all positions in a byte come up, and all bytes.
        for bit in (0..original.len() * 8).step_by(5) {
            let mut bytes = original.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fixture.bucket.put(&key, Bytes::from(bytes)).await.unwrap();
            match verifier.verify(&view, meta).await {
                // Padding, and the postings, which compaction makes anew.
                Ok(report) => {
                    assert_eq!(report, whole, "{file}, bit {bit}");
                    harmless += 1;
                }
                Err(error) => {
                    assert!(error.contains(&id.to_string()), "{file}, bit {bit}: {error}");
                    found += 1;
                }
            }
        }
        fixture.bucket.put(&key, original).await.unwrap();
    }
    eprintln!("{found} flipped bits were found, {harmless} were in what is not read");
    assert!(found > harmless);
}
