//! Queries that wait, and answers that are held.

use super::*;

/// An engine whose only place is taken for ever.
async fn full() -> (Arc<Engine>, tokio::task::JoinHandle<()>) {
    let source = Scripted::new([Play::Hang(Vec::new())]);
    let engine = Arc::new(engine(&source, |config| config.max_concurrent = 1));
    let holder = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move {
            let _ = engine.query(&instant("up")).await;
        }
    });
    source.asked.notified().await;
    (engine, holder)
}

#[tokio::test]
async fn what_is_no_query_is_refused_before_it_waits() {
    let (engine, holder) = full().await;
    let patience = Duration::from_secs(60);
    let failure = tokio::time::timeout(patience, engine.query(&instant("sum(up")))
        .await
        .expect("it does not wait for a place")
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadData);
    assert_eq!(failure.message, "1:7: parse error: unclosed left parenthesis");
    holder.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_names_no_tenant_is_refused_before_memory_is_waited_for() {
    let budget = Budget::new(64 << 20, "--limit.all");
    let engine = engine(&Scripted::new([]), |config| {
        config.budget = budget.clone();
        config.enforced_tenant_label = Some("tenant_id".into());
    });
    let _all = budget.try_reserve(64 << 20).unwrap();
    let up = vec![Matcher::equal("__name__", "up")];
    let request = names_request(up, &RequestContext::default());
    let started = tokio::time::Instant::now();
    let failures = [
        engine.series(&request).await.unwrap_err(),
        engine.label_names(&request).await.unwrap_err(),
        engine.label_values("job", &request).await.unwrap_err(),
        engine.query(&instant("up")).await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.kind, FailureKind::BadData, "{failure}");
        assert!(failure.message.contains("--query.enforce-tenancy"), "{failure}");
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waited");
    assert_eq!(budget.usage().waits_total, 0);
}

#[tokio::test]
async fn a_long_query_is_read_when_it_has_a_place() {
    let (engine, holder) = full().await;
    let mut request = instant(&format!("sum(up{}", " ".repeat(100_000)));
    request.context.timeout = Some(Duration::from_millis(10));
    let failure = engine.query(&request).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
    holder.abort();
    let source = Scripted::new([items(1)]);
    let engine = super::engine(&source, |_| {});
    request.context.timeout = None;
    let failure = engine.query(&request).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadData, "{failure}");
}

#[tokio::test]
async fn answers_of_series_and_names_stay_charged_until_they_go() {
    let budget = Budget::new(1 << 30, "--limit.all");
    let source = Scripted::new([items(1000)]);
    let engine = engine(&source, |config| config.budget = budget.clone());
    let used = || budget.usage().used_bytes;
    let matchers = vec![Matcher::equal("__name__", "up")];
    let request = names_request(matchers, &RequestContext::default());

    let answer = engine.series(&request).await.unwrap();
    assert_eq!(answer.series.len(), 1000);
    assert!(answer.charged.bytes() > 1000 * size_of::<Labels>() as u64);
    assert_eq!(used(), answer.charged.bytes());
    drop(answer);
    assert_eq!(used(), 0);

    for label in [None, Some("job")] {
        let answer = match label {
            None => engine.label_names(&request).await.unwrap(),
            Some(label) => engine.label_values(label, &request).await.unwrap(),
        };
        let bytes = answer.values.len() as u64;
        assert!(answer.charged.bytes() > bytes * size_of::<String>() as u64);
        assert_eq!(used(), answer.charged.bytes());
        drop(answer);
        assert_eq!(used(), 0);
    }
}
