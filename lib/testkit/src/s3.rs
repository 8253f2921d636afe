//! S3 servers inside the test process: one that works, and one that answers what the test wrote down.

mod corrected;
mod scripted;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tokio::{net::TcpListener, task::JoinHandle};

pub use scripted::{Answer, Recorded, ScriptedServer};

/// An S3 server over a folder, on a free loopback port, that checks signatures. It stops when it is dropped.
///
/// It is s3s-fs with its known faults mended: it tells directories from objects, encodes listed keys where it was
/// asked to, and lists unfinished multipart uploads.
#[derive(Debug)]
pub struct S3Server {
    addr: SocketAddr,
    root: PathBuf,
    task: JoinHandle<()>,
}

impl S3Server {
    /// Serves the folders in `root` as buckets to whoever has these keys.
    pub async fn start(root: &Path, access_key: &str, secret_key: &str) -> io::Result<Self> {
        let files = s3s_fs::FileSystem::new(root).map_err(|e| io::Error::other(format!("{e:?}")))?;
        let mut builder = S3ServiceBuilder::new(corrected::Corrected::new(files, root));
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                // Without this every GET waits for a delayed acknowledgement of 40 ms.
                let _ = socket.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self {
            addr,
            root: root.to_owned(),
            task,
        })
    }

    /// `127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        self.addr.to_string()
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir(self.root.join(name))
    }

    /// The folder of a bucket: its objects are files.
    pub fn folder(&self, bucket: &str) -> PathBuf {
        self.root.join(bucket)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
