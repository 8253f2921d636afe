//! The chunks of one series from several stores: in order, and equal ones once.

use sabre_proto::thanos::{AggrChunk, Chunk};

/// Sorts by `(mint, maxt)` and takes out chunks with the same bytes as one before. Mostly there is nothing to do.
pub(crate) fn arrange(chunks: &mut Vec<AggrChunk>) {
    if chunks.is_sorted_by(|a, b| times(a) < times(b)) {
        return;
    }
    chunks.sort_by_key(times);
    let mut kept: Vec<AggrChunk> = Vec::with_capacity(chunks.len());
    for chunk in chunks.drain(..) {
        let same_times = kept
            .iter()
            .rev()
            .take_while(|before| times(before) == times(&chunk));
        if !same_times.into_iter().any(|before| same_data(before, &chunk)) {
            kept.push(chunk);
        }
    }
    *chunks = kept;
}

fn times(chunk: &AggrChunk) -> (i64, i64) {
    (chunk.min_time, chunk.max_time)
}

/// The bytes decide: a hash may be missing, or wrong.
fn same_data(a: &AggrChunk, b: &AggrChunk) -> bool {
    let same = |(a, b): (Option<&Chunk>, Option<&Chunk>)| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.r#type == b.r#type && a.data == b.data,
        _ => false,
    };
    a.parts().into_iter().zip(b.parts()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(mint: i64, maxt: i64, data: &'static str, hash: u64) -> AggrChunk {
        AggrChunk {
            min_time: mint,
            max_time: maxt,
            raw: Some(Chunk {
                data: bytes::Bytes::from_static(data.as_bytes()),
                hash,
                ..Chunk::default()
            }),
            ..AggrChunk::default()
        }
    }

    fn arranged(mut chunks: Vec<AggrChunk>) -> String {
        arrange(&mut chunks);
        let text = |chunk: &AggrChunk| {
            let data = chunk.raw.as_ref().unwrap().data.clone();
            format!(
                "{}-{}{}",
                chunk.min_time,
                chunk.max_time,
                String::from_utf8(data.to_vec()).unwrap()
            )
        };
        chunks.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equal_chunks_stay_once_whatever_their_hashes_say() {
        assert_eq!(
            arranged(vec![
                chunk(5, 9, "a", 0),
                chunk(1, 4, "x", 1),
                chunk(5, 9, "b", 7),
                chunk(5, 9, "a", 7)
            ]),
            "1-4x 5-9a 5-9b"
        );
        assert_eq!(
            arranged(vec![chunk(1, 4, "x", 0), chunk(5, 9, "a", 0)]),
            "1-4x 5-9a"
        );
    }

    #[test]
    fn the_end_decides_where_starts_are_equal() {
        assert_eq!(
            arranged(vec![chunk(1, 9, "b", 0), chunk(1, 4, "a", 0)]),
            "1-4a 1-9b"
        );
    }

    #[test]
    fn aggregates_are_told_apart() {
        let mut sum = chunk(1, 4, "x", 0);
        sum.sum = sum.raw.take();
        let mut both = vec![chunk(1, 4, "x", 0), sum.clone(), sum];
        arrange(&mut both);
        assert_eq!(both.len(), 2);
    }
}
