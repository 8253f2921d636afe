//! Counting gRPC messages as their bytes go by.

use bytes::Bytes;
use http_body::Frame;

use crate::{metrics::Counter, observed_body::Observer};

/// Every message begins with a flag and its length.
const PREFIX_BYTES: usize = 5;

/// Finds where messages begin in a stream that is cut anywhere.
#[derive(Debug, Default)]
pub(super) struct MessageScan {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    /// Bytes of the current message still to come.
    body_left: usize,
}

/// Counts the messages of a request.
#[derive(Debug)]
pub(super) struct Received {
    scan: MessageScan,
    counter: Counter,
}

impl MessageScan {
    /// Returns how many messages begin in `data`, by the completion of their prefix.
    pub(super) fn count(&mut self, data: &[u8]) -> u64 {
        let mut found = 0;
        let mut rest = data;
        while !rest.is_empty() {
            if self.body_left > 0 {
                let skipped = self.body_left.min(rest.len());
                self.body_left -= skipped;
                rest = rest.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = PREFIX_BYTES.saturating_sub(self.prefix_filled).min(rest.len());
            let (head, tail) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
            let space = self.prefix.get_mut(self.prefix_filled..).unwrap_or_default();
            space.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            self.prefix_filled += wanted;
            rest = tail;
            if self.prefix_filled == PREFIX_BYTES {
                let [_flag, length @ ..] = self.prefix;
                self.body_left = u32::from_be_bytes(length) as usize;
                self.prefix_filled = 0;
                found += 1;
            }
        }
        found
    }
}

impl Received {
    pub(super) fn new(counter: Counter) -> Self {
        Self {
            scan: MessageScan::default(),
            counter,
        }
    }
}

impl Observer for Received {
    fn frame(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.counter.inc_by(self.scan.count(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::MessageScan;

    fn stream(lengths: &[usize]) -> Vec<u8> {
        let message = |length: &usize| {
            let prefix = [&[0][..], &u32::try_from(*length).unwrap().to_be_bytes()].concat();
            [prefix, vec![0xff; *length]].concat()
        };
        lengths.iter().flat_map(message).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn messages_are_counted_however_the_stream_is_cut(
            lengths in prop::collection::vec(0..40_usize, 0..12),
            cut in 1..30_usize,
        ) {
            let mut scan = MessageScan::default();
            let bytes = stream(&lengths);
            let found: u64 = bytes.chunks(cut).map(|chunk| scan.count(chunk)).sum();
            prop_assert_eq!(found, lengths.len() as u64);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            MessageScan::default().count(&bytes);
        }
    }
}
