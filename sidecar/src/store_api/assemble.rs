//! From frames of remote read to series in StoreAPI's order.
//!
//! Chunks stay as Prometheus encoded them. A series may be spread over consecutive frames; it is put together. The
//! order is restored without sorting wherever that can be (see [`sabre_model::series_order`]).

use bytes::Bytes;
use sabre_model::{
    Label, Labels,
    series_order::{PrefixStack, overtakes},
};
use sabre_proto::{
    prometheus::{self, ChunkedSeries, chunk::Encoding as ReadEncoding},
    thanos::chunk::Encoding,
};

use super::relabel::Relabeler;

/// A chunk of Prometheus, not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: Encoding,
    pub(crate) data: Bytes,
}

/// A series of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadSeries {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<ReadChunk>,
}

impl ReadSeries {
    /// About how much memory it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        let chunks = self.chunks.iter();
        let chunks: usize = chunks
            .map(|chunk| chunk.data.len() + size_of::<ReadChunk>())
            .sum();
        size_of::<ReadSeries>() + self.labels.heap_bytes() + chunks
    }
}

/// Why an answer of Prometheus cannot be passed on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum AssembleError {
    #[error(
        "series {labels}: chunk encoding {encoding} of Prometheus ({name}) has no counterpart in StoreAPI"
    )]
    UnsupportedEncoding {
        labels: Labels,
        encoding: i32,
        name: &'static str,
    },
    #[error("Prometheus answered a series with labels that are no label set: {0}")]
    Labels(String),
    /// The labels of the TSDB changed between heartbeat and answer.
    #[error(
        "series {labels} of Prometheus came out of order: a label that is replaced here appeared just now, try again"
    )]
    OutOfOrder { labels: Labels },
}

/// Puts series together and in order. What comes out goes to the closure given with each call.
#[derive(Debug)]
pub(crate) struct Assembler {
    relabeler: Relabeler,
    order: Order,
    /// The series whose chunks still come, by its labels as the TSDB has them.
    open: Option<Held>,
    last_sent: Option<Labels>,
    held_bytes: usize,
}

#[derive(Debug)]
enum Order {
    /// Only labels were added.
    Stack(PrefixStack<Held>),
    /// Labels were replaced or removed: everything is held.
    Sort(Vec<ReadSeries>),
}

#[derive(Debug)]
struct Held {
    stored: Vec<Label>,
    series: ReadSeries,
    bytes: usize,
}

impl Assembler {
    pub(crate) fn new(relabeler: Relabeler, needs_sort: bool) -> Assembler {
        let order = if needs_sort {
            Order::Sort(Vec::new())
        } else {
            Order::Stack(PrefixStack::new())
        };
        Assembler {
            relabeler,
            order,
            open: None,
            last_sent: None,
            held_bytes: 0,
        }
    }

    /// About how much memory the series take that did not come out yet.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes the series of a frame, or a part of one.
    pub(crate) fn push(
        &mut self,
        part: ChunkedSeries,
        emit: &mut impl FnMut(ReadSeries),
    ) -> Result<(), AssembleError> {
        let answered = Labels::from_pairs(part.labels.into_iter().map(|label| (label.name, label.value)))
            .map_err(|error| AssembleError::Labels(error.to_string()))?;
        let stored = self.relabeler.stored(&answered);
        let labels = self.relabeler.finish(&stored);
        let chunks = part
            .chunks
            .into_iter()
            .map(|chunk| read_chunk(&labels, chunk))
            .collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = chunks
            .iter()
            .map(|chunk| chunk.data.len() + size_of::<ReadChunk>())
            .sum();
        match &mut self.open {
            Some(open) if open.series.labels == labels && !matches!(self.order, Order::Sort(_)) => {
                open.series.chunks.extend(chunks);
                open.bytes += bytes;
                self.held_bytes += bytes;
            }
            _ => {
                let bytes = bytes + labels.heap_bytes() * 2 + size_of::<Held>();
                self.held_bytes += bytes;
                let held = Held {
                    stored: stored.to_vec(),
                    series: ReadSeries { labels, chunks },
                    bytes,
                };
                if let Some(complete) = self.open.replace(held) {
                    self.order(complete, emit)?;
                }
            }
        }
        Ok(())
    }

    /// The rest in order, after the last frame. Takes its time where everything was held.
    pub(crate) fn finish(mut self) -> Result<Vec<ReadSeries>, AssembleError> {
        let mut rest = Vec::new();
        if let Some(complete) = self.open.take() {
            self.order(complete, &mut |series| rest.push(series))?;
        }
        match self.order {
            Order::Stack(mut stack) => {
                let mut ready = Vec::new();
                stack.finish(|held| ready.push(held));
                let emit = &mut |series| rest.push(series);
                send_in_order(ready, &mut self.last_sent, &mut self.held_bytes, emit)?;
                Ok(rest)
            }
            Order::Sort(series) => Ok(merge_equal(series)),
        }
    }

    fn order(&mut self, complete: Held, emit: &mut impl FnMut(ReadSeries)) -> Result<(), AssembleError> {
        match &mut self.order {
            Order::Stack(stack) => {
                let mut ready = Vec::new();
                let below = |label: &Label| self.relabeler.is_below_added(&label.name);
                stack.push(
                    complete,
                    |next, held| overtakes(&next.stored, &held.stored, below),
                    |held| ready.push(held),
                );
                send_in_order(ready, &mut self.last_sent, &mut self.held_bytes, emit)
            }
            Order::Sort(series) => {
                series.push(complete.series);
                Ok(())
            }
        }
    }
}

fn send_in_order(
    ready: Vec<Held>,
    last_sent: &mut Option<Labels>,
    held_bytes: &mut usize,
    emit: &mut impl FnMut(ReadSeries),
) -> Result<(), AssembleError> {
    for held in ready {
        if last_sent.as_ref().is_some_and(|last| *last >= held.series.labels) {
            return Err(AssembleError::OutOfOrder {
                labels: held.series.labels,
            });
        }
        *last_sent = Some(held.series.labels.clone());
        *held_bytes = held_bytes.saturating_sub(held.bytes);
        emit(held.series);
    }
    Ok(())
}

/// Sorts series, and puts those together that became equal when labels were removed. Long answers take long.
pub(crate) fn merge_equal(series: Vec<ReadSeries>) -> Vec<ReadSeries> {
    merge_runs(series, |chunks| {
        chunks.sort_by_key(|chunk| (chunk.mint, chunk.maxt));
        chunks.dedup();
    })
}

/// The chunks of equal series are first collected, whole runs, and then given to `settle` once: there may be as many equal
/// series as there are series.
fn merge_runs(mut series: Vec<ReadSeries>, mut settle: impl FnMut(&mut Vec<ReadChunk>)) -> Vec<ReadSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut merged: Vec<ReadSeries> = Vec::with_capacity(series.len());
    let mut is_run = false;
    for mut next in series {
        match merged.last_mut() {
            Some(last) if last.labels == next.labels => {
                last.chunks.append(&mut next.chunks);
                is_run = true;
            }
            last => {
                if let Some(last) = last
                    && is_run
                {
                    settle(&mut last.chunks);
                }
                is_run = false;
                merged.push(next);
            }
        }
    }
    if let Some(last) = merged.last_mut()
        && is_run
    {
        settle(&mut last.chunks);
    }
    merged
}

fn read_chunk(labels: &Labels, chunk: prometheus::Chunk) -> Result<ReadChunk, AssembleError> {
    let unsupported = |name| AssembleError::UnsupportedEncoding {
        labels: labels.clone(),
        encoding: chunk.r#type,
        name,
    };
    let encoding = match ReadEncoding::try_from(chunk.r#type) {
        Ok(ReadEncoding::Xor) => Encoding::Xor,
        Ok(ReadEncoding::Histogram) => Encoding::Histogram,
        Ok(ReadEncoding::FloatHistogram) => Encoding::FloatHistogram,
        Ok(ReadEncoding::Xor2) => return Err(unsupported("XOR2")),
        Ok(ReadEncoding::HistogramSt) => return Err(unsupported("histogram with start timestamps")),
        Ok(ReadEncoding::FloatHistogramSt) => {
            return Err(unsupported("float histogram with start timestamps"));
        }
        Ok(ReadEncoding::Unknown) | Err(_) => return Err(unsupported("unknown")),
    };
    Ok(ReadChunk {
        mint: chunk.min_time_ms,
        maxt: chunk.max_time_ms,
        encoding,
        data: chunk.data,
    })
}

#[cfg(test)]
mod tests {
    use sabre_proto::thanos;

    use super::*;

    fn part(pairs: &[(&str, &str)], mint: i64) -> ChunkedSeries {
        let labels = pairs
            .iter()
            .map(|(n, v)| thanos::Label {
                name: n.to_string(),
                value: v.to_string(),
            })
            .collect();
        let chunk = prometheus::Chunk {
            min_time_ms: mint,
            max_time_ms: mint + 1,
            r#type: ReadEncoding::Xor as i32,
            data: Bytes::from_static(b"x"),
        };
        ChunkedSeries {
            labels,
            chunks: vec![chunk],
        }
    }

    fn run(
        external: &[(&str, &str)],
        removed: &[&str],
        sort: bool,
        parts: Vec<ChunkedSeries>,
    ) -> Vec<(String, usize)> {
        let external = Labels::from_pairs(external.iter().copied()).unwrap();
        let removed: Vec<String> = removed.iter().map(|r| r.to_string()).collect();
        let mut assembler = Assembler::new(Relabeler::new(&external, &removed), sort);
        let mut out = Vec::new();
        let mut emit = |series: ReadSeries| out.push((series.labels.to_string(), series.chunks.len()));
        for part in parts {
            assembler.push(part, &mut emit).unwrap();
        }
        assembler.finish().unwrap().into_iter().for_each(emit);
        out
    }

    #[test]
    fn a_series_split_over_frames_is_put_together() {
        let parts = vec![
            part(&[("a", "1")], 0),
            part(&[("a", "1")], 5),
            part(&[("a", "2")], 0),
        ];
        let got = run(&[("z", "e")], &[], false, parts);
        assert_eq!(
            got,
            [
                (r#"{a="1", z="e"}"#.to_string(), 2),
                (r#"{a="2", z="e"}"#.to_string(), 1)
            ]
        );
    }

    #[test]
    fn the_order_is_that_of_the_labels_of_the_answer() {
        let parts = vec![
            part(&[("a", "1"), ("z", "e")], 0),
            part(&[("a", "1"), ("b", "1"), ("z", "e")], 0),
        ];
        let got = run(&[("z", "e")], &[], false, parts);
        assert_eq!(got[0].0, r#"{a="1", b="1", z="e"}"#);
    }

    #[test]
    fn series_that_become_equal_are_merged() {
        let parts = vec![
            part(&[("a", "1"), ("pod", "x")], 7),
            part(&[("a", "1"), ("pod", "y")], 0),
        ];
        assert_eq!(
            run(&[("z", "e")], &["pod"], true, parts),
            [(r#"{a="1", z="e"}"#.to_string(), 2)]
        );
    }

    #[test]
    fn a_label_that_appears_unannounced_is_an_error_not_a_wrong_order() {
        let external = Labels::from_pairs([("b", "e")]).unwrap();
        let mut assembler = Assembler::new(Relabeler::new(&external, &[]), false);
        let mut emit = |_| {};
        assembler
            .push(part(&[("a", "1"), ("b", "local"), ("c", "9")], 0), &mut emit)
            .unwrap();
        assembler
            .push(part(&[("a", "1"), ("c", "1")], 0), &mut emit)
            .unwrap();
        let error = assembler.finish().unwrap_err();
        assert!(matches!(error, AssembleError::OutOfOrder { .. }), "{error}");
    }

    #[test]
    fn encodings_without_a_counterpart_are_named() {
        let mut odd = part(&[("a", "1")], 0);
        odd.chunks[0].r#type = ReadEncoding::Xor2 as i32;
        let mut assembler = Assembler::new(Relabeler::new(&Labels::default(), &[]), false);
        let error = assembler.push(odd, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("XOR2") && error.contains(r#"{a="1"}"#), "{error}");
    }

    #[test]
    fn chunks_of_equal_series_are_sorted_once_however_many_are_equal() {
        let equal = |name: &str, count: i64| {
            let labels = Labels::from_pairs([("a", name)]).unwrap();
            let chunk = |mint| ReadChunk {
                mint,
                maxt: mint + 1,
                encoding: Encoding::Xor,
                data: Bytes::from_static(b"x"),
            };
            (0..count).map(move |n| ReadSeries {
                labels: labels.clone(),
                chunks: (0..10).map(|at| chunk(n * 7 % 100 * 10 + at)).collect(),
            })
        };
        let series = || {
            equal("1", 1)
                .chain(equal("2", 2000))
                .chain(equal("3", 3))
                .collect()
        };
        let mut settled = Vec::new();
        merge_runs(series(), |chunks| settled.push(chunks.len()));
        assert_eq!(
            settled,
            [20_000, 30],
            "each run once, and what is alone not at all"
        );
        let lengths: Vec<usize> = merge_equal(series())
            .iter()
            .map(|series| series.chunks.len())
            .collect();
        assert_eq!(lengths, [10, 1000, 30], "each chunk once");
    }
}
