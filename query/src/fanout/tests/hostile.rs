//! Peers that want memory held for next to nothing.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use sabre_proto::thanos::info::InfoResponse;

use super::*;

const PADDING_BYTES: usize = 64 << 10;
const SERIES: usize = 50;

/// A field of bytes.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

/// A series with one short chunk and a long field that nobody knows behind it.
fn padded(number: usize) -> Vec<u8> {
    let mut series = series(&format!(r#"a="{number:04}""#), &[(1, 2, "data")]).encode_to_vec();
    series.extend(field(15, &vec![0; PADDING_BYTES]));
    series
}

/// Single messages, and a batch, with padding.
fn padding_steps() -> [Vec<Step>; 2] {
    let singles = (0..SERIES).map(|number| Step::Raw(framed(&field(1, &padded(number)))));
    let batch: Vec<u8> = (0..SERIES).flat_map(|number| field(1, &padded(number))).collect();
    [singles.collect(), vec![Step::Raw(framed(&field(4, &batch)))]]
}

fn sorted_or_not(sort: bool) -> InfoResponse {
    let mut info = modern();
    info.store.as_mut().unwrap().supports_without_replica_labels = !sort;
    info
}

/// What is held in memory by a slice that nobody else shares: it and all behind it.
fn held_bytes(data: Bytes) -> usize {
    let data = data
        .try_into_mut()
        .expect("shared with something that is not charged");
    data.capacity()
}

#[tokio::test]
async fn chunks_do_not_hold_the_padding_of_their_messages() {
    for sort in [false, true] {
        for steps in padding_steps() {
            let store = FakeStore {
                info: Some(sorted_or_not(sort)),
                ..FakeStore::new(steps)
            };
            let world = World::new(vec![store]).await;
            let items = world.fanout.select(everything(), world.options()).await.unwrap();
            let items: Vec<_> = items.collect().await;
            assert_eq!(items.len(), SERIES);
            for item in items {
                let Ok(SeriesItem::Series(_, chunks)) = item else {
                    panic!("no series: {item:?}");
                };
                for chunk in chunks {
                    let data = chunk.raw.unwrap().data;
                    assert_eq!(data, "data");
                    assert!(held_bytes(data) < 1024, "sorted: {sort}");
                }
            }
        }
    }
}

#[tokio::test]
async fn small_messages_do_not_hold_the_frame_they_came_in() {
    // One frame: a series, and a message with nothing in it but padding.
    let small = field(1, &series(r#"a="1""#, &[(1, 2, "data")]).encode_to_vec());
    let mut frame = framed(&small).to_vec();
    frame.extend(framed(&field(15, &vec![0; PADDING_BYTES])));
    let world = World::new(vec![FakeStore::new(vec![Step::Raw(frame.into())])]).await;
    let items = world.fanout.select(everything(), world.options()).await.unwrap();
    let items: Vec<_> = items.collect().await;
    let [Ok(SeriesItem::Series(_, chunks))] = items.as_slice() else {
        panic!("no series: {items:?}");
    };
    let data = chunks[0].raw.as_ref().unwrap().data.clone();
    drop(items);
    assert!(held_bytes(data) < 1024);
}

#[tokio::test]
async fn long_chunks_are_not_copied() {
    let long = "x".repeat(PADDING_BYTES);
    let mut whole = field(1, &series(r#"a="1""#, &[(1, 2, &long)]).encode_to_vec());
    // Less than a half of the message: its slice stays one.
    whole.extend(field(15, &vec![0; PADDING_BYTES / 2]));
    let world = World::new(vec![FakeStore::new(vec![Step::Raw(framed(&whole))])]).await;
    let items = world.fanout.select(everything(), world.options()).await.unwrap();
    let items: Vec<_> = items.collect().await;
    let Some(Ok(SeriesItem::Series(_, chunks))) = items.into_iter().next() else {
        panic!("no series");
    };
    let data = chunks.into_iter().next().unwrap().raw.unwrap().data;
    assert!(held_bytes(data) > PADDING_BYTES + PADDING_BYTES / 2);
}

#[tokio::test]
async fn warnings_are_cut_and_counted_over_all_of_a_stream() {
    let long = "ä".repeat(40_000);
    let mut steps = Vec::new();
    for number in 0..60 {
        steps.push(Step::Warning(long.clone()));
        steps.push(Step::Warning("short".to_owned()));
        steps.push(Step::Series(series(&format!(r#"a="{number:04}""#), &[])));
    }
    for sort in [false, true] {
        let store = FakeStore {
            info: Some(sorted_or_not(sort)),
            ..FakeStore::new(steps.clone())
        };
        let world = World::new(vec![store]).await;
        let lines = world.all().await;
        let warnings: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("warning: s0: "))
            .collect();
        assert!(warnings.iter().all(|line| line.len() < 5000));
        // The series are no worse for them.
        assert_eq!(lines.len() - warnings.len(), 60);
        assert_eq!(warnings.len(), 101);
        assert!(warnings[0].ends_with("ä…"), "cut between letters");
        assert_eq!(warnings[1], "warning: s0: short");
        assert_eq!(warnings[100], "warning: s0: 20 more warnings");
    }
}

#[tokio::test]
async fn warnings_without_end_are_not_waited_for() {
    let many = framed(&field(2, b"w")).repeat(100_000);
    for (one_more, end) in [
        (false, r#"{a="1"}"#.to_owned()),
        (true, "s0: sends warnings without end".to_owned()),
    ] {
        let mut steps = vec![Step::Raw(many.clone().into())];
        if one_more {
            steps.push(Step::Warning("w".to_owned()));
        }
        steps.push(Step::Series(series(r#"a="1""#, &[])));
        let world = World::new(vec![FakeStore::new(steps)]).await;
        let lines = world.all().await;
        let rest: Vec<_> = lines.iter().skip(100).collect();
        assert!(rest.iter().any(|line| line.contains(&end)), "{rest:?}");
        let more = rest.iter().any(|line| line.ends_with("s0: 99900 more warnings"));
        assert_eq!(more, !one_more, "{rest:?}");
    }
}
