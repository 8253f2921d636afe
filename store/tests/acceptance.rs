//! The suite of StoreAPI on the store: blocks in memory, in a folder, and on an S3 server in this process.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use sabre_objstore::{Bucket, FilesystemBucket, MemoryBucket, SharedBucket, config};
use sabre_testkit::{
    blocks::BlockBuilder,
    s3::S3Server,
    storeapi::acceptance::{DataSet, Running, Subject, acceptance},
};
use sabre_tsdb::chunk::{Sample, Value};

/// Which buckets the blocks are put into.
enum Kind {
    Memory,
    Filesystem,
    S3,
}

impl Kind {
    async fn bucket(&self) -> (SharedBucket, Box<dyn Any + Send + Sync>) {
        match self {
            Self::Memory => (Arc::new(MemoryBucket::new("test")), Box::new(())),
            Self::Filesystem => {
                let folder = tempfile::tempdir().unwrap();
                (
                    Arc::new(FilesystemBucket::new(folder.path().to_owned())),
                    Box::new(folder),
                )
            }
            Self::S3 => {
                let root = tempfile::tempdir().unwrap();
                let server = S3Server::start(root.path(), "key", "secret").await.unwrap();
                server.create_bucket("blocks").unwrap();
                let text = format!(
                    "type: S3\nconfig: {{bucket: blocks, endpoint: \"{}\", insecure: true, access_key: key, \
                     secret_key: secret}}\n",
                    server.endpoint()
                );
                let bucket = config::from_yaml(&text, "store").unwrap();
                (bucket, Box::new((root, server)))
            }
        }
    }
}

#[async_trait]
impl Subject for Kind {
    fn name(&self) -> &str {
        match self {
            Self::Memory => "store on memory",
            Self::Filesystem => "store on a folder",
            Self::S3 => "store on S3",
        }
    }

    async fn start(&self, data: &[DataSet]) -> anyhow::Result<Running> {
        let (bucket, alive) = self.bucket().await;
        for (number, set) in (1u64..).zip(data) {
            put(&*bucket, number, set).await?;
        }
        let store = common::start(bucket).await;
        Ok(Running {
            channel: store.served.channel.clone(),
            alive: Box::new((store, alive)),
        })
    }
}

/// Two blocks for each data set, the second from the middle of its samples on.
async fn put(bucket: &dyn Bucket, number: u64, set: &DataSet) -> anyhow::Result<()> {
    let external: Vec<(&str, &str)> = set.external.iter().collect();
    let times = || {
        set.series
            .iter()
            .flat_map(|(_, samples)| samples.iter().map(|(at, _)| *at))
    };
    let first = times().min().unwrap();
    let end = times().max().unwrap() + 1;
    let middle = first + (end - first) / 2;
    for (half, range) in [(0, first..middle), (1, middle..end)] {
        let mut block = BlockBuilder::new(number * 10 + half)
            .time_range(range.clone())
            .ext_labels(&external);
        for (own, samples) in &set.series {
            let inside = samples.iter().filter(|(at, _)| range.contains(at));
            let inside = inside.map(|&(t, value)| Sample {
                t,
                value: Value::Float(value),
            });
            block = block.samples(own.clone(), inside);
        }
        block.build()?.put_into(bucket).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_blocks_in_memory() {
    acceptance(&Kind::Memory).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_blocks_in_a_folder() {
    acceptance(&Kind::Filesystem).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_blocks_on_s3() {
    acceptance(&Kind::S3).await.assert_passed();
}
