//! Sets of series references as sorted lists: intersection, union, difference.
//!
//! Lists ascend and have each element once, as postings lists of an index do; so do the results. From lists that
//! do not, nothing can be expected but that the functions return.

#[cfg(test)]
mod tests;

/// Elements that are in all lists; none where there are no lists.
///
/// Starts with the shortest list and looks its elements up in the others, by galloping: the cost depends on the
/// shortest list far more than on the longest.
pub fn intersect<T: Copy + Ord>(lists: &[&[T]]) -> Vec<T> {
    let mut by_length = lists.to_vec();
    by_length.sort_by_key(|list| list.len());
    let Some((shortest, others)) = by_length.split_first() else {
        return Vec::new();
    };
    let mut common = shortest.to_vec();
    for other in others {
        if common.is_empty() {
            break;
        }
        let mut rest = *other;
        common.retain(|element| {
            rest = skip_below(rest, *element);
            rest.first() == Some(element)
        });
    }
    common
}

/// Elements that are in any of the lists.
pub fn union<T: Copy + Ord>(lists: &[&[T]]) -> Vec<T> {
    match lists {
        [] => Vec::new(),
        [list] => list.to_vec(),
        [a, b] => union_of_two(a, b),
        lists => {
            let mut all = lists.concat();
            // The stable sort of the standard library finds the ascending runs, which the lists are, and merges
            // them. Measured on a million elements: faster than a heap for any number of lists, 15 times for a
            // million of one element.
            all.sort();
            all.dedup();
            all
        }
    }
}

/// Elements of `list` that are not in `without`.
pub fn subtract<T: Copy + Ord>(list: &[T], without: &[T]) -> Vec<T> {
    let mut kept = Vec::with_capacity(list.len());
    let (mut list, mut without) = (list, without);
    while let (Some(element), Some(unwanted)) = (list.first(), without.first()) {
        if element < unwanted {
            let rest = skip_below(list, *unwanted);
            let (before, _) = list.split_at(list.len() - rest.len());
            kept.extend_from_slice(before);
            list = rest;
        } else {
            without = skip_below(without, *element);
            if without.first() != Some(element) {
                kept.push(*element);
            }
            list = list.get(1..).unwrap_or_default();
        }
    }
    kept.extend_from_slice(list);
    kept
}

fn union_of_two<T: Copy + Ord>(a: &[T], b: &[T]) -> Vec<T> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a, b);
    while let (Some((first_a, rest_a)), Some((first_b, rest_b))) = (a.split_first(), b.split_first()) {
        all.push(*first_a.min(first_b));
        if first_a <= first_b {
            a = rest_a;
        }
        if first_b <= first_a {
            b = rest_b;
        }
    }
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    all
}

/// What is left of `list` from the first element on that is not below `bound`.
///
/// Looks 1, 2, 4, 8 … elements ahead until it is past the bound, then searches the last stretch: near targets
/// are found in a step or two, far ones in the logarithm of their distance.
fn skip_below<T: Copy + Ord>(list: &[T], bound: T) -> &[T] {
    let mut stretch = 1;
    let mut rest = list;
    loop {
        match rest.get(stretch - 1) {
            Some(element) if *element < bound => {
                rest = rest.get(stretch..).unwrap_or_default();
                stretch *= 2;
            }
            _ => break,
        }
    }
    let last_stretch = rest.get(..stretch).unwrap_or(rest);
    let below = last_stretch.partition_point(|element| *element < bound);
    rest.get(below..).unwrap_or_default()
}
