//! The one figure the sidecar wants of Prometheus' metrics page. The page may be megabytes, and is read every heartbeat: it
//! is looked through as it comes and not kept.

use bytes::Bytes;
use futures::{Stream, StreamExt};

const NAME: &[u8] = b"prometheus_tsdb_lowest_timestamp_seconds";

/// The figure of an empty TSDB: `MaxInt64` milliseconds in seconds.
const EMPTY_SECONDS: f64 = 9_223_372_036_854_775.0;

/// A longer line is not the one that is looked for.
const MAX_LINE_BYTES: usize = 4096;

/// Finds the lowest timestamp in milliseconds; `None` when the TSDB is empty or does not tell, within `max_bytes`.
pub(crate) async fn lowest_timestamp_ms<E>(
    mut page: impl Stream<Item = Result<Bytes, E>> + Unpin,
    max_bytes: usize,
) -> Result<Option<i64>, E> {
    let mut line = Vec::new();
    let mut found = None;
    let mut read_bytes = 0_usize;
    // Read to the end although the line was found: the connection can be used again then.
    while let Some(piece) = page.next().await {
        let piece = piece?;
        read_bytes = read_bytes.saturating_add(piece.len());
        if read_bytes > max_bytes {
            break;
        }
        if found.is_some() {
            continue;
        }
        let mut lines = piece.split(|byte| *byte == b'\n');
        if let Some(rest) = lines.next() {
            keep(&mut line, rest);
        }
        for next in lines {
            found = found.or_else(|| value_of(&line));
            line.clear();
            keep(&mut line, next);
        }
    }
    Ok(found.or_else(|| value_of(&line)).and_then(as_ms))
}

fn keep(line: &mut Vec<u8>, part: &[u8]) {
    let room = MAX_LINE_BYTES.saturating_sub(line.len());
    line.extend_from_slice(part.get(..room).unwrap_or(part));
}

fn value_of(line: &[u8]) -> Option<f64> {
    let rest = std::str::from_utf8(line.strip_prefix(NAME)?).ok()?;
    rest.strip_prefix([' ', '\t', '{'])?;
    let value = rest.rsplit('}').next()?;
    value.split_whitespace().next()?.parse().ok()
}

fn as_ms(seconds: f64) -> Option<i64> {
    if !(0.0..EMPTY_SECONDS).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below EMPTY_SECONDS the product fits"
    )]
    Some((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(page: &str, piece_bytes: usize) -> Option<i64> {
        let pieces: Vec<Result<Bytes, ()>> = page
            .as_bytes()
            .chunks(piece_bytes)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        lowest_timestamp_ms(futures::stream::iter(pieces), 1 << 20)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_lowest_timestamp_is_found_however_the_page_is_cut() {
        let page = |value: &str| {
            format!(
                "# HELP prometheus_tsdb_lowest_timestamp_seconds x\nprometheus_tsdb_lowest_timestamp_seconds {value}\nother 1\n"
            )
        };
        for piece_bytes in [1, 7, 64, 4096] {
            let got = find(&page("1.7672256e+09"), piece_bytes).await;
            assert_eq!(got, Some(1_767_225_600_000), "{piece_bytes}");
        }
        assert_eq!(
            find(&page("9.223372036854776e+15"), 9).await,
            None,
            "an empty TSDB"
        );
        assert_eq!(find(&page("9.223372036854775e+15"), 9).await, None);
        assert_eq!(find(&page("NaN"), 9).await, None);
        assert_eq!(find("nothing 1\n", 3).await, None);
        assert_eq!(
            find("prometheus_tsdb_lowest_timestamp_seconds_x 1\n", 3).await,
            None
        );
        let unfinished = "prometheus_tsdb_lowest_timestamp_seconds{a=\"}\"} 2";
        assert_eq!(find(unfinished, 5).await, Some(2000));
    }

    #[tokio::test]
    async fn a_line_of_many_megabytes_is_not_kept() {
        let long = "x".repeat(3 << 20);
        let pieces = long
            .as_bytes()
            .chunks(1 << 16)
            .map(|piece| Ok::<_, ()>(Bytes::copy_from_slice(piece)));
        let page = futures::stream::iter(pieces.collect::<Vec<_>>());
        assert_eq!(lowest_timestamp_ms(page, 64 << 20).await, Ok(None));
    }
}
