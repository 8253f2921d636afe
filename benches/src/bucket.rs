//! Buckets that a benchmark serves its blocks from: a folder, VersityGW over it, and that behind a distance.

mod proxy;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, ResponseChecksumValidation},
};
use tokio::process::{Child, Command};

pub(crate) use self::proxy::{Proxy, Request};

/// Name of the bucket.
pub(crate) const NAME: &str = "blocks";
pub(crate) const ACCESS_KEY: &str = "AKBENCH";
pub(crate) const SECRET_KEY: &str = "SKBENCH";
const REGION: &str = "us-east-1";

/// How far away the slow one is: the time to the first byte of S3 in its own region.
const DISTANCE: Duration = Duration::from_millis(30);

/// Where blocks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In a folder.
    Filesystem,
    /// On VersityGW, on this machine.
    VersityGw,
    /// On the same, each answer of which begins 30 ms later.
    SlowS3,
}

/// A bucket that is served until this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    /// What `--objstore.config` is to say.
    pub(crate) config: String,
    /// What sees the requests; a folder has none.
    pub(crate) proxy: Option<Proxy>,
    _server: Option<Child>,
}

impl Kind {
    /// What the flag takes.
    pub(crate) const NAMES: [&str; 3] = ["filesystem", "versitygw", "slow-s3"];

    /// The kind of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let kinds = [Self::Filesystem, Self::VersityGw, Self::SlowS3];
        let mut named = Self::NAMES.into_iter().zip(kinds);
        named.find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    /// Serves the blocks of a folder.
    pub(crate) async fn serve(self, work: &Path, blocks: &Path, versitygw: &Path) -> Result<Served> {
        let delay = match self {
            Self::Filesystem => return Served::folder(blocks),
            Self::VersityGw => Duration::ZERO,
            Self::SlowS3 => DISTANCE,
        };
        let root = work.join("s3");
        link_blocks(blocks, &root.join(NAME))?;
        let address = crate::series::free_address()?;
        let server = start_versitygw(versitygw, &root, &address, &work.join("versitygw.log")).await?;
        let proxy = Proxy::start(&address, delay).await?;
        let config = format!(
            "type: S3\nconfig:\n  bucket: {NAME}\n  endpoint: {}\n  region: {REGION}\n  access_key: {ACCESS_KEY}\n  secret_key: {SECRET_KEY}\n  insecure: true\n",
            proxy.address()
        );
        Ok(Served {
            config,
            proxy: Some(proxy),
            _server: Some(server),
        })
    }
}

impl Served {
    /// A folder itself.
    pub(crate) fn folder(blocks: &Path) -> Result<Self> {
        let directory = blocks.canonicalize()?;
        Ok(Self {
            config: format!(
                "type: FILESYSTEM\nconfig:\n  directory: {}\n",
                directory.display()
            ),
            proxy: None,
            _server: None,
        })
    }

    /// Whatever is behind a proxy.
    #[cfg(test)]
    pub(crate) fn of_proxy(proxy: Proxy) -> Self {
        Self {
            config: String::new(),
            proxy: Some(proxy),
            _server: None,
        }
    }

    /// The SDK as it is, on the same bucket and through the same proxy; none for a folder. It compares no checksums, as
    /// stores do not at servers other than AWS.
    pub(crate) fn sdk(&self) -> Option<Client> {
        let endpoint = format!("http://{}", self.proxy.as_ref()?.address());
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench"))
            .endpoint_url(endpoint)
            .region(Region::new(REGION))
            .force_path_style(true)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        Some(Client::from_conf(config.build()))
    }
}

/// Makes `bucket` a folder with the files of `blocks`, linked.
fn link_blocks(blocks: &Path, bucket: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(bucket);
    let mut folders = vec![(blocks.canonicalize()?, bucket.to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let target: PathBuf = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), target));
            } else {
                fs::hard_link(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}

async fn start_versitygw(binary: &Path, root: &Path, address: &str, log: &Path) -> Result<Child> {
    let log = fs::File::create(log)?;
    let child = Command::new(binary)
        .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY])
        .args(["--region", REGION, "--port", address, "--quiet", "posix"])
        .arg(root)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}; --versitygw says where it is", binary.display()))?;
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(child);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{} does not listen", binary.display())
}
