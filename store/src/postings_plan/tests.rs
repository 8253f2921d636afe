use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use proptest::prelude::*;

use super::*;

type Series = BTreeMap<String, String>;

/// An index in memory whose lists are the sets of series numbers themselves.
struct Naive {
    series: Vec<Series>,
    visited: Cell<usize>,
}

impl Naive {
    fn new(series: Vec<Series>) -> Self {
        Self {
            series,
            visited: Cell::new(0),
        }
    }

    fn having(&self, keep: impl Fn(&Series) -> bool) -> BTreeSet<usize> {
        (0..self.series.len())
            .filter(|&n| keep(&self.series[n]))
            .collect()
    }

    fn select(&self, matchers: &[Matcher]) -> BTreeSet<usize> {
        let Ok(plan) = plan(self, matchers);
        match plan {
            Plan::Empty => BTreeSet::new(),
            Plan::Select { adds, removes } => {
                let mut groups = adds
                    .iter()
                    .map(|lists| lists.iter().flatten().copied().collect::<BTreeSet<_>>());
                let first = groups.next().unwrap();
                let both = groups.fold(first, |all, group| all.intersection(&group).copied().collect());
                both.into_iter()
                    .filter(|n| !removes.iter().any(|list| list.contains(n)))
                    .collect()
            }
        }
    }
}

impl LabelIndex for Naive {
    type List = BTreeSet<usize>;
    type Error = Infallible;

    fn list(&self, name: &str, value: &str) -> Result<Option<BTreeSet<usize>>, Infallible> {
        assert_ne!(value, "", "no list has an empty value");
        let list = self.having(|series| series.get(name).is_some_and(|other| other == value));
        Ok(Some(list).filter(|list| !list.is_empty()))
    }

    fn visit(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, BTreeSet<usize>),
    ) -> Result<(), Infallible> {
        let values: BTreeSet<&String> = self.series.iter().filter_map(|series| series.get(name)).collect();
        for value in values.into_iter().filter(|value| value.starts_with(prefix)) {
            self.visited.set(self.visited.get() + 1);
            visit(value, self.having(|series| series.get(name) == Some(value)));
        }
        Ok(())
    }

    fn all(&self) -> Result<Option<BTreeSet<usize>>, Infallible> {
        Ok(Some(self.having(|_| true)))
    }
}

fn series(text: &str) -> Series {
    text.split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn four() -> Naive {
    Naive::new(vec![
        series("n=x"),
        series("n=x a=1"),
        series("n=x a=2"),
        series("n=y a=11"),
    ])
}

fn selected(kind: MatchKind, name: &str, value: &str) -> Vec<usize> {
    four()
        .select(&[Matcher::new(kind, name, value).unwrap()])
        .into_iter()
        .collect()
}

use MatchKind::{Eq, Neq, Nre, Re};

#[test]
fn the_table_of_matchers() {
    assert_eq!(selected(Re, "a", ".*"), [0, 1, 2, 3]);
    assert_eq!(selected(Nre, "a", ".*"), Vec::<usize>::new());
    assert_eq!(selected(Neq, "a", "1"), [0, 2, 3]);
    assert_eq!(selected(Nre, "a", "1|2"), [0, 3]);
    assert_eq!(selected(Eq, "a", ""), [0]);
    assert_eq!(selected(Re, "a", ""), [0]);
    assert_eq!(selected(Nre, "a", ".+"), [0]);
    assert_eq!(selected(Re, "a", "1?"), [0, 1]);
    assert_eq!(selected(Eq, "a", "1"), [1]);
    assert_eq!(selected(Re, "a", "1|2|7"), [1, 2]);
    assert_eq!(selected(Neq, "a", ""), [1, 2, 3]);
    assert_eq!(selected(Nre, "a", ""), [1, 2, 3]);
    assert_eq!(selected(Re, "a", ".+"), [1, 2, 3]);
    assert_eq!(selected(Re, "a", "1.*"), [1, 3]);
    assert_eq!(selected(Nre, "a", "|1"), [2, 3]);
    assert_eq!(selected(Re, "a", "|1"), [0, 1]);
}

#[test]
fn no_matchers_select_nothing() {
    assert!(four().select(&[]).is_empty());
}

#[test]
fn an_unknown_label_is_an_empty_one() {
    assert_eq!(selected(Eq, "zz", "1"), Vec::<usize>::new());
    assert_eq!(selected(Neq, "zz", "1"), [0, 1, 2, 3]);
    assert_eq!(selected(Eq, "", ""), [0, 1, 2, 3]);
    assert_eq!(selected(Eq, "", "x"), Vec::<usize>::new());
}

#[test]
fn a_prefix_narrows_the_scan_and_literals_avoid_it() {
    let index = four();
    index.select(&[Matcher::new(Re, "a", "1.+").unwrap()]);
    assert_eq!(index.visited.get(), 2);
    let index = four();
    index.select(&[
        Matcher::new(Re, "a", "1|2").unwrap(),
        Matcher::new(Nre, "a", ".*2").unwrap(),
    ]);
    index.select(&[
        Matcher::new(Neq, "a", "1").unwrap(),
        Matcher::new(Nre, "a", "2|3").unwrap(),
    ]);
    assert_eq!(index.visited.get(), 0);
}

proptest! {
    #[test]
    fn equals_matching_every_series(
        block in proptest::collection::vec(proptest::collection::btree_map("[ab]", "[12]{1,2}", 0..3), 0..12),
        matchers in proptest::collection::vec((0u8..4, "[abc]", "(\\||[12]|\\.\\*|\\.\\+|1\\.\\*|1\\|2|1?){0,2}"), 1..4),
    ) {
        let kinds = [Eq, Neq, Re, Nre];
        let matchers: Vec<Matcher> = matchers.iter()
            .filter_map(|(kind, name, value)| Matcher::new(kinds[usize::from(*kind)], name, value).ok()).collect();
        prop_assume!(!matchers.is_empty());
        let index = Naive::new(block);
        let naive = index.having(|series| matchers.iter()
            .all(|m| m.matches(series.get(m.name()).map_or("", String::as_str))));
        prop_assert_eq!(index.select(&matchers), naive);
    }
}
