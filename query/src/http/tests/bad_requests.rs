//! A thousand bad requests of each kind leave nothing behind.

use std::sync::Arc;

use super::fakes::{Fake, get, post, routes};
use crate::http::ApiOptions;

const BAD: [&str; 14] = [
    "/api/v1/query?query=up&time=abc",
    "/api/v1/query?query=up&dedup=perhaps",
    "/api/v1/query?query=up&storeMatch[]=%7B",
    "/api/v1/query?query=up&shard_info=%7B",
    "/api/v1/query?query=up&engine=steam",
    "/api/v1/query?query=up&limit=-1",
    "/api/v1/query_range?query=up",
    "/api/v1/query_range?query=up&start=1&end=0&step=1",
    "/api/v1/query_range?query=up&start=0&end=1e300&step=1",
    "/api/v1/query_range?query=up&start=0&end=1&step=0",
    "/api/v1/series",
    "/api/v1/series?match[]=%7B%7D%7D&start=-1e300&end=1e300",
    "/api/v1/labels?match[]=%22&start=NaN",
    "/api/v1/parse_query?query=%28%28%28",
];

#[tokio::test]
async fn a_thousand_bad_requests_of_each_kind_are_refused_and_never_asked() {
    let fake = Arc::new(Fake::default());
    let routes = routes(&fake, ApiOptions::default());
    for _ in 0..1000 {
        for address in BAD {
            let got = get(&routes, address).await;
            assert_eq!(got.status, 400, "{address}: {}", got.body);
            assert!(got.body.len() < 500);
        }
    }
    assert!(fake.queries.lock().is_empty());
    assert!(fake.series_requests.lock().is_empty());
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let routes = routes(&Arc::new(Fake::default()), ApiOptions::default());
    let form = format!("query={}", "x".repeat(11 << 20));
    let (status, kind, text) = post(&routes, "/api/v1/query", &form).await.error();
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(text.contains("is longer than 10485760 bytes"), "{text}");
}

#[tokio::test]
async fn what_is_no_form_is_not_read() {
    let fake = Arc::new(Fake::default());
    let routes = routes(&fake, ApiOptions::default());
    for address in [
        "/api/v1/query?query=%ff%fe&a=%zz&&&=&x",
        "/api/v1/query?query=a;b",
    ] {
        assert_eq!(get(&routes, address).await.status, 200);
    }
    assert_eq!(fake.queries.lock()[1].expression, "a;b");
}
