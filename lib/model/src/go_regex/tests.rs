use proptest::prelude::*;

use super::*;

fn refused(pattern: &str) -> (String, usize) {
    match GoRegex::new(pattern) {
        Err(error) => (error.to_string(), error.offset()),
        Ok(_) => panic!("{pattern} is accepted"),
    }
}

/// For each expression texts that it matches and texts that it does not, all as Go says where nothing else is noted.
fn check(table: &[(&str, &[&str], &[&str])]) {
    for (pattern, matching, others) in table {
        let regex = GoRegex::new(*pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in *matching {
            assert!(regex.is_match(text), "{pattern} should match {text:?}");
        }
        for text in *others {
            assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
        }
    }
}

#[test]
fn whole_texts_are_matched_and_dots_match_line_ends() {
    check(&[
        ("a|b", &["a", "b"], &["", "ab", "xa", "b\n"]),
        ("a.b", &["axb", "a\nb", "aéb"], &["ab", "axxb"]),
        ("", &[""], &["a", "\n"]),
        ("^a$", &["a"], &["a\n"]),
        ("a^b|a$b", &[], &["ab", "a^b", "a$b"]),
        ("(?-s)a.b", &["axb"], &["a\nb"]),
        ("(?-s:a.)b.", &["axb\n"], &["a\nbx"]),
        ("(?m)a$\n^b", &["a\nb"], &["ab"]),
        ("(?m:^)a(?m:$)", &["a"], &["a\n", "\na"]),
        (r"\Aa\z", &["a"], &["a\n"]),
    ]);
}

#[test]
fn braces_that_count_nothing_are_characters() {
    check(&[
        ("a{b}", &["a{b}"], &["a"]),
        ("a{,5}", &["a{,5}"], &["", "aaa"]),
        ("a{", &["a{"], &["a"]),
        ("a{1", &["a{1"], &["a"]),
        ("a{1,", &["a{1,"], &["a"]),
        ("a{01}", &["a{01}"], &["a"]),
        ("a{-1}", &["a{-1}"], &["a"]),
        ("a{ 1}", &["a{ 1}"], &["a"]),
        ("{", &["{"], &[""]),
        ("}", &["}"], &[""]),
        ("a*{b}", &["{b}", "aa{b}"], &["aa"]),
        ("a{b}{2}", &["a{b}}"], &["a{b}a{b}"]),
        ("a{2}", &["aa"], &["a", "aaa"]),
        ("a{0}", &[""], &["a"]),
        ("a{2,}", &["aa", "aaaaa"], &["a"]),
        ("a{1,2}?", &["a", "aa"], &["", "aaa"]),
    ]);
}

#[test]
fn quoting_takes_characters_as_they_are() {
    check(&[
        (r"\Qa.b|c\E", &["a.b|c"], &["axb", "c"]),
        (r"\Qa.b", &["a.b"], &["axb"]),
        (r"\Qab\E*", &["a", "abbb"], &["", "abab"]),
        (r"\Q\\E", &["\\"], &[""]),
        (r"a\Q\E*", &["", "aaa"], &["b"]),
        (r"a*\Q\E*", &["", "aaa"], &["b"]),
        (r"(?i)\QaB\E", &["ab", "AB"], &[]),
    ]);
}

#[test]
fn perl_classes_and_word_boundaries_are_of_ascii() {
    check(&[
        (r"\d", &["0", "9"], &["٣", "a"]),
        (r"\w", &["a", "Z", "_", "7"], &["é", "-"]),
        (r"\W", &["é", "-", "\n"], &["a"]),
        // Unlike [[:space:]], \s has no vertical tab.
        (
            r"\s",
            &["\t", "\n", "\x0c", "\r", " "],
            &["\x0b", "\u{a0}", "\u{85}"],
        ),
        (r"[[:space:]]", &["\x0b", " "], &["\u{a0}"]),
        (r"\S", &["\x0b", "\u{a0}"], &[" "]),
        (r"\bé", &[], &["é"]),
        (r"a\bé", &["aé"], &[]),
        (r"é\Bü", &["éü"], &[]),
        (r"(?i)\w", &["ſ", "\u{212a}"], &["é"]),
        (r"(?i)\W", &["é"], &["ſ", "\u{212a}"]),
    ]);
}

#[test]
fn classes_know_no_set_operations_and_no_nesting() {
    check(&[
        ("[a&&b]", &["a", "b", "&"], &["", "c"]),
        ("[a~~b]", &["a", "b", "~"], &["c"]),
        ("[+--]", &["+", ",", "-"], &["."]),
        ("[--a]", &["-", "a", "A", "0"], &["b"]),
        ("[a[b]", &["a", "[", "b"], &["]"]),
        ("[a[b]]", &["a]", "[]", "b]"], &["a", "b"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[^]a]", &["b", "\n"], &["]", "a"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[-a]", &["a", "-"], &["b"]),
        ("[^^]", &["a"], &["^"]),
        ("[a^]", &["a", "^"], &["b"]),
        (r"[\d-z]", &["0", "-", "z"], &["a"]),
        (r"[\w-]", &["a", "-"], &["+"]),
        (r"[a-c-e]", &["b", "-", "e"], &["d"]),
        (r"[\]\-\\]", &["]", "-", "\\"], &["a"]),
        (r"[^\d\s]", &["a"], &["1", " "]),
        (r"[\D]", &["a", "٣"], &["1"]),
        ("[[:alpha:]]", &["a", "Z"], &["1", "é"]),
        ("[[:^alpha:]]", &["1", "é"], &["a"]),
        ("[[:word:][:punct:]]", &["_", "~", "a"], &[" "]),
        ("[[:alpha]", &["[", ":", "a", "h"], &["b", "z"]),
        ("[:alpha:]", &[":", "a", "l"], &["b"]),
        ("[[=a=]]", &["[]", "=]", "a]"], &["a"]),
        ("[ #]", &[" ", "#"], &[]),
        ("(?i)[a-c]", &["a", "B"], &["d"]),
        ("(?i)[^k]", &["a"], &["k", "K", "\u{212a}"]),
        ("(?i)σ", &["σ", "ς", "Σ"], &["s"]),
    ]);
}

#[test]
fn escapes_are_those_of_go() {
    check(&[
        (r"\a\f\t\n\r\v", &["\x07\x0c\t\n\r\x0b"], &[]),
        (r"\x41\x{e9}\x{0001F600}", &["Aé😀"], &[]),
        (r"\101\12\0\07", &["A\n\0\x07"], &[]),
        (r"\08", &["\08"], &[]),
        (r"\777", &["\u{1ff}"], &[]),
        (r"\_\ \-\/\.", &["_ -/."], &[]),
        (r"[\x41-\x{5A}\101]", &["A", "Z"], &["a"]),
        (r"[\a-\f]", &["\x07", "\n"], &["a"]),
        // A surrogate is no character of any text. (Go takes this one for U+FFFD.)
        (r"\x{d800}", &[], &["\u{fffd}", ""]),
        (r"[\x{d000}-\x{dfff}]", &["\u{d000}", "\u{d7ff}"], &["\u{e000}"]),
        (r"[^\x{d800}]", &["a"], &[""]),
        (r"[^\x{0}-\x{10FFFF}]", &[], &["a", ""]),
    ]);
}

#[test]
fn unicode_classes_go_by_many_names() {
    check(&[
        (r"\pN", &["1", "٣", "Ⅷ"], &["a"]),
        (r"\PN", &["a"], &["1"]),
        (r"\p{Greek}", &["α"], &["a"]),
        (r"\p{^Greek}", &["a"], &["α"]),
        (r"\P{^Greek}", &["α"], &["a"]),
        (r"[\p{Lu}\d]", &["É", "1"], &["é"]),
        (r"[^\pL]", &["1"], &["é"]),
        // Go 1.26 lost the scripts of two words, those before know them.
        (r"\p{Old_Italic}", &["\u{10300}"], &["a"]),
        (r"\p{lowercase letter}", &["é"], &["É"]),
        (r"\p{Any}", &["a", "\u{10ffff}"], &[""]),
        (r"\p{ASCII}", &["a"], &["é"]),
        (r"\p{Assigned}", &["a"], &["\u{378}"]),
        (r"\p{Cn}", &["\u{378}"], &["a"]),
        (r"\pC", &["\0", "\u{378}"], &["a"]),
        (r"\p{LC}", &["a", "A", "ǅ"], &["ª"]),
        (r"\p{Cs}", &[], &["a"]),
        (r"\P{Cs}", &["a"], &[""]),
        (r"(?i)\p{Lu}", &["é", "É"], &["1"]),
    ]);
}

#[test]
fn flags_last_to_the_end_of_their_group() {
    check(&[
        ("(?i)a|b", &["A", "B"], &[]),
        ("(?:(?i)a|b)c", &["Ac", "Bc"], &["aC"]),
        ("a(?i:b)c", &["aBc"], &["Abc", "abC"]),
        ("(?i:a(?-i)b)c", &["Abc", "abc"], &["aBc", "abC"]),
        ("(?i-i)a", &["a"], &["A"]),
        ("(?)a(?:b)", &["ab"], &[]),
        ("(?ii)a", &["A"], &[]),
        ("(?imsU-imsU)a.", &["ab"], &["a\n", "A."]),
        ("a(?i)*", &["", "aaa"], &["A"]),
    ]);
}

#[test]
fn repetitions_take_what_go_lets_them_take() {
    check(&[
        ("^*", &[""], &["^"]),
        ("$*a", &["a"], &["$a"]),
        (r"\b*a", &["a"], &[]),
        ("()*", &[""], &["a"]),
        ("(|a)*", &["", "aa"], &["b"]),
        ("(a*)*", &["", "aa"], &["b"]),
        ("(a{2})*", &["", "aaaa"], &["a"]),
        ("a*(?i)*", &["", "aa"], &["A"]),
        ("a||b", &["", "a", "b"], &["|"]),
        ("(a{500}){2}", &[], &["a"]),
        ("(a{1000}){0}", &[""], &["a"]),
        ("((a{10}){10}){10}", &[], &["a"]),
    ]);
}

#[test]
fn errors_are_in_the_words_of_go() {
    let table = [
        ("a**", "invalid nested repetition operator: `**`", 1),
        ("a*{2}", "invalid nested repetition operator: `*{2}`", 1),
        ("a*?+", "invalid nested repetition operator: `*?+`", 1),
        ("a???", "invalid nested repetition operator: `???`", 1),
        ("xa{1}{2}", "invalid nested repetition operator: `{1}{2}`", 2),
        ("*a", "missing argument to repetition operator: `*`", 0),
        ("a|*", "missing argument to repetition operator: `*`", 2),
        ("(?i)+?", "missing argument to repetition operator: `+?`", 4),
        ("{1}", "missing argument to repetition operator: `{1}`", 0),
        ("a{1001}", "invalid repeat count: `{1001}`", 1),
        ("a{0,1001}", "invalid repeat count: `{0,1001}`", 1),
        ("a{2,1}", "invalid repeat count: `{2,1}`", 1),
        (
            "a{99999999999999999999}",
            "invalid repeat count: `{99999999999999999999}`",
            1,
        ),
        ("(a{500}){3}", "invalid repeat count: `{3}`", 8),
        ("((a{10}){10}){11}", "invalid repeat count: `{11}`", 13),
        ("(a", "missing closing ): `(a`", 0),
        ("a)b", "unexpected ): `a)b`", 1),
        ("x[a", "missing closing ]: `[a`", 1),
        ("[]", "missing closing ]: `[]`", 0),
        ("[[:alpha:]", "missing closing ]: `[[:alpha:]`", 0),
        ("x[z-a]", "invalid character class range: `z-a`", 2),
        ("[a--b]", "invalid character class range: `a--`", 1),
        ("[a-[:digit:]]", "invalid character class range: `a-[`", 1),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`", 1),
        (r"\p{Nothing}", r"invalid character class range: `\p{Nothing}`", 0),
        (r"\p{Grek}", r"invalid character class range: `\p{Grek}`", 0),
        (r"\p{}", r"invalid character class range: `\p{}`", 0),
        (r"a\pé", r"invalid character class range: `\pé`", 1),
        (r"a\p", r"invalid character class range: `\p`", 1),
        (r"a\p{L", r"invalid character class range: `\p{L`", 1),
        (r"[a-\d]", r"invalid escape sequence: `\d`", 3),
        (r"[\b]", r"invalid escape sequence: `\b`", 1),
        (r"a\C", r"invalid escape sequence: `\C`", 1),
        (r"a\Z", r"invalid escape sequence: `\Z`", 1),
        (r"\E", r"invalid escape sequence: `\E`", 0),
        (r"(a)\1", r"invalid escape sequence: `\1`", 3),
        (r"\8", r"invalid escape sequence: `\8`", 0),
        (r"\é", r"invalid escape sequence: `\é`", 0),
        (r"\x4g", r"invalid escape sequence: `\x4g`", 0),
        (r"\x{}", r"invalid escape sequence: `\x{}`", 0),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`", 0),
        (r"a\", "trailing backslash at end of expression: ``", 1),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`", 0),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`", 0),
        ("(?>a)", "invalid or unsupported Perl syntax: `(?>`", 0),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`", 0),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`", 0),
        ("(?--i)a", "invalid or unsupported Perl syntax: `(?--`", 0),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`", 0),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`", 0),
        ("(?<=a)", "invalid named capture: `(?<=a)`", 0),
        ("(?P<n-x>a)", "invalid named capture: `(?P<n-x>`", 0),
        ("(?P<>a)", "invalid named capture: `(?P<>`", 0),
        ("(?<n", "invalid named capture: `(?<n`", 0),
    ];
    for (pattern, error, offset) in table {
        let expected = format!("error parsing regexp: {error}");
        assert_eq!(refused(pattern), (expected, offset), "{pattern}");
    }
}

#[test]
fn templates_are_filled_as_go_fills_them() {
    let table = [
        ("(a)(b)?(c)", "ac", "$1-$2-$3", "a--c"),
        ("(a)(b)", "ab", "${1}x$1x$$${2}", "ax$b"),
        ("(?P<n>a)(?<m>b)", "ab", "${m}${n}$n$m$nm", "baab"),
        ("(a)", "a", "$0|$9|${none}", "a||"),
        ("(a)", "a", "$|$ |${|${}|${1", "$|$ |${|${}|${1"),
        ("(a)", "a", "$(1)$é", "$(1)"),
        ("(?P<1>a)(b)", "ab", "${01}$1", "a"),
        ("(?P<x>a)|(?P<x>b)", "b", "$x", "b"),
        ("(a)", "a", "100% of $$1", "100% of $1"),
        ("(.*?)(a*)", "xaa", "$1,$2", "x,aa"),
        ("(?U)(.*)(a*?)", "xaa", "$1,$2", "x,aa"),
    ];
    for (pattern, text, template, filled) in table {
        let regex = GoRegex::new(pattern).unwrap();
        assert_eq!(
            regex.captures(text).unwrap().expand(template),
            filled,
            "{pattern} {template}"
        );
    }
}

#[test]
fn depth_has_a_limit_that_a_small_stack_bears() {
    let nested = |depth: usize| format!("{}a{}", "(?:x".repeat(depth), "|b)*".repeat(depth));
    // An alternative, a sequence and a repetition each.
    let deepest = MAX_NESTING / 3 - 1;
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let compiled = thread.spawn(move || GoRegex::new(nested(deepest)).map(|regex| regex.is_match("xb")));
    assert_eq!(compiled.unwrap().join().unwrap(), Ok(true));
    assert_eq!(
        *GoRegex::new(nested(MAX_NESTING)).unwrap_err().kind(),
        RegexErrorKind::TooDeep
    );
    let open = "(".repeat(10_000);
    assert_eq!(*GoRegex::new(open).unwrap_err().kind(), RegexErrorKind::TooDeep);
    let chain = format!("a{}", "*(?i)".repeat(MAX_NESTING));
    assert_eq!(*GoRegex::new(chain).unwrap_err().kind(), RegexErrorKind::TooDeep);
}

#[test]
fn size_has_limits_that_errors_name() {
    let long = "a.".repeat(MAX_PATTERN_BYTES / 2 + 1);
    let error = GoRegex::new(long).unwrap_err();
    assert_eq!(*error.kind(), RegexErrorKind::TooLong);
    assert!(
        error
            .to_string()
            .starts_with("error parsing regexp: expression is longer than 65536 bytes: `a.a.")
    );
    assert!(error.to_string().len() < 300);
    let heavy = r"\pL".repeat(MAX_PATTERN_BYTES / 3);
    assert_eq!(*GoRegex::new(heavy).unwrap_err().kind(), RegexErrorKind::TooHeavy);
    let program = r"[\pL\pM]{500}";
    assert_eq!(
        *GoRegex::new(program).unwrap_err().kind(),
        RegexErrorKind::ProgramTooLarge
    );
}

/// One of some texts.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Texts made of what means something in expressions.
fn expressions() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        3 => "[a-ck]",
        3 => one_of(&["|", "(", ")", "(?:", "(?i)", "(?m-s:", "(?P<n>", "(?<m>"]),
        2 => one_of(&["*", "+", "?", "{2}", "{1,2}", "{,2}", "{", "}", "{0}", "{2,}"]),
        2 => one_of(&["[", "]", "[^", "[a-c]", "[a&&b]", "[[:alpha:]]", "[\\d-z]", "-"]),
        2 => one_of(&[".", "^", "$", "\\b", "\\B", "\\A", "\\z", "\\d", "\\W", "\\pL", "\\x41"]),
        1 => one_of(&["\\Q", "\\E", "\\", "é", "\n", "\\777", "\\C", "\\x{d800}"]),
        1 => "\\PC",
    ];
    prop::collection::vec(token, 0..10).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_the_parser_accepts_compiles(pattern in expressions(), text in "[a-ck\\n{}\\[\\]]{0,6}") {
        match GoRegex::new(pattern.as_str()) {
            Ok(regex) => {
                let captures = regex.captures(&text);
                prop_assert_eq!(captures.is_some(), regex.is_match(&text));
                if let Some(captures) = captures {
                    prop_assert_eq!(captures.expand("$0"), text);
                }
            }
            Err(error) => {
                prop_assert!(!matches!(error.kind(), RegexErrorKind::Engine(_)), "{}", error);
                prop_assert!(error.offset() <= pattern.len());
            }
        }
    }

    #[test]
    fn quoted_text_matches_itself_alone(text in "[^\\\\]{0,20}", other in ".{0,4}") {
        let regex = GoRegex::new(format!("\\Q{text}\\E")).unwrap();
        prop_assert!(regex.is_match(&text));
        prop_assert_eq!(regex.is_match(&other), other == text);
    }

    #[test]
    fn parser_is_total(pattern in ".{0,40}") {
        let _ = GoRegex::new(pattern);
    }
}
