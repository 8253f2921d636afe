//! What the demo says: lines on standard output, and progress that is a bar on a terminal and a few lines elsewhere.

#![allow(clippy::print_stdout, reason = "the demo talks to the person who started it")]

use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Elsewhere than on a terminal, progress is told in steps of this many percent.
const STEP_PERCENT: usize = 25;

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
}

/// How far something is.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    told_percent: AtomicUsize,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        Screen {
            is_terminal: std::io::stdout().is_terminal(),
        }
    }

    pub(crate) fn title(&self, text: &str) {
        self.line("");
        if self.is_terminal {
            self.line(&format!("\u{1b}[1m{text}\u{1b}[0m"));
        } else {
            self.line(&format!("== {text}"));
        }
    }

    /// A reader that closed the pipe is no reason to stop.
    pub(crate) fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    pub(crate) fn progress(&self, name: &str) -> Progress {
        let bar = self.is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            if let Ok(style) = ProgressStyle::with_template("{prefix:14} {bar:40} {pos}/{len} blocks") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_string());
            bar
        });
        Progress {
            name: name.to_string(),
            bar,
            told_percent: AtomicUsize::new(0),
        }
    }
}

impl Progress {
    pub(crate) fn set(&self, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            return;
        }
        let percent = (done * 100).checked_div(of).unwrap_or(100);
        let told = self.told_percent.load(Ordering::Relaxed);
        if percent >= told + STEP_PERCENT && percent < 100 {
            self.told_percent
                .store(percent - percent % STEP_PERCENT, Ordering::Relaxed);
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{}: {done} of {of} blocks", self.name).and_then(|()| out.flush());
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// 1234567 as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size for people: one decimal of the largest unit that it fills.
pub(crate) fn short_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes as f64;
    let mut shown_unit = None;
    for unit in UNITS {
        // What would print as 1024.0 is one of the next.
        if size < 1023.95 {
            break;
        }
        size /= 1024.0;
        shown_unit = Some(unit);
    }
    shown_unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{size:.1} {unit}"))
}

/// Arguments as they would be typed into a shell.
pub(crate) fn shell_line(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    let quoted = arguments.iter().map(|argument| {
        if argument.chars().all(plain) {
            return argument.clone();
        }
        let escaped = argument
            .replace('\\', "\\\\")
            .replace('\'', "\\'")
            .replace('\n', "\\n");
        format!("$'{escaped}'")
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn sizes_have_one_decimal_of_the_largest_unit() {
        assert_eq!(short_size(0), "0 B");
        assert_eq!(short_size(1023), "1023 B");
        assert_eq!(short_size(1024), "1.0 KiB");
        assert_eq!(short_size((22 << 20) + (305 << 10) + 419), "22.3 MiB");
        assert_eq!(short_size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(short_size(5 << 40), "5.0 TiB");
        assert_eq!(short_size(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let line = ["sabre".to_string(), "--a=b c\nd'".to_string()];
        assert_eq!(shell_line(&line), "sabre $'--a=b c\\nd\\''");
    }
}
