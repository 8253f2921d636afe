//! The parser: groups, alternatives, repetitions, flags.

use super::class::{self, Class};
use super::cursor::Cursor;
use super::error::{RegexError, RegexErrorKind};
use super::pieces::{Frame, Piece};
use super::syntax::{Flags, Look, Node};
use super::{MAX_NESTING, MAX_PATTERN_BYTES, MAX_WEIGHT, escape};

/// The greatest count of a repetition, nested ones multiplied.
const MAX_REPEAT: u32 = 1000;

/// A parsed expression.
pub(super) struct Parsed {
    pub(super) node: Node,
    /// The names of the groups that capture, in order.
    pub(super) groups: Vec<Option<String>>,
}

struct Parser<'p> {
    cursor: Cursor<'p>,
    flags: Flags,
    /// The groups around the current one.
    outer: Vec<Frame>,
    current: Frame,
    groups: Vec<Option<String>>,
    weight: usize,
    /// Where the repetition operator starts that was read last, if nothing came after it.
    last_repeat: Option<usize>,
}

/// Parses an expression by Go's rules.
pub(super) fn parse(pattern: &str) -> Result<Parsed, RegexError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(RegexError::new(RegexErrorKind::TooLong, pattern, 0));
    }
    let flags = Flags {
        fold: false,
        multi_line: false,
        dot_all: true,
        swap_greed: false,
    };
    let mut parser = Parser {
        cursor: Cursor::new(pattern),
        flags,
        outer: Vec::new(),
        current: Frame::new(false, flags),
        groups: Vec::new(),
        weight: 0,
        last_repeat: None,
    };
    while let Some(c) = parser.cursor.peek() {
        let repeat_before = parser.last_repeat.take();
        parser.token(c, repeat_before)?;
    }
    if !parser.outer.is_empty() {
        return Err(RegexError::new(RegexErrorKind::MissingParen, pattern, 0));
    }
    let whole = parser.current.finish();
    parser.cursor.check_height(&whole, 0)?;
    Ok(Parsed {
        node: whole.node,
        groups: parser.groups,
    })
}

impl Parser<'_> {
    /// Reads what starts with `c`.
    fn token(&mut self, c: char, repeat_before: Option<usize>) -> Result<(), RegexError> {
        match c {
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.cursor.next();
                let piece = self.current.take_sequence();
                self.current.alternatives.push(piece);
                self.weigh(1)
            }
            '*' => self.repeat_operator(0, None, repeat_before),
            '+' => self.repeat_operator(1, None, repeat_before),
            '?' => self.repeat_operator(0, Some(1), repeat_before),
            '{' => self.counted_repeat(repeat_before),
            '.' => self.leaf(if self.flags.dot_all {
                Node::Any
            } else {
                Node::AnyButNewline
            }),
            '^' => self.leaf(Node::Look(if self.flags.multi_line {
                Look::LineStart
            } else {
                Look::TextStart
            })),
            '$' => self.leaf(Node::Look(if self.flags.multi_line {
                Look::LineEnd
            } else {
                Look::TextEnd
            })),
            '[' => {
                let class = class::bracketed(&mut self.cursor)?;
                self.push_class(class)
            }
            '\\' => self.backslash(),
            c => self.leaf(Node::Literal {
                c,
                fold: self.flags.fold,
            }),
        }
    }

    /// Goes past one character that is `node`.
    fn leaf(&mut self, node: Node) -> Result<(), RegexError> {
        self.cursor.next();
        self.push_leaf(node, 1)
    }

    fn push_leaf(&mut self, node: Node, weight: usize) -> Result<(), RegexError> {
        self.current.sequence.push(Piece {
            node,
            height: 1,
            repeats: 1,
        });
        self.weigh(weight)
    }

    fn push_class(&mut self, class: Class) -> Result<(), RegexError> {
        self.push_leaf(
            Node::Class {
                text: class.text,
                fold: self.flags.fold,
            },
            class.weight,
        )
    }

    fn weigh(&mut self, weight: usize) -> Result<(), RegexError> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            return Err(RegexError::new(
                RegexErrorKind::TooHeavy,
                self.cursor.pattern(),
                self.cursor.at(),
            ));
        }
        Ok(())
    }

    /// Reads an escape.
    fn backslash(&mut self) -> Result<(), RegexError> {
        if let Some(class) = class::escaped(&mut self.cursor)? {
            return self.push_class(class);
        }
        if self.cursor.eat("\\Q") {
            let text = match self.cursor.eat_until("\\E") {
                Some(text) => text,
                None => self.cursor.eat_rest(),
            };
            return text.chars().try_for_each(|c| {
                self.push_leaf(
                    Node::Literal {
                        c,
                        fold: self.flags.fold,
                    },
                    1,
                )
            });
        }
        let looks = [
            ("\\A", Look::TextStart),
            ("\\z", Look::TextEnd),
            ("\\b", Look::WordBoundary),
            ("\\B", Look::NotWordBoundary),
        ];
        for (text, look) in looks {
            if self.cursor.eat(text) {
                return self.push_leaf(Node::Look(look), 1);
            }
        }
        match char::from_u32(escape::code_point(&mut self.cursor)?) {
            Some(c) => self.push_leaf(
                Node::Literal {
                    c,
                    fold: self.flags.fold,
                },
                1,
            ),
            None => self.push_class(class::nothing()),
        }
    }

    /// Reads `{2}`, `{2,}` or `{2,3}`; any other brace is a character.
    fn counted_repeat(&mut self, repeat_before: Option<usize>) -> Result<(), RegexError> {
        let start = self.cursor.at();
        let Some((min, max)) = read_counts(&mut self.cursor) else {
            self.cursor.back_to(start);
            return self.leaf(Node::Literal {
                c: '{',
                fold: self.flags.fold,
            });
        };
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(self.cursor.error(RegexErrorKind::RepeatCount, start));
        }
        self.repeat(start, min, max, repeat_before)
    }

    fn repeat_operator(
        &mut self,
        min: u32,
        max: Option<u32>,
        repeat_before: Option<usize>,
    ) -> Result<(), RegexError> {
        let start = self.cursor.at();
        self.cursor.next();
        self.repeat(start, min, max, repeat_before)
    }

    /// Puts the last part under a repetition whose operator starts at `start` and has been read but for its `?`.
    fn repeat(
        &mut self,
        start: usize,
        min: u32,
        max: Option<u32>,
        repeat_before: Option<usize>,
    ) -> Result<(), RegexError> {
        let greedy = self.cursor.eat("?") == self.flags.swap_greed;
        if let Some(before) = repeat_before {
            return Err(self.cursor.error(RegexErrorKind::NestedRepeat, before));
        }
        let Some(piece) = self.current.sequence.pop() else {
            return Err(self.cursor.error(RegexErrorKind::MissingRepeatArgument, start));
        };
        let repeats = match (min, max) {
            // The operators `*`, `+` and `?` do not count.
            (0 | 1, None) | (0, Some(1)) => piece.repeats,
            // What comes no time costs nothing, however often it would have come.
            (_, Some(0)) => 1,
            (min, max) => piece.repeats.saturating_mul(max.unwrap_or(min)),
        };
        if repeats > MAX_REPEAT {
            return Err(self.cursor.error(RegexErrorKind::RepeatCount, start));
        }
        let node = Node::Repeat {
            node: Box::new(piece.node),
            min,
            max,
            greedy,
        };
        let repeated = Piece {
            node,
            height: piece.height + 1,
            repeats,
        };
        self.cursor.check_height(&repeated, start)?;
        self.current.sequence.push(repeated);
        self.last_repeat = Some(start);
        self.weigh(1)
    }

    /// Reads an opening parenthesis and what belongs to it: a name, or flags, which may be all there is.
    fn open(&mut self) -> Result<(), RegexError> {
        let start = self.cursor.at();
        self.weigh(1)?;
        if !self.cursor.eat("(?") {
            self.cursor.next();
            self.groups.push(None);
            return self.push_frame(true, self.flags, start);
        }
        let rest = self.cursor.rest();
        // With less after them, `P<` and `<` are read as flags, which they are not.
        if (rest.starts_with("P<") && rest.len() > 2) || (rest.starts_with('<') && rest.len() > 1) {
            let name = self.capture_name(start)?;
            self.groups.push(Some(name));
            return self.push_frame(true, self.flags, start);
        }
        let flags = self.read_flags(start)?;
        if self.cursor.eat(")") {
            self.flags = flags;
            return Ok(());
        }
        self.cursor.eat(":");
        self.push_frame(false, flags, start)
    }

    fn push_frame(&mut self, capture: bool, flags: Flags, start: usize) -> Result<(), RegexError> {
        if self.outer.len() >= MAX_NESTING {
            return Err(self.cursor.error_to_end(RegexErrorKind::TooDeep, start));
        }
        let frame = Frame::new(capture, self.flags);
        self.outer.push(std::mem::replace(&mut self.current, frame));
        self.flags = flags;
        Ok(())
    }

    /// Reads `P<name>` or `<name>`.
    fn capture_name(&mut self, start: usize) -> Result<String, RegexError> {
        self.cursor.eat("P");
        self.cursor.eat("<");
        let Some(name) = self.cursor.eat_until(">") else {
            return Err(self.cursor.error_to_end(RegexErrorKind::InvalidCapture, start));
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(self.cursor.error(RegexErrorKind::InvalidCapture, start));
        }
        Ok(name.to_owned())
    }

    /// Reads flags up to a colon or a closing parenthesis, which is left.
    fn read_flags(&mut self, start: usize) -> Result<Flags, RegexError> {
        let mut flags = self.flags;
        let mut on = true;
        // After a minus there must be a flag.
        let mut complete = true;
        while let Some(c) = self.cursor.peek() {
            if matches!(c, ':' | ')') && complete {
                return Ok(flags);
            }
            self.cursor.next();
            match c {
                'i' => flags.fold = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'U' => flags.swap_greed = on,
                '-' if on => on = false,
                _ => break,
            }
            complete = c != '-';
        }
        Err(self.cursor.error(RegexErrorKind::InvalidPerl, start))
    }

    fn close(&mut self) -> Result<(), RegexError> {
        let start = self.cursor.at();
        self.cursor.next();
        let Some(outer) = self.outer.pop() else {
            return Err(RegexError::new(
                RegexErrorKind::UnexpectedParen,
                self.cursor.pattern(),
                start,
            ));
        };
        let closed = std::mem::replace(&mut self.current, outer);
        self.flags = closed.flags_before;
        let piece = closed.finish();
        self.cursor.check_height(&piece, start)?;
        self.current.sequence.push(piece);
        Ok(())
    }
}

impl Cursor<'_> {
    fn check_height(&self, piece: &Piece, start: usize) -> Result<(), RegexError> {
        if piece.height > MAX_NESTING {
            return Err(self.error_to_end(RegexErrorKind::TooDeep, start));
        }
        Ok(())
    }
}

/// Reads the counts of `{2}`, `{2,}` or `{2,3}`; the second is missing where there is no bound. A count that is too
/// great for 32 bits comes back as one that is too great for Go.
fn read_counts(cursor: &mut Cursor<'_>) -> Option<(u32, Option<u32>)> {
    cursor.eat("{");
    let min = read_count(cursor)?;
    let max = if !cursor.eat(",") {
        Some(min)
    } else if cursor.rest().starts_with('}') {
        None
    } else {
        Some(read_count(cursor)?)
    };
    cursor.eat("}").then_some((min, max))
}

/// Reads a count; with a zero in front it is none.
fn read_count(cursor: &mut Cursor<'_>) -> Option<u32> {
    let digits = cursor.eat_digits();
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}
