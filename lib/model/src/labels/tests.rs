use proptest::prelude::*;

use super::*;

fn lset(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

#[test]
fn hash_and_group_key_are_those_of_thanos() {
    assert_eq!(Labels::default().hash(), 0xef46_db37_51d8_e999);
    assert_eq!(
        group_key(0, &lset(&[("cluster", "eu1")])),
        "0@1319708470537487294"
    );
    assert_eq!(
        group_key(0, &lset(&[("replica", "a"), ("cluster", "eu1")])),
        "0@708190779274861024"
    );
    assert_eq!(
        group_key(300_000, &lset(&[("cluster", "eu1")])),
        "300000@1319708470537487294"
    );
}

#[test]
fn pairs_are_sorted_and_names_are_unique() {
    let sorted: Vec<_> = lset(&[("b", "1"), ("a", "2"), ("B", "3")])
        .iter()
        .map(|(n, _)| n.to_owned())
        .collect();
    assert_eq!(sorted, ["B", "a", "b"]);
    let duplicate = LabelsError::Duplicate { name: "a".to_owned() };
    assert_eq!(
        Labels::from_pairs([("a", "1"), ("b", "2"), ("a", "1")]),
        Err(duplicate.clone())
    );
    assert_eq!(Labels::from_sorted([("a", "1"), ("a", "2")]), Err(duplicate));
}

#[test]
fn labels_said_to_be_sorted_are_checked() {
    let error = Labels::from_sorted([("b", "1"), ("a", "2")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"label "a" follows label "b", labels must be sorted by name"#
    );
}

#[test]
fn order_is_pairwise_and_not_of_the_joined_text() {
    // As one text "a" = "1" would come after "a1"; and the shorter set is first where it is a prefix.
    let ascending = [
        lset(&[]),
        lset(&[("a", "")]),
        lset(&[("a", "1")]),
        lset(&[("a", "1"), ("b", "0")]),
        lset(&[("a", "10")]),
        lset(&[("a", "2")]),
        lset(&[("a1", "")]),
        lset(&[("b", "")]),
    ];
    assert!(ascending.is_sorted_by(|a, b| a < b));
}

#[test]
fn pieces_cut_at_other_places_are_another_set() {
    assert_ne!(lset(&[("a", "bc")]), lset(&[("ab", "c")]));
    assert_ne!(lset(&[("a", "bc")]).hash(), lset(&[("ab", "c")]).hash());
}

#[test]
fn get_finds_what_is_there() {
    let set = lset(&[("a", "1"), ("c", ""), ("d", "é")]);
    assert_eq!(
        (set.get("a"), set.get("c"), set.get("d")),
        (Some("1"), Some(""), Some("é"))
    );
    assert_eq!((set.get(""), set.get("b"), set.get("e")), (None, None, None));
}

#[test]
fn top_labels_win_when_overlaid() {
    let series = lset(&[("a", "1"), ("cluster", "own"), ("z", "2")]);
    let external = lset(&[("cluster", "eu1"), ("replica", "a")]);
    assert_eq!(
        series.overlaid(&external),
        lset(&[("a", "1"), ("cluster", "eu1"), ("replica", "a"), ("z", "2")])
    );
    assert_eq!(
        series.with("a", "3"),
        lset(&[("a", "3"), ("cluster", "own"), ("z", "2")])
    );
}

#[test]
fn displays_as_prometheus_does() {
    assert_eq!(lset(&[]).to_string(), "{}");
    assert_eq!(
        lset(&[
            ("__name__", "up"),
            ("job", "a\"b\n"),
            ("my.label", "x"),
            ("", "y")
        ])
        .to_string(),
        r#"{""="y", __name__="up", job="a\"b\n", "my.label"="x"}"#
    );
}

#[test]
fn null_is_the_empty_set_in_json() {
    assert_eq!(serde_json::from_str::<Labels>("null").unwrap(), Labels::default());
    let set: Labels = serde_json::from_str(r#"{"b":"2","a":"1"}"#).unwrap();
    assert_eq!(serde_json::to_string(&set).unwrap(), r#"{"a":"1","b":"2"}"#);
    assert!(serde_json::from_str::<Labels>(r#"{"a":1}"#).is_err());
}

fn some_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-c]{0,2}|.{0,3}", ".{0,5}", 0..8)
}

proptest! {
    #[test]
    fn maps_come_back(map in some_map()) {
        let set = Labels::from(&map);
        prop_assert_eq!(&Labels::from_pairs(map.clone()).unwrap(), &set);
        prop_assert_eq!(&Labels::try_from(set.to_vec()).unwrap(), &set);
        prop_assert_eq!(set.len(), map.len());
        prop_assert_eq!(set.iter().len(), map.len());
        prop_assert_eq!(set.to_map(), map);
    }

    #[test]
    fn json_comes_back(map in some_map()) {
        let set = Labels::from(map);
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), set);
    }

    #[test]
    fn overlay_and_without_are_those_of_maps(low in some_map(), top in some_map()) {
        let mut union = low.clone();
        union.extend(top.clone());
        let names: Vec<&String> = top.keys().collect();
        let mut rest = low.clone();
        rest.retain(|name, _| !top.contains_key(name));
        let low = Labels::from(low);
        prop_assert_eq!(low.overlaid(&Labels::from(top.clone())).to_map(), union);
        prop_assert_eq!(low.without(&names).to_map(), rest);
    }

    #[test]
    fn order_is_that_of_lists_of_pairs(a in some_map(), b in some_map()) {
        let (left, right) = (Labels::from(&a), Labels::from(&b));
        prop_assert_eq!(left.cmp(&right), a.iter().cmp(b.iter()));
    }
}
