//! The shipper's operations on local files, one by one. All of them may block: they run where blocking is allowed.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Where Prometheus' data directory lies. Tests let single operations go wrong.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// The names in a directory, in no order.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Whether this is a directory, which it is not if it cannot be told.
    fn is_dir(&self, path: &Path) -> bool;
    /// How long a file is.
    fn size_bytes(&self, path: &Path) -> io::Result<u64>;
    /// A whole file of at most `max_bytes`; a longer one is an error.
    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>>;
    /// Exactly `len` bytes from `offset`.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Makes a directory and those above it; one that is there is fine.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Writes a file and syncs it.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Moves a file over another and syncs their directory.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file; a copy where the file system has none.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it; a missing one is fine.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
}

/// Writes a file as a whole: temporary name, sync, rename, sync of the directory. After a crash at any point the old file
/// or the new one is there.
pub(super) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Behind the whole name: the file may itself be called something.tmp.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    disk.write(Path::new(&temporary), bytes)?;
    disk.replace(Path::new(&temporary), path)
}

/// The real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn size_bytes(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|meta| meta.len())
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes {
            let what = format!("more than the {max_bytes} bytes that are read of it");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        File::open(path)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        match to.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let linked = fs::hard_link(from, to);
        match linked {
            Err(error)
                if matches!(
                    error.kind(),
                    // As where `thanos` in the data directory is a volume of its own.
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::TooManyLinks
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::PermissionDenied
                ) =>
            {
                fs::copy(from, to).map(|_| ())
            }
            other => other,
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
