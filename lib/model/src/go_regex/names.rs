//! The names of classes.

/// The class `[:name:]`, as what stands in brackets in the syntax of the `regex` crate. All of ASCII.
pub(super) fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x00-\x7F",
        "blank" => r"\t ",
        "cntrl" => r"\x00-\x1F\x7F",
        "digit" => "0-9",
        "graph" => r"\x21-\x7E",
        "lower" => "a-z",
        "print" => r"\x20-\x7E",
        "punct" => r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
        "space" => r"\t\n\v\f\r ",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

/// The class `\d`, `\s`, `\w` or the opposite, as what stands in brackets, and whether it is an opposite. All of ASCII;
/// unlike `[:space:]`, `\s` has no vertical tab.
pub(super) fn perl(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => (r"\t\n\f\r ", false),
        'S' => (r"\t\n\f\r ", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        _ => return None,
    })
}

/// The class `\p{name}`, as what stands in brackets. Case, spaces, `_` and `-` do not matter.
pub(super) fn unicode(name: &str) -> Option<String> {
    let plain: String = name
        .chars()
        .filter(|c| !matches!(c, ' ' | '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let text = match plain.as_str() {
        "any" => r"\x{0}-\x{10FFFF}".to_owned(),
        "ascii" => r"\x00-\x7F".to_owned(),
        "assigned" => r"\P{gc=cn}".to_owned(),
        // No text in UTF-8 has a surrogate.
        "cs" | "surrogate" => r"[^\x{0}-\x{10FFFF}]".to_owned(),
        "lc" | "casedletter" => r"\p{gc=lu}\p{gc=ll}\p{gc=lt}".to_owned(),
        plain if is_in(CATEGORIES, plain) => format!(r"\p{{gc={plain}}}"),
        plain if is_in(SCRIPTS, plain) => format!(r"\p{{sc={plain}}}"),
        _ => return None,
    };
    Some(text)
}

fn is_in(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known == name)
}

/// General categories: short names, then long ones.
const CATEGORIES: &str = "\
    c cc cf cn co l ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps s sc sk sm so z zl zp zs \
    closepunctuation cntrl combiningmark connectorpunctuation control currencysymbol dashpunctuation \
    decimalnumber digit enclosingmark finalpunctuation format initialpunctuation letter letternumber \
    lineseparator lowercaseletter mark mathsymbol modifierletter modifiersymbol nonspacingmark number \
    openpunctuation other otherletter othernumber otherpunctuation othersymbol paragraphseparator \
    privateuse punct punctuation separator spaceseparator spacingmark symbol titlecaseletter unassigned \
    uppercaseletter";

/// Scripts.
const SCRIPTS: &str = "\
    adlam ahom anatolianhieroglyphs arabic armenian avestan balinese bamum bassavah batak bengali \
    bhaiksuki bopomofo brahmi braille buginese buhid canadianaboriginal carian caucasianalbanian chakma \
    cham cherokee chorasmian common coptic cuneiform cypriot cyprominoan cyrillic deseret devanagari \
    divesakuru dogra duployan egyptianhieroglyphs elbasan elymaic ethiopic georgian glagolitic gothic \
    grantha greek gujarati gunjalagondi gurmukhi han hangul hanifirohingya hanunoo hatran hebrew hiragana \
    imperialaramaic inherited inscriptionalpahlavi inscriptionalparthian javanese kaithi kannada katakana \
    kawi kayahli kharoshthi khitansmallscript khmer khojki khudawadi lao latin lepcha limbu lineara \
    linearb lisu lycian lydian mahajani makasar malayalam mandaic manichaean marchen masaramgondi \
    medefaidrin meeteimayek mendekikakui meroiticcursive meroitichieroglyphs miao modi mongolian mro \
    multani myanmar nabataean nagmundari nandinagari newtailue newa nko nushu nyiakengpuachuehmong ogham \
    olchiki oldhungarian olditalic oldnortharabian oldpermic oldpersian oldsogdian oldsoutharabian \
    oldturkic olduyghur oriya osage osmanya pahawhhmong palmyrene paucinhau phagspa phoenician \
    psalterpahlavi rejang runic samaritan saurashtra sharada shavian siddham signwriting sinhala sogdian \
    sorasompeng soyombo sundanese sylotinagri syriac tagalog tagbanwa taile taitham taiviet takri tamil \
    tangsa tangut telugu thaana thai tibetan tifinagh tirhuta toto ugaritic vai vithkuqi wancho warangciti \
    yezidi yi zanabazarsquare";
