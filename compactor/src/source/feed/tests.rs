use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use super::*;

const SEGMENT: &str = "chunks/000001";

/// A bucket that counts, with one segment of so many bytes.
async fn bucket(block: BlockId, len: usize) -> (Arc<FaultBucket>, Bytes) {
    let bytes: Bytes = (0..len)
        .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let memory = MemoryBucket::new("b");
    let key = layout::key(block, SEGMENT);
    memory.put(&key, bytes.clone()).await.unwrap();
    (Arc::new(FaultBucket::new(Arc::new(memory))), bytes)
}

fn part(end: u64, is_whole: bool) -> Part {
    Part {
        file: SEGMENT.to_owned(),
        object: 7,
        range: 0..end,
        is_whole,
    }
}

/// All windows of a part, and the error behind them.
async fn windows(
    bucket: &Arc<FaultBucket>,
    block: BlockId,
    part: Part,
    window_bytes: u64,
) -> (Vec<Window>, Option<BlockError>) {
    let shared: SharedBucket = Arc::<FaultBucket>::clone(bucket);
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = async {
        let mut windows = Vec::new();
        while let Some(window) = receiver.recv().await {
            match window {
                Ok(window) => windows.push(window),
                Err(error) => return (windows, Some(error)),
            }
        }
        (windows, None)
    };
    let feeding = async move { feed(&shared, block, vec![part], window_bytes, &sender).await };
    futures::future::join(feeding, reading).await.1
}

/// The bytes of windows, which must follow each other.
fn joined(windows: &[Window]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for window in windows {
        assert_eq!((window.object, window.offset), (7, bytes.len() as u64));
        bytes.extend_from_slice(&window.bytes);
    }
    bytes
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_segment_of_many_windows_is_one_request() {
    let block = BlockId::default();
    let (bucket, bytes) = bucket(block, 5 * MIB + 3).await;
    let (read, error) = windows(&bucket, block, part(bytes.len() as u64, true), 1 << 20).await;
    assert!(error.is_none());
    assert_eq!(read.len(), 6);
    assert_eq!(joined(&read), bytes);
    assert_eq!(
        (bucket.count(Operation::Get), bucket.count(Operation::GetRange)),
        (1, 0)
    );
}

#[tokio::test]
async fn what_is_read_in_part_or_in_tiny_windows_is_asked_for_by_ranges() {
    let block = BlockId::default();
    for (is_whole, window_bytes, requests) in [(false, 1 << 20, 3), (true, 128 << 10, 17), (true, 8 << 20, 1)]
    {
        let (bucket, bytes) = bucket(block, 2 * MIB + 5).await;
        let (read, error) = windows(&bucket, block, part(bytes.len() as u64, is_whole), window_bytes).await;
        assert!(error.is_none());
        assert_eq!(joined(&read), bytes);
        assert_eq!(
            (bucket.count(Operation::Get), bucket.count(Operation::GetRange)),
            (0, requests)
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_behind_what_came() {
    let block = BlockId::default();
    let (bucket, bytes) = bucket(block, 4 * MIB).await;
    bucket.add(Rule::next(Operation::Get, Fault::Truncate));
    let (read, error) = windows(&bucket, block, part(bytes.len() as u64, true), 1 << 20).await;
    assert_eq!(joined(&read), bytes[..2 * MIB]);
    let error = error.unwrap().to_string();
    assert!(error.contains(SEGMENT), "{error}");
}

#[tokio::test]
async fn an_object_that_is_shorter_than_the_listing_said_is_an_error_and_a_longer_one_is_not() {
    let block = BlockId::default();
    let (bucket, bytes) = bucket(block, 2 * MIB).await;
    let (read, error) = windows(&bucket, block, part(2 * MIB as u64 + 1, true), 1 << 20).await;
    assert!(read.is_empty());
    let error = error.unwrap().to_string();
    assert!(
        error.contains("2097153 bytes wanted") && error.contains("only 2097152 bytes"),
        "{error}"
    );
    let (read, error) = windows(&bucket, block, part(2 * MIB as u64 - 9, true), 1 << 20).await;
    assert!(error.is_none());
    assert_eq!(joined(&read), bytes[..2 * MIB - 9]);
}

#[tokio::test]
async fn small_pieces_are_gathered_and_large_ones_handed_on() {
    let pieces: Vec<Bytes> = [300, 300, 300, 700, 10]
        .into_iter()
        .map(|len| Bytes::from(vec![7; len]))
        .collect();
    let large = pieces[3].as_ptr();
    let mut body = GetBody {
        size_bytes: 1610,
        stream: stream::iter(pieces.into_iter().map(Ok)).boxed(),
    };
    let mut lens = Vec::new();
    loop {
        let window = next_window(&mut body, 1000).await.unwrap();
        if window.is_empty() {
            break;
        }
        assert!(window.len() != 700 || window.as_ptr() == large, "not copied");
        lens.push(window.len());
    }
    assert_eq!(lens, [900, 700, 10]);
}

#[tokio::test]
async fn a_reader_that_is_gone_ends_the_fetching() {
    let block = BlockId::default();
    let (bucket, bytes) = bucket(block, 4 * MIB).await;
    let shared: SharedBucket = Arc::<FaultBucket>::clone(&bucket);
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    feed(
        &shared,
        block,
        vec![part(bytes.len() as u64, true)],
        1 << 20,
        &sender,
    )
    .await;
    assert_eq!(bucket.requests().len(), 0);
}
