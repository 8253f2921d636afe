//! `labels` and `label/<name>/values`.

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use sabre_model::quote::GoQuoted;
use sabre_runtime::clock;

use crate::http::{
    HttpApi, asked, failure::ApiFailure, form::Form, json::document::Document, reply, tenant::Tenant,
};

/// How names begin that hold what no plain name may: `U__my_2e_name`.
const ESCAPED_PREFIX: &str = "U__";

pub(super) async fn names(
    State(api): State<HttpApi>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    let request = asked::series(&form, tenant, &api.inner.options, clock::now_ms())?;
    let answer = api.inner.queries.label_names(&request).await?;
    let document = Document::texts(answer.values, &answer.warnings).holding(answer.charged);
    Ok(reply::send(document, &answer.warnings, &headers))
}

pub(super) async fn values(
    State(api): State<HttpApi>,
    Path(name): Path<String>,
    tenant: Tenant,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiFailure> {
    if name.is_empty() {
        let quoted = GoQuoted(&name);
        return Err(ApiFailure::bad_data(format!("invalid label name: {quoted}")));
    }
    let request = asked::series(&form, tenant, &api.inner.options, clock::now_ms())?;
    let answer = api
        .inner
        .queries
        .label_values(&unescaped(&name), &request)
        .await?;
    let document = Document::texts(answer.values, &answer.warnings).holding(answer.charged);
    Ok(reply::send(document, &answer.warnings, &headers))
}

/// The name behind an escaped one, as Prometheus takes it in an address; what is not rightly escaped is a name as it
/// stands.
fn unescaped(name: &str) -> String {
    let read = || {
        let mut rest = name.strip_prefix(ESCAPED_PREFIX)?;
        let mut plain = String::new();
        while let Some(at) = rest.find('_') {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            let after = after.strip_prefix('_')?;
            if let Some(after) = after.strip_prefix('_') {
                plain.push('_');
                rest = after;
                continue;
            }
            let (code, after) = after.split_once('_')?;
            let code = Some(code).filter(|code| (1..=6).contains(&code.len()))?;
            plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            rest = after;
        }
        plain.push_str(rest);
        Some(plain)
    };
    read().unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escaped_names_are_read_and_others_kept() {
        assert_eq!(unescaped("job"), "job");
        assert_eq!(unescaped("U__my_2e_utf8_20_metric"), "my.utf8 metric");
        assert_eq!(unescaped("U__a__b"), "a_b");
        assert_eq!(unescaped("U___e9_"), "é");
        for odd in ["U__a_b", "U__a_zz_", "U__a_1234567_", "U__a_d800_", "U__a_"] {
            assert_eq!(unescaped(odd), odd);
        }
    }
}
