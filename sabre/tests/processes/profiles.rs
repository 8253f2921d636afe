//! Profiles of a component that may write nowhere.

use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message as _;
use sabre_runtime::profiles::message::Profile;

use super::support::{Component, binary, command};

/// A second each; on a machine that is very busy there may be nothing to see in one of them.
const MAX_TRIES: usize = 20;

async fn profile(address: &str, name: &str) -> Profile {
    let url = format!("http://{address}/debug/pprof/{name}?seconds=1");
    let answer = reqwest::get(url).await.unwrap();
    let (code, body) = (answer.status(), answer.bytes().await.unwrap());
    assert_eq!(code, 200, "{name}: {}", String::from_utf8_lossy(&body));
    let mut message = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut message).unwrap();
    Profile::decode(message.as_slice()).unwrap()
}

/// Asks for profiles while the component answers requests, until one shows a value of this type in a function that is
/// called so.
async fn shows(address: &str, name: &str, kind: &str, function: &str) {
    let mut seen = Vec::new();
    for _ in 0..MAX_TRIES {
        let work = async {
            loop {
                // One that is not answered is no matter.
                let _ = super::support::get(address, "/metrics").await;
            }
        };
        let profile = tokio::select! {
            profile = profile(address, name) => profile,
            () = work => unreachable!("it has no end"),
        };
        let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].clone();
        let kinds: Vec<String> = profile.sample_type.iter().map(|kind| text(kind.r#type)).collect();
        let index = kinds.iter().position(|known| known == kind).unwrap();
        assert!(
            text(profile.mapping[0].filename).ends_with("/sabre"),
            "{:?}",
            profile.mapping
        );
        let sampler = match name {
            "profile" => "perf_signal_handler",
            _ => "_rjem_",
        };
        let texts = profile.string_table.iter();
        let own: Vec<&String> = texts.filter(|text| text.contains(sampler)).collect();
        assert!(own.is_empty(), "samplers show themselves: {own:?}");
        let is_called_so = |id: &u64| {
            let location = profile
                .location
                .iter()
                .find(|location| location.id == *id)
                .unwrap();
            location.line.iter().any(|line| {
                let known = profile.function.iter().find(|known| known.id == line.function_id);
                text(known.unwrap().name).contains(function)
            })
        };
        let found = profile
            .sample
            .iter()
            .any(|sample| sample.value[index] > 0 && sample.location_id.iter().any(is_called_so));
        if found {
            return;
        }
        seen = profile.string_table;
    }
    panic!("{name} does not show {function}: {seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_taken_where_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(binary());
    command
        .args([
            "query",
            "--http-address=127.0.0.1:0",
            "--grpc-address=127.0.0.1:0",
        ])
        .current_dir("/proc")
        .env("TMPDIR", "/nonexistent/tmp");
    let mut querier = Component::start("the querier", command, dir.path());
    let address = querier.http_address().await.unwrap();
    querier.wait_until(&address, || true).await;
    shows(&address, "profile", "cpu", "tokio").await;
    shows(&address, "allocs", "alloc_space", "sabre_runtime").await;
    shows(&address, "heap", "alloc_space", "sabre_runtime").await;
    let status = querier.stop().await;
    assert!(status.success(), "{}", querier.stderr());
}
