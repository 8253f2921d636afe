//! Secrets of the environment: keys, and the tokens that are shown to who gives keys.

use sabre_testkit::s3::{Answer, ScriptedServer};

use super::*;

/// Who gives credentials, and a bucket that they are not good enough for.
async fn server() -> ScriptedServer {
    ScriptedServer::start_with(|request| {
        if request.target.starts_with("/refuses") {
            Answer::new(403).body("{\"Code\":\"AccessDenied\",\"Message\":\"no\"}")
        } else if request.target.starts_with("/gives") {
            Answer::new(200).body(format!(
                "{{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"{CANARY}\",\"Token\":\"{CANARY}\",\
                 \"Expiration\":\"2126-01-01T00:00:00Z\"}}"
            ))
        } else if String::from_utf8_lossy(&request.body).contains("AssumeRoleWithWebIdentity") {
            Answer::new(403).body(
                "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>",
            )
        } else {
            Answer::s3_error(403, "AccessDenied", "no")
        }
    })
    .await
    .unwrap()
}

const ENVIRONMENTS: usize = 5;

/// The one of them that is of no use.
const HALF: usize = 1;

type Variables = Vec<(&'static str, String)>;

/// What they are called, and the variables.
fn environments(server: &ScriptedServer, token: &Path) -> Vec<(&'static str, Variables)> {
    let token = || token.display().to_string();
    let agent = |path: &str| format!("http://{}/{path}", server.endpoint());
    let text = |text: &str| text.to_owned();
    vec![
        (
            "keys",
            vec![
                ("AWS_ACCESS_KEY_ID", text("access")),
                ("AWS_SECRET_ACCESS_KEY", text(CANARY)),
                ("AWS_SESSION_TOKEN", text(CANARY)),
            ],
        ),
        ("half of the keys", vec![("AWS_SECRET_ACCESS_KEY", text(CANARY))]),
        (
            "a web identity that is refused",
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token()),
                ("AWS_ROLE_ARN", text("arn:aws:iam::123456789012:role/r")),
                ("AWS_ENDPOINT_URL_STS", agent("")),
            ],
        ),
        (
            "a pod identity",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent("gives")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token()),
            ],
        ),
        (
            "a pod identity that is refused",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent("refuses")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", text(CANARY)),
            ],
        ),
    ]
}

/// Who gives credentials, and one of the environments in which it is asked: what that is called, and its variables.
async fn environment(number: usize, dir: &Path) -> (ScriptedServer, &'static str, Variables) {
    let token = dir.join("token");
    fs::write(&token, CANARY).unwrap();
    let server = server().await;
    let (name, mut variables) = environments(&server, &token).swap_remove(number);
    variables.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    (server, name, variables)
}

/// That the secret came as far as it should.
fn check_shown(server: &ScriptedServer, number: usize, name: &str) {
    assert_eq!(
        was_shown(server),
        number != HALF,
        "{name}: half of the keys is none"
    );
}

/// Whether the secret came to the server.
fn was_shown(server: &ScriptedServer) -> bool {
    let requests = server.requests();
    requests.iter().any(|request| {
        let headers = ["authorization", "x-amz-security-token"];
        let is_in_headers = headers
            .iter()
            .any(|name| request.header(name).is_some_and(|value| value.contains(CANARY)));
        is_in_headers || String::from_utf8_lossy(&request.body).contains(CANARY)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_component_shows_a_secret_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..ENVIRONMENTS {
        let (server, name, variables) = environment(number, dir.path()).await;
        let bucket = format!(
            "--objstore.config={{type: S3, config: {{bucket: b, endpoint: '{0}', insecure: true, sts_endpoint: \
             'http://{0}', max_retries: 1}}}}",
            server.endpoint()
        );
        let data = format!("--data-dir={}", dir.path().join(number.to_string()).display());
        let servers = ["--http-address=127.0.0.1:0", "--grpc-address=127.0.0.1:0"];
        let mut flags = vec![bucket, data];
        flags.extend(servers.map(str::to_owned));
        for (words, flags) in [
            (["store"].as_slice(), flags.clone()),
            (&["tools", "bucket", "ls"], vec![flags[0].clone()]),
        ] {
            let mut row = row(name, words, flags);
            row.variables = variables.clone();
            observe(&row, dir.path()).await;
        }
        check_shown(&server, number, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn es_retention_shows_no_secret_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..ENVIRONMENTS {
        let (server, name, variables) = environment(number, dir.path()).await;
        let endpoint = format!("http://{}", server.endpoint());
        let flags = retention_config(dir.path(), "environment.yml", &endpoint, "{aws: {}}");
        let mut row = row(name, &["es-retention", "plan"], flags);
        row.variables = variables;
        let code = observe(&row, dir.path()).await;
        assert_ne!(code, Some(0), "{name}: its cluster refuses");
        check_shown(&server, number, name);
    }
}
