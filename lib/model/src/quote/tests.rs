use proptest::prelude::*;

use super::*;

#[test]
fn quotes_as_go_does() {
    let table = [
        ("", r#""""#),
        ("a b", r#""a b""#),
        ("say \"hi\" \\", r#""say \"hi\" \\""#),
        ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
        ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
        ("żółw 猫 😀", r#""żółw 猫 😀""#),
        (
            "\u{ad}\u{200b}\u{a0}\u{fffd}",
            "\"\\u00ad\\u200b\\u00a0\u{fffd}\"",
        ),
        ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
    ];
    for (text, quoted) in table {
        assert_eq!(GoQuoted(text).to_string(), quoted);
    }
}

#[test]
fn reads_the_three_kinds_of_quotes() {
    let table = [
        (r#""a"b"#, "a", 3),
        (r#"'a"\''b"#, "a\"'", 6),
        ("`a\\n\n`", "a\\n\n", 6),
        (r#""\a\b\f\n\r\t\v\\""#, "\x07\x08\x0c\n\r\t\x0b\\", 18),
        (r#""\x41\101\u00e9\U0001F600""#, "AAé😀", 26),
        // Bytes that make a character together.
        (r#""\xc3\xa9\303\251""#, "éé", 18),
        (r#""""#, "", 2),
    ];
    for (text, inner, length) in table {
        assert_eq!(unquote_prefix(text), Ok((inner.to_owned(), length)), "{text}");
    }
}

#[test]
fn refuses_broken_quotes() {
    let table = [
        ("", 0, "quoted text has no end"),
        ("a", 0, "quoted text has no end"),
        (r#""a"#, 0, "quoted text has no end"),
        (r#""a\"#, 2, "quoted text has no end"),
        ("\"a\n\"", 0, "quoted text has no end"),
        (r#""\'""#, 1, r"unknown escape \' in quoted text"),
        (r#""\d""#, 1, r"unknown escape \d in quoted text"),
        (r#""\x4""#, 1, "escape in quoted text is no character or byte"),
        (r#""\777""#, 1, "escape in quoted text is no character or byte"),
        (r#""\ud800""#, 1, "escape in quoted text is no character or byte"),
        (
            r#""\UFFFFFFFF""#,
            1,
            "escape in quoted text is no character or byte",
        ),
        (r#""\xff""#, 0, "quoted text is not UTF-8"),
    ];
    for (text, offset, problem) in table {
        let error = unquote_prefix(text).unwrap_err();
        assert_eq!(
            (error.offset(), error.to_string().as_str()),
            (offset, problem),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn quoted_text_comes_back(text in ".{0,20}|[\\x00-\\x7f]{0,20}") {
        let quoted = GoQuoted(&text).to_string();
        prop_assert_eq!(unquote_prefix(&quoted), Ok((text, quoted.len())));
    }

    #[test]
    fn unquote_is_total(text in "[\"'`][\\\\xuU0-7a-f\"'`é]{0,16}|.{0,16}") {
        let _ = unquote_prefix(&text);
    }
}
