//! Prints long queries over several lines, as Prometheus' page does when asked to format one.
//!
//! What fits into [`MAX_LINE_BYTES`] stays on its line. Of what does not, each part has lines of its own, two spaces
//! further in: the arguments of calls and aggregations, what stands in parentheses, and the sides of operators, whose
//! line stays where it is between them. Selectors and literals are never cut.

use std::fmt::{self, Write};

use crate::ast::{Binary, Expr};
use crate::printer::{Grouped, Operation, SubqueryTimes};

/// The longest part that is left on one line.
const MAX_LINE_BYTES: usize = 100;

const INDENT: &str = "  ";

/// What is longer than this over several lines is printed in one: spaces grow with the depth of a query, and depth times
/// length may be a lot.
const MAX_PRETTY_BYTES: usize = 16 << 20;

/// The query over as many lines as it needs.
pub fn pretty(expr: &Expr) -> String {
    pretty_within(expr, MAX_PRETTY_BYTES)
}

fn pretty_within(expr: &Expr, max_bytes: usize) -> String {
    let mut page = Page {
        text: String::new(),
        max_bytes,
    };
    match page.expr(expr, 0) {
        Ok(()) => page.text,
        Err(fmt::Error) => expr.to_string(),
    }
}

/// What is printed, up to a number of bytes.
struct Page {
    text: String,
    max_bytes: usize,
}

/// Counts, and ends when there is more than fits into a line.
struct Line {
    left: usize,
}

impl Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len().saturating_add(text.len()) > self.max_bytes {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn fits(expr: &Expr) -> bool {
    let mut line = Line { left: MAX_LINE_BYTES };
    write!(line, "{expr}").is_ok()
}

impl Page {
    fn indent(&mut self, level: usize) -> fmt::Result {
        for _ in 0..level {
            self.write_str(INDENT)?;
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        self.part(expr, level, true)
    }

    /// Prints a part of the query; its first line is not moved in if something stands there already.
    fn part(&mut self, expr: &Expr, level: usize, is_first: bool) -> fmt::Result {
        match expr {
            Expr::Binary(e) if !fits(expr) => return self.binary(e, level, is_first),
            Expr::Subquery(e) if !fits(expr) => {
                self.part(&e.expr, level, is_first)?;
                return write!(self, "{}", SubqueryTimes(e));
            }
            // As Prometheus has it: one that fits is not moved in.
            Expr::Subquery(_) => return write!(self, "{expr}"),
            _ => {}
        }
        if is_first {
            self.indent(level)?;
        }
        match expr {
            Expr::Unary(e) => {
                self.write_str(if e.negative { "-" } else { "+" })?;
                self.part(&e.expr, level, false)
            }
            Expr::Aggregate(e) if !fits(expr) => {
                write!(self, "{}", Grouped(e))?;
                self.within(e.param.iter().chain([&e.expr]), level)
            }
            Expr::Call(e) if !fits(expr) => {
                self.write_str(e.function.name())?;
                self.within(e.args.iter(), level)
            }
            Expr::Paren(e) if !fits(expr) => self.within([&e.expr].into_iter(), level),
            _ => write!(self, "{expr}"),
        }
    }

    fn binary(&mut self, e: &Binary, level: usize, is_first: bool) -> fmt::Result {
        self.part(&e.lhs, level.saturating_add(1), is_first)?;
        self.write_str("\n")?;
        self.indent(level)?;
        writeln!(self, "{}", Operation(e))?;
        self.expr(&e.rhs, level.saturating_add(1))
    }

    /// Prints parts in parentheses, each on lines of its own.
    fn within<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>, level: usize) -> fmt::Result {
        self.write_str("(\n")?;
        for (index, part) in parts.enumerate() {
            if index > 0 {
                self.write_str(",\n")?;
            }
            self.expr(part, level.saturating_add(1))?;
        }
        self.write_str("\n")?;
        self.indent(level)?;
        self.write_str(")")
    }
}

#[cfg(test)]
mod tests;
