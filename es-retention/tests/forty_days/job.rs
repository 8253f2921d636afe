//! The binary, as the CronJob runs it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use jiff::civil::Date;
use serde_json::Value;

/// Days an index stays in the cluster, as in the old file.
pub(crate) const INDEX_RETENTION: i32 = 7;
/// Days its snapshot stays.
pub(crate) const SNAPSHOT_RETENTION: i32 = 9;
pub(crate) const PREFIX: &str = "logs-app-";
pub(crate) const REPOSITORY: &str = "archive";

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A binary and its configuration.
#[derive(Debug)]
pub(crate) struct Job {
    binary: String,
    config: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Job {
    /// Writes the old stack's file, with what a server on loopback wants in the new section.
    pub(crate) fn new(
        dir: &Path,
        binary: &str,
        address: &str,
        is_signed: bool,
        repository: &Value,
    ) -> Result<Job> {
        let access = if is_signed {
            format!("{{aws: {{access_key_id: {ACCESS_KEY}, secret_access_key: {SECRET_KEY}}}}}")
        } else {
            "{}".to_owned()
        };
        let text = format!(
            "es2s3:\n  account: '123456789012'\n  region: us-east-1\n  vpc:\n    use_existing: true\n    \
             vpc_id: vpc-1\n    security_group_id: sg-1\n  s3:\n    bucket_name: log-archive\n  lambda:\n    \
             es_repo_name: {REPOSITORY}\n    es_endpoint: http://{address}/\n    es_index_prefix: {PREFIX}\n    \
             snapshot_retention: '{SNAPSHOT_RETENTION}'\n    index_retention: '{INDEX_RETENTION}'\n\
             es_retention:\n  access: {access}\n  repository: {repository}\n  timeouts: {{poll_seconds: 1}}\n"
        );
        let config = dir.join("app-config.yml");
        std::fs::write(&config, text)?;
        Ok(Job {
            binary: binary.to_owned(),
            config,
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("es-retention")
            .args(words)
            .arg(format!("--config-file={}", self.config.display()));
        for name in [
            "HOST",
            "REGION",
            "ES_REPO_NAME",
            "S3_BUCKET_NAME",
            "ES_INDEX_PREFIX",
            "INDEX_RETENTION",
            "SNAPSHOT_RETENTION",
            "IAM_ROLE_ARN",
        ] {
            command.env_remove(name);
        }
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    async fn end(&self, mut command: Command) -> Result<Ended> {
        let shown = format!("{command:?}");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await?
            .with_context(|| shown)?;
        Ended::of(&output)
    }

    pub(crate) async fn register(&self) -> Result<()> {
        let ended = self.end(self.command(&["register-repo"])).await?;
        ensure!(ended.code == 0, "register-repo: {ended:?}");
        Ok(())
    }

    /// The daily job.
    pub(crate) async fn run(&self, day: Date) -> Result<Ended> {
        self.end(self.command(&["run", &format!("--date={day}")])).await
    }

    /// What a run would do now.
    pub(crate) async fn plan(&self, day: Date) -> Result<Value> {
        let ended = self
            .end(self.command(&["plan", &format!("--date={day}"), "--output=json"]))
            .await?;
        ensure!(ended.code == 0, "plan: {ended:?}");
        Ok(serde_json::from_str(&ended.stdout)?)
    }

    /// Brings an index back. Returns how many documents came back under which name.
    pub(crate) async fn restore(&self, index: &str) -> Result<BTreeMap<String, u64>> {
        let ended = self
            .end(self.command(&["restore", index, "--output=json"]))
            .await?;
        ensure!(ended.code == 0, "restore {index}: {ended:?}");
        let rows: Value = serde_json::from_str(&ended.stdout)?;
        let mut counts = BTreeMap::new();
        for row in rows.as_array().context("rows")? {
            let name = row["index"].as_str().context("a name")?;
            let count = row["outcome"]["Ok"].as_u64().context("a count")?;
            counts.insert(name.to_owned(), count);
        }
        Ok(counts)
    }
}

impl Ended {
    fn of(output: &Output) -> Result<Ended> {
        Ok(Ended {
            code: output.status.code().context("ended by a signal")?,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
