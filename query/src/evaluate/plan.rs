//! What a request means with the flags: times, resolution, lookback.

use super::config::EngineConfig;
use super::failure::QueryFailure;
use super::request::{QueryRequest, QueryTimes, Resolution};

/// Most steps of a range.
const MAX_STEPS: i64 = 11_000;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What a query looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// When it is evaluated.
    pub(super) times: QueryTimes,
    /// The coarsest resolution that will do.
    pub(super) max_resolution_ms: i64,
    /// How long a sample stands for its series.
    pub(super) lookback_ms: i64,
}

impl Plan {
    /// # Errors
    /// If the request makes no sense.
    pub(super) fn new(config: &EngineConfig, request: &QueryRequest) -> Result<Plan, QueryFailure> {
        if let QueryTimes::Range {
            start_ms,
            end_ms,
            step_ms,
        } = request.times
        {
            check_range(start_ms, end_ms, step_ms)?;
        }
        let max_resolution_ms = resolution_ms(config, request);
        if max_resolution_ms < 0 {
            return Err(QueryFailure::bad_data(
                "negative 'max_source_resolution' is not accepted. Try a positive integer",
            ));
        }
        let lookback_ms = match request.lookback_delta_ms {
            Some(lookback_ms) if lookback_ms <= 0 => {
                return Err(QueryFailure::bad_data("value of lookback_delta must be positive"));
            }
            Some(lookback_ms) => lookback_ms,
            None if config.dynamic_lookback => {
                dynamic_lookback_ms(config.lookback_delta_ms, max_resolution_ms)
            }
            None => config.lookback_delta_ms,
        };
        Ok(Plan {
            times: request.times,
            max_resolution_ms,
            lookback_ms,
        })
    }
}

fn check_range(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), QueryFailure> {
    if end_ms < start_ms {
        return Err(QueryFailure::bad_data(
            "end timestamp must not be before start time",
        ));
    }
    if step_ms <= 0 {
        return Err(QueryFailure::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    // A difference that is no number of 64 bits has too many steps, whatever they are.
    let steps = end_ms
        .checked_sub(start_ms)
        .and_then(|length| length.checked_div(step_ms));
    if steps.is_none_or(|steps| steps > MAX_STEPS) {
        return Err(QueryFailure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(())
}

fn resolution_ms(config: &EngineConfig, request: &QueryRequest) -> i64 {
    let is_auto = match request.max_source_resolution {
        Some(Resolution::Ms(ms)) => return ms,
        Some(Resolution::Auto) => true,
        None => config.auto_downsampling,
    };
    match request.times {
        QueryTimes::Range { step_ms, .. } if is_auto => step_ms / 5,
        QueryTimes::Range { .. } => 0,
        QueryTimes::Instant { .. } => config.instant_resolution_ms,
    }
}

/// Downsampled series have a sample every five minutes or every hour: it has to stand for at least as long.
fn dynamic_lookback_ms(lookback_ms: i64, max_resolution_ms: i64) -> i64 {
    if max_resolution_ms > lookback_ms.max(5 * MINUTE_MS) {
        lookback_ms.max(HOUR_MS)
    } else if max_resolution_ms > lookback_ms {
        lookback_ms.max(5 * MINUTE_MS)
    } else {
        lookback_ms
    }
}

/// The coarsest resolution for a selector: functions that need two samples get at least two of a range.
pub(super) fn selector_resolution_ms(max_resolution_ms: i64, func: &str, range_ms: i64) -> i64 {
    let needs_two = matches!(
        func,
        "rate"
            | "irate"
            | "increase"
            | "delta"
            | "idelta"
            | "deriv"
            | "predict_linear"
            | "holt_winters"
            | "double_exponential_smoothing"
            | "xrate"
            | "xincrease"
            | "xdelta"
    );
    if needs_two && range_ms > 0 {
        max_resolution_ms.min(range_ms / 2)
    } else {
        max_resolution_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(times: QueryTimes) -> QueryRequest {
        QueryRequest {
            expression: "up".into(),
            times,
            lookback_delta_ms: None,
            max_source_resolution: None,
            limit: 0,
            wants_times: false,
            context: Default::default(),
        }
    }

    fn range(end_ms: i64, step_ms: i64) -> QueryRequest {
        request(QueryTimes::Range {
            start_ms: 0,
            end_ms,
            step_ms,
        })
    }

    #[test]
    fn eleven_thousand_steps_are_taken_and_not_one_more() {
        let config = EngineConfig::default();
        assert!(Plan::new(&config, &range(11_000_999, 1000)).is_ok());
        let failure = Plan::new(&config, &range(11_001_000, 1000)).unwrap_err();
        assert!(
            failure
                .message
                .starts_with("exceeded maximum resolution of 11,000 points")
        );
        let far = QueryTimes::Range {
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            step_ms: 1 << 60,
        };
        assert!(Plan::new(&config, &request(far)).is_err());
        assert!(Plan::new(&config, &range(-1, 1000)).is_err());
        assert!(Plan::new(&config, &range(1, 0)).is_err());
    }

    #[test]
    fn a_fifth_of_the_step_is_fine_enough() {
        let mut config = EngineConfig::default();
        let ms = |config: &EngineConfig, request: &QueryRequest| {
            Plan::new(config, request).unwrap().max_resolution_ms
        };
        let mut asked = range(10_000_000, 3_000_000);
        assert_eq!(ms(&config, &asked), 0);
        asked.max_source_resolution = Some(Resolution::Auto);
        assert_eq!(ms(&config, &asked), 600_000);
        asked.max_source_resolution = Some(Resolution::Ms(300_000));
        assert_eq!(ms(&config, &asked), 300_000);
        config.auto_downsampling = true;
        asked.max_source_resolution = None;
        assert_eq!(ms(&config, &asked), 600_000);
        config.instant_resolution_ms = 7;
        assert_eq!(ms(&config, &request(QueryTimes::Instant { time_ms: 0 })), 7);
        asked.max_source_resolution = Some(Resolution::Ms(-1));
        assert!(Plan::new(&config, &asked).is_err());
    }

    #[test]
    fn the_lookback_grows_with_the_resolution() {
        for (lookback_ms, resolution_ms, wanted) in [
            (300_000, 0, 300_000),
            (300_000, 300_000, 300_000),
            (300_000, 300_001, 3_600_000),
            (60_000, 300_000, 300_000),
            (60_000, 60_000, 60_000),
            (7_200_000, 3_600_000, 7_200_000),
            (7_200_000, 7_200_001, 7_200_000),
        ] {
            assert_eq!(
                dynamic_lookback_ms(lookback_ms, resolution_ms),
                wanted,
                "{lookback_ms} {resolution_ms}"
            );
        }
    }

    #[test]
    fn two_samples_of_a_range_are_needed_for_a_rate() {
        assert_eq!(selector_resolution_ms(3_600_000, "rate", 600_000), 300_000);
        assert_eq!(
            selector_resolution_ms(3_600_000, "max_over_time", 600_000),
            3_600_000
        );
        assert_eq!(selector_resolution_ms(0, "rate", 600_000), 0);
        assert_eq!(selector_resolution_ms(3_600_000, "rate", 0), 3_600_000);
    }
}
