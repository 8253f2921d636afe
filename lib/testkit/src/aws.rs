//! What the environment decides of keys of AWS: who gives them, and a process that asks with an environment of its own.

use std::process::{Command, Output};

use tempfile::NamedTempFile;

use crate::s3::{Answer, Recorded};

/// The secret of all keys that are given.
pub const SECRET: &str = "canary-secret";

/// The action of STS that takes a token.
const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// What STS answers to an action.
fn sts(action: &str, key: &str) -> Answer {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>token-of-{key}</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    );
    Answer::new(200).header("content-type", "text/xml").body(body)
}

/// Who gives keys: STS gives `OF-WEB` for a token of web identity other than `refused`, and `OF-ROLE` for other keys; the
/// agent of a node gives `OF-POD` at `/v1/credentials`. The token that belongs to a key is `token-of-` and the key.
/// `None` where neither is asked.
pub fn keys(request: &Recorded) -> Option<Answer> {
    let body = String::from_utf8_lossy(&request.body);
    if request.target.starts_with("/v1/credentials") {
        Some(Answer::new(200).body(format!(
            "{{\"AccessKeyId\":\"OF-POD\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"token-of-OF-POD\",\
             \"Expiration\":\"2126-01-01T00:00:00Z\"}}"
        )))
    } else if body.contains("WebIdentityToken=refused") {
        Some(Answer::new(403).body(
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform \
             sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
        ))
    } else if body.contains("Action=AssumeRoleWithWebIdentity") {
        Some(sts(WEB_IDENTITY, "OF-WEB"))
    } else if body.contains("Action=AssumeRole&") {
        Some(sts("AssumeRole", "OF-ROLE"))
    } else {
        None
    }
}

/// The key that a request is signed with, and the token; `None` if it is not signed.
pub fn signed_with(request: &Recorded) -> Option<(String, Option<String>)> {
    let (_, rest) = request.header("authorization")?.split_once("Credential=")?;
    let (key, _) = rest.split_once('/')?;
    let token = request.header("x-amz-security-token").map(str::to_owned);
    Some((key.to_owned(), token))
}

/// A file with a token, or with profiles, and its path.
///
/// # Errors
/// Of the file system.
pub fn file(content: &str) -> std::io::Result<(NamedTempFile, String)> {
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), content)?;
    let path = file.path().display().to_string();
    Ok((file, path))
}

/// Runs an ignored test of this program in a process of its own, with this environment and nothing else of ours: an
/// environment belongs to all of a process.
///
/// # Errors
/// When it cannot be started.
pub async fn run_alone(test: &'static str, env: Vec<(&'static str, String)>) -> std::io::Result<Output> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env);
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.map_err(std::io::Error::other)?
}
