//! Whom to ask: values only.

use std::collections::BTreeSet;

use sabre_model::{
    Labels, MatchKind, Matcher,
    relabel::{RelabelConfig, keep},
};

use crate::endpoints::PeerInfo;

/// The label that matchers of `storeMatch[]` know an endpoint's address by.
const ADDRESS: &str = "__address__";

/// What a request asks for, as far as it decides who can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The first time, in milliseconds.
    pub(crate) mint: i64,
    /// The last time, in milliseconds.
    pub(crate) maxt: i64,
    /// All must match.
    pub(crate) matchers: &'a [Matcher],
    /// One of these sets must match; empty for no such condition.
    pub(crate) store_matchers: &'a [Vec<Matcher>],
}

/// Why an endpoint is not asked; `None` if it is.
pub(crate) fn refusal(wanted: &Wanted<'_>, address: &str, peer: &PeerInfo) -> Option<&'static str> {
    let store = &peer.store;
    if store.mint > wanted.maxt || wanted.mint > store.maxt {
        return Some("it has no data of the time range");
    }
    if !fits_store_matchers(wanted.store_matchers, address, &peer.label_sets) {
        return Some("it is not among the stores that are asked for");
    }
    if !may_match(wanted.matchers, &peer.label_sets) {
        return Some("its external labels do not match");
    }
    None
}

/// Whether some series behind these external labels may match; without labels any may.
pub(crate) fn may_match(matchers: &[Matcher], label_sets: &[Labels]) -> bool {
    let fits = |set: &Labels| {
        let contradicts = |matcher: &Matcher| {
            set.get(matcher.name())
                .is_some_and(|value| !matcher.matches(value))
        };
        !matchers.iter().any(contradicts)
    };
    label_sets.is_empty() || label_sets.iter().any(fits)
}

fn fits_store_matchers(sets: &[Vec<Matcher>], address: &str, label_sets: &[Labels]) -> bool {
    if sets.is_empty() {
        return true;
    }
    let none = [Labels::default()];
    let label_sets = if label_sets.is_empty() { &none } else { label_sets };
    let fits = |matchers: &Vec<Matcher>, labels: &Labels| {
        matchers.iter().all(|matcher| match matcher.name() {
            ADDRESS => matcher.matches(address),
            // A label the store does not have does not exclude it, as for the matchers of series.
            name => labels.get(name).is_none_or(|value| matcher.matches(value)),
        })
    };
    sets.iter()
        .any(|matchers| label_sets.iter().any(|labels| fits(matchers, labels)))
}

/// What is left of the matchers once those on the querier's own labels were tried; `None` if one of these fails.
pub(crate) fn without_own(matchers: &[Matcher], own: &Labels) -> Option<Vec<Matcher>> {
    let mut left = Vec::new();
    for matcher in matchers {
        match own.get(matcher.name()) {
            Some(value) if !matcher.matches(value) => return None,
            Some(_) => {}
            None => left.push(matcher.clone()),
        }
    }
    Some(left)
}

/// What series must match besides, so that only those come whose external labels the selector picks; `None` if it
/// picks none. Who has no external labels is asked for everything.
pub(crate) fn picked(selector: &[RelabelConfig], label_sets: &[Labels]) -> Option<Vec<Matcher>> {
    if selector.is_empty() || label_sets.is_empty() {
        return Some(Vec::new());
    }
    let picked = label_sets
        .iter()
        .filter(|set| keep(selector, (*set).clone()).is_some());
    let picked: Vec<&Labels> = picked.collect();
    if picked.is_empty() {
        return None;
    }
    if picked.len() == label_sets.len() {
        return Some(Vec::new());
    }
    let names: BTreeSet<&str> = picked
        .iter()
        .flat_map(|set| set.iter())
        .map(|(name, _)| name)
        .collect();
    let matcher = |name: &&str| {
        // A set without the label stands for the empty text, as for any matcher.
        let values = picked.iter().map(|set| set.get(name).unwrap_or_default());
        let values: BTreeSet<String> = values.map(escaped).collect();
        let any = values.into_iter().collect::<Vec<_>>().join("|");
        // Escaped texts are expressions; one that is too long for Go's limits is left out, which only asks for more.
        Matcher::new(MatchKind::Re, *name, any).ok()
    };
    Some(names.iter().filter_map(matcher).collect())
}

/// The text as an expression for itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use sabre_model::selector::parse_selector;

    use super::*;
    use crate::endpoints::StoreFacts;

    fn peer(sets: &[&[(&str, &str)]]) -> PeerInfo {
        PeerInfo {
            label_sets: sets
                .iter()
                .map(|set| Labels::from_pairs(set.iter().copied()).unwrap())
                .collect(),
            store: StoreFacts {
                mint: 100,
                maxt: 200,
                ..StoreFacts::default()
            },
            ..PeerInfo::default()
        }
    }

    fn asked(peer: &PeerInfo, times: (i64, i64), matchers: &str, stores: &[&str]) -> bool {
        let wanted = Wanted {
            mint: times.0,
            maxt: times.1,
            matchers: &parse_selector(matchers).unwrap(),
            store_matchers: &stores
                .iter()
                .map(|text| parse_selector(text).unwrap())
                .collect::<Vec<_>>(),
        };
        refusal(&wanted, "host-1:10901", peer).is_none()
    }

    #[test]
    fn both_ends_of_the_time_range_count() {
        let peer = peer(&[]);
        for (times, expected) in [
            ((0, 99), false),
            ((0, 100), true),
            ((200, 300), true),
            ((201, 300), false),
        ] {
            assert_eq!(asked(&peer, times, "up", &[]), expected, "{times:?}");
        }
    }

    #[test]
    fn a_set_of_external_labels_that_contradicts_excludes_unless_another_does_not() {
        let all = (0, 1000);
        let one = peer(&[&[("cluster", "a"), ("replica", "0")]]);
        assert!(asked(&one, all, r#"up{cluster="a"}"#, &[]));
        assert!(!asked(&one, all, r#"up{cluster="b"}"#, &[]));
        assert!(!asked(&one, all, r#"up{cluster!~"a|c"}"#, &[]));
        assert!(
            asked(&one, all, r#"up{other="b"}"#, &[]),
            "labels of series are not known"
        );
        let two = peer(&[&[("cluster", "a")], &[("cluster", "b")]]);
        assert!(asked(&two, all, r#"up{cluster="b"}"#, &[]));
        assert!(
            !asked(&two, all, r#"up{cluster="a",cluster="b"}"#, &[]),
            "one set must fit all"
        );
        assert!(asked(&peer(&[]), all, r#"up{cluster="b"}"#, &[]));
    }

    #[test]
    fn stores_are_picked_by_address_and_labels() {
        let all = (0, 1000);
        let one = peer(&[&[("cluster", "a")]]);
        assert!(asked(&one, all, "up", &[r#"{__address__=~"host-.*"}"#]));
        assert!(!asked(&one, all, "up", &[r#"{__address__="host-2:10901"}"#]));
        let either = [r#"{__address__="host-2:10901"}"#, r#"{cluster="a"}"#];
        assert!(asked(&one, all, "up", &either));
        assert!(!asked(
            &peer(&[]),
            all,
            "up",
            &[r#"{__address__!="host-1:10901"}"#]
        ));
    }

    #[test]
    fn matchers_on_own_labels_are_answered_here() {
        let own = Labels::from_pairs([("querier", "eu")]).unwrap();
        let left = |text: &str| without_own(&parse_selector(text).unwrap(), &own);
        assert_eq!(left(r#"{querier="us",a="b"}"#), None);
        assert_eq!(left(r#"{querier="eu",a="b"}"#).unwrap().len(), 1);
        assert_eq!(left(r#"{querier=~"e.*"}"#).unwrap().len(), 0);
    }

    #[test]
    fn the_selector_picks_external_labels_and_asks_for_those_only() {
        let rules = r#"[{"action": "keep", "source_labels": ["c"], "regex": "a.*"}]"#;
        let selector: Vec<RelabelConfig> = sabre_runtime::yaml::from_str_strict("doc", rules).unwrap();
        let set = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
        let (a, ab, b) = (
            set(&[("c", "a")]),
            set(&[("c", "a.b"), ("d", "x")]),
            set(&[("c", "b")]),
        );
        let text = |sets: &[Labels]| {
            let matchers = picked(&selector, sets)?;
            let text = |matcher: &Matcher| format!("{}=~{}", matcher.name(), matcher.value());
            Some(matchers.iter().map(text).collect::<Vec<_>>())
        };
        assert_eq!(text(std::slice::from_ref(&b)), None);
        assert_eq!(
            text(std::slice::from_ref(&a)).unwrap(),
            Vec::<String>::new(),
            "all of it is wanted"
        );
        assert_eq!(text(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(text(&[a.clone(), b.clone()]).unwrap(), ["c=~a"]);
        assert_eq!(text(&[a, ab, b.clone()]).unwrap(), ["c=~a|a\\.b", "d=~|x"]);
        assert_eq!(picked(&[], &[b]).unwrap().len(), 0);
    }
}
