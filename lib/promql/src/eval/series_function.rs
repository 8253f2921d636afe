//! What a range function makes of the samples in a window.

mod histograms;
mod over_time;
mod rate;
mod regression;
mod state;

pub(super) use state::RangeState;

use sabre_model::Labels;

use super::labels::metric_name;
use super::row::Cell;
use super::window::View;
use crate::annotation::{Annotation, Annotations};
use crate::ast::{Call, Expr};
use crate::error::{Evaluated, QueryError};
use crate::function::Function;
use crate::position::PosRange;

/// What is known of the arguments of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'c> {
    /// The length of the range in seconds.
    pub(super) range_seconds: f64,
    /// Where the first argument stands.
    pub(super) first_pos: PosRange,
    /// Where all arguments stand.
    pub(super) all_pos: PosRange,
    call: &'c Call,
}

/// The times of a step, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepTimes {
    /// The time of the evaluation.
    pub(super) t: i64,
    /// Where the range starts, not included.
    pub(super) start: i64,
    /// Where the range ends, included.
    pub(super) end: i64,
}

/// The samples of a step and what remarks on them need.
struct Input<'i> {
    view: &'i View<'i>,
    labels: &'i Labels,
    arguments: &'i Arguments<'i>,
}

type Computed = Evaluated<Option<Cell>>;

impl<'c> Arguments<'c> {
    pub(super) fn new(call: &'c Call, range: &Expr) -> Arguments<'c> {
        let range_ns = match range {
            Expr::Matrix(e) => e.range.ns(),
            Expr::Subquery(e) => e.range.ns(),
            _ => 0,
        };
        let first_pos = call.args.first().map_or(call.pos, told_pos);
        let last_pos = call.args.last().map_or(call.pos, told_pos);
        Arguments {
            range_seconds: go_seconds(range_ns),
            first_pos,
            all_pos: first_pos.to(last_pos),
            call,
        }
    }
}

/// Where remarks on an argument point: those on a subquery to the start of the query, as in Prometheus.
fn told_pos(arg: &Expr) -> PosRange {
    match arg {
        Expr::Subquery(_) => PosRange::default(),
        other => other.pos(),
    }
}

/// Nanoseconds as seconds, as Go adds them up.
fn go_seconds(ns: i64) -> f64 {
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    seconds as f64 + rest as f64 / 1e9
}

impl Input<'_> {
    fn metric(&self) -> &str {
        metric_name(self.labels)
    }

    fn pos(&self) -> PosRange {
        self.arguments.first_pos
    }

    /// Remarks on histograms that are left out beside floats.
    fn remark_on_histograms(&self, annotations: &mut Annotations) {
        if !self.view.histograms.is_empty() {
            annotations.add(Annotation::histogram_ignored_in_range(self.metric(), self.pos()));
        }
    }

    /// Whether there are floats and histograms, with a warning if so.
    fn is_mixed(&self, annotations: &mut Annotations) -> bool {
        let mixed = !self.view.values.is_empty() && !self.view.histograms.is_empty();
        if mixed {
            annotations.add(Annotation::mixed_floats_histograms(self.metric(), self.pos()));
        }
        mixed
    }
}

/// Computes one step. The window is not empty.
#[expect(
    clippy::too_many_arguments,
    reason = "what a step consists of, in the innermost loop"
)]
pub(super) fn apply(
    function: Function,
    view: &View<'_>,
    at: StepTimes,
    scalar: &dyn Fn(usize) -> f64,
    arguments: &Arguments<'_>,
    labels: &Labels,
    state: &mut RangeState,
    annotations: &mut Annotations,
) -> Computed {
    let input = Input {
        view,
        labels,
        arguments,
    };
    let float = |value: f64| Ok(Some(Cell::Float(value)));
    match function {
        Function::Rate => rate::extrapolated(&input, at, rate::Kind::Rate, state, annotations),
        Function::Increase => rate::extrapolated(&input, at, rate::Kind::Increase, state, annotations),
        Function::Delta => rate::extrapolated(&input, at, rate::Kind::Delta, state, annotations),
        Function::Irate => rate::of_last_two(&input, true, annotations),
        Function::Idelta => rate::of_last_two(&input, false, annotations),
        Function::AvgOverTime => over_time::average(&input, annotations),
        Function::SumOverTime => over_time::sum(&input, annotations),
        Function::CountOverTime => float((view.values.len() + view.histograms.len()) as f64),
        Function::PresentOverTime => float(1.0),
        Function::LastOverTime => Ok(over_time::last(view)),
        Function::FirstOverTime => Ok(over_time::first(view)),
        Function::MaxOverTime | Function::MinOverTime => {
            if view.values.is_empty() {
                return Ok(None);
            }
            input.remark_on_histograms(annotations);
            float(state.extreme(view, function == Function::MaxOverTime))
        }
        Function::TsOfMaxOverTime | Function::TsOfMinOverTime => Ok(over_time::time_of_extreme(
            &input,
            function == Function::TsOfMaxOverTime,
            annotations,
        )),
        Function::TsOfFirstOverTime => Ok(over_time::time_of_first(view)),
        Function::TsOfLastOverTime => Ok(over_time::time_of_last(view)),
        Function::StddevOverTime => {
            Ok(over_time::variance(&input, annotations).map(|v| Cell::Float(v.sqrt())))
        }
        Function::StdvarOverTime => Ok(over_time::variance(&input, annotations).map(Cell::Float)),
        Function::QuantileOverTime => Ok(over_time::quantile(&input, scalar(0), annotations)),
        Function::MadOverTime => Ok(over_time::mad(&input, annotations)),
        Function::Changes => float(over_time::changes(view) as f64),
        Function::Resets => float(over_time::resets(view) as f64),
        Function::Deriv => Ok(regression::slope(&input, annotations)),
        Function::PredictLinear => Ok(regression::predict(&input, at.t, scalar(0), annotations)),
        Function::DoubleExponentialSmoothing => {
            regression::smoothed(&input, scalar(0), scalar(1), annotations)
        }
        other => Err(QueryError::evaluation(format!(
            "{} is no function of ranges",
            other.name()
        ))),
    }
}

impl Arguments<'_> {
    /// Where the argument `i` stands.
    fn pos_of(&self, i: usize) -> PosRange {
        self.call.args.get(i).map_or(self.call.pos, told_pos)
    }
}
