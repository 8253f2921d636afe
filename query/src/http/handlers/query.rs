//! `query` and `query_range`.

use axum::{
    extract::State,
    http::{Extensions, HeaderMap},
    response::Response,
};
use sabre_runtime::clock;

use crate::{
    evaluate::QueryTimes,
    http::{
        HttpApi,
        asked::{self, AskedQuery},
        failure::ApiFailure,
        form::Form,
        json::{document::Document, statistics},
        reply,
        slow_log::{Asker, Watch},
        tenant::Tenant,
    },
};

const MS_PER_SECOND: f64 = 1000.0;

pub(super) async fn instant(
    State(api): State<HttpApi>,
    tenant: Tenant,
    extensions: Extensions,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let asked = asked::instant_query(&form, tenant, clock::now_ms())?;
    answer(&api, asked, Asker::of(&extensions, &headers), &headers).await
}

pub(super) async fn range(
    State(api): State<HttpApi>,
    tenant: Tenant,
    extensions: Extensions,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let asked = asked::range_query(&form, tenant, &api.inner.options)?;
    if let QueryTimes::Range { start_ms, end_ms, .. } = asked.request.times {
        let length_ms = end_ms.saturating_sub(start_ms);
        api.inner.timespans.observe(length_ms as f64 / MS_PER_SECOND);
    }
    answer(&api, asked, Asker::of(&extensions, &headers), &headers).await
}

async fn answer(
    api: &HttpApi,
    asked: AskedQuery,
    asker: Asker,
    headers: &HeaderMap,
) -> Result<Response, ApiFailure> {
    let watch = Watch::start(api.inner.options.slow_query, asker, &asked.request);
    let outcome = api.inner.queries.query(&asked.request).await;
    watch.end(&outcome);
    let answer = outcome?;
    let members = statistics::members(&asked, &answer.statistics);
    // Thanos tells infos among the warnings.
    let mut warnings = answer.warnings;
    warnings.extend(answer.infos);
    let document = Document::query(answer.value, &members, &warnings).holding(answer.statistics.charged);
    Ok(reply::send(document, &warnings, headers))
}
