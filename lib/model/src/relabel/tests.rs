use proptest::prelude::*;

use crate::labels::Labels;

use super::*;

fn configs(yaml: &str) -> Vec<RelabelConfig> {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn refused(yaml: &str) -> String {
    match serde_saphyr::from_str::<Vec<RelabelConfig>>(yaml) {
        Ok(_) => panic!("{yaml} is accepted"),
        Err(error) => error.to_string(),
    }
}

fn lset(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// What becomes of `{a="foo", b="Bar", c="baz"}`.
fn after(yaml: &str) -> String {
    let kept = keep(&configs(yaml), lset(&[("a", "foo"), ("b", "Bar"), ("c", "baz")]));
    kept.map_or("dropped".to_owned(), |kept| kept.to_string())
}

#[test]
fn actions_do_what_they_do_in_prometheus() {
    let table = [
        ("[]", r#"{a="foo", b="Bar", c="baz"}"#),
        (
            "[{action: keep, source_labels: [a], regex: f.*}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        ("[{action: keep, source_labels: [a], regex: f}]", "dropped"),
        (
            "[{action: keep, source_labels: [none], regex: ''}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        ("[{action: drop, source_labels: [a], regex: foo|bar}]", "dropped"),
        (
            "[{action: drop, source_labels: [a], regex: fo}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{action: keep, source_labels: [a, b], regex: foo;Bar}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{action: keep, source_labels: [a, b], separator: '', regex: fooBar}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{action: keepequal, source_labels: [a], target_label: c}]",
            "dropped",
        ),
        (
            "[{action: dropequal, source_labels: [a], target_label: a}]",
            "dropped",
        ),
        (
            "[{action: dropequal, source_labels: [a], target_label: c}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{source_labels: [a], target_label: d}]",
            r#"{a="foo", b="Bar", c="baz", d="foo"}"#,
        ),
        (
            "[{source_labels: [a, c], regex: 'f(.+);b(.+)', target_label: d, replacement: '$2-${1}x$$'}]",
            r#"{a="foo", b="Bar", c="baz", d="az-oox$"}"#,
        ),
        (
            "[{source_labels: [a], regex: x, target_label: a, replacement: y}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{target_label: a, replacement: y}]",
            r#"{a="y", b="Bar", c="baz"}"#,
        ),
        ("[{target_label: a, replacement: ''}]", r#"{b="Bar", c="baz"}"#),
        (
            "[{source_labels: [a], target_label: 'x_$1', replacement: y}]",
            r#"{a="foo", b="Bar", c="baz", x_foo="y"}"#,
        ),
        (
            "[{source_labels: [none], target_label: '$1', replacement: y}]",
            r#"{a="foo", b="Bar", c="baz"}"#,
        ),
        (
            "[{action: lowercase, source_labels: [b], target_label: b}]",
            r#"{a="foo", b="bar", c="baz"}"#,
        ),
        (
            "[{action: uppercase, source_labels: [a, b], target_label: b}]",
            r#"{a="foo", b="FOO;BAR", c="baz"}"#,
        ),
        (
            "[{action: labelmap, regex: '(a|b)', replacement: 'x_$1'}]",
            r#"{a="foo", b="Bar", c="baz", x_a="foo", x_b="Bar"}"#,
        ),
        ("[{action: labeldrop, regex: a|b}]", r#"{c="baz"}"#),
        ("[{action: labelkeep, regex: a|b}]", r#"{a="foo", b="Bar"}"#),
        ("[{action: DROP, source_labels: [a], regex: foo}]", "dropped"),
    ];
    for (yaml, expected) in table {
        assert_eq!(after(yaml), expected, "{yaml}");
    }
}

#[test]
fn hashmod_takes_the_last_eight_bytes_of_the_md5() {
    // md5("foo") ends in edef654fccc4a4d8.
    let remainder = |modulus: u64| {
        let yaml = format!("[{{action: hashmod, source_labels: [a], target_label: h, modulus: {modulus}}}]");
        keep(&configs(&yaml), lset(&[("a", "foo")]))
            .unwrap()
            .get("h")
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    for modulus in [1, 2, 3, 1_000, u64::MAX] {
        assert_eq!(remainder(modulus), 0xedef_654f_ccc4_a4d8_u64 % modulus);
    }
}

#[test]
fn letters_change_case_one_by_one() {
    let yaml = "[{action: uppercase, source_labels: [a], target_label: u}, {action: lowercase, source_labels: [a], target_label: l}]";
    let kept = keep(&configs(yaml), lset(&[("a", "ßΑΣé")])).unwrap();
    assert_eq!((kept.get("u"), kept.get("l")), (Some("ßΑΣÉ"), Some("ßασé")));
}

#[test]
fn shards_of_a_deployment_are_read_as_written_there() {
    // Numbers without quotes, a document that starts with a line feed and is indented.
    let yaml = "\n  - action: hashmod\n    source_labels: [\"__block_id\"]\n    target_label: shard\n    modulus: 3\n  \
                - action: keep\n    source_labels: [\"shard\"]\n    regex: 0\n";
    let shard = configs(yaml);
    assert_eq!(validate_for_blocks(&shard), Ok(()));
    let kept = (0..300)
        .filter(|i| keep(&shard, lset(&[("__block_id", &format!("block{i}"))])).is_some())
        .count();
    assert!((60..140).contains(&kept), "{kept}");
}

#[test]
fn scalars_stand_for_their_text() {
    for (yaml, pattern) in [
        ("0", "0"),
        ("007", "007"),
        ("1.0", "1.0"),
        ("true", "true"),
        ("'0'", "0"),
        ("-1", "-1"),
    ] {
        let read = configs(&format!(
            "[{{action: keep, source_labels: [1], regex: {yaml}, replacement: 1}}]"
        ));
        assert_eq!(read[0].regex.pattern(), pattern);
        assert_eq!(
            (read[0].source_labels[0].as_str(), read[0].replacement.as_str()),
            ("1", "1")
        );
    }
}

#[test]
fn keys_without_a_value_have_their_defaults() {
    let read = configs(
        "[{source_labels: , separator: , regex: , modulus: , target_label: a, replacement: , action: }]",
    );
    let config = &read[0];
    assert_eq!(
        (config.action(), config.separator.as_str(), config.modulus),
        (Action::Replace, ";", 0)
    );
    assert_eq!(
        (config.regex.pattern(), config.replacement.as_str()),
        ("(.*)", "$1")
    );
}

#[test]
fn configurations_are_checked() {
    let table = [
        ("[{action: keep, sources: [a]}]", "unknown field"),
        ("[{action: keep, regex: [a]}]", "scalar"),
        (
            "[{action: retain}]",
            "unknown relabel action \"retain\", expected replace, keep,",
        ),
        ("[{action: ''}]", "unknown relabel action \"\""),
        ("[{}]", "relabel action replace needs target_label"),
        (
            "[{action: hashmod, target_label: a}]",
            "relabel action hashmod needs modulus",
        ),
        (
            "[{action: hashmod, modulus: 2}]",
            "relabel action hashmod needs target_label",
        ),
        (
            "[{action: hashmod, modulus: -2, target_label: a}]",
            "modulus \"-2\" is not a whole number below 2^64",
        ),
        (
            "[{action: lowercase, source_labels: [a]}]",
            "relabel action lowercase needs target_label",
        ),
        (
            "[{action: uppercase, target_label: a, replacement: x}]",
            "relabel action uppercase takes no replacement",
        ),
        (
            "[{action: keepequal, target_label: a, regex: x}]",
            "relabel action keepequal takes no regex",
        ),
        (
            "[{action: labelmap, replacement: ''}]",
            "relabel action labelmap needs replacement",
        ),
        (
            "[{action: labeldrop, regex: a, source_labels: [b]}]",
            "relabel action labeldrop takes no source_labels",
        ),
        (
            "[{action: keep, regex: 'a**'}]",
            "regex: error parsing regexp: invalid nested repetition operator: `**`",
        ),
    ];
    for (yaml, problem) in table {
        let error = refused(yaml);
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn blocks_are_selected_by_three_actions_only() {
    assert_eq!(validate_for_blocks(&[]), Ok(()));
    let allowed = configs("[{action: keep}, {action: drop}, {action: hashmod, modulus: 2, target_label: a}]");
    assert_eq!(validate_for_blocks(&allowed), Ok(()));
    let error = validate_for_blocks(&configs("[{action: keep}, {action: labeldrop, regex: a}]")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unsupported relabel action labeldrop, blocks are selected by keep, drop and hashmod"
    );
}

proptest! {
    #[test]
    fn shards_part_all_blocks(id in "[0-9A-Z]{26}", modulus in 1_u64..8) {
        let kept = (0..modulus).filter(|shard| {
            let yaml = format!(
                "[{{action: hashmod, source_labels: [id], target_label: s, modulus: {modulus}}}, \
                 {{action: keep, source_labels: [s], regex: {shard}}}]"
            );
            keep(&configs(&yaml), lset(&[("id", &id)])).is_some()
        });
        prop_assert_eq!(kept.count(), 1);
    }

    #[test]
    fn no_empty_label_is_left(value in "[ab]{0,2}", regex in prop::sample::select(vec!["a*", "(b?).*", "(.*)", "x"]),
        replacement in prop::sample::select(vec!["$1", "y", ""])) {
        let replace = RelabelConfig::from_texts(
            ["", "a", "", regex, "", "$1b", replacement].map(str::to_owned),
        );
        let kept = keep(&[replace.unwrap()], lset(&[("a", &value), ("b", "z")])).unwrap();
        prop_assert!(kept.iter().all(|(name, value)| name == "a" || !value.is_empty()));
    }
}
