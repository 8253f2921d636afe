//! The shipper's state file, which Prometheus reads too.
//!
//! With `--storage.tsdb.delay-compact-file.path` Prometheus compacts a block only once its id stands under `uploaded`
//! here, and compacts everything when the file is missing or cannot be parsed. So it is written early, and replaced
//! as a whole.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sabre_model::BlockId;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, RealDisk, write_whole};

/// The only version there is.
const VERSION: i64 = 1;

/// A larger file was not written by a shipper: 26 characters a block make this 400,000 blocks.
const MAX_BYTES: u64 = 16 << 20;

/// Where the state lies and what it said.
#[derive(Debug)]
pub struct StateFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// What [`StateFile::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadState {
    /// The ids that were uploaded.
    Known(BTreeSet<BlockId>),
    /// There is no file.
    Missing,
    /// The file cannot be used; it counts as empty and will be replaced.
    Unusable(String),
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: i64,
    #[serde(default)]
    uploaded: Option<Vec<String>>,
}

impl StateFile {
    /// The file `name` in the TSDB directory.
    pub fn new(tsdb_dir: &Path, name: &str) -> StateFile {
        StateFile::on(Arc::new(RealDisk), tsdb_dir, name)
    }

    /// [`StateFile::new`] on a disk of choice.
    pub(crate) fn on(disk: Arc<dyn Disk>, tsdb_dir: &Path, name: &str) -> StateFile {
        StateFile {
            disk,
            path: tsdb_dir.join(name),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the ids uploaded so far. Nothing in the file is an error: what cannot be used counts as empty, since
    /// every block is looked up in the bucket before it is sent.
    pub fn read(&self) -> ReadState {
        let bytes = match self.disk.read(&self.path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return ReadState::Missing,
            Err(error) => return ReadState::Unusable(error.to_string()),
        };
        let document: Document = match serde_json::from_slice(&bytes) {
            Ok(document) => document,
            Err(error) => return ReadState::Unusable(format!("not the JSON expected: {error}")),
        };
        if document.version != VERSION {
            return ReadState::Unusable(format!("version {}, only {VERSION} is known", document.version));
        }
        let ids = document.uploaded.unwrap_or_default();
        ReadState::Known(ids.iter().filter_map(|id| BlockId::parse(id).ok()).collect())
    }

    /// Replaces the file. After a crash at any point the old one or the new one is there, whole.
    pub fn write(&self, uploaded: &BTreeSet<BlockId>) -> io::Result<()> {
        let document = Document {
            version: VERSION,
            uploaded: Some(uploaded.iter().map(ToString::to_string).collect()),
        };
        let mut bytes = Vec::with_capacity(64 + uploaded.len() * 32);
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, tabs))?;
        bytes.push(b'\n');
        write_whole(&*self.disk, &self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn ids(texts: &[&str]) -> BTreeSet<BlockId> {
        texts.iter().map(|t| BlockId::parse(t).unwrap()).collect()
    }

    const A: &str = "01KE1Y3XTRWGF29YHY29V0RWTE";
    const B: &str = "01KE1Y3XTRWGF29YHY29V0RWTF";

    #[test]
    fn the_file_has_the_shape_prometheus_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "thanos.shipper.json");
        file.write(&ids(&[B, A])).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            format!("{{\n\t\"version\": 1,\n\t\"uploaded\": [\n\t\t\"{A}\",\n\t\t\"{B}\"\n\t]\n}}\n")
        );
        assert_eq!(file.read(), ReadState::Known(ids(&[A, B])));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn no_name_makes_the_temporary_file_the_file_itself() {
        for name in ["x.tmp", "x", ".tmp", "x.tmp.tmp"] {
            let dir = tempfile::tempdir().unwrap();
            let file = StateFile::new(dir.path(), name);
            file.write(&ids(&[A])).unwrap();
            // A write that does not get to its end leaves the old file.
            let mut temporary = file.path().as_os_str().to_owned();
            temporary.push(".tmp");
            fs::create_dir(&temporary).unwrap();
            assert!(file.write(&ids(&[A, B])).is_err(), "{name}");
            assert_eq!(file.read(), ReadState::Known(ids(&[A])), "{name}");
        }
    }

    #[test]
    fn an_empty_list_is_a_list_not_null() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "x.json");
        file.write(&BTreeSet::new()).unwrap();
        assert_eq!(
            fs::read_to_string(file.path()).unwrap(),
            "{\n\t\"version\": 1,\n\t\"uploaded\": []\n}\n"
        );
    }

    #[test]
    fn what_thanos_may_have_left_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "x.json");
        assert_eq!(file.read(), ReadState::Missing);
        fs::write(
            file.path(),
            format!(r#"{{"version":1,"uploaded":["{A}"],"later":true}}"#),
        )
        .unwrap();
        assert_eq!(file.read(), ReadState::Known(ids(&[A])));
        fs::write(file.path(), r#"{"version":1,"uploaded":null}"#).unwrap();
        assert_eq!(file.read(), ReadState::Known(BTreeSet::new()));
    }

    #[test]
    fn an_unusable_file_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path(), "x.json");
        for text in ["", "{", "[]", r#"{"version":2,"uploaded":[]}"#, "\u{0}\u{0}"] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(file.read(), ReadState::Unusable(_)), "{text:?}");
        }
    }
}
