//! The times at which an expression is evaluated.

/// Times at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grid {
    /// The first time in milliseconds.
    pub(crate) start: i64,
    /// The distance in milliseconds, at least 1.
    pub(crate) step: i64,
    /// How many there are.
    pub(crate) count: usize,
}

impl Grid {
    /// The one time `t`.
    pub(crate) fn single(t: i64) -> Grid {
        Grid {
            start: t,
            step: 1,
            count: 1,
        }
    }

    /// From `start` to `end`, which is a time itself only where the step fits.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Grid {
        let step = step.max(1);
        let span = end.saturating_sub(start);
        let count = if span < 0 {
            0
        } else {
            usize::try_from(span / step).unwrap_or(usize::MAX - 1) + 1
        };
        Grid { start, step, count }
    }

    /// Its first time alone.
    pub(crate) fn first(&self) -> Grid {
        Grid {
            count: self.count.min(1),
            ..*self
        }
    }

    /// The last time.
    pub(crate) fn end(&self) -> i64 {
        let steps = i64::try_from(self.count.saturating_sub(1)).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(steps))
    }

    /// All times in order.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let (start, step) = (self.start, self.step);
        (0i64..)
            .take(self.count)
            .map(move |i| start.saturating_add(step.saturating_mul(i)))
    }

    /// The grid of a subquery: multiples of `step` within the range before each of these times.
    pub(crate) fn subquery(&self, range: i64, offset: i64, step: i64) -> Grid {
        let step = step.max(1);
        let before = self.start.saturating_sub(offset).saturating_sub(range);
        let mut start = before / step * step;
        if start <= before {
            start = start.saturating_add(step);
        }
        Grid::new(start, self.end().saturating_sub(offset), step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_subquery_are_multiples_of_its_step_after_the_start_of_the_range() {
        let outer = Grid::new(1000, 1000, 1);
        let inner = outer.subquery(500, 0, 100);
        assert_eq!(inner.times().collect::<Vec<_>>(), [600, 700, 800, 900, 1000]);
        let inner = outer.subquery(500, 50, 100);
        assert_eq!(inner.times().collect::<Vec<_>>(), [500, 600, 700, 800, 900]);
        // Division rounds towards zero: before 1970 the first multiple may be one later.
        let inner = Grid::single(-250).subquery(500, 0, 200);
        assert_eq!(inner.times().collect::<Vec<_>>(), [-600, -400]);
    }

    #[test]
    fn an_end_before_the_start_has_no_times() {
        assert_eq!(Grid::new(10, 9, 5).count, 0);
        assert_eq!(Grid::new(10, 14, 5).count, 1);
        assert_eq!(Grid::new(10, 20, 5).end(), 20);
    }
}
