//! What is under way, counted.

use super::Gauge;

/// Counts one in a gauge as long as it lives.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl InFlight {
    /// Counts one more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
