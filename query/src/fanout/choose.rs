//! Whom to ask: values only.

use sabre_model::{Labels, Matcher};

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
}
