//! Raw floats into windows.

use sabre_tsdb::Corruption;
use sabre_tsdb::chunk::{AppendError, xor};
use sabre_tsdb::segment::SeriesChunk;
use sabre_tsdb::stale::is_stale;

use crate::Resolution;
use crate::batching::{Batching, Measured};
use crate::float_chunk::{FloatChunk, FloatWindow};

/// Downsamples a run of chunks of floats.
#[derive(Debug)]
pub(crate) struct Floats {
    batching: Batching,
    /// Whether samples are only counted.
    learning: bool,
    chunk: FloatChunk,
    /// Whether the batch has a sample.
    begun: bool,
    window: Window,
    /// Chunks that are whole.
    pub(crate) done: Vec<SeriesChunk>,
    /// The first window that could not be written.
    pub(crate) failure: Option<(i64, AppendError)>,
}

/// The window that is open. It is small and copied about so that the loop over samples has it in registers.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Its last millisecond.
    end: i64,
    /// Time of the last sample of the chunk, a NaN perhaps.
    last_t: i64,
    /// Time of the last sample of the batch that is a number.
    value_t: i64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// Increase since the batch began.
    counter: f64,
    /// Value of the last sample of the batch.
    previous: f64,
}

impl Window {
    const NONE: Self = Self {
        end: i64::MIN,
        last_t: 0,
        value_t: 0,
        count: 0,
        sum: 0.0,
        min: f64::MAX,
        max: f64::MIN,
        counter: 0.0,
        previous: 0.0,
    };

    #[inline(always)]
    fn add(&mut self, t: i64, value: f64) {
        self.value_t = t;
        self.count += 1;
        self.sum += value;
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
        self.increase(value);
    }

    /// A value that is smaller than the one before was counted from zero.
    #[inline(always)]
    fn increase(&mut self, value: f64) {
        let increase = if value < self.previous {
            value
        } else {
            value - self.previous
        };
        self.counter += increase;
        self.previous = value;
    }

    fn aggregates(&self) -> FloatWindow {
        FloatWindow {
            count: self.count as f64,
            sum: self.sum,
            min: self.min,
            max: self.max,
            counter: self.counter,
        }
    }
}

impl Floats {
    /// Cuts batches of `size` samples; or only counts them, to learn what the size has to be.
    pub(crate) fn new(resolution: Resolution, size: u64, learning: bool) -> Self {
        Self {
            batching: Batching::new(resolution, size),
            learning,
            chunk: FloatChunk::default(),
            begun: false,
            window: Window::NONE,
            done: Vec::new(),
            failure: None,
        }
    }

    /// Takes the next chunk. Samples that go back in time, or before 1970, and stale markers are left out.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Corruption> {
        let mut window = Window {
            last_t: 0,
            ..self.window
        };
        xor::for_each(data, |t, value| {
            if t < window.last_t {
                return;
            }
            if value.is_nan() {
                window = self.nan(window, t, value);
            } else if t > window.end {
                window = self.turn(window, t, value);
            } else {
                window.last_t = t;
                window.add(t, value);
            }
        })?;
        self.window = window;
        if window.last_t > 0 {
            self.batching.last_t = window.last_t;
        }
        Ok(())
    }

    /// Ends the last batch.
    pub(crate) fn finish(&mut self) -> Measured {
        let measured = self.batching.finish(self.window.count);
        self.window = self.close(self.window);
        measured
    }

    /// NaN counts for the size of a batch and for nothing else.
    #[cold]
    #[inline(never)]
    fn nan(&mut self, mut window: Window, t: i64, value: f64) -> Window {
        if is_stale(value) {
            return window;
        }
        if self.batching.window(t, window.count) {
            window = self.close(window);
        }
        self.batching.keep(1);
        Window { last_t: t, ..window }
    }

    /// Opens the window of the sample at `t`.
    #[inline(never)]
    fn turn(&mut self, mut window: Window, t: i64, value: f64) -> Window {
        if self.batching.window(t, window.count) {
            window = self.close(window);
        }
        if window.count > 0 {
            self.batching.keep(window.count);
            self.write(window.end, &window);
        }
        let mut next = Window {
            end: self.batching.window_end(),
            last_t: t,
            ..Window::NONE
        };
        if self.begun {
            (next.counter, next.previous) = (window.counter, window.previous);
            next.add(t, value);
            return next;
        }
        if self.learning {
            next.add(t, value);
            return next;
        }
        self.begun = true;
        let result = self.chunk.begin(t, value);
        self.note(t, result);
        // The first value is the counter itself, not an increase of zero: that would lose the sign of −0.
        next.add(t, value);
        (next.counter, next.previous) = (value, value);
        next
    }

    /// Ends the batch, the window that is open with it.
    fn close(&mut self, window: Window) -> Window {
        if window.count > 0 {
            // No chunk reaches beyond its last sample: the next one may begin in the same window.
            self.write(window.end.min(window.value_t), &window);
        }
        if self.begun {
            match self.chunk.finish(window.previous) {
                Ok(chunk) => self.done.push(chunk),
                Err(error) => self.note(window.value_t, Err(error)),
            }
        }
        self.begun = false;
        Window {
            last_t: window.last_t,
            ..Window::NONE
        }
    }

    fn write(&mut self, t: i64, window: &Window) {
        if self.learning {
            return;
        }
        let result = self.chunk.push(t, window.aggregates());
        self.note(t, result);
    }

    fn note(&mut self, t: i64, result: Result<(), AppendError>) {
        if let Err(error) = result {
            self.failure.get_or_insert((t, error));
        }
    }
}
