use std::collections::BTreeMap;

use super::*;

#[derive(Debug, serde::Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    prefix: String,
    #[serde(default, deserialize_with = "null_is_default")]
    region: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    part_size: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    nested: BTreeMap<String, String>,
}

fn parse(text: &str) -> Result<Config, String> {
    from_str_strict("--objstore.config", text).map_err(|error| error.to_string())
}

#[test]
fn reads_block_and_flow_style() {
    let block = parse("type: s3\ninsecure: true\npart_size: 5\nnested:\n  a: b\n").unwrap();
    let flow = parse(r#"{"type": "s3", "insecure": true, "part_size": 5, "nested": {"a": "b"}}"#).unwrap();
    assert_eq!(block, flow);
    assert_eq!(block.nested.get("a").map(String::as_str), Some("b"));
}

#[test]
fn reads_an_indented_document_that_begins_with_a_newline() {
    let list: Vec<BTreeMap<String, String>> = from_str_strict(
        "--selector.relabel-config",
        "\n  - action: hashmod\n    modulus: 3\n    regex: 0\n",
    )
    .unwrap();
    assert_eq!(list[0]["modulus"], "3");
    assert_eq!(
        list[0]["regex"], "0",
        "a number becomes the string it was written as"
    );
}

#[test]
fn scalars_become_strings_as_written() {
    for (written, read) in [
        ("0", "0"),
        ("1.50", "1.50"),
        ("true", "true"),
        ("0x1F", "0x1F"),
        ("1e3", "1e3"),
    ] {
        assert_eq!(parse(&format!("type: {written}")).unwrap().kind, read);
    }
}

#[test]
fn booleans_are_read_as_in_yaml_1_1() {
    for (written, read) in [
        ("yes", true),
        ("no", false),
        ("on", true),
        ("Off", false),
        ("TRUE", true),
    ] {
        assert_eq!(
            parse(&format!("type: a\ninsecure: {written}")).unwrap().insecure,
            read
        );
    }
}

#[test]
fn a_key_without_value_is_the_default_where_the_field_says_so() {
    let config = parse("type: a\nregion:\nnested: null\n").unwrap();
    assert_eq!((config.region.as_str(), config.nested.len()), ("", 0));
    let error = parse("type: a\nprefix:\n").unwrap_err();
    assert!(error.contains("no value"), "{error}");
}

#[test]
fn an_unknown_key_names_document_place_and_known_keys() {
    assert_eq!(
        parse("type: a\nsecret_typo: hunter2\n").unwrap_err(),
        "--objstore.config: line 2, column 1: unknown key `secret_typo`, \
         known are type, prefix, region, insecure, part_size, nested"
    );
}

#[test]
fn an_unknown_key_that_is_a_slip_of_a_known_one_says_so() {
    let error = parse("type: a\nprefx: b\n").unwrap_err();
    assert!(
        error.contains("unknown key `prefx`, known are type, prefix, ")
            && error.ends_with("; did you mean `prefix`?"),
        "{error}"
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    assert_eq!(
        parse("type: a\nprefix: b\ntype: c\n").unwrap_err(),
        "--objstore.config: line 3, column 1: key `type` is given twice"
    );
}

#[test]
fn a_missing_key_is_named() {
    let error = parse("prefix: a\n").unwrap_err();
    assert!(error.contains("key `type` is missing"), "{error}");
}

#[test]
fn a_wrong_value_names_the_key_and_never_shows_itself() {
    for text in [
        "type: a\npart_size: hunter2\n",
        "type: a\npart_size: \"hunter2\"\n",
        "type: a\ninsecure: hunter2\n",
        "type: a\npart_size: [hunter2]\n",
        "type: a\npart_size:\n  hunter2: 1\n",
        "{type: a, part_size: hunter2}",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            error.contains("`part_size`") || error.contains("`insecure`"),
            "{error}"
        );
    }
    for text in [
        "hunter2",
        "type: {a: hunter2}",
        "- hunter2",
        "type: a\nnested: hunter2\n",
        "type: \"hunter2",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn two_documents_and_too_long_ones_are_refused() {
    let error = parse("type: a\n---\ntype: b\n").unwrap_err();
    assert!(error.starts_with("--objstore.config: "), "{error}");
    let long = format!("type: {}", "a".repeat(MAX_DOCUMENT_BYTES));
    let error = parse(&long).unwrap_err();
    assert_eq!(
        error,
        format!(
            "--objstore.config: {} bytes of YAML, at most 4194304 are read",
            long.len()
        )
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "type: a\nnested:\n".to_owned();
    text.push_str("  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(from_str_strict::<BTreeMap<String, serde_json::Value>>("doc", &text).is_err());
}

#[test]
fn environment_variables_are_substituted() {
    let lookup = |name: &str| (name == "BUCKET_1").then(|| "blocks: $(x)".to_owned());
    let expand = |text: &str| expand_env("--objstore.config", text, &lookup);
    assert_eq!(
        expand("a $(BUCKET_1) b$(BUCKET_1)").unwrap(),
        "a blocks: $(x) bblocks: $(x)"
    );
    for untouched in [
        "",
        "$",
        "$()",
        "$(a-b)",
        "$(a b)",
        "$(BUCKET_1",
        "${BUCKET_1}",
        "$BUCKET_1",
        "$$(ä)",
    ] {
        assert_eq!(expand(untouched).unwrap(), untouched);
    }
    assert_eq!(
        expand("$($(BUCKET_1)").unwrap(),
        "$(blocks: $(x)",
        "an inner reference still counts"
    );
}

#[test]
fn an_unset_variable_is_named_with_its_place() {
    let error = expand_env("--objstore.config", "type: s3\nkey: ä$(AWS_KEY)", &|_| None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--objstore.config: line 2, column 7: environment variable AWS_KEY is not set"
    );
}
