//! The end of shipping in the middle of an upload.

use sabre_model::Labels;
use sabre_objstore::config::from_yaml;
use sabre_runtime::metrics::Registry;
use sabre_testkit::{
    blocks::BlockBuilder,
    s3::{Answer, Recorded, ScriptedServer},
};
use sabre_tsdb::chunk::{EncodedChunk, Encoding};

use super::*;
use crate::{
    known::contact,
    metrics::SidecarMetrics,
    shipper::{Policy, ShipperConfig},
    testing::{eventually, known},
};

/// A bucket without objects, where parts of an upload are not answered.
async fn bucket_that_takes_no_parts() -> ScriptedServer {
    let xml = |body: &str| {
        Answer::new(200)
            .header("content-type", "application/xml")
            .body(format!("<?xml version=\"1.0\"?>{body}"))
    };
    let answers = move |request: &Recorded| match request.method.as_str() {
        "POST" if request.target.contains("uploads") => {
            xml("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>")
        }
        "PUT" if request.target.contains("partNumber=") => Answer::silence(),
        "GET" if request.target.contains("list-type=") => {
            xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
        "HEAD" | "GET" => Answer::new(404),
        "DELETE" => Answer::new(204),
        _ => Answer::new(200),
    };
    ScriptedServer::start_with(answers).await.unwrap()
}

/// A data directory with one block, whose segment is sent in parts.
fn data_dir() -> tempfile::TempDir {
    let chunk = |at: i64| EncodedChunk {
        mint: at * 10,
        maxt: at * 10 + 9,
        encoding: Encoding::Xor,
        num_samples: 1,
        data: vec![7; 1 << 20],
    };
    let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
    let block = BlockBuilder::new(1)
        .segment_bytes(64 << 20)
        .chunks(labels, (0..12).map(chunk).collect())
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    block.write_to(dir.path()).unwrap();
    dir
}

fn shipper(tsdb_dir: &Path, bucket: &str) -> Shipper {
    Shipper::new(
        ShipperConfig {
            tsdb_dir: tsdb_dir.to_owned(),
            state_file: "thanos.shipper.json".to_owned(),
            source: "sidecar".to_owned(),
            policy: Policy::default(),
            skip_corrupted: false,
            upload_concurrency: 1,
            hash: sabre_block::upload::HashFunc::default(),
            now_ms: || 0,
        },
        from_yaml(bucket, "sidecar").unwrap(),
        SidecarMetrics::new(&Registry::new()),
    )
}

fn count(server: &ScriptedServer, method: &str, part: &str) -> usize {
    let requests = server.requests();
    requests
        .iter()
        .filter(|request| request.method == method && request.target.contains(part))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_is_aborted_before_shipping_has_ended() {
    let server = bucket_that_takes_no_parts().await;
    let config = format!(
        "type: S3\nconfig: {{bucket: b, endpoint: \"{}\", insecure: true, access_key: a, secret_key: b, \
         part_size: 5242880}}",
        server.endpoint()
    );
    let dir = data_dir();
    let shipper = shipper(dir.path(), &config);
    let (stop, path) = (CancellationToken::new(), dir.path().to_owned());
    let shipping = tokio::spawn({
        let (contact, stop) = (known(&[("cluster", "eu1")]), stop.clone());
        async move {
            let ready_timeout = Duration::from_secs(60);
            run(shipper, &path, Gauge::default(), contact, ready_timeout, stop).await
        }
    });
    eventually("a part of the upload", async || {
        count(&server, "PUT", "partNumber=") > 0
    })
    .await;
    assert_eq!(count(&server, "DELETE", "uploadId=U1"), 0);
    stop.cancel();
    shipping.await.unwrap().unwrap();
    assert_eq!(
        count(&server, "DELETE", "uploadId=U1"),
        1,
        "the end waits for the abort"
    );
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_that_says_nothing_is_waited_for_as_long_as_the_flag_says() {
    for seconds in [5, 600] {
        let dir = tempfile::tempdir().unwrap();
        let bucket = format!(
            "{{type: FILESYSTEM, config: {{directory: {:?}}}}}",
            dir.path().display().to_string()
        );
        let (_silent, contact) = contact();
        let (ready_timeout, stop) = (Duration::from_secs(seconds), CancellationToken::new());
        let started = tokio::time::Instant::now();
        let outcome = run(
            shipper(dir.path(), &bucket),
            dir.path(),
            Gauge::default(),
            contact,
            ready_timeout,
            stop,
        );
        let error = outcome.await.unwrap_err().to_string();
        assert!(
            error.contains("--prometheus.ready_timeout") && error.contains(&format!("{seconds}s")),
            "{error}"
        );
        // Of the time of a test nothing passes but what is waited for, and timers tell milliseconds.
        let waited = started.elapsed();
        assert!(
            waited >= ready_timeout && waited < ready_timeout + Duration::from_secs(1),
            "{waited:?}"
        );
    }
}
