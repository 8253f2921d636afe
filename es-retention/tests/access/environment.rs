//! What the environment decides, keys and proxies, tried in a process of its own, as the environment belongs to all of a
//! process.

use std::process::Output;

use sabre_es_retention::cluster::transport::{Method, Transport};
use sabre_testkit::{
    aws,
    s3::{Answer, Recorded, ScriptedServer},
};

use crate::{request, transport};

/// A cluster, STS and the agent of a node in one.
async fn server() -> ScriptedServer {
    ScriptedServer::start_with(|request| aws::keys(request).unwrap_or_else(|| Answer::new(200)))
        .await
        .unwrap()
}

/// Runs [`child`] with this environment and nothing else of ours.
async fn run(endpoint: &str, access: &str, mut env: Vec<(&'static str, String)>) -> Output {
    env.push(("SABRE_TEST_ENDPOINT", endpoint.to_owned()));
    env.push(("SABRE_TEST_ACCESS", access.to_owned()));
    aws::run_alone("environment::child", env).await.unwrap()
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
    let all = server.requests();
    let of_cluster = all.iter().filter(|request| request.method == "HEAD");
    of_cluster
        .map(|request| aws::signed_with(request).unwrap())
        .collect()
}

fn exchanges(server: &ScriptedServer) -> Vec<Recorded> {
    let mut all = server.requests();
    all.retain(|request| request.method != "HEAD");
    all
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
    let (_file, path) = aws::file(
        "[default]\naws_access_key_id = NO\naws_secret_access_key = no\n\
         [logs]\naws_access_key_id = OF-PROFILE\naws_secret_access_key = canary-secret\naws_session_token = t\n",
    ).unwrap();
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
    let (_file, path) = aws::file("the-web-identity-token").unwrap();
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
    let (_file, path) = aws::file("the-pod-token").unwrap();
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
    let (_file, path) = aws::file("refused").unwrap();
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
