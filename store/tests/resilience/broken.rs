//! Blocks that are broken in the bucket: others are served, and what is missing is told.

use std::sync::Arc;

use sabre_objstore::{Bucket, BucketExt, MemoryBucket, SharedBucket};
use sabre_proto::thanos::{LabelValuesRequest, SeriesRequest, store_client::StoreClient};
use sabre_testkit::{blocks::Block, fault::FaultBucket, series::SeriesAnswer};

use crate::{
    common::{TestStore, start},
    data::{SPAN_MS, Truth, block, everything, everything_or_warn, put, samples, truth},
};

const SERIES: usize = 30;
const MAX_BYTES: u64 = 16 << 20;

/// Where the table of contents of an index says that a section begins.
const SERIES_SECTION: usize = 1;
const POSTINGS_SECTION: usize = 4;
const POSTINGS_TABLE: usize = 5;

/// What is done to the first of two blocks while it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Chunk,
    ChunkLength,
    Encoding,
    Series,
    SeriesLength,
    Postings,
    ShortSegment,
    ShortIndex,
}

const ALL: [Damage; 8] = [
    Damage::Chunk,
    Damage::ChunkLength,
    Damage::Encoding,
    Damage::Series,
    Damage::SeriesLength,
    Damage::Postings,
    Damage::ShortSegment,
    Damage::ShortIndex,
];

impl Damage {
    fn file(self) -> &'static str {
        match self {
            Self::Series | Self::SeriesLength | Self::Postings | Self::ShortIndex => "index",
            _ => "chunks/000001",
        }
    }

    async fn strike(self, bucket: &MemoryBucket, block: &Block) {
        let key = format!("{}/{}", block.meta.ulid, self.file());
        let mut bytes = bucket.get_all(&key, MAX_BYTES).await.unwrap().to_vec();
        match self {
            // The first record: a length of two bytes, the encoding, the data.
            Self::Chunk => bytes[8 + 40] ^= 4,
            Self::ChunkLength => bytes[8] ^= 1,
            Self::Encoding => reencode(&mut bytes),
            Self::Series => {
                let at = section(&bytes, SERIES_SECTION).next_multiple_of(16) + 3;
                bytes[at] ^= 1;
            }
            Self::SeriesLength => {
                let at = section(&bytes, SERIES_SECTION).next_multiple_of(16);
                bytes[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x07]);
            }
            Self::Postings => {
                let (from, to) = (section(&bytes, POSTINGS_SECTION), section(&bytes, POSTINGS_TABLE));
                bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x10);
            }
            Self::ShortSegment | Self::ShortIndex => bytes.truncate(20),
        }
        bucket.put(&key, bytes.into()).await.unwrap();
    }
}

fn section(index: &[u8], number: usize) -> usize {
    let at = index.len() - 52 + number * 8;
    u64::from_be_bytes(index[at..at + 8].try_into().unwrap()) as usize
}

/// Gives the first record an encoding that nobody knows, and the checksum that goes with it.
fn reencode(segment: &mut [u8]) {
    let record = &mut segment[8..];
    let (mut len, mut at) = (0, 0);
    while record[at] & 0x80 != 0 {
        len |= usize::from(record[at] & 0x7f) << (7 * at);
        at += 1;
    }
    len |= usize::from(record[at]) << (7 * at);
    let end = at + 2 + len;
    record[at + 1] = 77;
    let checksum = sabre_tsdb::crc32c(&record[at + 1..end]);
    record[end..end + 4].copy_from_slice(&checksum.to_be_bytes());
}

/// Two blocks, the first of which is broken.
async fn store(damage: Damage) -> (FaultBucket, TestStore, Block) {
    let memory = Arc::new(MemoryBucket::new("test"));
    let bad = put(&*memory, block(1, 0, 1, SERIES)).await;
    put(&*memory, block(2, 1, 1, SERIES)).await;
    let counted = FaultBucket::new(Arc::clone(&memory) as SharedBucket);
    let store = start(Arc::new(counted.clone())).await;
    damage.strike(&memory, &bad).await;
    counted.heal();
    (counted, store, bad)
}

/// What only the second block holds.
fn rest() -> Truth {
    let mut rest = truth(2, SERIES);
    for series in rest.values_mut() {
        *series = series.split_off(&SPAN_MS);
    }
    rest
}

/// No sample that is not true, and all of the block that is whole.
fn check(answer: &SeriesAnswer, what: &str) {
    let got = samples(answer).unwrap_or_else(|why| panic!("{what}: {why}"));
    let whole = truth(2, SERIES);
    for (lset, samples) in &rest() {
        let of = &got[lset];
        assert!(
            samples.iter().all(|sample| of.get(sample.0) == Some(sample.1)),
            "{what}"
        );
        assert!(
            of.iter().all(|(at, value)| whole[lset].get(at) == Some(value)),
            "{what}"
        );
    }
    assert_eq!(got.len(), SERIES, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_partial_response_the_block_is_left_out_with_a_warning_that_says_where() {
    for damage in ALL {
        let what = format!("{damage:?}");
        let (bucket, store, bad) = store(damage).await;
        let answer = store.series(everything_or_warn()).await;
        let answer = answer.unwrap_or_else(|status| panic!("{what}: {status}"));
        check(&answer, &what);
        assert_eq!(answer.warnings.len(), 1, "{what}: {:?}", answer.warnings);
        let warning = &answer.warnings[0];
        let name = bad.meta.ulid.to_string();
        assert!(warning.contains(&name), "{what}: {warning}");
        assert!(warning.contains(damage.file()), "{what}: {warning}");
        if !matches!(damage, Damage::ShortSegment | Damage::ShortIndex) {
            assert!(warning.contains("offset"), "{what}: {warning}");
        }

        bucket.heal();
        let again = store.series(everything_or_warn()).await.unwrap();
        assert_eq!(samples(&again).unwrap(), rest(), "{what}");
        assert_eq!(
            again.warnings, answer.warnings,
            "{what}: who asks later is told as well"
        );
        let asked = bucket.requests();
        assert!(
            asked.iter().all(|request| !request.key.starts_with(&name)),
            "{what}: a block that is set aside is left alone: {asked:?}"
        );
        let text = store.registry.classic();
        assert!(
            text.contains("sabre_store_blocks_set_aside 1\n"),
            "{what}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_partial_response_it_is_an_error_each_time() {
    for damage in ALL {
        let what = format!("{damage:?}");
        let (_, store, bad) = store(damage).await;
        for round in 0..2 {
            let status = store.series(everything()).await.unwrap_err();
            let text = status.message();
            assert!(
                text.contains(&bad.meta.ulid.to_string()),
                "{what}, {round}: {text}"
            );
            assert!(text.contains(damage.file()), "{what}, {round}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_wants_few_series_is_told_as_well() {
    let (_, store, _) = store(Damage::Series).await;
    let ask = SeriesRequest {
        limit: 3,
        ..everything_or_warn()
    };
    let answer = store.series(ask).await.unwrap();
    assert_eq!((answer.series.len(), answer.warnings.len()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn label_calls_leave_it_out_in_the_same_way() {
    for damage in [Damage::Series, Damage::Postings, Damage::ShortIndex] {
        let what = format!("{damage:?}");
        let (_, store, bad) = store(damage).await;
        let mut client = StoreClient::new(store.served.channel.clone());
        let ask = |strategy| LabelValuesRequest {
            label: "pod".to_owned(),
            end: 2 * SPAN_MS,
            matchers: everything().matchers,
            partial_response_strategy: strategy,
            ..LabelValuesRequest::default()
        };
        let warn = ask(everything_or_warn().partial_response_strategy);
        let answer = client.label_values(warn).await.unwrap().into_inner();
        assert_eq!(answer.values.len(), SERIES, "{what}");
        assert!(answer.warnings[0].contains(&bad.meta.ulid.to_string()), "{what}");
        let abort = ask(everything().partial_response_strategy);
        assert!(client.label_values(abort).await.is_err(), "{what}");
    }
}
