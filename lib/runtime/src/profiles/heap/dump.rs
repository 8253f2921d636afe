//! What jemalloc writes of its samples: `heap_v2/` and the mean number of bytes between two samples, then for each stack
//! `@` and its addresses, and how many objects and bytes of it were sampled, `t*: held: bytes [taken: bytes]`.

/// What is sampled of an allocator that says it wrongly is not more than this.
const MAX_STACKS: usize = 1 << 20;

/// Samples by stack.
#[derive(Debug, PartialEq)]
pub(super) struct Dump {
    /// The mean number of bytes between two samples.
    pub(super) period_bytes: u64,
    stacks: Vec<(Vec<u64>, Counts)>,
}

/// Objects and bytes that were sampled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    held: u64,
    held_bytes: u64,
    taken: u64,
    taken_bytes: u64,
}

impl Dump {
    /// Reads it; what stands in it besides is passed over.
    ///
    /// # Errors
    /// When it does not begin as such a text does.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let period = head
            .strip_prefix("heap_v2/")
            .and_then(|period| period.trim().parse().ok());
        let Some(period_bytes) = period else {
            let shown: String = head.chars().take(40).collect();
            return Err(format!("the allocator wrote no heap_v2 but: {shown}"));
        };
        let mut stacks = Vec::new();
        let mut addresses = None;
        for line in lines {
            let line = line.trim();
            if line == "MAPPED_LIBRARIES:" || stacks.len() >= MAX_STACKS {
                break;
            }
            if let Some(list) = line.strip_prefix('@') {
                addresses = Some(list.split_whitespace().filter_map(address).collect::<Vec<u64>>());
            } else if let Some(counts) = line.strip_prefix("t*:").and_then(counts)
                && let Some(addresses) = addresses.take()
            {
                stacks.push((addresses, counts));
            }
        }
        Ok(Self { period_bytes, stacks })
    }

    /// Stacks with what there was of them in all, as far as the samples tell: objects and bytes taken, and held.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (&[u64], [i64; 4])> {
        self.stacks.iter().map(|(addresses, counts)| {
            let [taken, taken_bytes] = scaled(counts.taken, counts.taken_bytes, self.period_bytes);
            let [held, held_bytes] = scaled(counts.held, counts.held_bytes, self.period_bytes);
            (addresses.as_slice(), [taken, taken_bytes, held, held_bytes])
        })
    }
}

fn address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Reads `held: bytes [taken: bytes]`.
fn counts(text: &str) -> Option<Counts> {
    let (held, taken) = text.split_once('[')?;
    let pair = |text: &str| -> Option<(u64, u64)> {
        let (objects, bytes) = text.split_once(':')?;
        Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
    };
    let (held, held_bytes) = pair(held)?;
    let (taken, taken_bytes) = pair(taken.trim_end().strip_suffix(']')?)?;
    Some(Counts {
        held,
        held_bytes,
        taken,
        taken_bytes,
    })
}

/// An allocation of n bytes is sampled with a probability of 1 - exp(-n / period), and stands for so many more.
fn scaled(objects: u64, bytes: u64, period_bytes: u64) -> [i64; 2] {
    if objects == 0 || bytes == 0 || period_bytes == 0 {
        return [0, 0];
    }
    let (objects, bytes) = (objects as f64, bytes as f64);
    let probability = 1.0 - (-(bytes / objects) / period_bytes as f64).exp();
    [objects, bytes].map(|value| (value / probability).round() as i64)
}

/// A text of two stacks.
#[cfg(test)]
pub(crate) const EXAMPLE: &str = "heap_v2/1000\n  t*: 3: 3000 [5: 5000]\n  t0: 3: 3000 [5: 5000]\n\
    @ 0x10 0x2f\n  t*: 1: 1000 [2: 2000]\n  t0: 1: 1000 [2: 2000]\n\
    @ 0x10 0x30 0x40\n  t*: 0: 0 [3: 3000000]\n\
    \nMAPPED_LIBRARIES:\n@ 0x99\n  t*: 1: 1 [1: 1]\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stacks_are_read_and_stand_for_all_that_was_not_sampled() {
        let dump = Dump::parse(EXAMPLE).unwrap();
        assert_eq!(dump.period_bytes, 1000);
        let stacks: Vec<(&[u64], [i64; 4])> = dump.stacks().collect();
        // Of allocations as long as the period 63 % are sampled, of those a thousand times as long all.
        assert_eq!(
            stacks,
            [
                (&[0x10, 0x2f][..], [3, 3164, 2, 1582]),
                (&[0x10, 0x30, 0x40][..], [3, 3_000_000, 0, 0]),
            ]
        );
    }

    #[test]
    fn what_is_no_such_text_is_refused_and_odd_lines_are_passed_over() {
        for text in ["", "heap profile: 1: 2", "heap_v2/", "heap_v2/x\n@ 0x1\n"] {
            let error = Dump::parse(text).unwrap_err();
            assert!(
                error.starts_with("the allocator wrote no heap_v2 but: "),
                "{error}"
            );
        }
        let odd = "heap_v2/8\n@ 0x1 zz 0xg 0x2\nhello\n  t*: 1: 2\n  t*: a: 2 [1: 2]\n  t*: 1: 2 [1: 2]\n  t*: 9: 9 [9: 9]\n";
        let dump = Dump::parse(odd).unwrap();
        let addresses: Vec<&[u64]> = dump.stacks().map(|(addresses, _)| addresses).collect();
        assert_eq!(addresses, [&[1, 2][..]]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(heap_v2/[0-9]{1,20}\n)?([@t*:\\[\\]0-9a-fx \n]|.){0,200}") {
            if let Ok(dump) = Dump::parse(&text) {
                for (_, values) in dump.stacks() {
                    prop_assert!(values.iter().all(|value| *value >= 0));
                }
            }
        }
    }
}
