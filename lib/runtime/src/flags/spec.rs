//! What a flag, a group of flags and a command are.

/// One flag of the table.
#[derive(Debug, Clone, Copy)]
pub struct FlagSpec {
    /// Name without the dashes. A [`Kind::Content`] flag `x` also owns `x-file`, a [`Kind::Bool`] one `no-x`.
    pub name: &'static str,
    /// One-letter form.
    pub short: Option<char>,
    /// What values look like.
    pub kind: Kind,
    /// Whether it may be given more than once.
    pub repeat: Repeat,
    /// The default as it would be typed; empty for none.
    pub default: &'static str,
    /// What it does, one or two sentences without a full stop.
    pub help: &'static str,
    /// Left out of `--help`, shown by `--help-long`.
    pub hidden: bool,
    /// Not giving it is an error.
    pub required: bool,
    /// The smallest number allowed, for [`Kind::Int`].
    pub min: Option<i64>,
    /// What giving it does.
    pub status: Status,
}

/// What the values of a flag look like.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// `--x`, `--no-x`, `--x=true`, `--x=false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A duration.
    Duration(DurationSyntax),
    /// A number of bytes, `250MB`, with units of 1024.
    Size,
    /// A point in time as in RFC 3339, or a duration from the moment of its use such as `-2d`.
    Time,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A listen address in Go's style, see [`super::ListenAddress`].
    Address,
    /// A document given inline by `--x` or as a file by `--x-file`; `$(VAR)` in it is substituted.
    Content,
    /// Text that must pass a check, which words what is wrong.
    Checked {
        /// What a value is called in help, such as `time`.
        noun: &'static str,
        /// The check.
        check: fn(&str) -> Result<(), String>,
    },
}

/// Which durations a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationSyntax {
    /// Go's: `1h30m`, `1.5h`.
    Go,
    /// Prometheus': `15d`, `2w`, `1y`.
    Prometheus,
    /// Either.
    Either,
}

/// Whether a flag may be given more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is an error.
    Once,
    /// Every occurrence adds a value.
    Many,
    /// Every occurrence adds values, separated by commas.
    CommaLists,
}

/// What giving a flag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It works as in Thanos, or is Sabre's own.
    Works,
    /// It is accepted and has no effect; the text says why and is logged.
    Ignored(&'static str),
    /// It is not built yet and ends the process; the text says what to do instead.
    Refused(&'static str),
}

/// Flags that belong together, under a title in `--help`.
#[derive(Debug, Clone)]
pub struct FlagGroup {
    /// The title.
    pub title: &'static str,
    /// The flags in the order of `--help`.
    pub flags: Vec<FlagSpec>,
}

/// A command line worth copying.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// What it does.
    pub what: &'static str,
    /// The line.
    pub line: &'static str,
}

/// A command: flags of its own and of those below it.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The word on the command line.
    pub name: &'static str,
    /// What it does, one line.
    pub about: &'static str,
    /// Its flags; commands below it have them too.
    pub groups: Vec<FlagGroup>,
    /// Examples at the end of `--help`.
    pub examples: Vec<Example>,
    /// Commands below it. With any, the command itself does nothing.
    pub commands: Vec<CommandSpec>,
    /// The flag that a bare word behind the command is the value of.
    pub operand: Option<&'static str>,
    /// Set for a command of Thanos that is not built: what to use instead.
    pub refused: Option<&'static str>,
}

impl Kind {
    /// A duration in either syntax, which is what most flags take.
    pub const DURATION: Kind = Kind::Duration(DurationSyntax::Either);
}

impl FlagSpec {
    /// Makes a flag that is given at most once and works.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self {
            name,
            short: None,
            kind,
            repeat: Repeat::Once,
            default,
            help,
            hidden: false,
            required: false,
            min: None,
            status: Status::Works,
        }
    }

    /// Adds a one-letter form.
    #[must_use]
    pub const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Lets it be given more than once.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeat = Repeat::Many;
        self
    }

    /// Lets it be given more than once, with several values separated by commas.
    #[must_use]
    pub const fn comma_lists(mut self) -> Self {
        self.repeat = Repeat::CommaLists;
        self
    }

    /// Leaves it out of `--help`.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Makes it an error not to give it. For [`Kind::Content`] either of the pair must be given, and not be empty.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets the smallest number allowed.
    #[must_use]
    pub const fn at_least(mut self, min: i64) -> Self {
        self.min = Some(min);
        self
    }

    /// Accepts it without effect and logs why.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }

    /// Ends the process with this advice when it is given a value.
    #[must_use]
    pub const fn refused(mut self, instead: &'static str) -> Self {
        self.status = Status::Refused(instead);
        self
    }
}

impl FlagGroup {
    /// Makes a group.
    pub fn new(title: &'static str, flags: &[FlagSpec]) -> Self {
        Self {
            title,
            flags: flags.to_vec(),
        }
    }
}

impl CommandSpec {
    /// Makes a command without flags.
    pub fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            groups: Vec::new(),
            examples: Vec::new(),
            commands: Vec::new(),
            operand: None,
            refused: None,
        }
    }

    /// Makes a command of Thanos that is not built: whatever its arguments, it ends the process with this advice.
    pub fn not_built(name: &'static str, instead: &'static str) -> Self {
        Self {
            refused: Some(instead),
            ..Self::new(name, "")
        }
    }

    /// Adds flags.
    #[must_use]
    pub fn group(mut self, group: FlagGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Lets a bare word behind the command be the value of one of its flags: `restore x` is `restore --index=x`.
    #[must_use]
    pub fn operand(mut self, flag: &'static str) -> Self {
        self.operand = Some(flag);
        self
    }

    /// Adds an example.
    #[must_use]
    pub fn example(mut self, what: &'static str, line: &'static str) -> Self {
        self.examples.push(Example { what, line });
        self
    }

    /// Adds a command below it.
    #[must_use]
    pub fn command(mut self, command: CommandSpec) -> Self {
        self.commands.push(command);
        self
    }
}
