//! The index cache that a fleet shares.

use std::time::Duration;

use bytes::Bytes;
use sabre_cache::SharedCache;
use sabre_model::{BlockId, Matcher};
use sabre_tsdb::{crc32c, encoding::put_uvarint};

use super::{ListPlace, codec::Codec, keys};
use crate::refs::SeriesRefs;

/// The checksum behind an entry.
const CHECKSUM_BYTES: usize = 4;

/// Talks to memcached or redis.
#[derive(Debug)]
pub(super) struct RemoteIndexCache {
    cache: SharedCache,
    codec: Codec,
    ttl: Duration,
}

impl RemoteIndexCache {
    pub(super) fn new(cache: SharedCache, codec: Codec, ttl: Duration) -> Self {
        Self { cache, codec, ttl }
    }

    pub(super) async fn expanded(
        &self,
        block: BlockId,
        matchers: &[Matcher],
        most: u64,
    ) -> Option<SeriesRefs> {
        let key = keys::expanded(block, matchers, self.codec.name());
        let mut hits = self.cache.get_multi(std::slice::from_ref(&key)).await;
        let value = hits.remove(&key)?;
        self.codec.decode(unsealed(&key, &value)?, most)
    }

    pub(super) fn keep_expanded(&self, block: BlockId, matchers: &[Matcher], refs: &SeriesRefs) -> usize {
        let key = keys::expanded(block, matchers, self.codec.name());
        self.keep(key, refs)
    }

    pub(super) async fn postings(&self, block: BlockId, lists: &[ListPlace]) -> Vec<Option<SeriesRefs>> {
        let key_of = |list: &ListPlace| {
            list.name
                .map(|name| keys::postings(block, name, self.codec.name()))
        };
        let keys: Vec<Option<String>> = lists.iter().map(key_of).collect();
        let asked: Vec<String> = keys.iter().flatten().cloned().collect();
        let hits = self.cache.get_multi(&asked).await;
        let decode = |(list, key): (&ListPlace, Option<String>)| {
            let key = key?;
            let refs = self.codec.decode(unsealed(&key, hits.get(&key)?)?, list.count)?;
            // The index says how many there must be, and where it ends.
            let is_right =
                refs.len() as u64 == list.count && refs.last().is_none_or(|last| last <= list.last_ref);
            is_right.then_some(refs)
        };
        lists.iter().zip(keys).map(decode).collect()
    }

    pub(super) fn keep_postings(&self, block: BlockId, list: &ListPlace, refs: &SeriesRefs) -> usize {
        match list.name {
            Some(name) => self.keep(keys::postings(block, name, self.codec.name()), refs),
            None => 0,
        }
    }

    fn keep(&self, key: String, refs: &SeriesRefs) -> usize {
        let Ok(mut value) = self.codec.encode(refs) else {
            return 0;
        };
        let sum = checksum(&key, &value);
        value.extend_from_slice(&SEAL);
        value.extend_from_slice(&sum.to_be_bytes());
        let bytes = value.len();
        self.cache.set_later(key, Bytes::from(value), self.ttl);
        bytes
    }

    pub(super) async fn entries(&self, block: BlockId, offsets: &[u64]) -> Vec<Option<Bytes>> {
        let keys: Vec<String> = offsets
            .iter()
            .map(|&offset| keys::series(block, offset))
            .collect();
        let hits = self.cache.get_multi(&keys).await;
        keys.iter().map(|key| framed(key, hits.get(key)?)).collect()
    }

    pub(super) fn keep_entry(&self, block: BlockId, offset: u64, bytes: &[u8]) -> usize {
        let key = keys::series(block, offset);
        let Some(value) = value_of(&key, bytes) else {
            return 0;
        };
        let len = value.len();
        self.cache.set_later(key, Bytes::from(value), self.ttl);
        len
    }
}

/// What is cached of the entry that `bytes` begin with: its body, and behind it a checksum over key and body. Thanos
/// reads the body and does not look behind it; what Thanos writes has no checksum, and is not believed.
fn value_of(key: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut len = 0usize;
    let mut prefix = None;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte < 0x80 {
            prefix = Some(at + 1);
            break;
        }
    }
    let body_start = prefix?;
    let body_end = body_start.checked_add(len)?;
    let body = bytes.get(body_start..body_end).filter(|body| !body.is_empty())?;
    let stored = bytes.get(body_end..)?.first_chunk::<CHECKSUM_BYTES>()?;
    if crc32c(body) != u32::from_be_bytes(*stored) {
        return None;
    }
    let mut value = body.to_vec();
    value.extend_from_slice(&checksum(key, body).to_be_bytes());
    Some(value)
}

/// What a list of series ends with, before the checksum over its key and all that is before: a chunk of the framed stream
/// that readers skip, Thanos among them. Without it a list could be another key's, and a stream that is cut between two
/// chunks looks whole. No later check makes up for that: a list of other series that is intersected with a true one
/// leaves nothing, and nobody would miss what it should have left. So what has no seal is not believed, which is all that
/// Thanos writes.
const SEAL: [u8; 4] = [0x99, 4, 0, 0];

/// What is before a seal that holds.
fn unsealed<'a>(key: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    let (sealed, stored) = value.split_last_chunk::<CHECKSUM_BYTES>()?;
    let list = sealed.strip_suffix(&SEAL)?;
    (checksum(key, list) == u32::from_be_bytes(*stored)).then_some(list)
}

/// Over the key as well, so that no value is taken for another's.
fn checksum(key: &str, body: &[u8]) -> u32 {
    crc32c(&[key.as_bytes(), body].concat())
}

/// The entry as the index has it.
fn framed(key: &str, value: &[u8]) -> Option<Bytes> {
    let (body, stored) = value.split_last_chunk::<CHECKSUM_BYTES>()?;
    if body.is_empty() || checksum(key, body) != u32::from_be_bytes(*stored) {
        return None;
    }
    let mut entry = Vec::with_capacity(value.len() + 5);
    put_uvarint(&mut entry, body.len() as u64);
    entry.extend_from_slice(body);
    entry.extend_from_slice(&crc32c(body).to_be_bytes());
    Some(Bytes::from(entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sabre_tsdb::index::{ChunkMeta, series::encode};

    use super::*;

    proptest! {
        #[test]
        fn entries_survive_and_flips_do_not(
            labels in proptest::collection::vec(any::<(u32, u32)>(), 1..30), bit in any::<prop::sample::Index>(),
        ) {
            let mut entry = Vec::new();
            encode(&labels, &[ChunkMeta { mint: 1, maxt: 2, chunk_ref: 8 }], &mut entry);
            let len = entry.len();
            entry.extend_from_slice(b"what follows");
            let mut value = value_of("k", &entry).unwrap();
            prop_assert_eq!(&framed("k", &value).unwrap()[..], &entry[..len]);
            prop_assert!(value_of("k", &entry[..len - 1]).is_none());
            prop_assert!(framed("another", &value).is_none());
            let at = bit.index(value.len() * 8);
            value[at / 8] ^= 1 << (at % 8);
            prop_assert!(framed("k", &value).is_none());
        }

        #[test]
        fn garbage_is_no_entry(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (value_of("k", &bytes), framed("k", &bytes));
        }
    }

    #[test]
    fn a_seal_is_a_chunk_that_readers_of_the_stream_skip() {
        use std::io::Read;

        let refs = SeriesRefs::from_sorted([5, 7]);
        let mut value = Codec::Snappy.encode(&refs).unwrap();
        let sum = checksum("k", &value);
        value.extend_from_slice(&SEAL);
        value.extend_from_slice(&sum.to_be_bytes());
        let mut read = Vec::new();
        snap::read::FrameDecoder::new(&value[3..])
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, refs.deltas());
        assert!(unsealed("k", &value).is_some() && unsealed("another", &value).is_none());
        assert!(unsealed("k", &value[..value.len() - 8]).is_none());
    }

    #[test]
    fn an_entry_without_checksum_is_not_believed() {
        let mut entry = Vec::new();
        encode(
            &[(1, 2)],
            &[ChunkMeta {
                mint: 1,
                maxt: 2,
                chunk_ref: 8,
            }],
            &mut entry,
        );
        let value = value_of("k", &entry).unwrap();
        assert!(framed("k", &value[..value.len() - CHECKSUM_BYTES]).is_none());
        assert!(framed("k", b"").is_none());
    }
}
