//! What a query cost: `stats` and `analysis`.

use serde_json::{Value, json};

use crate::{
    evaluate::Statistics,
    http::asked::{AskedQuery, WantedStatistics},
    source::EndpointAccount,
};

const US_PER_SECOND: f64 = 1e6;

/// The members of `data` that tell it, each with its comma before it.
pub(crate) fn members(asked: &AskedQuery, statistics: &Statistics) -> Vec<u8> {
    let mut text = String::new();
    if asked.statistics != WantedStatistics::None {
        let all = asked.statistics == WantedStatistics::All;
        text.push_str(&format!(r#","stats":{}"#, stats(statistics, all)));
    }
    if asked.analyze {
        text.push_str(&format!(r#","analysis":{}"#, analysis(statistics)));
    }
    text.into_bytes()
}

/// Prometheus' members, and with `all` one of Sabre's own. Times are in seconds.
fn stats(statistics: &Statistics, all: bool) -> Value {
    let evaluation = seconds(statistics.evaluation_us);
    let queue = seconds(statistics.queue_us);
    let mut stats = json!({
        "timings": {
            "evalTotalTime": evaluation,
            "resultSortTime": 0.0,
            "queryPreparationTime": seconds(statistics.fan_out_us),
            "innerEvalTime": seconds(statistics.evaluation_us.saturating_sub(statistics.fan_out_us)),
            "execQueueTime": queue,
            "execTotalTime": evaluation + queue,
        },
        "samples": {
            "totalQueryableSamples": statistics.samples,
            "peakSamples": statistics.peak_samples(),
        },
    });
    if let (true, Some(members)) = (all, stats.as_object_mut()) {
        members.insert("sabre".to_owned(), account(statistics));
    }
    stats
}

fn account(statistics: &Statistics) -> Value {
    let endpoints = statistics.endpoints.iter().map(|(address, account)| {
        json!({
            "address": address,
            "requests": account.requests,
            "series": account.series,
            "chunks": account.chunks,
            "samples": account.samples,
            "bytes": account.bytes,
            "time": seconds(account.time_us),
        })
    });
    json!({
        "fanOutTime": seconds(statistics.fan_out_us),
        "decodeTime": seconds(statistics.decode_us),
        "evaluationTime": seconds(statistics.evaluation_us),
        "queueTime": seconds(statistics.queue_us),
        "selects": statistics.selects,
        "series": statistics.series,
        "samples": statistics.samples,
        "chunkBytes": statistics.chunk_bytes,
        "peakBytes": statistics.peak_bytes,
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// Thanos' tree of operators, which is one operator here: there is no plan to show.
fn analysis(statistics: &Statistics) -> Value {
    let fanout = statistics.endpoints.iter().map(fanout);
    json!({
        "name": "query",
        "executionTime": go_duration(statistics.evaluation_us),
        "peakSamples": statistics.peak_samples(),
        "totalSamples": statistics.samples,
        "fanout": fanout.collect::<Vec<_>>(),
    })
}

fn fanout((address, account): (&String, &EndpointAccount)) -> Value {
    json!({
        "endpointAddr": address,
        "duration": go_duration(account.time_us),
        "bytesProcessed": account.bytes,
        "numResponses": account.requests,
        "series": account.series,
        "chunks": account.chunks,
        "samples": account.samples,
    })
}

fn seconds(us: u64) -> f64 {
    us as f64 / US_PER_SECOND
}

/// `1.5ms`, as Go prints durations.
fn go_duration(us: u64) -> String {
    match us {
        0 => "0s".to_owned(),
        1..1_000 => format!("{us}µs"),
        1_000..1_000_000 => format!("{}ms", us as f64 / 1e3),
        _ => format!("{}s", us as f64 / US_PER_SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!(go_duration(0), "0s");
        assert_eq!(go_duration(999), "999µs");
        assert_eq!(go_duration(1_500), "1.5ms");
        assert_eq!(go_duration(2_250_000), "2.25s");
    }

    #[test]
    fn only_all_tells_of_endpoints() {
        let mut statistics = Statistics {
            evaluation_us: 1_000_000,
            queue_us: 500_000,
            samples: 7,
            peak_bytes: 5 * 16 + 1,
            ..Statistics::default()
        };
        statistics.endpoints.insert(
            "a:1".to_owned(),
            EndpointAccount {
                requests: 1,
                bytes: 9,
                ..EndpointAccount::default()
            },
        );
        let some = stats(&statistics, false);
        assert_eq!(some["timings"]["execTotalTime"], 1.5);
        assert_eq!(some["samples"]["totalQueryableSamples"], 7);
        assert_eq!(some["samples"]["peakSamples"], 5, "as fit into the memory");
        assert_eq!(some.get("sabre"), None);
        let all = stats(&statistics, true);
        assert_eq!(all["sabre"]["endpoints"][0]["address"], "a:1");
        assert_eq!(all["sabre"]["endpoints"][0]["bytes"], 9);
    }
}
