//! What the environment decides, credentials and proxies, tried in a process of its own, as the environment belongs to
//! all of a process.

use std::process::Output;

use sabre_objstore::{Bucket, config};
use sabre_testkit::{
    aws,
    s3::{Answer, ScriptedServer},
};

const MACHINE_PATH: &str = "/latest/meta-data/iam/security-credentials/";

const MACHINE_ANSWER: &str = "{\"Code\":\"Success\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\",\
    \"AccessKeyId\":\"OF-NODE\",\"SecretAccessKey\":\"secret\",\"Token\":\"token-of-OF-NODE\",\
    \"Expiration\":\"2126-01-01T00:00:00Z\"}";

/// S3, STS, the agent of a node and the metadata of a machine in one.
async fn server() -> ScriptedServer {
    ScriptedServer::start_with(|request| {
        if let Some(answer) = aws::keys(request) {
            answer
        } else if request.target == "/latest/api/token" && request.method == "PUT" {
            Answer::new(200)
                .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
                .body("the-session")
        } else if let Some(of_role) = request.target.strip_prefix(MACHINE_PATH) {
            match (request.header("x-aws-ec2-metadata-token"), of_role) {
                (Some("the-session"), "") => Answer::new(200).body("role-of-node"),
                (Some("the-session"), "role-of-node") => Answer::new(200).body(MACHINE_ANSWER),
                (Some("the-session"), _) => Answer::new(404),
                _ => Answer::new(401),
            }
        } else {
            Answer::new(404)
        }
    })
    .await
    .unwrap()
}

/// Runs [`child`] with this environment and nothing else of ours.
async fn run(server: &ScriptedServer, env: Vec<(&'static str, String)>) -> Output {
    let config = format!(
        "type: S3\nconfig: {{bucket: b, endpoint: \"{0}\", insecure: true, sts_endpoint: \"http://{0}\", \
         max_retries: 1}}",
        server.endpoint()
    );
    run_child(config, env).await
}

async fn run_child(config: String, mut env: Vec<(&'static str, String)>) -> Output {
    env.push(("SABRE_TEST_CONFIG", config));
    aws::run_alone("credentials::child", env).await.unwrap()
}

/// Asks for an object as the environment says, and prints what came of it.
#[tokio::test]
#[ignore = "run by the other tests"]
async fn child() {
    let config = std::env::var("SABRE_TEST_CONFIG").unwrap();
    let bucket = config::from_yaml(&config, "test").unwrap();
    match bucket.exists("k").await {
        Ok(found) => println!("found: {found}"),
        Err(error) => println!("error: {:?}: {error}", error.kind()),
    }
}

/// The key and the token that S3 was asked with.
fn asked_with(server: &ScriptedServer) -> (String, Option<String>) {
    let requests = server.requests();
    let asked = requests.iter().find(|request| request.method == "HEAD").unwrap();
    aws::signed_with(asked).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_a_service_account() {
    let server = server().await;
    let (_file, path) = aws::file("the-web-identity-token\n").unwrap();
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/sabre".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
    ];
    let output = run(&server, env).await;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("found: false"),
        "{output:?}"
    );
    let exchange = server.requests().remove(0);
    let body = String::from_utf8_lossy(&exchange.body).into_owned();
    assert!(
        body.ends_with("WebIdentityToken=the-web-identity-token"),
        "{body}"
    );
    assert!(
        body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fsabre"),
        "{body}"
    );
    assert_eq!(
        asked_with(&server),
        ("OF-WEB".to_owned(), Some("token-of-OF-WEB".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_refused() {
    let server = server().await;
    let (_file, path) = aws::file("refused").unwrap();
    let env = vec![
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/sabre".to_owned()),
    ];
    let output = run(&server, env).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "AccessDenied",
        "role/sabre",
        "Not authorized to perform sts:AssumeRole",
        "trust policy",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_pod_identity() {
    let server = server().await;
    let (_file, path) = aws::file("the-pod-token").unwrap();
    let uri = format!("http://{}/v1/credentials", server.endpoint());
    let env = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path),
    ];
    let output = run(&server, env).await;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("found: false"),
        "{output:?}"
    );
    assert_eq!(
        server.requests().remove(0).header("authorization"),
        Some("the-pod-token")
    );
    assert_eq!(
        asked_with(&server),
        ("OF-POD".to_owned(), Some("token-of-OF-POD".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_a_machine() {
    let server = server().await;
    let endpoint = format!("http://{}", server.endpoint());
    let env = vec![
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint),
    ];
    let output = run(&server, env).await;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("found: false"),
        "{output:?}"
    );
    assert_eq!(server.requests().remove(0).method, "PUT", "a session comes first");
    assert_eq!(
        asked_with(&server),
        ("OF-NODE".to_owned(), Some("token-of-OF-NODE".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile() {
    let server = server().await;
    let (_file, path) =
        aws::file("[default]\naws_access_key_id = OF-PROFILE\naws_secret_access_key = s\n").unwrap();
    let output = run(&server, vec![("AWS_SHARED_CREDENTIALS_FILE", path)]).await;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("found: false"),
        "{output:?}"
    );
    assert_eq!(asked_with(&server), ("OF-PROFILE".to_owned(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn none_at_all() {
    let server = server().await;
    let output = run(&server, vec![]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "error: AccessDenied",
        "no credentials",
        "AWS_WEB_IDENTITY_TOKEN_FILE (IRSA)",
        "Pod Identity",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment() {
    let proxy = ScriptedServer::start_with(|_| Answer::new(403)).await.unwrap();
    let config =
        "type: S3\nconfig: {bucket: b, endpoint: s3.invalid, access_key: a, secret_key: b, max_retries: 1}";
    let env = vec![("HTTPS_PROXY", format!("http://user:word@{}", proxy.endpoint()))];
    let output = run_child(config.to_owned(), env.clone()).await;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("error: Unavailable"),
        "{output:?}"
    );
    let request = proxy.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("CONNECT", "s3.invalid:443")
    );
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjp3b3Jk"));

    let before = proxy.requests().len();
    let env = env
        .into_iter()
        .chain([("NO_PROXY", "s3.invalid".to_owned())])
        .collect();
    run_child(config.to_owned(), env).await;
    assert_eq!(proxy.requests().len(), before);
}
