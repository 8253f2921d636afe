//! Which parts of a chunk go into an answer.

use sabre_proto::{
    flat::{AggregateParts, ChunkPart, ChunkParts},
    thanos::{Aggr, chunk::Encoding as WireEncoding},
};
use sabre_tsdb::chunk::{
    Encoding,
    aggregate::{Aggregate, AggregateChunk, SubChunk},
};

/// The aggregates a request wants of downsampled chunks, in the order of [`Aggregate::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted([bool; 5]);

/// An aggregate was asked for that a chunk does not have, such as the minimum of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the downsampled chunk has no aggregate {0:?}, which the request asks for")]
pub(crate) struct MissingAggregate(Aggregate);

impl Wanted {
    /// What the numbers in a request name. `RAW` means nothing for a downsampled chunk, unknown ones neither.
    pub(crate) fn from_request(aggregates: &[i32]) -> Self {
        let mut wanted = Self::default();
        for &number in aggregates {
            let at = match Aggr::try_from(number) {
                Ok(Aggr::Count) => 0,
                Ok(Aggr::Sum) => 1,
                Ok(Aggr::Min) => 2,
                Ok(Aggr::Max) => 3,
                Ok(Aggr::Counter) => 4,
                Ok(Aggr::Raw) | Err(_) => continue,
            };
            if let Some(flag) = wanted.0.get_mut(at) {
                *flag = true;
            }
        }
        wanted
    }

    /// The wanted parts of a downsampled chunk.
    pub(crate) fn of_aggregates<'a>(
        &self,
        mint: i64,
        maxt: i64,
        chunk: &AggregateChunk<'a>,
    ) -> Result<ChunkParts<'a>, MissingAggregate> {
        let mut parts = AggregateParts::default();
        for (aggregate, _) in Aggregate::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, wanted)| *wanted)
        {
            let SubChunk { encoding, data } = chunk.get(aggregate).ok_or(MissingAggregate(aggregate))?;
            let field = match aggregate {
                Aggregate::Count => &mut parts.count,
                Aggregate::Sum => &mut parts.sum,
                Aggregate::Min => &mut parts.min,
                Aggregate::Max => &mut parts.max,
                Aggregate::Counter => &mut parts.counter,
            };
            *field = part(encoding, data);
        }
        Ok(ChunkParts {
            mint,
            maxt,
            raw: None,
            aggregates: Some(Box::new(parts)),
        })
    }
}

/// A chunk of raw samples goes out as it is, whatever aggregates were asked for.
pub(crate) fn of_raw(mint: i64, maxt: i64, encoding: Encoding, data: &[u8]) -> ChunkParts<'_> {
    ChunkParts {
        mint,
        maxt,
        raw: part(encoding, data),
        ..ChunkParts::default()
    }
}

fn part(encoding: Encoding, data: &[u8]) -> Option<ChunkPart<'_>> {
    let encoding = match encoding {
        Encoding::Xor => WireEncoding::Xor,
        Encoding::Histogram => WireEncoding::Histogram,
        Encoding::FloatHistogram => WireEncoding::FloatHistogram,
        // Never inside itself: the parser refuses that.
        Encoding::Aggregate => return None,
    };
    // Whoever has several copies of a chunk to compare hashes it then; nobody else need pay for it.
    Some(ChunkPart {
        encoding,
        data,
        hash: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(data: &'static [u8], aggregates: &[Aggregate]) -> AggregateChunk<'static> {
        let mut chunk = AggregateChunk::default();
        for &aggregate in aggregates {
            chunk.set(
                aggregate,
                Some(SubChunk {
                    encoding: Encoding::Xor,
                    data,
                }),
            );
        }
        chunk
    }

    #[test]
    fn each_requested_aggregate_is_sent_and_no_other() {
        let chunk = chunk(b"abc", &Aggregate::ALL);
        let parts = Wanted::from_request(&[1, 5, 0])
            .of_aggregates(7, 9, &chunk)
            .unwrap();
        assert_eq!((parts.mint, parts.maxt), (7, 9));
        let aggregates = parts.aggregates.unwrap();
        assert_eq!(aggregates.count.unwrap().data, b"abc");
        assert!(aggregates.counter.is_some() && parts.raw.is_none());
        assert!(aggregates.sum.is_none() && aggregates.min.is_none() && aggregates.max.is_none());
    }

    #[test]
    fn a_missing_aggregate_is_an_error_that_names_it() {
        let chunk = chunk(b"abc", &[Aggregate::Count, Aggregate::Sum, Aggregate::Counter]);
        let error = Wanted::from_request(&[1, 3])
            .of_aggregates(0, 0, &chunk)
            .unwrap_err();
        assert!(error.to_string().contains("Min"), "{error}");
    }

    #[test]
    fn only_raw_yields_times_without_data() {
        let parts = Wanted::from_request(&[0, 77])
            .of_aggregates(1, 2, &chunk(b"abc", &Aggregate::ALL))
            .unwrap();
        assert_eq!(parts.maxt, 2);
        assert!(parts.raw.is_none() && parts.aggregates.unwrap().count.is_none());
    }
}
