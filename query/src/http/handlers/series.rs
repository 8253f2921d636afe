//! `series`.

use axum::{extract::State, http::HeaderMap, response::Response};
use sabre_runtime::clock;

use crate::http::{
    HttpApi, asked, failure::ApiFailure, form::Form, json::document::Document, reply, tenant::Tenant,
};

pub(super) async fn series(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    if form.all("match[]").next().is_none() {
        return Err(ApiFailure::bad_data("no match[] parameter provided"));
    }
    let request = asked::series(&form, tenant, &api.inner.options, clock::now_ms())?;
    let answer = api.inner.queries.series(&request).await?;
    let document = Document::series(answer.series, &answer.warnings).holding(answer.charged);
    Ok(reply::send(document, &answer.warnings, &headers))
}
