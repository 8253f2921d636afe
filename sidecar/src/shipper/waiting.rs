//! The blocks that are not in the bucket yet, in a file: Prometheus may delete one while no sidecar runs.
//!
//! Nothing but the count of losses hangs on it. A file that is missing, broken or cannot be written is a warning.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sabre_model::BlockId;
use serde::{Deserialize, Serialize};

use super::{
    backlog::Waiting,
    disk::{Disk, write_whole},
};

/// Beside the state file, which is Thanos' as well.
const FILE_NAME: &str = "sabre.waiting.json";

/// The only version there is.
const VERSION: i64 = 1;

/// A larger file was not written by a shipper: 120 characters a block make this 130,000 blocks.
const MAX_BYTES: u64 = 16 << 20;

/// Blocks that wait.
pub(super) type WaitingBlocks = BTreeMap<BlockId, Waiting>;

/// Where they are written down.
#[derive(Debug)]
pub(super) struct WaitingFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: i64,
    waiting: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    block: String,
    #[serde(flatten)]
    waiting: Waiting,
}

impl WaitingFile {
    /// The file in the TSDB directory.
    pub(super) fn on(disk: Arc<dyn Disk>, tsdb_dir: &Path) -> WaitingFile {
        WaitingFile {
            disk,
            path: tsdb_dir.join(FILE_NAME),
        }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The blocks that waited when the last sidecar ended; none if that cannot be told.
    pub(super) fn read(&self) -> WaitingBlocks {
        match self.try_read() {
            Ok(waiting) => waiting,
            Err(error) if error.kind() == io::ErrorKind::NotFound => WaitingBlocks::new(),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "what waited to be shipped cannot be read, blocks that Prometheus deleted meanwhile are not counted as lost");
                WaitingBlocks::new()
            }
        }
    }

    fn try_read(&self) -> io::Result<WaitingBlocks> {
        let document: Document = serde_json::from_slice(&self.disk.read(&self.path, MAX_BYTES)?)?;
        if document.version != VERSION {
            let what = format!("version {}, only {VERSION} is known", document.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let entries = document.waiting.iter();
        Ok(entries
            .filter_map(|entry| Some((BlockId::parse(&entry.block).ok()?, entry.waiting)))
            .collect())
    }

    /// Replaces the file. After a crash at any point the old one or the new one is there, whole.
    pub(super) fn write(&self, waiting: &WaitingBlocks) -> io::Result<()> {
        let entries = waiting.iter().map(|(block, waiting)| Entry {
            block: block.to_string(),
            waiting: *waiting,
        });
        let document = Document {
            version: VERSION,
            waiting: entries.collect(),
        };
        write_whole(&*self.disk, &self.path, &serde_json::to_vec(&document)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::shipper::disk::RealDisk;

    const A: &str = "01KE1Y3XTRWGF29YHY29V0RWTE";

    fn one() -> WaitingBlocks {
        let waiting = Waiting {
            mint: -5,
            maxt: 7_200_000,
            samples: u64::MAX,
        };
        [(BlockId::parse(A).unwrap(), waiting)].into()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = WaitingFile::on(Arc::new(RealDisk), dir.path());
        assert_eq!(file.read(), WaitingBlocks::new());
        for waiting in [one(), WaitingBlocks::new()] {
            file.write(&waiting).unwrap();
            assert_eq!(file.read(), waiting);
        }
        let there = fs::read_dir(dir.path()).unwrap();
        assert_eq!(there.count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_that_cannot_be_used_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = WaitingFile::on(Arc::new(RealDisk), dir.path());
        file.write(&one()).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for end in 0..whole.len() {
            fs::write(file.path(), &whole[..end]).unwrap();
            assert_eq!(file.read(), WaitingBlocks::new(), "{end}");
        }
        for text in [
            "[]",
            r#"{"version":2,"waiting":[]}"#,
            r#"{"version":1,"waiting":[{"block":"x","min_time":0,"max_time":0,"samples":0}]}"#,
            r#"{"version":1,"waiting":[{"block":"01KE1Y3XTRWGF29YHY29V0RWTE","min_time":0,"max_time":0,"samples":-1}]}"#,
        ] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(file.read(), WaitingBlocks::new(), "{text}");
        }
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        assert_eq!(file.read(), WaitingBlocks::new(), "a directory");
    }
}
