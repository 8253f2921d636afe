//! Collects the answers of `Series` calls.

use sabre_model::Labels;
use sabre_proto::convert::labels_from_wire;
use sabre_proto::thanos::store_client::StoreClient;
use sabre_proto::thanos::{AggrChunk, Series, SeriesRequest, SeriesResponse, series_response};
use std::collections::BTreeMap;
use tonic::Status;
use tonic::transport::Channel;

/// A `Series` answer, in the order in which it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesAnswer {
    /// Labels and chunks.
    pub series: Vec<(Labels, Vec<AggrChunk>)>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Hints.
    pub hints: Vec<prost_types::Any>,
    /// How many series each message with series had.
    pub message_series: Vec<usize>,
}

impl SeriesAnswer {
    /// Collects messages; one that holds nothing or bad labels is `Internal`.
    pub fn from_messages(messages: impl IntoIterator<Item = SeriesResponse>) -> Result<Self, Status> {
        let mut answer = Self::default();
        for message in messages {
            answer.push(message)?;
        }
        Ok(answer)
    }

    /// Adds the next message.
    pub fn push(&mut self, message: SeriesResponse) -> Result<(), Status> {
        match message.result {
            Some(series_response::Result::Series(series)) => {
                self.message_series.push(1);
                self.push_series(series)?;
            }
            Some(series_response::Result::Batch(batch)) => {
                self.message_series.push(batch.series.len());
                for series in batch.series {
                    self.push_series(series)?;
                }
            }
            Some(series_response::Result::Warning(warning)) => self.warnings.push(warning),
            Some(series_response::Result::Hints(hints)) => self.hints.push(hints),
            None => return Err(Status::internal("a message of the answer holds nothing")),
        }
        Ok(())
    }

    /// Returns the chunks by labels, those of equal label sets together.
    pub fn by_labels(&self) -> BTreeMap<Labels, Vec<AggrChunk>> {
        let mut all: BTreeMap<Labels, Vec<AggrChunk>> = BTreeMap::new();
        for (labels, chunks) in &self.series {
            all.entry(labels.clone()).or_default().extend_from_slice(chunks);
        }
        all
    }

    /// Says where the order that StoreAPI promises is broken: series by labels, each once, chunks by `min_time`.
    pub fn disorder(&self) -> Option<String> {
        for pair in self.series.windows(2) {
            if let [(before, _), (after, _)] = pair
                && before >= after
            {
                return Some(format!("series {after} comes after {before}"));
            }
        }
        for (labels, chunks) in &self.series {
            if !chunks.is_sorted_by_key(|chunk| chunk.min_time) {
                let times: Vec<_> = chunks.iter().map(|chunk| chunk.min_time).collect();
                return Some(format!("chunks of {labels} come in the order {times:?}"));
            }
        }
        None
    }

    fn push_series(&mut self, series: Series) -> Result<(), Status> {
        let labels = labels_from_wire(&series.labels).map_err(|error| Status::internal(error.to_string()))?;
        self.series.push((labels, series.chunks));
        Ok(())
    }
}

/// Asks a store for series and collects the whole answer.
pub async fn series(
    client: &mut StoreClient<Channel>,
    request: SeriesRequest,
) -> Result<SeriesAnswer, Status> {
    let mut messages = client.series(request).await?.into_inner();
    let mut answer = SeriesAnswer::default();
    while let Some(message) = messages.message().await? {
        answer.push(message)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sabre_proto::thanos::{Label, SeriesBatch};

    fn one(value: &str, times: &[i64]) -> Series {
        let chunks = times
            .iter()
            .map(|at| AggrChunk {
                min_time: *at,
                ..AggrChunk::default()
            })
            .collect();
        Series {
            labels: vec![Label {
                name: "a".into(),
                value: value.into(),
            }],
            chunks,
        }
    }

    fn answer(series: Vec<Series>) -> SeriesAnswer {
        let batch = series_response::Result::Batch(SeriesBatch { series });
        SeriesAnswer::from_messages([SeriesResponse { result: Some(batch) }]).expect("valid")
    }

    #[test]
    fn batches_and_single_series_are_collected() {
        let single = SeriesResponse {
            result: Some(series_response::Result::Series(one("3", &[]))),
        };
        let mut all = answer(vec![one("1", &[5, 5, 7]), one("2", &[])]);
        all.push(single).expect("valid");
        assert_eq!(all.message_series, [2, 1]);
        assert_eq!(all.by_labels().len(), 3);
        assert_eq!(all.disorder(), None);
        assert!(all.push(SeriesResponse { result: None }).is_err());
    }

    #[test]
    fn broken_order_is_described() {
        for bad in [
            vec![one("2", &[]), one("1", &[])],
            vec![one("1", &[]), one("1", &[])],
        ] {
            assert!(
                answer(bad)
                    .disorder()
                    .expect("broken")
                    .starts_with("series {a=\"1\"} comes after")
            );
        }
        assert!(
            answer(vec![one("1", &[2, 1])])
                .disorder()
                .expect("broken")
                .contains("[2, 1]")
        );
    }
}
