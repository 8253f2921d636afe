//! The program: its commands, and the way from arguments to [`Flags`].

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{
    Flags, help, shown,
    spec::{CommandSpec, FlagGroup, FlagSpec},
    tokens::{self, Request},
};

/// The program with everything it understands.
#[derive(Debug, Clone)]
pub struct App {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) about: &'static str,
    pub(super) global: Vec<FlagGroup>,
    pub(super) commands: Vec<CommandSpec>,
}

/// A command with its flags, all of them valid.
#[derive(Debug, Clone)]
pub struct Parsed {
    command: Vec<&'static str>,
    /// The flags of the command, of those around it, and the global ones.
    pub flags: Flags,
}

/// Why no command runs: a mistake (exit code 2), a command that is not built (1), or `--help` and `--version` (exit code 0).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CliError {
    /// The exit code of the process.
    pub exit_code: u8,
    /// What to print: to standard output when the code is 0, else to standard error.
    pub text: String,
}

impl App {
    /// Makes a program without commands.
    pub fn new(name: &'static str, version: impl Into<String>, about: &'static str) -> Self {
        Self {
            name,
            version: version.into(),
            about,
            global: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Adds flags of all commands, which may stand before the command too.
    #[must_use]
    pub fn global(mut self, groups: impl IntoIterator<Item = FlagGroup>) -> Self {
        self.global.extend(groups);
        self
    }

    /// Adds a command.
    #[must_use]
    pub fn command(mut self, command: CommandSpec) -> Self {
        self.commands.push(command);
        self
    }

    /// The commands, for whoever documents them.
    pub fn commands(&self) -> &[CommandSpec] {
        &self.commands
    }

    /// The flags of all commands, for whoever documents them.
    pub fn global_groups(&self) -> &[FlagGroup] {
        &self.global
    }

    /// Reads the arguments of the process, the first of which is the program's name.
    ///
    /// # Errors
    /// A mistake of the user, or a request for help or the version.
    pub fn parse<I, A>(&self, arguments: I) -> Result<Parsed, CliError>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let arguments = arguments
            .into_iter()
            .skip(1)
            .map(|argument| argument.into().into_string())
            .collect::<Result<Vec<String>, OsString>>()
            .map_err(|argument| CliError::usage(format!("argument {argument:?} is not UTF-8")))?;
        let scan = tokens::scan(self, &arguments)?;
        let names: Vec<&'static str> = scan.path.iter().map(|command| command.name).collect();
        let refused = scan.path.last().and_then(|command| command.refused);
        match (scan.request, refused) {
            (Some(Request::Version), _) => return Err(CliError::shown(self.version_text())),
            (Some(_), Some(instead)) => return Err(CliError::shown(self.not_built(&names, instead))),
            (Some(Request::Help), None) => return Err(CliError::shown(help::page(self, &scan.path, false))),
            (Some(Request::HelpLong), None) => return Err(CliError::shown(help::long(self, &scan.path))),
            // The arguments may be all right, and no others would do.
            (None, Some(instead)) => {
                return Err(CliError {
                    exit_code: 1,
                    text: format!("error: {}", self.not_built(&names, instead)),
                });
            }
            (None, None) => {}
        }
        let groups = self.groups(&scan.path);
        let command = help::command(self, &scan.path, true).no_binary_name(true);
        let matches = command
            .try_get_matches_from(&scan.tokens)
            .map_err(|error| self.explain(&error, &scan.path, &names))?;
        let inner = scan
            .path
            .last()
            .map_or(&self.commands, |command| &command.commands);
        if !inner.is_empty() {
            let text = format!(
                "{}\n\nerror: a command is missing\n",
                help::page(self, &scan.path, false).trim_end()
            );
            return Err(CliError { exit_code: 2, text });
        }
        let flags = Flags::collect(&groups, &matches).map_err(|problem| self.with_hint(&names, &problem))?;
        Ok(Parsed {
            command: names,
            flags,
        })
    }

    /// The text of `--version`.
    pub fn version_text(&self) -> String {
        format!("{}, version {}\n", self.name, self.version)
    }

    pub(super) fn groups<'a>(&'a self, path: &[&'a CommandSpec]) -> Vec<&'a FlagGroup> {
        path.iter()
            .rev()
            .flat_map(|command| &command.groups)
            .chain(&self.global)
            .collect()
    }

    fn not_built(&self, names: &[&str], instead: &str) -> String {
        let command = [&[self.name], names].concat().join(" ");
        format!("{command} is not built: {instead}\n")
    }

    fn with_hint(&self, names: &[&str], problem: &str) -> CliError {
        let command = [&[self.name], names].concat().join(" ");
        CliError::usage(format!("{problem}\nrun '{command} --help' for the flags"))
    }

    fn explain(&self, error: &clap::Error, path: &[&CommandSpec], names: &[&str]) -> CliError {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) => texts.first().cloned(),
            _ => None,
        };
        let inner = path.last().map_or(&self.commands, |command| &command.commands);
        let wrong = context(ContextKind::InvalidArg).or_else(|| context(ContextKind::InvalidSubcommand));
        let problem = match (error.kind(), wrong) {
            (ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand, Some(wrong)) => {
                let is_flag = wrong.starts_with('-');
                let what = match is_flag {
                    true => "unknown flag",
                    false if inner.is_empty() => "unexpected argument",
                    false => "unknown command",
                };
                let similar = match is_flag || inner.is_empty() {
                    true => context(ContextKind::SuggestedArg),
                    false => nearest(&wrong, inner),
                };
                let hint = similar
                    .map(|similar| format!("; did you mean '{similar}'?"))
                    .unwrap_or_default();
                format!("{what} '{}'{hint}", shown::first_word(&wrong))
            }
            _ => error
                .to_string()
                .trim_start_matches("error: ")
                .trim_end()
                .to_owned(),
        };
        self.with_hint(names, &problem)
    }
}

impl Parsed {
    /// The words of the command, such as `["tools", "bucket", "ls"]`.
    pub fn command(&self) -> &[&'static str] {
        &self.command
    }
}

impl CliError {
    pub(super) fn usage(problem: impl AsRef<str>) -> Self {
        Self {
            exit_code: 2,
            text: format!("error: {}\n", problem.as_ref()),
        }
    }

    pub(super) fn missing_value(name: &str) -> Self {
        Self::usage(format!("expected argument for flag '--{name}'"))
    }

    fn shown(text: String) -> Self {
        Self { exit_code: 0, text }
    }
}

/// Reads flags without a command, for tests of components.
///
/// # Errors
/// As [`App::parse`].
pub fn parse_groups(groups: &[FlagGroup], arguments: &[&str]) -> Result<Flags, CliError> {
    let command = CommandSpec {
        groups: groups.to_vec(),
        ..CommandSpec::new("test", "")
    };
    let app = App::new("sabre", "test", "").command(command);
    let arguments = ["sabre", "test"].iter().chain(arguments);
    Ok(app.parse(arguments)?.flags)
}

/// Finds the command that differs from `wrong` in one place or begins like it.
fn nearest(wrong: &str, commands: &[CommandSpec]) -> Option<String> {
    let close = |name: &str| {
        let same = name
            .chars()
            .zip(wrong.chars())
            .take_while(|(a, b)| a == b)
            .count();
        let tail = name
            .chars()
            .rev()
            .zip(wrong.chars().rev())
            .take_while(|(a, b)| a == b)
            .count();
        same >= 3 || same + tail + 1 >= name.chars().count().max(wrong.chars().count())
    };
    commands
        .iter()
        .map(|command| command.name)
        .find(|name| close(name))
        .map(str::to_owned)
}

/// All flags of these groups in order.
pub(super) fn specs<'a>(groups: &[&'a FlagGroup]) -> impl Iterator<Item = &'a FlagSpec> {
    groups
        .iter()
        .copied()
        .flat_map(|group| &group.flags)
        .collect::<Vec<_>>()
        .into_iter()
}
