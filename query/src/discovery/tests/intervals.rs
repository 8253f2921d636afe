//! How often files are read again.

use super::*;

/// Whom the sources name.
async fn seen(sources: &mut Sources) -> Vec<String> {
    let specs = sources.specs().await;
    specs.into_iter().map(|spec| spec.address).collect()
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_after_the_intervals_of_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let (targets, document) = (folder.path().join("t.yaml"), folder.path().join("d.yaml"));
    let write = |number: u32| {
        std::fs::write(&targets, format!("[{{targets: ['target:{number}']}}]")).unwrap();
        std::fs::write(
            &document,
            format!("endpoints: [{{address: 'document:{number}'}}]"),
        )
        .unwrap();
    };
    let options = SourceOptions {
        target_files: vec![targets.display().to_string()],
        target_files_interval: Duration::from_secs(60),
        document_file: Some(document.display().to_string()),
        document_interval: Duration::from_secs(300),
        ..SourceOptions::default()
    };
    let mut sources = Sources::new(options, DiscoveryMetrics::register(&Registry::new())).unwrap();
    write(1);
    assert_eq!(seen(&mut sources).await, ["document:1", "target:1"]);
    write(2);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(seen(&mut sources).await, ["document:1", "target:1"]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(seen(&mut sources).await, ["document:1", "target:2"]);
    tokio::time::advance(Duration::from_secs(239)).await;
    assert_eq!(seen(&mut sources).await, ["document:1", "target:2"]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(seen(&mut sources).await, ["document:2", "target:2"]);
}
