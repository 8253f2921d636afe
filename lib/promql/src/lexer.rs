//! Takes the text of a query apart.
//!
//! What a character means depends on whether a brace or a bracket is open, as in Prometheus: within braces there are
//! no keywords, and behind `[` durations and their arithmetic come first.

mod literal;

#[cfg(test)]
mod tests;

use crate::go_text::quoted_char;
use crate::token::{Kind, Operator, Token, word_kind};

/// Why the text cannot be taken apart any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LexError {
    /// Where the token starts that is broken.
    pub(crate) start: usize,
    pub(crate) message: String,
}

type Result<T> = std::result::Result<T, LexError>;

/// Gives the tokens of a text one by one; after an error there are no more.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    input: &'a str,
    /// Where the next character is.
    at: usize,
    /// Where the token in work starts.
    start: usize,
    paren_depth: i64,
    brace_open: bool,
    bracket_open: bool,
    got_colon: bool,
    got_duration: bool,
    /// Whether only the parts of a duration may come: from `[` to the first number.
    in_duration: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Lexer<'a> {
        Lexer {
            input,
            at: 0,
            start: 0,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
            in_duration: false,
        }
    }

    /// The next token that is no comment.
    pub(crate) fn next_token(&mut self) -> Result<Token<'a>> {
        loop {
            let token = if self.in_duration {
                self.duration_token()?
            } else if self.brace_open {
                self.brace_token()?
            } else {
                self.statement_token()?
            };
            if let Some(token) = token.filter(|token| token.kind != Kind::Comment) {
                return Ok(token);
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.input.get(self.at..).and_then(|rest| rest.chars().next())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, is_wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(is_wanted);
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, is_wanted: impl Fn(char) -> bool) {
        while self.accept(&is_wanted) {}
    }

    fn word(&self) -> &'a str {
        self.input.get(self.start..self.at).unwrap_or("")
    }

    fn emit(&mut self, kind: Kind) -> Result<Option<Token<'a>>> {
        let token = Token {
            kind,
            start: self.start,
            text: self.word(),
        };
        self.start = self.at;
        Ok(Some(token))
    }

    fn operator(&mut self, operator: Operator) -> Result<Option<Token<'a>>> {
        self.emit(Kind::Operator(operator))
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(LexError {
            start: self.start,
            message: message.into(),
        })
    }

    /// Fails behind a token that would itself be fine.
    fn fail_behind<T>(&mut self, message: impl Into<String>) -> Result<T> {
        self.start = self.at;
        self.fail(message)
    }

    fn skip_space(&mut self) -> Result<Option<Token<'a>>> {
        self.accept_run(is_space);
        self.start = self.at;
        Ok(None)
    }

    fn comment(&mut self) -> Result<Option<Token<'a>>> {
        self.accept_run(|c| c != '\n' && c != '\r');
        self.emit(Kind::Comment)
    }

    fn statement_token(&mut self) -> Result<Option<Token<'a>>> {
        let Some(c) = self.next() else {
            return self.end();
        };
        match c {
            '#' => self.comment(),
            ',' => self.emit(Kind::Comma),
            c if is_space(c) => self.skip_space(),
            '*' => self.operator(Operator::Mul),
            '/' => self.operator(Operator::Div),
            '%' => self.operator(Operator::Mod),
            '+' => self.operator(Operator::Add),
            '-' => self.operator(Operator::Sub),
            '^' => self.operator(Operator::Pow),
            '=' | '!' | '<' | '>' => self.comparison(c),
            '@' => self.emit(Kind::At),
            c if c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit())) => {
                self.at = self.start;
                self.number_or_duration()
            }
            '"' | '\'' | '`' => self.string(c),
            c if is_alpha(c) || c == ':' => self.word_or_colon(c),
            '(' | ')' => self.paren(c),
            '{' => {
                self.brace_open = true;
                self.emit(Kind::LeftBrace)
            }
            '[' => self.left_bracket(),
            ']' if !self.bracket_open => {
                self.fail(format!("unexpected right bracket {}", quoted_char(Some(c))))
            }
            ']' => {
                self.bracket_open = false;
                self.emit(Kind::RightBracket)
            }
            c => self.fail(format!("unexpected character: {}", quoted_char(Some(c)))),
        }
    }

    fn end(&mut self) -> Result<Option<Token<'a>>> {
        if self.paren_depth != 0 {
            return self.fail("unclosed left parenthesis");
        }
        if self.bracket_open {
            return self.fail("unclosed left bracket");
        }
        self.emit(Kind::Eof)
    }

    fn comparison(&mut self, c: char) -> Result<Option<Token<'a>>> {
        let next = self.peek();
        let with_equal = next == Some('=');
        match c {
            '=' if next == Some('~') => {
                self.fail(format!("unexpected character after '=': {}", quoted_char(next)))
            }
            '=' if !with_equal => self.emit(Kind::Eql),
            '!' if !with_equal => self.fail(format!("unexpected character after '!': {}", quoted_char(next))),
            '<' if !with_equal => self.operator(Operator::Lss),
            '>' if !with_equal => self.operator(Operator::Gtr),
            _ => {
                self.next();
                self.operator(match c {
                    '=' => Operator::Eq,
                    '!' => Operator::Neq,
                    '<' => Operator::Lte,
                    _ => Operator::Gte,
                })
            }
        }
    }

    fn paren(&mut self, c: char) -> Result<Option<Token<'a>>> {
        if c == '(' {
            self.paren_depth += 1;
            return self.emit(Kind::LeftParen);
        }
        self.paren_depth -= 1;
        if self.paren_depth < 0 {
            return self.fail_behind(format!("unexpected right parenthesis {}", quoted_char(Some(c))));
        }
        self.emit(Kind::RightParen)
    }

    fn left_bracket(&mut self) -> Result<Option<Token<'a>>> {
        if self.bracket_open {
            return self.fail(format!("unexpected left bracket {}", quoted_char(Some('['))));
        }
        self.got_colon = false;
        self.bracket_open = true;
        self.in_duration = true;
        let token = self.emit(Kind::LeftBracket)?;
        self.skip_space()?;
        Ok(token)
    }

    fn word_or_colon(&mut self, c: char) -> Result<Option<Token<'a>>> {
        if !self.bracket_open {
            self.accept_run(|c| is_alphanumeric(c) || c == ':');
            let word = self.word();
            let plain = if word.contains(':') {
                Kind::MetricIdentifier
            } else {
                Kind::Identifier
            };
            return self.emit(word_kind(word).unwrap_or(plain));
        }
        if c == ':' {
            if self.got_colon {
                return self.fail(format!("unexpected colon {}", quoted_char(Some(c))));
            }
            self.got_colon = true;
            return self.emit(Kind::Colon);
        }
        match self.duration_word(c) {
            Some(kind) => self.emit(kind),
            None => self.fail(format!(
                "unexpected character: {}, expected ':'",
                quoted_char(Some(c))
            )),
        }
    }

    /// What stands between `[` and the first number.
    fn duration_token(&mut self) -> Result<Option<Token<'a>>> {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input in duration expression");
        };
        match c {
            ']' => {
                self.in_duration = false;
                self.bracket_open = false;
                self.got_colon = false;
                self.emit(Kind::RightBracket)
            }
            ':' if !self.got_duration => {
                self.fail_behind("unexpected colon before duration in duration expression")
            }
            ':' if self.got_colon => self.fail_behind("unexpected repeated colon in duration expression"),
            ':' => {
                self.got_colon = true;
                self.emit(Kind::Colon)
            }
            '(' | ')' => self.paren(c),
            c if is_space(c) => self.skip_space(),
            '+' => self.operator(Operator::Add),
            '-' => self.operator(Operator::Sub),
            '*' => self.operator(Operator::Mul),
            '/' => self.operator(Operator::Div),
            '%' => self.operator(Operator::Mod),
            '^' => self.operator(Operator::Pow),
            ',' => self.emit(Kind::Comma),
            c if c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit())) => {
                self.at = self.start;
                self.got_duration = true;
                self.in_duration = false;
                self.number_or_duration()
            }
            c => match self.duration_word(c) {
                Some(kind) => self.emit(kind),
                None => self.fail(format!(
                    "unexpected character in duration expression: {}",
                    quoted_char(Some(c))
                )),
            },
        }
    }

    /// What stands between braces.
    fn brace_token(&mut self) -> Result<Option<Token<'a>>> {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input inside braces");
        };
        match c {
            '#' => self.comment(),
            c if is_space(c) => self.skip_space(),
            c if is_alpha(c) => {
                self.accept_run(is_alphanumeric);
                self.emit(Kind::Identifier)
            }
            ',' => self.emit(Kind::Comma),
            '"' | '\'' | '`' => self.string(c),
            '=' if self.accept(|c| c == '~') => self.emit(Kind::EqlRegex),
            '=' => self.emit(Kind::Eql),
            '!' => match self.next() {
                Some('~') => self.emit(Kind::NeqRegex),
                Some('=') => self.operator(Operator::Neq),
                other => self.fail(format!(
                    "unexpected character after '!' inside braces: {}",
                    quoted_char(other)
                )),
            },
            '{' => self.fail(format!("unexpected left brace {}", quoted_char(Some(c)))),
            '}' => {
                self.brace_open = false;
                self.emit(Kind::RightBrace)
            }
            c => self.fail(format!(
                "unexpected character inside braces: {}",
                quoted_char(Some(c))
            )),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
