//! Places in the text of a query.

/// A range of bytes of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PosRange {
    /// Where it starts, in bytes.
    pub start: usize,
    /// Where it ends, in bytes, not included.
    pub end: usize,
}

impl PosRange {
    /// From `start` to `end`.
    pub fn new(start: usize, end: usize) -> PosRange {
        PosRange { start, end }
    }

    /// From the start of this one to the end of `last`.
    pub fn to(self, last: PosRange) -> PosRange {
        PosRange {
            start: self.start,
            end: last.end,
        }
    }

    /// Where it starts in `query` as `line:column`, both from 1, the column in bytes.
    pub fn line_and_column(self, query: &str) -> String {
        if query.is_empty() {
            return "unknown position".to_owned();
        }
        let Some(before) = query.as_bytes().get(..self.start) else {
            return "invalid position".to_owned();
        };
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = match before.iter().rposition(|byte| *byte == b'\n') {
            Some(line_break) => self.start - line_break,
            None => self.start + 1,
        };
        format!("{line}:{column}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_bytes_from_one() {
        let at = |start| PosRange::new(start, start).line_and_column("ab\ncdé\nf");
        assert_eq!(at(0), "1:1");
        assert_eq!(at(2), "1:3");
        assert_eq!(at(3), "2:1");
        assert_eq!(at(8), "3:1");
        assert_eq!(at(9), "3:2");
        assert_eq!(at(10), "invalid position");
        assert_eq!(PosRange::default().line_and_column(""), "unknown position");
    }
}
