//! Which chunks go together.

use sabre_promql::source::SourceError;
use sabre_proto::thanos::AggrChunk;

use super::MAX_REPLICAS;

/// Distributes chunks over lists in which none overlap: a chunk goes to the first list that ends before it.
pub(super) fn split(chunks: Vec<AggrChunk>) -> Result<Vec<Vec<AggrChunk>>, SourceError> {
    let overlaps = chunks.iter().zip(chunks.iter().skip(1));
    if overlaps.into_iter().all(|(a, b)| a.max_time < b.min_time) {
        return Ok(vec![chunks]);
    }
    let mut lists: Vec<Vec<AggrChunk>> = Vec::new();
    for chunk in chunks {
        let fits = |list: &&mut Vec<AggrChunk>| list.last().is_none_or(|last| last.max_time < chunk.min_time);
        let count = lists.len();
        match lists.iter_mut().find(fits) {
            Some(list) => list.push(chunk),
            None if count < MAX_REPLICAS => lists.push(vec![chunk]),
            None => {
                return Err(SourceError::new(format!(
                    "more than {MAX_REPLICAS} chunks of a series overlap at {}: are the replica labels right?",
                    chunk.min_time
                )));
            }
        }
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(chunks: &[(i64, i64)]) -> Result<Vec<Vec<(i64, i64)>>, SourceError> {
        let chunks = chunks.iter().map(|(min_time, max_time)| AggrChunk {
            min_time: *min_time,
            max_time: *max_time,
            ..AggrChunk::default()
        });
        let lists = split(chunks.collect())?;
        let times = |list: Vec<AggrChunk>| list.iter().map(|c| (c.min_time, c.max_time)).collect();
        Ok(lists.into_iter().map(times).collect())
    }

    #[test]
    fn a_chunk_goes_to_the_first_list_that_ends_before_it() {
        assert_eq!(
            times(&[(0, 10), (5, 15), (11, 20), (12, 14), (15, 30), (16, 30)]).unwrap(),
            [
                vec![(0, 10), (11, 20)],
                vec![(5, 15), (16, 30)],
                vec![(12, 14), (15, 30)]
            ]
        );
    }

    #[test]
    fn a_chunk_that_begins_where_another_ends_overlaps_it() {
        assert_eq!(times(&[(0, 10), (10, 20)]).unwrap(), [[(0, 10)], [(10, 20)]]);
        assert_eq!(times(&[(0, 10), (11, 20)]).unwrap(), [[(0, 10), (11, 20)]]);
        assert_eq!(times(&[]).unwrap(), [[]]);
    }

    #[test]
    fn a_heap_of_overlapping_chunks_is_refused() {
        let error = times(&[(0, 10); MAX_REPLICAS + 1]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("more than 256 chunks of a series overlap at 0"),
            "{error}"
        );
    }
}
