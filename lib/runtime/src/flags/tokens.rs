//! Kingpin's manners: turns a command line into a form that clap reads without guessing.
//!
//! Every flag becomes `--name=value` behind the commands, whatever way it was written: a value of its own (which may
//! begin with `-`), `--no-x`, a letter, or a flag of an outer command given before the inner one.

use super::{
    app::{App, CliError},
    spec::{CommandSpec, FlagGroup, FlagSpec, Kind},
};

/// What the user wants instead of running a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Help,
    HelpLong,
    Version,
}

/// A command line after the first reading.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// The commands, outermost first.
    pub(super) path: Vec<&'a CommandSpec>,
    /// `--name=value` for every flag that is known, and everything that is not, as it was written.
    pub(super) tokens: Vec<String>,
    /// The first request found.
    pub(super) request: Option<Request>,
}

/// What a long name means.
enum Long<'a> {
    /// A flag that takes a value.
    Valued,
    /// A boolean.
    Bool,
    /// `no-` before a boolean.
    Negated(&'a FlagSpec),
    Request(Request),
}

struct Scanner<'a> {
    app: &'a App,
    scan: Scan<'a>,
}

/// Reads `arguments`, which do not include the program's name.
pub(super) fn scan<'a>(app: &'a App, arguments: &[String]) -> Result<Scan<'a>, CliError> {
    let scan = Scan {
        path: Vec::new(),
        tokens: Vec::new(),
        request: None,
    };
    let mut scanner = Scanner { app, scan };
    let mut rest = arguments.iter().peekable();
    while let Some(token) = rest.next() {
        if token == "--" {
            scanner
                .scan
                .tokens
                .extend(std::iter::once(token).chain(rest).cloned());
            break;
        }
        let mut next = || rest.next_if(|next| !scanner.is_known_flag(next)).cloned();
        if let Some(long) = token.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let value = match (&value, scanner.meaning(name)) {
                (None, Some(Long::Valued)) => next(),
                _ => value,
            };
            scanner.long(token, name, value)?;
        } else if token.len() > 1 && token.starts_with('-') {
            let value = if scanner.wants_next(token) { next() } else { None };
            scanner.letters(token, value)?;
        } else {
            scanner.word(token);
        }
    }
    Ok(scanner.scan)
}

impl<'a> Scanner<'a> {
    fn groups(&self) -> impl Iterator<Item = &'a FlagGroup> {
        let commands: Vec<&'a CommandSpec> = self.scan.path.clone();
        self.app
            .global
            .iter()
            .chain(commands.into_iter().flat_map(|command| &command.groups))
    }

    fn spec(&self, matches: impl Fn(&FlagSpec) -> bool) -> Option<&'a FlagSpec> {
        self.groups()
            .flat_map(|group| &group.flags)
            .find(|spec| matches(spec))
    }

    fn meaning(&self, name: &str) -> Option<Long<'a>> {
        match name {
            "help" => return Some(Long::Request(Request::Help)),
            "help-long" | "help-man" => return Some(Long::Request(Request::HelpLong)),
            "version" => return Some(Long::Request(Request::Version)),
            _ => {}
        }
        if let Some(spec) = self.spec(|spec| spec.name == name) {
            return Some(if matches!(spec.kind, Kind::Bool) {
                Long::Bool
            } else {
                Long::Valued
            });
        }
        if let Some(content) = name.strip_suffix("-file")
            && self
                .spec(|spec| spec.name == content && matches!(spec.kind, Kind::Content))
                .is_some()
        {
            return Some(Long::Valued);
        }
        let positive = name.strip_prefix("no-")?;
        self.spec(|spec| spec.name == positive && matches!(spec.kind, Kind::Bool))
            .map(Long::Negated)
    }

    fn is_known_flag(&self, token: &str) -> bool {
        token
            .strip_prefix("--")
            .and_then(|long| self.meaning(long.split('=').next().unwrap_or_default()))
            .is_some()
    }

    fn long(&mut self, token: &str, name: &str, value: Option<String>) -> Result<(), CliError> {
        let canonical = match (self.meaning(name), value) {
            (Some(Long::Request(request)), _) => {
                self.scan.request.get_or_insert(request);
                return Ok(());
            }
            (Some(Long::Valued), None) => return Err(CliError::missing_value(name)),
            (Some(Long::Valued | Long::Bool), Some(value)) => format!("--{name}={value}"),
            (Some(Long::Bool), None) => format!("--{name}=true"),
            (Some(Long::Negated(spec)), None) => format!("--{}=false", spec.name),
            (Some(Long::Negated(_)), Some(_)) => {
                return Err(CliError::usage(format!("flag '--{name}' takes no value")));
            }
            (None, _) => token.to_owned(),
        };
        self.scan.tokens.push(canonical);
        Ok(())
    }

    /// Whether the last letter of `-abc` takes its value from the next word.
    fn wants_next(&self, token: &str) -> bool {
        let mut letters = token.strip_prefix('-').unwrap_or(token).chars();
        while let Some(letter) = letters.next() {
            match self.spec(|spec| spec.short == Some(letter)) {
                Some(spec) if matches!(spec.kind, Kind::Bool) => {}
                Some(_) => return letters.as_str().is_empty(),
                None => return false,
            }
        }
        false
    }

    fn letters(&mut self, token: &str, next: Option<String>) -> Result<(), CliError> {
        let mut letters = token.strip_prefix('-').unwrap_or(token).chars();
        while let Some(letter) = letters.next() {
            let spec = self.spec(|spec| spec.short == Some(letter));
            match spec {
                None if letter == 'h' => {
                    self.scan.request.get_or_insert(Request::Help);
                }
                None => {
                    self.scan.tokens.push(token.to_owned());
                    return Ok(());
                }
                Some(spec) if matches!(spec.kind, Kind::Bool) => {
                    self.scan.tokens.push(format!("--{}=true", spec.name));
                }
                Some(spec) => {
                    let attached = letters.as_str();
                    let attached = attached.strip_prefix('=').unwrap_or(attached);
                    let value = if attached.is_empty() {
                        next
                    } else {
                        Some(attached.to_owned())
                    };
                    let value = value.ok_or_else(|| CliError::missing_value(spec.name))?;
                    self.scan.tokens.push(format!("--{}={value}", spec.name));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn word(&mut self, token: &str) {
        let inner = match self.scan.path.last() {
            Some(command) => &command.commands,
            None => &self.app.commands,
        };
        match inner.iter().find(|command| command.name == token) {
            Some(command) => self.scan.path.push(command),
            None if token == "help" && self.scan.path.is_empty() => {
                self.scan.request.get_or_insert(Request::Help);
            }
            None => {
                let operand = self.scan.path.last().and_then(|command| command.operand);
                self.scan.tokens.push(match operand {
                    Some(flag) => format!("--{flag}={token}"),
                    None => token.to_owned(),
                });
            }
        }
    }
}
