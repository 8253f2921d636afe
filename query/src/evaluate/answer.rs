//! What the querier answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use sabre_model::Labels;
use sabre_promql::value::Value;

use super::ledger::Charge;
use crate::source::EndpointAccount;

/// A time and a value.
const SAMPLE_BYTES: u64 = 16;

/// The result of a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The value. A matrix is sorted by labels, a vector has the order of the query.
    pub value: Value,
    /// Warnings of the query, with their places in it, and of stores that did not answer.
    pub warnings: Vec<String>,
    /// Infos on the query, with their places in it.
    pub infos: Vec<String>,
    /// What it cost.
    pub statistics: Statistics,
}

/// Series found, by labels.
#[derive(Clone, Debug, Default)]
pub struct SeriesAnswer {
    /// Sorted, each once.
    pub series: Vec<Labels>,
    /// Stores that did not answer, and whether the limit cut the answer.
    pub warnings: Vec<String>,
    /// The memory of it: it stays charged until this goes.
    pub charged: Charged,
}

/// Names or values of labels.
#[derive(Clone, Debug, Default)]
pub struct NamesAnswer {
    /// Sorted, each once.
    pub values: Vec<String>,
    /// Stores that did not answer, and whether the limit cut the answer.
    pub warnings: Vec<String>,
    /// The memory of it: it stays charged until this goes.
    pub charged: Charged,
}

/// What a query cost. Times are in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Waiting for a place among the queries that run.
    pub queue_us: u64,
    /// From the start of the evaluation to its end.
    pub evaluation_us: u64,
    /// Of these, how long the evaluation waited for series of the stores; 0 unless times are wanted.
    pub fan_out_us: u64,
    /// Decoding and deduplicating chunks, added up over all threads; 0 unless times are wanted.
    pub decode_us: u64,
    /// Selects made.
    pub selects: u64,
    /// Series read, replicas made one.
    pub series: u64,
    /// Samples read, replicas made one.
    pub samples: u64,
    /// Encoded bytes of their chunks.
    pub chunk_bytes: u64,
    /// The most bytes of memory charged at once.
    pub peak_bytes: u64,
    /// The memory of the value: it stays charged until this goes.
    pub charged: Charged,
    /// What each endpoint was asked and gave, by address.
    pub endpoints: BTreeMap<String, EndpointAccount>,
}

impl Statistics {
    /// The most samples that can have been in memory at once: no more than were read, nor than fit into the most that
    /// was charged.
    pub fn peak_samples(&self) -> u64 {
        self.samples.min(self.peak_bytes / SAMPLE_BYTES)
    }
}

/// Memory that stays charged to the budget of the process until the last clone of this goes.
#[derive(Clone, Debug, Default)]
pub struct Charged(Arc<[Charge]>);

impl Charged {
    pub(super) fn new(charge: Charge) -> Charged {
        Charged(Arc::new([charge]))
    }

    pub(super) fn of(charges: Vec<Charge>) -> Charged {
        Charged(charges.into())
    }

    /// So many bytes of a budget.
    #[cfg(test)]
    pub(crate) fn of_budget(budget: &sabre_runtime::budget::Budget, bytes: u64) -> Charged {
        let ledger = super::ledger::Ledger::new(budget, budget.nothing(), "--limit".to_owned());
        Charged::new(Arc::new(ledger).charge(bytes).expect("it is free"))
    }

    /// The bytes charged.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(Charge::bytes).sum()
    }
}
