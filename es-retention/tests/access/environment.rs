//! What the environment decides, keys and proxies, tried in a process of its own, as the environment belongs to all of a
//! process.

use std::process::{Command, Output};

use sabre_es_retention::cluster::transport::{Method, Transport};
use sabre_testkit::s3::{Answer, Recorded, ScriptedServer};

use crate::{request, transport};

const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// What STS answers to an action.
fn sts(action: &str, key: &str) -> Answer {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
         <SessionToken>token-of-{key}</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    );
    Answer::new(200).header("content-type", "text/xml").body(body)
}

/// A cluster, STS and the agent of a node in one.
async fn server() -> ScriptedServer {
    ScriptedServer::start_with(|request| {
        let body = String::from_utf8_lossy(&request.body);
        if request.target.starts_with("/v1/credentials") {
            Answer::new(200).body(
                "{\"AccessKeyId\":\"OF-POD\",\"SecretAccessKey\":\"canary-secret\",\"Token\":\"token-of-OF-POD\",\
                 \"Expiration\":\"2126-01-01T00:00:00Z\"}",
            )
        } else if body.contains("WebIdentityToken=refused") {
            Answer::new(403).body(
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform \
                 sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
            )
        } else if body.contains("Action=AssumeRoleWithWebIdentity") {
            sts(WEB_IDENTITY, "OF-WEB")
        } else if body.contains("Action=AssumeRole&") {
            sts("AssumeRole", "OF-ROLE")
        } else {
            Answer::new(200)
        }
    })
    .await
    .unwrap()
}

/// Runs [`child`] with this environment and nothing else of ours.
async fn run(endpoint: &str, access: &str, env: Vec<(&'static str, String)>) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "environment::child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SABRE_TEST_ENDPOINT", endpoint)
        .env("SABRE_TEST_ACCESS", access)
        .envs(env);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Asks twice as the environment says, and prints what came of it.
#[tokio::test]
#[ignore = "run by the other tests"]
async fn child() {
    let get = |name| std::env::var(name).unwrap();
    let transport = transport(&get("SABRE_TEST_ENDPOINT"), &get("SABRE_TEST_ACCESS"));
    for _ in 0..2 {
        match transport.send(request(Method::Head, &["a"])).await {
            Ok(answer) => println!("status: {}", answer.status),
            Err(error) => println!("error: {error}"),
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The requests that came to the cluster; each has the key and the token.
fn asked(server: &ScriptedServer) -> Vec<(String, Option<String>)> {
    let of = |request: &Recorded| {
        let authorization = request.header("authorization").unwrap();
        let (_, rest) = authorization.split_once("Credential=").unwrap();
        let key = rest.split_once('/').unwrap().0.to_owned();
        (key, request.header("x-amz-security-token").map(str::to_owned))
    };
    let all = server.requests();
    all.iter()
        .filter(|request| request.method == "HEAD")
        .map(of)
        .collect()
}

fn exchanges(server: &ScriptedServer) -> Vec<Recorded> {
    let mut all = server.requests();
    all.retain(|request| request.method != "HEAD");
    all
}

fn file(content: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let path = file.path().display().to_string();
    (file, path)
}

fn twice(key: &str, token: Option<&str>) -> Vec<(String, Option<String>)> {
    vec![(key.to_owned(), token.map(str::to_owned)); 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment() {
    let server = server().await;
    let env = vec![
        ("AWS_ACCESS_KEY_ID", "OF-ENV".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret".to_owned()),
    ];
    let output = run(&format!("http://{}", server.endpoint()), "aws: {}", env).await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(asked(&server), twice("OF-ENV", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile() {
    let server = server().await;
    let (_file, path) = file(
        "[default]\naws_access_key_id = NO\naws_secret_access_key = no\n\
         [logs]\naws_access_key_id = OF-PROFILE\naws_secret_access_key = canary-secret\naws_session_token = t\n",
    );
    let env = vec![("AWS_SHARED_CREDENTIALS_FILE", path)];
    let output = run(
        &format!("http://{}", server.endpoint()),
        "aws: {profile: logs}",
        env,
    )
    .await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(asked(&server), twice("OF-PROFILE", Some("t")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_service_account_asks_sts_once() {
    let server = server().await;
    let (_file, path) = file("the-web-identity-token");
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::123456789012:role/es-retention".to_owned(),
        ),
        ("AWS_ENDPOINT_URL_STS", format!("http://{}", server.endpoint())),
    ];
    let output = run(&format!("http://{}", server.endpoint()), "aws: {}", env).await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(asked(&server), twice("OF-WEB", Some("token-of-OF-WEB")));
    let exchanges = exchanges(&server);
    assert_eq!(exchanges.len(), 1);
    let body = String::from_utf8_lossy(&exchanges[0].body).into_owned();
    assert!(body.contains("WebIdentityToken=the-web-identity-token"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_pod_asks_its_agent_once() {
    let server = server().await;
    let (_file, path) = file("the-pod-token");
    let env = vec![
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{}/v1/credentials", server.endpoint()),
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path),
    ];
    let output = run(&format!("http://{}", server.endpoint()), "aws: {}", env).await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(asked(&server), twice("OF-POD", Some("token-of-OF-POD")));
    let exchanges = exchanges(&server);
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].header("authorization"), Some("the-pod-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_is_assumed_with_what_was_found() {
    let server = server().await;
    let env = vec![("AWS_ENDPOINT_URL_STS", format!("http://{}", server.endpoint()))];
    let access = "aws: {access_key_id: GIVEN, secret_access_key: canary-secret, \
                  role_arn: 'arn:aws:iam::1:role/r', external_id: the-id}";
    let output = run(&format!("http://{}", server.endpoint()), access, env).await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(asked(&server), twice("OF-ROLE", Some("token-of-OF-ROLE")));
    let exchanges = exchanges(&server);
    assert_eq!(exchanges.len(), 1);
    let body = String::from_utf8_lossy(&exchanges[0].body).into_owned();
    assert!(
        body.contains("ExternalId=the-id") && body.contains("role%2Fr"),
        "{body}"
    );
    let authorization = exchanges[0].header("authorization").unwrap();
    assert!(authorization.contains("Credential=GIVEN/"), "{authorization}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_keys_at_all_and_refused_ones_say_so_without_them() {
    let server = server().await;
    let endpoint = format!("http://{}", server.endpoint());
    let output = text(&run(&endpoint, "aws: {}", Vec::new()).await);
    assert!(output.contains("error: no credentials: "), "{output}");
    let (_file, path) = file("refused");
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::123456789012:role/es-retention".to_owned(),
        ),
        ("AWS_ENDPOINT_URL_STS", endpoint.clone()),
    ];
    let output = text(&run(&endpoint, "aws: {}", env).await);
    assert!(
        output.contains("Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        "{output}"
    );
    assert!(asked(&server).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_and_those_who_go_without() {
    let proxy = ScriptedServer::start_with(|_| Answer::new(204)).await.unwrap();
    let through = vec![("HTTP_PROXY", format!("http://{}", proxy.endpoint()))];
    let output = run("http://cluster.test:9200", "{}", through.clone()).await;
    assert!(text(&output).contains("status: 204"), "{output:?}");
    assert_eq!(proxy.requests()[0].target, "http://cluster.test:9200/a");
    assert_eq!(proxy.requests()[0].header("host"), Some("cluster.test:9200"));

    let server = server().await;
    let mut around = through;
    around.push(("NO_PROXY", "127.0.0.1".to_owned()));
    let before = proxy.requests().len();
    let output = run(&format!("http://{}", server.endpoint()), "{}", around).await;
    assert!(text(&output).contains("status: 200"), "{output:?}");
    assert_eq!(proxy.requests().len(), before);
}

/// `https` goes through a tunnel: the proxy sees the name and the port, and nothing of the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_for_tls() {
    let proxy = ScriptedServer::start_with(|_| Answer::new(502)).await.unwrap();
    let env = vec![("HTTPS_PROXY", format!("http://{}", proxy.endpoint()))];
    let access = "{api_key: canary-key, tls: {insecure_skip_verify: true}}";
    let output = run("https://cluster.test", access, env).await;
    assert!(text(&output).contains("error: cannot connect"), "{output:?}");
    let seen = proxy.requests().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("CONNECT", "cluster.test:443")
    );
    assert!(!format!("{seen:?}").contains("canary"), "{seen:?}");
}
