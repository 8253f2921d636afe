//! Which part of downsampled chunks stands for the samples.

use sabre_tsdb::chunk::aggregate::Aggregate;

/// Which of the aggregates of downsampled chunks stands for the samples. Chunks that are not downsampled stand for
/// themselves, whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AggregateChoice {
    /// The mean of a window.
    #[default]
    Average,
    /// The number of samples of a window.
    Count,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// The counter, resets added up.
    Counter,
}

/// How means of downsampled native histograms are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramMeans {
    /// Each sum is divided by its count.
    #[default]
    True,
    /// As Thanos does it, at least up to its release 0.43: its decoder goes on from the buckets that the division left, so
    /// in every chunk the buckets of all histograms but the first are wrong. Their counts and sums are right.
    AsThanos,
}

impl AggregateChoice {
    /// The aggregate that a function wants of downsampled series, by the name in the hints of its selector.
    pub fn for_function(func: &str) -> AggregateChoice {
        match func {
            "min" => AggregateChoice::Min,
            "max" => AggregateChoice::Max,
            "count" => AggregateChoice::Count,
            "increase" | "rate" | "irate" | "resets" | "xincrease" | "xrate" => AggregateChoice::Counter,
            func if func.starts_with("min_") => AggregateChoice::Min,
            func if func.starts_with("max_") => AggregateChoice::Max,
            func if func.starts_with("count_") => AggregateChoice::Count,
            func if func.starts_with("sum_") => AggregateChoice::Sum,
            _ => AggregateChoice::Average,
        }
    }

    /// The parts of a downsampled chunk that are needed for it.
    pub fn aggregates(self) -> &'static [Aggregate] {
        match self {
            AggregateChoice::Average => &[Aggregate::Count, Aggregate::Sum],
            AggregateChoice::Count => &[Aggregate::Count],
            AggregateChoice::Sum => &[Aggregate::Sum],
            AggregateChoice::Min => &[Aggregate::Min],
            AggregateChoice::Max => &[Aggregate::Max],
            AggregateChoice::Counter => &[Aggregate::Counter],
        }
    }
}
