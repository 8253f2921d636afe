//! The functions of PromQL and what they take.

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number.
    Scalar,
    /// A sample for each of some series.
    Vector,
    /// Samples of a range for each of some series.
    Matrix,
    /// A text.
    String,
}

/// What a function takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The types of the arguments; the last one is that of any further ones.
    pub args: &'static [ValueType],
    /// How many arguments more or less than `args` there may be.
    pub variadic: Variadic,
    /// What it gives.
    pub returns: ValueType,
    /// Whether it has to be enabled.
    pub experimental: bool,
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// As many as listed.
    No,
    /// The last one may be left out.
    Optional,
    /// The last one may be left out or come more than once.
    Any,
}

impl ValueType {
    /// The name in answers of the HTTP API and in some errors.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }

    /// The name in the documentation and in most errors.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            other => other.as_str(),
        }
    }
}

use ValueType::{Matrix as M, Scalar as S, String as T, Vector as V};
use Variadic::{Any, No, Optional};

/// Declares the functions: name in the code, name in queries, arguments, variadic, result, experimental.
macro_rules! functions {
    ($($name:ident $text:literal $args:expr, $variadic:expr, $returns:expr, $experimental:literal;)*) => {
        /// A function of PromQL.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Function {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl Function {
            /// All functions, sorted by name.
            pub const ALL: &'static [Function] = &[$(Function::$name,)*];

            /// Its name in queries.
            pub fn name(self) -> &'static str {
                match self { $(Function::$name => $text,)* }
            }

            /// What it takes and gives.
            pub fn signature(self) -> Signature {
                match self {
                    $(Function::$name => Signature {
                        args: &$args, variadic: $variadic, returns: $returns, experimental: $experimental,
                    },)*
                }
            }
        }
    };
}

functions! {
    Abs "abs" [V], No, V, false;
    Absent "absent" [V], No, V, false;
    AbsentOverTime "absent_over_time" [M], No, V, false;
    Acos "acos" [V], No, V, false;
    Acosh "acosh" [V], No, V, false;
    Asin "asin" [V], No, V, false;
    Asinh "asinh" [V], No, V, false;
    Atan "atan" [V], No, V, false;
    Atanh "atanh" [V], No, V, false;
    AvgOverTime "avg_over_time" [M], No, V, false;
    Ceil "ceil" [V], No, V, false;
    Changes "changes" [M], No, V, false;
    Clamp "clamp" [V, S, S], No, V, false;
    ClampMax "clamp_max" [V, S], No, V, false;
    ClampMin "clamp_min" [V, S], No, V, false;
    Cos "cos" [V], No, V, false;
    Cosh "cosh" [V], No, V, false;
    CountOverTime "count_over_time" [M], No, V, false;
    DayOfMonth "day_of_month" [V], Optional, V, false;
    DayOfWeek "day_of_week" [V], Optional, V, false;
    DayOfYear "day_of_year" [V], Optional, V, false;
    DaysInMonth "days_in_month" [V], Optional, V, false;
    Deg "deg" [V], No, V, false;
    Delta "delta" [M], No, V, false;
    Deriv "deriv" [M], No, V, false;
    DoubleExponentialSmoothing "double_exponential_smoothing" [M, S, S], No, V, true;
    Exp "exp" [V], No, V, false;
    FirstOverTime "first_over_time" [M], No, V, true;
    Floor "floor" [V], No, V, false;
    HistogramAvg "histogram_avg" [V], No, V, false;
    HistogramCount "histogram_count" [V], No, V, false;
    HistogramFraction "histogram_fraction" [S, S, V], No, V, false;
    HistogramQuantile "histogram_quantile" [S, V], No, V, false;
    HistogramStddev "histogram_stddev" [V], No, V, false;
    HistogramStdvar "histogram_stdvar" [V], No, V, false;
    HistogramSum "histogram_sum" [V], No, V, false;
    Hour "hour" [V], Optional, V, false;
    Idelta "idelta" [M], No, V, false;
    Increase "increase" [M], No, V, false;
    Info "info" [V, V], Optional, V, true;
    Irate "irate" [M], No, V, false;
    LabelJoin "label_join" [V, T, T, T], Any, V, false;
    LabelReplace "label_replace" [V, T, T, T, T], No, V, false;
    LastOverTime "last_over_time" [M], No, V, false;
    Ln "ln" [V], No, V, false;
    Log10 "log10" [V], No, V, false;
    Log2 "log2" [V], No, V, false;
    MadOverTime "mad_over_time" [M], No, V, true;
    MaxOverTime "max_over_time" [M], No, V, false;
    MinOverTime "min_over_time" [M], No, V, false;
    Minute "minute" [V], Optional, V, false;
    Month "month" [V], Optional, V, false;
    Pi "pi" [], No, S, false;
    PredictLinear "predict_linear" [M, S], No, V, false;
    PresentOverTime "present_over_time" [M], No, V, false;
    QuantileOverTime "quantile_over_time" [S, M], No, V, false;
    Rad "rad" [V], No, V, false;
    Rate "rate" [M], No, V, false;
    Resets "resets" [M], No, V, false;
    Round "round" [V, S], Optional, V, false;
    Scalar "scalar" [V], No, S, false;
    Sgn "sgn" [V], No, V, false;
    Sin "sin" [V], No, V, false;
    Sinh "sinh" [V], No, V, false;
    Sort "sort" [V], No, V, false;
    SortByLabel "sort_by_label" [V, T], Any, V, true;
    SortByLabelDesc "sort_by_label_desc" [V, T], Any, V, true;
    SortDesc "sort_desc" [V], No, V, false;
    Sqrt "sqrt" [V], No, V, false;
    StddevOverTime "stddev_over_time" [M], No, V, false;
    StdvarOverTime "stdvar_over_time" [M], No, V, false;
    SumOverTime "sum_over_time" [M], No, V, false;
    Tan "tan" [V], No, V, false;
    Tanh "tanh" [V], No, V, false;
    Time "time" [], No, S, false;
    Timestamp "timestamp" [V], No, V, false;
    TsOfFirstOverTime "ts_of_first_over_time" [M], No, V, true;
    TsOfLastOverTime "ts_of_last_over_time" [M], No, V, true;
    TsOfMaxOverTime "ts_of_max_over_time" [M], No, V, true;
    TsOfMinOverTime "ts_of_min_over_time" [M], No, V, true;
    Vector "vector" [S], No, V, false;
    Year "year" [V], Optional, V, false;
}

impl Function {
    /// The function with this name.
    pub fn find(name: &str) -> Option<Function> {
        let found = Function::ALL.binary_search_by(|function| function.name().cmp(name));
        found.ok().and_then(|at| Function::ALL.get(at)).copied()
    }

    /// Whether its result changes with the time of evaluation though its arguments do not.
    pub(crate) fn depends_on_time(self) -> bool {
        use Function::{
            DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, PredictLinear, Time,
            Timestamp, Year,
        };
        matches!(
            self,
            DaysInMonth
                | DayOfMonth
                | DayOfWeek
                | DayOfYear
                | Hour
                | Minute
                | Month
                | Year
                | PredictLinear
                | Time
                | Timestamp
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for function in Function::ALL {
            assert_eq!(Function::find(function.name()), Some(*function));
        }
        assert_eq!(Function::ALL.len(), 82);
        assert_eq!(Function::find("atan2"), None);
    }
}
