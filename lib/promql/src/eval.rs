//! Evaluates queries.
//!
//! Series flow one by one from the source through functions into whatever is around them: an aggregation holds its
//! groups, not its input. What flows is a [`Row`]: a series with one place for each step of the query. Only what needs
//! all series at a step (one side of a binary operation, classic histograms, sorting) holds rows, and charges them to
//! the budget.

mod absent;
mod aggregate;
mod batch;
mod binary;
mod call;
mod classic;
mod elementwise;
mod evaluator;
mod extended;
mod fold;
mod grid;
mod info;
mod invariant;
mod labels;
mod matching;
mod merge;
mod operate;
mod prepare;
mod query;
mod range_call;
mod row;
mod selector;
mod series_function;
mod shared;
mod sorting;
mod times;
mod top;
mod value_counts;
mod window;

pub use query::{EvalOptions, query_instant, query_range};

use grid::Grid;
use row::{Cell, Row};
