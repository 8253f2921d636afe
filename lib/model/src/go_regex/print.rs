//! Prints an expression in the syntax of the `regex` crate.

use std::fmt::Write;

use regex_syntax::is_meta_character;

use super::Captures;
use super::syntax::{Look, Node};

/// Prints an expression.
pub(super) fn print(node: &Node, captures: Captures) -> String {
    // A dot is any character here; the few that are not say so themselves.
    let mut printer = Printer {
        text: "(?s:".to_owned(),
        captures,
    };
    printer.node(node, Place::Alternative);
    printer.text.push(')');
    printer.text
}

struct Printer {
    text: String,
    captures: Captures,
}

/// Where a part stands, from where the least parentheses are needed to where the most are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Alternative,
    Sequence,
    Repeated,
}

impl Printer {
    /// Recurses as deep as the expression nests, which the parser limits.
    fn node(&mut self, node: &Node, place: Place) {
        match node {
            Node::Empty => self.text.push_str("(?:)"),
            Node::Literal { c, fold } => self.folded(*fold, |printer| printer.literal(*c)),
            Node::Class { text, fold } => self.folded(*fold, |printer| printer.text.push_str(text)),
            Node::Any => self.text.push('.'),
            Node::AnyButNewline => self.text.push_str("(?-s:.)"),
            Node::Look(look) => self.text.push_str(look_text(*look)),
            Node::Capture(inner) => match self.captures {
                Captures::Keep => {
                    self.text.push('(');
                    self.node(inner, Place::Alternative);
                    self.text.push(')');
                }
                Captures::Drop => self.node(inner, place),
            },
            Node::Repeat {
                node,
                min,
                max,
                greedy,
            } => self.grouped(place > Place::Sequence, |printer| {
                printer.node(node, Place::Repeated);
                printer.operator(*min, *max, *greedy);
            }),
            Node::Concat(nodes) => self.grouped(place > Place::Sequence, |printer| printer.sequence(nodes)),
            Node::Alternate(nodes) => self.grouped(place > Place::Alternative, |printer| {
                for (i, node) in nodes.iter().enumerate() {
                    if i > 0 {
                        printer.text.push('|');
                    }
                    printer.node(node, Place::Alternative);
                }
            }),
        }
    }

    fn grouped(&mut self, needed: bool, print: impl FnOnce(&mut Printer)) {
        if needed {
            self.text.push_str("(?:");
        }
        print(self);
        if needed {
            self.text.push(')');
        }
    }

    /// Prints parts one after another; letters that match in either case share one group.
    fn sequence(&mut self, nodes: &[Node]) {
        let mut left = nodes;
        while let Some((node, rest)) = left.split_first() {
            let run = left
                .iter()
                .take_while(|node| matches!(node, Node::Literal { fold: true, .. }))
                .count();
            if run == 0 {
                self.node(node, Place::Sequence);
                left = rest;
                continue;
            }
            let (letters, rest) = left.split_at_checked(run).unwrap_or((left, &[]));
            self.folded(true, |printer| {
                for letter in letters {
                    if let Node::Literal { c, .. } = letter {
                        printer.literal(*c);
                    }
                }
            });
            left = rest;
        }
    }

    fn literal(&mut self, c: char) {
        if is_meta_character(c) {
            self.text.push('\\');
        }
        self.text.push(c);
    }

    fn folded(&mut self, fold: bool, print: impl FnOnce(&mut Printer)) {
        if fold {
            self.text.push_str("(?i:");
        }
        print(self);
        if fold {
            self.text.push(')');
        }
    }

    fn operator(&mut self, min: u32, max: Option<u32>, greedy: bool) {
        // Writing to a string cannot fail.
        let _ = match (min, max) {
            (0, None) => write!(self.text, "*"),
            (1, None) => write!(self.text, "+"),
            (0, Some(1)) => write!(self.text, "?"),
            (min, None) => write!(self.text, "{{{min},}}"),
            (min, Some(max)) => write!(self.text, "{{{min},{max}}}"),
        };
        if !greedy {
            self.text.push('?');
        }
    }
}

fn look_text(look: Look) -> &'static str {
    match look {
        Look::TextStart => r"\A",
        Look::TextEnd => r"\z",
        Look::LineStart => "(?m:^)",
        Look::LineEnd => "(?m:$)",
        Look::WordBoundary => r"(?-u:\b)",
        Look::NotWordBoundary => r"(?-u:\B)",
    }
}
