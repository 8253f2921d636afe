//! A counter over several chunks, resets added up.

/// Makes one rising counter out of the samples of chunks that lie one behind the other: raw ones, or the counters of
/// aggregate chunks.
///
/// A chunk of a counter begins with its first raw value and ends with its last one, at the time of the sample before
/// it: comparing these finds the resets between chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CounterResets {
    total: f64,
    last: Option<(i64, f64)>,
}

impl CounterResets {
    /// Starts before the first sample.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next sample, and returns what the counter has come to at its time; `None` if it is to be left
    /// out: NaN, a time that was passed, or the last raw value of a chunk.
    pub fn push(&mut self, t: i64, value: f64) -> Option<f64> {
        if value.is_nan() {
            return None;
        }
        match &mut self.last {
            None => self.total = value,
            Some((last_t, last)) if t > *last_t => {
                self.total += if value >= *last { value - *last } else { value };
            }
            Some((last_t, last)) => {
                if t == *last_t {
                    *last = value;
                }
                return None;
            }
        }
        self.last = Some((t, value));
        Some(self.total)
    }

    /// The true value of the last sample.
    pub fn last_value(&self) -> Option<f64> {
        self.last.map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(samples: &[(i64, f64)]) -> Vec<(i64, f64)> {
        let mut resets = CounterResets::new();
        let pushed = samples.iter().map(|&(t, value)| (t, resets.push(t, value)));
        pushed.filter_map(|(t, total)| Some((t, total?))).collect()
    }

    #[test]
    fn resets_are_added_up() {
        let samples = [(1, 5.0), (2, 7.0), (3, 1.0), (4, 4.0)];
        assert_eq!(total(&samples), [(1, 5.0), (2, 7.0), (3, 8.0), (4, 11.0)]);
    }

    #[test]
    fn the_last_raw_value_of_a_chunk_shows_a_reset_before_the_next() {
        // The first chunk came to 12, its counter last stood at 2; the second one began at 1.
        let samples = [(1, 10.0), (5, 12.0), (5, 2.0), (6, 1.0), (9, 3.0)];
        assert_eq!(total(&samples), [(1, 10.0), (5, 12.0), (6, 13.0), (9, 15.0)]);
        let no_reset = [(1, 10.0), (5, 12.0), (5, 2.0), (6, 4.0)];
        assert_eq!(total(&no_reset)[2], (6, 14.0));
    }

    #[test]
    fn nan_and_what_goes_back_in_time_is_left_out() {
        let samples = [(3, 1.0), (4, f64::NAN), (2, 9.0), (5, 2.0)];
        assert_eq!(total(&samples), [(3, 1.0), (5, 2.0)]);
        assert_eq!(CounterResets::new().last_value(), None);
    }
}
