//! `deploy/es-retention/`: the configuration is one that is read, policies allow what is called and no more.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sabre_es_retention::config::{Config, Overrides};
use sabre_runtime::{flags::App, yaml};
use serde_json::Value;

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/es-retention")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(name: &str) -> Value {
    yaml::from_str_strict(name, &deploy(name)).expect("YAML")
}

/// The actions of a policy, and the resources they are allowed on.
fn allowed(name: &str) -> BTreeMap<String, Vec<String>> {
    let policy: Value = serde_json::from_str(&deploy(&format!("iam/{name}"))).expect("JSON");
    assert_eq!(policy["Version"], "2012-10-17", "{name}");
    let many = |value: &Value| -> Vec<String> {
        match value {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all
                .iter()
                .map(|one| one.as_str().expect("text").to_owned())
                .collect(),
            other => panic!("{name}: {other}"),
        }
    };
    let mut all = BTreeMap::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        assert_eq!(statement["Effect"], "Allow", "{name}");
        let on = match &statement["Resource"] {
            Value::Null => vec![statement["Principal"].to_string()],
            resource => many(resource),
        };
        for action in many(&statement["Action"]) {
            assert!(!action.contains('*'), "{name}: {action}");
            all.insert(action, on.clone());
        }
    }
    all
}

fn names<T>(map: &BTreeMap<String, T>) -> BTreeSet<&str> {
    map.keys().map(String::as_str).collect()
}

/// What methods the code asks for: each is an action of its own.
fn methods_in_the_code() -> BTreeSet<String> {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            // The transport knows every method, tests and their fakes ask for any.
            if path.is_dir() && !["access", "testing"].contains(&name.as_str()) {
                sources(&path, found);
            } else if name.ends_with(".rs")
                && !["transport.rs", "tests.rs", "testing.rs"].contains(&name.as_str())
            {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut methods = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for method in ["Get", "Head", "Put", "Post", "Delete"] {
            if code.contains(&format!("Method::{method}")) {
                methods.insert(format!("es:ESHttp{method}"));
            }
        }
    }
    methods
}

#[test]
fn the_job_may_do_what_the_code_asks_for_and_no_more() {
    let allowed = allowed("job-policy.json");
    let mut wanted = methods_in_the_code();
    assert!(wanted.len() >= 4, "{wanted:?}");
    // Registering hands the snapshot role over.
    wanted.insert("iam:PassRole".to_owned());
    assert_eq!(names(&allowed), wanted.iter().map(String::as_str).collect());
    for (action, resources) in &allowed {
        let end = if action.starts_with("es:") {
            "/*"
        } else {
            ":role/es-snapshots"
        };
        assert!(
            resources.iter().all(|resource| resource.ends_with(end)),
            "{action}: {resources:?}"
        );
    }
}

#[test]
fn the_snapshot_role_may_keep_objects_in_the_bucket() {
    let allowed = allowed("snapshot-policy.json");
    let wanted = ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"];
    assert_eq!(names(&allowed), BTreeSet::from(wanted));
    for (action, resources) in &allowed {
        let is_of_objects = resources.iter().all(|resource| resource.ends_with("/*"));
        assert_eq!(
            is_of_objects,
            action != "s3:ListBucket",
            "{action}: {resources:?}"
        );
    }
}

#[test]
fn roles_are_taken_on_by_those_they_are_for() {
    assert_eq!(
        names(&allowed("snapshot-trust.json")),
        BTreeSet::from(["sts:AssumeRole"])
    );
    assert!(deploy("iam/snapshot-trust.json").contains("es.amazonaws.com"));
    assert_eq!(
        names(&allowed("job-trust-pod-identity.json")),
        BTreeSet::from(["sts:AssumeRole", "sts:TagSession"])
    );
    let irsa = deploy("iam/job-trust-irsa.json");
    assert_eq!(
        names(&allowed("job-trust-irsa.json")),
        BTreeSet::from(["sts:AssumeRoleWithWebIdentity"])
    );
    let namespace = document("kustomization.yaml")["namespace"]
        .as_str()
        .expect("a namespace")
        .to_owned();
    let account = document("serviceaccount.yaml")["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(irsa.contains(&format!("system:serviceaccount:{namespace}:{account}")));
}

#[test]
fn the_example_of_a_configuration_is_read() {
    let map = document("configmap.yaml");
    let text = map["data"]["app-config.yml"].as_str().expect("a configuration");
    let overrides = Overrides {
        role_arn: map["data"]["snapshot-role-arn"].as_str().map(str::to_owned),
        max_deletes: None,
    };
    let config = Config::read("app-config.yml", text, &|_| None, &overrides).expect("a good configuration");
    assert_eq!(config.policies.len(), 1);
    assert!(config.repository.settings.contains_key("role_arn"));
    // The bucket and the region of the policies.
    let bucket = config.repository.settings["bucket"].as_str().expect("a bucket");
    assert!(deploy("iam/snapshot-policy.json").contains(&format!("arn:aws:s3:::{bucket}/*")));
    assert!(deploy("iam/job-policy.json").contains(&format!(":es:{}:", config.region)));
}

#[test]
fn jobs_run_what_the_binary_knows() {
    let pods = [
        &document("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        &document("register-repo.yaml")["spec"]["template"]["spec"],
    ]
    .map(Clone::clone);
    let app = App::new("sabre", "0", "").command(sabre_es_retention::flags::command());
    for pod in &pods {
        let container = &pod["containers"][0];
        let arguments: Vec<&str> = container["args"]
            .as_array()
            .expect("args")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        app.parse(["sabre"].iter().chain(&arguments).copied())
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(arguments[2], "--config-file=/etc/sabre/app-config.yml");
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/sabre");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
    }
    let spec = &document("cronjob.yaml")["spec"];
    assert_eq!(
        (&spec["concurrencyPolicy"], &spec["timeZone"]),
        (&"Forbid".into(), &"Etc/UTC".into())
    );
    // Exit code 2 is a bad configuration.
    let rules = &spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"];
    assert_eq!(rules[0]["onExitCodes"]["values"], serde_json::json!([2]));
}
