//! The web page: a form for queries with table and graph, and the list of endpoints. Its files are part of the
//! program, it loads nothing from anywhere else, and its addresses are relative, so that it works below any prefix.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use sabre_runtime::http_server::HttpMetrics;

const HTML: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");

/// In the order in which the browser loads them: each knows those before it.
const SCRIPTS: [(&str, &str); 5] = [
    ("/page/format.js", include_str!("format.js")),
    ("/page/api.js", include_str!("api.js")),
    ("/page/chart.js", include_str!("chart.js")),
    ("/page/complete.js", include_str!("complete.js")),
    ("/page/app.js", include_str!("app.js")),
];

/// The page may run its own scripts and ask its own server, nothing else.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'";

/// The addresses of the page, below `prefix` (empty, or with a leading and without a trailing slash).
pub(crate) fn routes(prefix: &str, metrics: &HttpMetrics) -> Router {
    let html = || async { file("text/html; charset=utf-8", HTML) };
    let style = || async { file("text/css; charset=utf-8", STYLE) };
    let mut pages = Router::new()
        .route("/graph", get(html))
        .route("/stores", get(html))
        .route("/page/style.css", get(style));
    for (path, script) in SCRIPTS {
        let script = move || async move { file("text/javascript; charset=utf-8", script) };
        pages = pages.route(path, get(script));
    }
    let home = format!("{prefix}/graph");
    let go_home = move || async move { Redirect::temporary(&home) };
    let all = match prefix {
        "" => pages.route("/", get(go_home)),
        prefix => Router::new()
            .nest(prefix, pages)
            .route(&format!("{prefix}/"), get(go_home.clone()))
            .route("/", get(go_home)),
    };
    metrics.instrument("page", all)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        // The next version of the program has others under the same address.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use sabre_runtime::metrics::Registry;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(prefix: &str, path: &str) -> Response {
        let routes = routes(prefix, &HttpMetrics::new(&Registry::new()));
        let request = Request::get(path).body(Body::empty()).unwrap();
        routes.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_file_that_the_page_names_is_there() {
        let mut named = 0;
        for quoted in HTML.split(['"', '\'']).filter(|text| text.starts_with("page/")) {
            for prefix in ["", "/deep/er"] {
                let response = get(prefix, &format!("{prefix}/{quoted}")).await;
                assert_eq!(response.status(), 200, "{quoted}");
            }
            named += 1;
        }
        assert_eq!(named, SCRIPTS.len() + 1);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_inline() {
        let scripts = SCRIPTS.map(|(_, text)| text);
        for text in scripts.into_iter().chain([HTML, STYLE]) {
            // The name of a namespace is no address that is loaded.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"));
        }
        assert!(!HTML.contains("style=") && !HTML.contains("onclick=") && !HTML.contains("<style"));
    }

    #[tokio::test]
    async fn the_root_leads_to_the_graph() {
        for (prefix, path, target) in [
            ("", "/", "/graph"),
            ("/a", "/", "/a/graph"),
            ("/a", "/a/", "/a/graph"),
        ] {
            let response = get(prefix, path).await;
            assert_eq!(response.status(), 307);
            assert_eq!(response.headers()[header::LOCATION], target);
        }
    }
}
