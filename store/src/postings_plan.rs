//! From matchers to postings: which lists of a block's index to fetch, and how to combine them.

use std::collections::BTreeMap;

use sabre_model::{MatchKind, Matcher};

/// The part of a block's index that tells where postings lists lie.
pub(crate) trait LabelIndex {
    /// Where a list lies.
    type List;
    /// What may go wrong.
    type Error;

    /// The list of the series that have this label.
    fn list(&self, name: &str, value: &str) -> Result<Option<Self::List>, Self::Error>;

    /// Visits the values of a label that begin with `prefix`, each with its list, in ascending order.
    fn visit(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, Self::List),
    ) -> Result<(), Self::Error>;

    /// The list of all series.
    fn all(&self) -> Result<Option<Self::List>, Self::Error>;
}

/// What to fetch for a set of matchers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan<L> {
    /// No series can match.
    Empty,
    /// The series in every group of `adds` (the union of the lists of a group) and in no list of `removes`.
    Select {
        /// At least one group; each has at least one list.
        adds: Vec<Vec<L>>,
        /// Lists of series to leave out.
        removes: Vec<L>,
    },
}

/// What the matchers of one label name select.
enum Group<L> {
    /// Only series in one of these lists.
    Only(Vec<L>),
    /// All series but those in one of these lists; a series without the label stays.
    Except(Vec<L>),
}

/// Plans the lookup of all `matchers`. Without any matcher nothing is selected, as Thanos has it.
pub(crate) fn plan<I: LabelIndex>(index: &I, matchers: &[Matcher]) -> Result<Plan<I::List>, I::Error> {
    let mut by_name: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
    for matcher in matchers {
        by_name.entry(matcher.name()).or_default().push(matcher);
    }
    if by_name.is_empty() {
        return Ok(Plan::Empty);
    }
    let mut adds = Vec::new();
    let mut removes = Vec::new();
    for (name, matchers) in by_name {
        match group(index, name, &matchers)? {
            Group::Only(lists) if lists.is_empty() => return Ok(Plan::Empty),
            Group::Only(lists) => adds.push(lists),
            Group::Except(lists) => removes.extend(lists),
        }
    }
    if adds.is_empty() {
        match index.all()? {
            Some(all) => adds.push(vec![all]),
            None => return Ok(Plan::Empty),
        }
    }
    Ok(Plan::Select { adds, removes })
}

fn group<I: LabelIndex>(index: &I, name: &str, matchers: &[&Matcher]) -> Result<Group<I::List>, I::Error> {
    let selects = |value: &str| matchers.iter().all(|matcher| matcher.matches(value));
    if selects("") {
        return excluded(index, name, matchers).map(Group::Except);
    }
    if matchers.iter().any(|matcher| selects_nothing(matcher)) {
        return Ok(Group::Only(Vec::new()));
    }
    let candidates = matchers
        .iter()
        .filter_map(|matcher| required_values(matcher))
        .min_by_key(|values| values.len());
    let lists = match candidates {
        Some(values) => lists_of(index, name, values.into_iter().filter(|value| selects(value)))?,
        None => {
            let prefix = matchers
                .iter()
                .filter_map(|matcher| required_prefix(matcher))
                .max_by_key(|p| p.len());
            let mut lists = Vec::new();
            index.visit(name, prefix.unwrap_or(""), &mut |value, list| {
                if selects(value) {
                    lists.push(list);
                }
            })?;
            lists
        }
    };
    Ok(Group::Only(lists))
}

/// The lists of the values that some matcher refuses, although all of them accept a series without the label.
fn excluded<I: LabelIndex>(index: &I, name: &str, matchers: &[&Matcher]) -> Result<Vec<I::List>, I::Error> {
    let mut values: Vec<&str> = Vec::new();
    for matcher in matchers {
        match refused_values(matcher) {
            Some(refused) => values.extend(refused),
            None => return excluded_by_scan(index, name, matchers),
        }
    }
    values.sort_unstable();
    values.dedup();
    lists_of(index, name, values.into_iter())
}

fn excluded_by_scan<I: LabelIndex>(
    index: &I,
    name: &str,
    matchers: &[&Matcher],
) -> Result<Vec<I::List>, I::Error> {
    let mut lists = Vec::new();
    index.visit(name, "", &mut |value, list| {
        if !matchers.iter().all(|matcher| matcher.matches(value)) {
            lists.push(list);
        }
    })?;
    Ok(lists)
}

fn lists_of<'a, I: LabelIndex>(
    index: &I,
    name: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<Vec<I::List>, I::Error> {
    let mut lists = Vec::new();
    for value in values.filter(|value| !value.is_empty()) {
        lists.extend(index.list(name, value)?);
    }
    Ok(lists)
}

/// `!~".*"`, which no value passes.
fn selects_nothing(matcher: &Matcher) -> bool {
    matcher.kind() == MatchKind::Nre && matcher.value() == ".*"
}

/// The only values a matcher accepts, if they are few enough to be listed.
fn required_values(matcher: &Matcher) -> Option<Vec<&str>> {
    match matcher.kind() {
        MatchKind::Eq => Some(vec![matcher.value()]),
        MatchKind::Re => literals(matcher),
        MatchKind::Neq | MatchKind::Nre => None,
    }
}

/// The only values a matcher refuses, if they are few enough to be listed.
fn refused_values(matcher: &Matcher) -> Option<Vec<&str>> {
    match matcher.kind() {
        MatchKind::Neq => Some(vec![matcher.value()]),
        MatchKind::Nre => literals(matcher),
        MatchKind::Re if matcher.value() == ".*" => Some(Vec::new()),
        MatchKind::Eq | MatchKind::Re => None,
    }
}

fn literals(matcher: &Matcher) -> Option<Vec<&str>> {
    Some(matcher.literals()?.iter().map(String::as_str).collect())
}

/// What every accepted value begins with.
fn required_prefix(matcher: &Matcher) -> Option<&str> {
    match matcher.kind() {
        MatchKind::Re => matcher.prefix(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
