//! The page as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use sabre_runtime::flags::{FlagSpec, Kind, Status};

use super::{ByFlag, Facts, Section};

const HEAD: &str = "# What becomes of each flag of Thanos

Made from the flags that the binary declares and from `tests/compatibility`; a test compares. A flag *works*, and the tests named beside it see it change
what is done (`each_flag_reaches_its_setting` besides that the part which acts on it is told); or it is *ignored*: accepted, with one line in the log that says why; or it is *refused*: the command ends with a sentence that says what
to use instead. *core* are flags that nearly all deployments use, *common* many, *rare* few; *old* ones were dropped by Thanos itself and still stand in
manifests. Flags of Sabre's own begin with `sabre.`, or have no importance here.

`--x-file` goes with each `--x` that takes a document. `--version`, `--help`, `--help-long` and `--help-man` work everywhere.

";

/// The whole page.
pub(super) fn render(
    sections: &[Section],
    facts: &Facts,
    shown: &BTreeMap<String, ByFlag<Vec<String>>>,
) -> String {
    let mut page = HEAD.to_owned();
    summary(&mut page, sections, facts);
    for section in sections {
        let _ = write!(page, "\n## {}\n\n", title(&section.name));
        page.push_str("| Flag | | | |\n|---|---|---|---|\n");
        let none = ByFlag::new();
        let none_shown = ByFlag::new();
        let known = facts.sections.get(&section.name).unwrap_or(&none);
        let tests = shown.get(&section.name).unwrap_or(&none_shown);
        for spec in &section.flags {
            let importance = known.get(spec.name).map_or("", String::as_str);
            let (what, why) = outcome(spec, tests.get(spec.name));
            let _ = writeln!(
                page,
                "| `--{}`{} | {importance} | {what} | {why} |",
                spec.name,
                pair(spec)
            );
        }
    }
    page.push_str(&not_built());
    page
}

fn title(name: &str) -> String {
    match name {
        "every command" => "Every command".to_owned(),
        "HTTP server" => "HTTP server: sidecar, store, compact, query".to_owned(),
        "gRPC server" => "gRPC server: sidecar, store, query".to_owned(),
        command => format!("sabre {command}"),
    }
}

fn pair(spec: &FlagSpec) -> String {
    match spec.kind {
        Kind::Content => ", `-file`".to_owned(),
        _ => String::new(),
    }
}

fn outcome(spec: &FlagSpec, tests: Option<&Vec<String>>) -> (&'static str, String) {
    match spec.status {
        Status::Ignored(why) => ("ignored", why.to_owned()),
        Status::Refused(instead) => ("**refused**", instead.to_owned()),
        Status::Works => {
            let names = tests.map(|tests| tests.iter().map(|test| test_name(test)).collect::<Vec<_>>());
            (
                "works",
                names.map_or("no test".to_owned(), |names| names.join(", ")),
            )
        }
    }
}

/// `sidecar: the_name`, by the crate the file is in.
fn test_name(test: &str) -> String {
    let (file, function) = test.split_once("::").unwrap_or(("", test));
    let mut parts = file.split('/');
    let folder = match (parts.next(), parts.next()) {
        (Some("lib"), Some(inner)) => inner,
        (Some(folder), _) => folder,
        (None, _) => "",
    };
    format!("{folder}: `{function}`")
}

/// How many flags of Thanos are what, by importance.
fn summary(page: &mut String, sections: &[Section], facts: &Facts) {
    page.push_str("| | works | ignored | refused |\n|---|---|---|---|\n");
    for importance in ["core", "common", "rare", "old"] {
        let mut counts = [0; 3];
        for section in sections {
            for spec in &section.flags {
                let known = facts
                    .sections
                    .get(&section.name)
                    .and_then(|known| known.get(spec.name));
                if known.is_some_and(|known| known == importance) {
                    let place = match spec.status {
                        Status::Works => 0,
                        Status::Ignored(_) => 1,
                        Status::Refused(_) => 2,
                    };
                    counts[place] += 1;
                }
            }
        }
        let [works, ignored, refused] = counts;
        let _ = writeln!(page, "| {importance} | {works} | {ignored} | {refused} |");
    }
}

fn not_built() -> String {
    let mut text = "\n## Commands that are not built\n\nThey end with code 1 and this sentence.\n\n| Command | Instead |\n|---|---|\n".to_owned();
    let app = crate::cli::app();
    let tools = super::command(&["tools"]);
    let bucket = super::command(&["tools", "bucket"]);
    for (words, commands) in [
        ("", app.commands()),
        ("tools ", &tools.commands),
        ("tools bucket ", &bucket.commands),
    ] {
        for command in commands {
            if let Some(instead) = command.refused {
                let _ = writeln!(text, "| `{words}{}` | {instead} |", command.name);
            }
        }
    }
    text
}
