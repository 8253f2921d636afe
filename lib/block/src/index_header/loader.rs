//! Brings a block's index-header up: from the data directory if a good one is there, else from the bucket.

use std::{
    collections::HashSet,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_objstore::SharedBucket;

use super::{
    AnyRoom, HeaderOptions, IndexHeader, PageCache, Room,
    build::{Sink, write_header},
};
use crate::{
    blocking,
    error::{Cause, Result},
    layout::INDEX_HEADER_FILE,
    local_dirs::remove_other_blocks,
};

/// Numbers temporary files, so that two builders never write to one.
static TEMP_FILES: AtomicU64 = AtomicU64::new(0);

/// Opens index-headers, and builds them where need be.
#[derive(Debug, Clone)]
pub struct HeaderLoader {
    bucket: SharedBucket,
    data_dir: Option<PathBuf>,
    pages: Arc<PageCache>,
    options: HeaderOptions,
}

/// An index-header and what it took to get it.
#[derive(Debug)]
pub struct Loaded {
    /// The header.
    pub header: IndexHeader,
    /// How long it took to build; `None` if there was a good one.
    pub build: Option<Duration>,
    /// How long it took to open and verify.
    pub open: Duration,
}

/// A file that is deleted unless it got its name.
#[derive(Debug)]
struct TempFile {
    path: PathBuf,
    file: Arc<File>,
    is_done: bool,
    /// Where the memory of what is on its way comes from.
    room: Option<SharedRoom>,
}

/// Where the memory of headers comes from.
pub type SharedRoom = Arc<dyn Room>;

/// A header that is built in memory.
#[derive(Debug)]
struct MemorySink {
    bytes: Vec<u8>,
    room: SharedRoom,
}

impl HeaderLoader {
    /// Keeps headers in `<data_dir>/<block>/index-header`, or without a directory in memory.
    pub fn new(
        bucket: SharedBucket,
        data_dir: Option<PathBuf>,
        pages: Arc<PageCache>,
        options: HeaderOptions,
    ) -> Self {
        Self {
            bucket,
            data_dir,
            pages,
            options,
        }
    }

    /// Where the header of `block` is kept; `None` if headers are kept in memory.
    pub fn path(&self, block: BlockId) -> Option<PathBuf> {
        let data_dir = self.data_dir.as_ref()?;
        Some(data_dir.join(block.to_string()).join(INDEX_HEADER_FILE))
    }

    /// Opens the header of `block`. One that is missing, broken or made from an index of another size than
    /// `index_size_bytes` (from a listing; `None` if not known) is built again.
    pub async fn load(&self, block: BlockId, index_size_bytes: Option<u64>) -> Result<Loaded> {
        self.load_within(block, index_size_bytes, &(Arc::new(AnyRoom) as SharedRoom))
            .await
    }

    /// As [`HeaderLoader::load`], and takes memory from `room` before it uses it: for what is read of the index and for
    /// what the header keeps.
    pub async fn load_within(
        &self,
        block: BlockId,
        index_size_bytes: Option<u64>,
        room: &SharedRoom,
    ) -> Result<Loaded> {
        if let Some(path) = self.path(block) {
            let started = Instant::now();
            match self.open(block, path, room).await {
                Ok(header) if index_size_bytes.is_none_or(|size| size == header.index_size_bytes()) => {
                    return Ok(Loaded {
                        header,
                        build: None,
                        open: started.elapsed(),
                    });
                }
                Ok(header) => tracing::warn!(
                    %block,
                    header_of_bytes = header.index_size_bytes(),
                    index_bytes = index_size_bytes,
                    "index-header belongs to another index, building it again"
                ),
                Err(error) if error.is_gone() => {}
                Err(error) if matches!(error.cause(), Cause::Cancelled | Cause::NoMemory { .. }) => {
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "index-header cannot be used, building it again"),
            }
        }
        self.build_within(block, index_size_bytes, room).await
    }

    /// Builds the header of `block` whatever is there, and puts it in its place.
    pub async fn build(&self, block: BlockId, index_size_bytes: Option<u64>) -> Result<Loaded> {
        self.build_within(block, index_size_bytes, &(Arc::new(AnyRoom) as SharedRoom))
            .await
    }

    async fn build_within(
        &self,
        block: BlockId,
        index_size_bytes: Option<u64>,
        room: &SharedRoom,
    ) -> Result<Loaded> {
        match self.build_once(block, index_size_bytes, room).await {
            // A bit may have flipped on the way: what is broken in the bucket will be broken again.
            Err(error) if error.is_corrupt() => {
                tracing::warn!(%error, "index-header came out broken, building it once more");
                self.build_once(block, index_size_bytes, room).await
            }
            outcome => outcome,
        }
    }

    /// Deletes what is kept of `block` on disk.
    pub async fn remove(&self, block: BlockId) -> Result<()> {
        let Some(dir) = self
            .path(block)
            .and_then(|path| path.parent().map(Path::to_owned))
        else {
            return Ok(());
        };
        let shown = dir.display().to_string();
        blocking::run(block, &shown, move || match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })
        .await
    }

    /// Deletes what is kept on disk of other blocks than these: left by a process that is no more.
    pub async fn retain(&self, blocks: HashSet<BlockId>) -> io::Result<()> {
        let Some(data_dir) = self.data_dir.clone() else {
            return Ok(());
        };
        let cleaned = tokio::task::spawn_blocking(move || remove_other_blocks(&data_dir, &blocks)).await;
        cleaned.map_err(io::Error::other)?
    }

    async fn open(&self, block: BlockId, path: PathBuf, room: &SharedRoom) -> Result<IndexHeader> {
        let (pages, options, room) = (Arc::clone(&self.pages), self.options, Arc::clone(room));
        blocking::run_block(block, move || {
            IndexHeader::open_within(block, &path, &pages, options, &*room)
        })
        .await
    }

    async fn build_once(
        &self,
        block: BlockId,
        index_size_bytes: Option<u64>,
        room: &SharedRoom,
    ) -> Result<Loaded> {
        let started = Instant::now();
        let Some(path) = self.path(block) else {
            let mut sink = MemorySink {
                bytes: Vec::new(),
                room: Arc::clone(room),
            };
            let window_bytes = write_header(&*self.bucket, block, index_size_bytes, &mut sink).await?;
            room.give(window_bytes);
            let build = Some(started.elapsed());
            let (opening, options) = (Instant::now(), self.options);
            let header = blocking::run_block(block, move || {
                let MemorySink { bytes, room } = sink;
                IndexHeader::from_bytes_within(block, Bytes::from(bytes), options, &*room)
            })
            .await?;
            return Ok(Loaded {
                header,
                build,
                open: opening.elapsed(),
            });
        };
        let mut file = TempFile::create(block, &path).await?;
        file.room = Some(Arc::clone(room));
        let window_bytes = write_header(&*self.bucket, block, index_size_bytes, &mut file).await?;
        room.give(window_bytes);
        let build = Some(started.elapsed());
        let opening = Instant::now();
        // Verified before it gets its name, so that one known to be broken never has it. One that there is no memory to
        // open for is not read again for that: it is verified when it is opened by its name.
        let opened = self.open(block, file.path.clone(), room).await;
        let opened = match opened {
            Err(error) if !matches!(error.cause(), Cause::NoMemory { .. }) => return Err(error),
            opened => opened,
        };
        let shown = path.display().to_string();
        let target = path.clone();
        blocking::run(block, &shown, move || Ok(file.publish(&target)?)).await?;
        let header = opened?;
        Ok(Loaded {
            header: header.renamed(&path),
            build,
            open: opening.elapsed(),
        })
    }
}

impl TempFile {
    /// Makes the file that will be called `target`, beside it.
    async fn create(block: BlockId, target: &Path) -> Result<Self> {
        let path = target.with_extension(format!(
            "{}-{}.tmp",
            this_process(),
            TEMP_FILES.fetch_add(1, Ordering::Relaxed)
        ));
        let shown = path.display().to_string();
        blocking::run(block, &shown, move || {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            if let Some(dir) = path.parent() {
                remove_leftovers(dir)?;
            }
            let file = File::options().write(true).create_new(true).open(&path)?;
            Ok(Self {
                path,
                file: Arc::new(file),
                is_done: false,
                room: None,
            })
        })
        .await
    }

    fn publish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.is_done = true;
        match target.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.is_done
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "temporary file stays behind");
        }
    }
}

/// What the temporary files of this process are called by. The number of a process is the same after every start in a
/// container, so this is a random one.
fn this_process() -> u64 {
    static RANDOM: OnceLock<u64> = OnceLock::new();
    *RANDOM.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

/// Removes the temporary files in a block's directory that an earlier process left. Those of this one are in use, or are
/// removed by whoever made them.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    let ours = format!("{INDEX_HEADER_FILE}.{}-", this_process());
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let is_leftover = name.to_str().is_some_and(|name| {
            name.starts_with(INDEX_HEADER_FILE) && name.ends_with(".tmp") && !name.starts_with(&ours)
        });
        if !is_leftover {
            continue;
        }
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes memory, or says how much there is not.
fn take(room: &SharedRoom, bytes: u64) -> Result<(), Cause> {
    match room.take(bytes) {
        true => Ok(()),
        false => Err(Cause::NoMemory { bytes }),
    }
}

impl Sink for TempFile {
    fn begin(&mut self, _: u64, window_bytes: u64) -> Result<(), Cause> {
        self.room.as_ref().map_or(Ok(()), |room| take(room, window_bytes))
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&bytes)).await;
        written.map_err(io::Error::other)?
    }
}

impl Sink for MemorySink {
    fn begin(&mut self, total_bytes: u64, window_bytes: u64) -> Result<(), Cause> {
        take(&self.room, total_bytes.saturating_add(window_bytes))?;
        self.bytes
            .reserve_exact(usize::try_from(total_bytes).unwrap_or(0));
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}
