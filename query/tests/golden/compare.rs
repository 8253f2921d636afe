//! When two answers are equal, as the golden data's README says.

use sabre_query::evaluate::{Answer, QueryFailure};
use sabre_testkit::answers;
use serde_json::Value as Json;

/// Says whether a failure is the recorded one.
fn same_failure(failure: &QueryFailure, record: &Json) -> Result<(), String> {
    let recorded = &record["body"]["errorType"];
    if recorded == failure.kind.as_str() {
        return Ok(());
    }
    Err(format!(
        "{}: {failure} against {recorded} {}",
        failure.kind.as_str(),
        record["body"]["error"]
    ))
}

/// Compares lists.
pub(crate) fn data(ours: Result<Json, QueryFailure>, record: &Json) -> Result<(), String> {
    match ours {
        Err(failure) => same_failure(&failure, record),
        Ok(ours) if ours == record["body"]["data"] => Ok(()),
        Ok(ours) => Err(format!("{ours} against {}", record["body"])),
    }
}

/// Compares the answers to a query.
pub(crate) fn query(query: &str, ours: Result<Answer, QueryFailure>, record: &Json) -> Result<(), String> {
    let body = &record["body"];
    let ours = match ours {
        Ok(ours) if record["status"] == 200 => ours,
        Ok(_) => return Err(format!("an answer instead of {}", body["error"])),
        Err(failure) => return same_failure(&failure, record),
    };
    if (ours.warnings.is_empty() && ours.infos.is_empty()) == answers::has_remarks(body) {
        return Err(format!(
            "remarks {:?} {:?} against {} {}",
            ours.warnings, ours.infos, body["warnings"], body["infos"]
        ));
    }
    answers::compare(query, &ours.value, &body["data"])
}
