//! The clap command of a path of commands, and its help pages.

use clap::{Arg, ArgAction, Command};

use super::{
    App,
    spec::{CommandSpec, DurationSyntax, FlagSpec, Kind, Repeat, Status},
};

/// The help of a program or a command.
pub(super) fn page(app: &App, path: &[&CommandSpec], everything: bool) -> String {
    command(app, path, everything).render_long_help().to_string()
}

/// The help of a program or a command and of all commands below it, hidden flags included.
pub(super) fn long(app: &App, path: &[&CommandSpec]) -> String {
    let mut text = page(app, path, true);
    let inner = path.last().map_or(&app.commands, |command| &command.commands);
    for command in inner.iter().filter(|command| command.refused.is_none()) {
        text.push_str("\n\n");
        text.push_str(&long(app, &[path, &[command]].concat()));
    }
    text
}

/// Builds the command; `everything` shows hidden, ignored and refused flags too.
pub(super) fn command(app: &App, path: &[&CommandSpec], everything: bool) -> Command {
    let words = std::iter::once(app.name).chain(path.iter().map(|command| command.name));
    let full_name = words.collect::<Vec<_>>().join(" ");
    let (about, inner) = match path.last() {
        Some(command) => (command.refused.unwrap_or(command.about), &command.commands),
        None => (app.about, &app.commands),
    };
    let operand = path.last().and_then(|command| command.operand);
    let usage = match operand {
        Some(flag) => format!("<{flag}> [flags]"),
        None if inner.is_empty() => "[flags]".to_owned(),
        None => "<command> [flags]".to_owned(),
    };
    let mut command = Command::new(app.name)
        .about(about)
        .override_usage(format!("{full_name} {usage}"))
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .help_template("{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}")
        .after_help(after_help(path, inner));
    for group in app.groups(path) {
        for spec in &group.flags {
            let hide = !everything && (spec.hidden || spec.status != Status::Works);
            command =
                command.args(arguments(spec).map(|argument| argument.help_heading(group.title).hide(hide)));
        }
    }
    command.args(requests())
}

/// Shown in help only: the scanner answers these before clap reads the command line.
fn requests() -> impl Iterator<Item = Arg> {
    [
        ("help", Some('h'), "Show this help"),
        (
            "help-long",
            None,
            "Show the help of all commands, with hidden and ignored flags",
        ),
        ("version", None, "Show the version"),
    ]
    .into_iter()
    .map(|(name, short, help)| {
        let argument = Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
            .help_heading("Help");
        short.into_iter().fold(argument, Arg::short)
    })
}

fn arguments(spec: &FlagSpec) -> impl Iterator<Item = Arg> {
    let base = Arg::new(spec.name)
        .long(spec.name)
        .value_name(value_name(&spec.kind))
        .action(ArgAction::Append)
        .help(help_text(spec));
    let base = spec.short.into_iter().fold(base, Arg::short);
    let base = match spec.kind {
        Kind::Bool => base
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => base.num_args(1).allow_hyphen_values(true),
    };
    let file = matches!(spec.kind, Kind::Content).then(|| {
        let name = format!("{}-file", spec.name);
        let help = format!("File with the document of --{}", spec.name);
        Arg::new(name.clone())
            .long(name)
            .value_name("path")
            .action(ArgAction::Append)
            .num_args(1)
            .help(help)
    });
    std::iter::once(base).chain(file.map(|file| file.allow_hyphen_values(true)))
}

fn value_name(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Bool => "true|false".to_owned(),
        Kind::Int | Kind::Float => "number".to_owned(),
        Kind::Duration(_) => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Time => "time".to_owned(),
        Kind::Choice(words) => words
            .iter()
            .copied()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("|"),
        Kind::Address => "host:port".to_owned(),
        Kind::Content => "yaml".to_owned(),
        Kind::Checked { noun, .. } => (*noun).to_owned(),
    }
}

fn help_text(spec: &FlagSpec) -> String {
    let mut notes = Vec::new();
    if !spec.default.is_empty() {
        notes.push(format!("default: {}", spec.default));
    }
    if spec.required {
        notes.push("required".to_owned());
    }
    match spec.kind {
        Kind::Duration(DurationSyntax::Prometheus) => notes.push("such as 15d or 2w".to_owned()),
        Kind::Duration(_) => notes.push("such as 90s or 2h".to_owned()),
        Kind::Size => notes.push("such as 250MB or 2GiB".to_owned()),
        Kind::Time => notes.push("such as 2026-01-31T12:00:00Z or -2d".to_owned()),
        Kind::Bool if spec.default == "true" => notes.push(format!("--no-{} turns it off", spec.name)),
        _ => {}
    }
    match spec.repeat {
        Repeat::Once => {}
        Repeat::Many => notes.push("repeatable".to_owned()),
        Repeat::CommaLists => notes.push("repeatable, or a list with commas".to_owned()),
    }
    match spec.status {
        Status::Works => {}
        Status::Ignored(why) => notes.push(format!("accepted and ignored: {why}")),
        Status::Refused(instead) => notes.push(format!("not built yet: {instead}")),
    }
    let notes: String = notes.iter().map(|note| format!(" [{note}]")).collect();
    format!("{}{notes}", spec.help).trim_start().to_owned()
}

fn after_help(path: &[&CommandSpec], inner: &[CommandSpec]) -> String {
    let mut text = String::new();
    if !inner.is_empty() {
        let width = inner
            .iter()
            .map(|command| command.name.len())
            .max()
            .unwrap_or_default();
        text.push_str("Commands:\n");
        for command in inner {
            let about = match command.refused {
                Some(instead) => format!("Not built: {instead}"),
                None => command.about.to_owned(),
            };
            text.push_str(&format!("  {:width$}  {about}\n", command.name));
        }
        text.push('\n');
    }
    let examples = path
        .last()
        .map(|command| command.examples.as_slice())
        .unwrap_or_default();
    if !examples.is_empty() {
        text.push_str("Examples:\n");
        for example in examples {
            text.push_str(&format!("  # {}\n  {}\n\n", example.what, example.line));
        }
    }
    text.trim_end().to_owned()
}
