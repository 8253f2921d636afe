//! Requests, checked and in our own terms.

use std::sync::Arc;

use sabre_model::{Matcher, shard::Shard};
use sabre_proto::{
    convert::matchers_from_wire,
    hints,
    hintspb::{LabelNamesRequestHints, LabelValuesRequestHints, SeriesRequestHints},
    thanos::{LabelNamesRequest, LabelValuesRequest, PartialResponseStrategy, SeriesRequest, ShardInfo},
};

use crate::{aggregates::Wanted, error::RequestError};

/// More series than this never share a message.
const MAX_SERIES_PER_MESSAGE: i64 = 10_000;

/// `Series`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesQuery {
    /// First instant asked for.
    pub(crate) mint_ms: i64,
    /// Last instant asked for.
    pub(crate) maxt_ms: i64,
    /// On labels, external ones among them.
    pub(crate) matchers: Vec<Matcher>,
    /// On external labels and the name of a block.
    pub(crate) block_matchers: Vec<Matcher>,
    /// The coarsest resolution that will do; 0 for raw data.
    pub(crate) max_resolution_ms: i64,
    /// Aggregates of downsampled chunks.
    pub(crate) wanted: Wanted,
    /// Only labels are asked for.
    pub(crate) skip_chunks: bool,
    /// Labels that leave the answer.
    pub(crate) removed_labels: Arc<[String]>,
    /// The shard asked for.
    pub(crate) shard: Option<Shard>,
    /// Most series; 0 is no limit.
    pub(crate) limit: u64,
    /// Most series in a message; more than one asks for batches.
    pub(crate) series_per_message: usize,
    /// Series up to this key were sent already.
    pub(crate) after: Option<Arc<[u8]>>,
    /// What cannot be had is to be told by a warning; else it fails the request.
    pub(crate) is_partial_ok: bool,
}

/// `LabelNames`, or `LabelValues` of one label.
#[derive(Clone, Debug)]
pub(crate) struct LabelQuery {
    /// First instant asked for.
    pub(crate) mint_ms: i64,
    /// Last instant asked for.
    pub(crate) maxt_ms: i64,
    /// On labels, external ones among them.
    pub(crate) matchers: Vec<Matcher>,
    /// On external labels and the name of a block.
    pub(crate) block_matchers: Vec<Matcher>,
    /// Labels that leave the answer.
    pub(crate) removed_labels: Arc<[String]>,
    /// Most names or values; 0 is no limit.
    pub(crate) limit: usize,
    /// As for series.
    pub(crate) is_partial_ok: bool,
}

impl SeriesQuery {
    /// Reads a request.
    pub(crate) fn from_wire(request: SeriesRequest) -> Result<Self, RequestError> {
        let hints = hints::unpack_optional::<SeriesRequestHints>(request.hints.as_ref()).map_err(invalid)?;
        Ok(Self {
            mint_ms: request.min_time,
            maxt_ms: request.max_time,
            matchers: matchers_from_wire(&request.matchers).map_err(invalid)?,
            block_matchers: block_matchers(hints.map(|hints| hints.block_matchers))?,
            max_resolution_ms: request.max_resolution_window.max(0),
            wanted: Wanted::from_request(&request.aggregates),
            skip_chunks: request.skip_chunks,
            removed_labels: request.without_replica_labels.into(),
            shard: request.shard_info.and_then(shard),
            limit: u64::try_from(request.limit).unwrap_or(0),
            series_per_message: usize::try_from(request.response_batch_size.clamp(1, MAX_SERIES_PER_MESSAGE))
                .unwrap_or(1),
            after: None,
            is_partial_ok: is_partial_ok(
                request.partial_response_disabled,
                request.partial_response_strategy,
            ),
        })
    }
}

/// Requests of old peers say it by the first, those of newer ones by the second.
fn is_partial_ok(is_disabled: bool, strategy: i32) -> bool {
    !is_disabled && strategy == i32::from(PartialResponseStrategy::Warn)
}

impl LabelQuery {
    /// Reads a request for names.
    pub(crate) fn from_names(request: LabelNamesRequest) -> Result<Self, RequestError> {
        let hints =
            hints::unpack_optional::<LabelNamesRequestHints>(request.hints.as_ref()).map_err(invalid)?;
        Ok(Self {
            mint_ms: request.start,
            maxt_ms: request.end,
            matchers: matchers_from_wire(&request.matchers).map_err(invalid)?,
            block_matchers: block_matchers(hints.map(|hints| hints.block_matchers))?,
            removed_labels: request.without_replica_labels.into(),
            limit: usize::try_from(request.limit).unwrap_or(0),
            is_partial_ok: is_partial_ok(
                request.partial_response_disabled,
                request.partial_response_strategy,
            ),
        })
    }

    /// Reads a request for values: the query, and the label.
    pub(crate) fn from_values(request: LabelValuesRequest) -> Result<(Self, String), RequestError> {
        let hints =
            hints::unpack_optional::<LabelValuesRequestHints>(request.hints.as_ref()).map_err(invalid)?;
        let query = Self {
            mint_ms: request.start,
            maxt_ms: request.end,
            matchers: matchers_from_wire(&request.matchers).map_err(invalid)?,
            block_matchers: block_matchers(hints.map(|hints| hints.block_matchers))?,
            removed_labels: request.without_replica_labels.into(),
            limit: usize::try_from(request.limit).unwrap_or(0),
            is_partial_ok: is_partial_ok(
                request.partial_response_disabled,
                request.partial_response_strategy,
            ),
        };
        Ok((query, request.label))
    }
}

fn block_matchers(
    matchers: Option<Vec<sabre_proto::thanos::LabelMatcher>>,
) -> Result<Vec<Matcher>, RequestError> {
    matchers_from_wire(&matchers.unwrap_or_default()).map_err(invalid)
}

fn shard(info: ShardInfo) -> Option<Shard> {
    Shard::new(info.shard_index, info.total_shards, info.by, info.labels)
}

fn invalid(error: impl std::fmt::Display) -> RequestError {
    RequestError::Invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use sabre_proto::thanos::LabelMatcher;

    use super::*;

    #[test]
    fn bad_matchers_and_hints_are_invalid_arguments() {
        let matcher = |r#type, value: &str| LabelMatcher {
            r#type,
            name: "a".to_owned(),
            value: value.to_owned(),
        };
        for bad in [matcher(2, "("), matcher(9, "x")] {
            let request = SeriesRequest {
                matchers: vec![bad.clone()],
                ..SeriesRequest::default()
            };
            assert!(matches!(
                SeriesQuery::from_wire(request),
                Err(RequestError::Invalid(_))
            ));
            let request = LabelNamesRequest {
                matchers: vec![bad],
                ..LabelNamesRequest::default()
            };
            assert!(matches!(
                LabelQuery::from_names(request),
                Err(RequestError::Invalid(_))
            ));
        }
        let other = hints::pack(&LabelNamesRequestHints::default());
        let request = SeriesRequest {
            hints: Some(other),
            ..SeriesRequest::default()
        };
        assert!(matches!(
            SeriesQuery::from_wire(request),
            Err(RequestError::Invalid(_))
        ));
    }

    #[test]
    fn negative_numbers_mean_none() {
        let request = SeriesRequest {
            limit: -1,
            response_batch_size: -5,
            max_resolution_window: -1,
            ..SeriesRequest::default()
        };
        let query = SeriesQuery::from_wire(request).unwrap();
        assert_eq!(
            (query.limit, query.series_per_message, query.max_resolution_ms),
            (0, 1, 0)
        );
    }
}
