//! Labels of one series after the other as messages have them: what neighbours have in common is encoded once.

use sabre_proto::flat::encode_label;

use crate::key;

/// The encoded labels of a series, from its key.
#[derive(Debug, Default)]
pub(crate) struct EncodedLabels<'a> {
    /// The key they were made of.
    key: &'a [u8],
    bytes: Vec<u8>,
    /// The ends of labels that are text.
    ends: Vec<End>,
}

/// Where a label ends in the key, and where in what it was encoded to.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    key: usize,
    bytes: usize,
}

impl<'a> EncodedLabels<'a> {
    /// Goes on to another series.
    pub(crate) fn of(&mut self, key: &'a [u8]) -> &[u8] {
        let common = common_bytes(self.key, key);
        self.ends
            .truncate(self.ends.partition_point(|end| end.key <= common));
        let mut end = self.ends.last().copied().unwrap_or_default();
        self.key = key;
        self.bytes.truncate(end.bytes);
        let rest = key.get(end.key..).unwrap_or_default();
        match key::text_labels(rest) {
            Some(labels) => {
                for (name, value) in labels {
                    encode_label(name, value, &mut self.bytes);
                    // Each of both is followed by a zero byte.
                    end.key += name.len() + value.len() + 2;
                    end.bytes = self.bytes.len();
                    self.ends.push(end);
                }
            }
            // Texts with control characters take the slow way.
            None => {
                for (name, value) in key::labels(rest) {
                    let (name, value) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
                    encode_label(&name, &value, &mut self.bytes);
                }
            }
        }
        &self.bytes
    }
}

/// How many bytes two keys begin with that are the same.
fn common_bytes(a: &[u8], b: &[u8]) -> usize {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a_words.iter().zip(b_words);
    let same = words.take_while(|(a, b)| a == b).count();
    match (a_words.get(same), b_words.get(same)) {
        (Some(a), Some(b)) => {
            let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
            same * 8 + (differing.trailing_zeros() / 8) as usize
        }
        // The shorter one ends within these eight bytes.
        (a, b) => {
            let a = a.map_or(a_rest, <[u8; 8]>::as_slice).iter();
            let b = b.map_or(b_rest, <[u8; 8]>::as_slice).iter();
            same * 8 + a.zip(b).take_while(|(a, b)| a == b).count()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series() -> impl Strategy<Value = Vec<(String, String)>> {
        let texts = proptest::collection::vec(("[ab\u{1}]{1,3}", "[xyz\u{0}\u{1}é]{0,9}"), 0..6);
        // Few have control characters, and many begin alike.
        (texts, any::<bool>()).prop_map(|(mut labels, is_text)| {
            if is_text {
                for (name, value) in &mut labels {
                    *name = name.replace('\u{1}', "c");
                    *value = value.replace(['\u{0}', '\u{1}'], "");
                }
            }
            labels
        })
    }

    proptest! {
        #[test]
        fn labels_are_encoded_the_same_whatever_came_before(
            all in proptest::collection::vec((series(), 0usize..5), 1..8),
        ) {
            let mut before: Vec<(String, String)> = Vec::new();
            let mut whole = Vec::new();
            for (own, shared) in all {
                let mut labels: Vec<_> = before.iter().take(shared).cloned().collect();
                labels.extend(own);
                whole.push(labels.clone());
                before = labels;
            }
            let key = |labels: &Vec<(String, String)>| key::from_labels(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let keys: Vec<Vec<u8>> = whole.iter().map(key).collect();
            let mut encoded = EncodedLabels::default();
            for (labels, key) in whole.iter().zip(&keys) {
                let mut expected = Vec::new();
                labels.iter().for_each(|(name, value)| encode_label(name, value, &mut expected));
                prop_assert_eq!(encoded.of(key), expected);
            }
        }

        #[test]
        fn what_is_common_ends_at_the_first_difference(
            a in proptest::collection::vec(0u8..2, 0..40), b in proptest::collection::vec(0u8..2, 0..40), common in 0usize..30,
        ) {
            let mut b = b;
            b.splice(..b.len().min(common), a.iter().take(common).copied());
            let expected = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common_bytes(&a, &b), expected);
        }
    }
}
