//! Which server has a key: all that share a fleet of servers must say the same.

use std::cmp::Ordering;

use xxhash_rust::xxh64::xxh64;

/// Servers in the order that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    sorted: Vec<String>,
}

impl Servers {
    /// Puts addresses in their order; one that comes twice gets twice as many keys.
    pub(crate) fn new(mut addresses: Vec<String>) -> Self {
        addresses.sort_by(|a, b| natural_order(a, b));
        Self { sorted: addresses }
    }

    /// The server of a key; `None` if there are no servers.
    pub(crate) fn of(&self, key: &str) -> Option<&str> {
        let at = match self.sorted.len() {
            0 => return None,
            1 => 0,
            many => jump_hash(xxh64(key.as_bytes(), 0), many),
        };
        self.sorted.get(at).map(String::as_str)
    }

    /// All servers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(String::as_str)
    }
}

/// Lamping and Veach's hash: a bucket below `buckets`, which must not be zero.
fn jump_hash(mut key: u64, buckets: usize) -> usize {
    let mut bucket = 0i64;
    let mut next = 0i64;
    while next < i64::try_from(buckets).unwrap_or(i64::MAX) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let scale = (1u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * scale) as i64;
    }
    usize::try_from(bucket).unwrap_or(0)
}

/// Runs of digits are compared as numbers, everything else as bytes.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        let (first_a, rest_a) = first_run(a);
        let (first_b, rest_b) = first_run(b);
        let order = match (number(first_a), number(first_b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => first_a.cmp(first_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The longest beginning of digits only, or of none.
fn first_run(text: &str) -> (&str, &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let starts_with_digit = text.starts_with(is_digit);
    let end = text
        .find(|c: char| is_digit(c) != starts_with_digit)
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn number(run: &str) -> Option<i64> {
    run.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hash_gives_the_numbers_of_its_authors() {
        // The test vectors that go with the published algorithm.
        let of_one: Vec<usize> = (1..=10).map(|n| jump_hash(1, n)).collect();
        assert_eq!(of_one, [0, 0, 0, 0, 0, 0, 6, 6, 6, 6]);
        assert_eq!(jump_hash(256, 1024), 520);
        assert_eq!(jump_hash(0xdead_10cc, 1), 0);
        assert_eq!(jump_hash(0xdead_10cc, 666), 361);
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let servers = Servers::new(
            [
                "cache-10:11211",
                "cache-9:11211",
                "10.0.0.10:11211",
                "10.0.0.9:11211",
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        assert_eq!(
            servers.iter().collect::<Vec<_>>(),
            [
                "10.0.0.9:11211",
                "10.0.0.10:11211",
                "cache-9:11211",
                "cache-10:11211"
            ]
        );
    }

    #[test]
    fn the_order_of_a_list_says_nothing() {
        let names = |order: [usize; 3]| Servers::new(order.map(|n| format!("c-{n}:1")).to_vec());
        let (a, b) = (names([0, 1, 2]), names([2, 0, 1]));
        for n in 0..100 {
            let key = format!("S:01H000000000000000000000000:{n}");
            assert_eq!(a.of(&key), b.of(&key));
        }
        let used: std::collections::BTreeSet<_> = (0..100)
            .filter_map(|n| a.of(&n.to_string()).map(str::to_owned))
            .collect();
        assert_eq!(used.len(), 3);
        assert_eq!(Servers::default().of("x"), None);
    }

    #[test]
    fn a_server_more_moves_few_keys() {
        let names = |count: usize| Servers::new((0..count).map(|n| format!("c-{n}:1")).collect());
        let (before, after) = (names(9), names(10));
        let moved = (0..1000)
            .filter(|n| before.of(&n.to_string()) != after.of(&n.to_string()))
            .count();
        assert!((50..200).contains(&moved), "{moved}");
    }
}
