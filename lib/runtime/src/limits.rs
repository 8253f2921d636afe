//! What the machine or the container allows: memory limits of cgroup v2 and v1, and the RAM.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The budget when neither a cgroup nor `/proc/meminfo` can be read.
const FALLBACK_BUDGET_BYTES: u64 = 1 << 30;

/// Returns 60 % of the memory this process may use: the smaller of the cgroup's limit and the RAM.
pub fn default_budget_bytes() -> u64 {
    budget_of(memory_limit_bytes(Path::new("/")))
}

/// Returns 60 % of `memory_bytes`, or what is fit for most machines when that is not known.
pub(crate) fn budget_of(memory_bytes: Option<u64>) -> u64 {
    match memory_bytes {
        Some(memory_bytes) => memory_bytes / 100 * 60,
        None => FALLBACK_BUDGET_BYTES,
    }
}

/// Returns the smallest memory limit found below `root` (`/` outside tests), or `None` when nothing is readable.
pub fn memory_limit_bytes(root: &Path) -> Option<u64> {
    let membership = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let v2_path = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let v1_path = membership.lines().find_map(v1_memory_path).unwrap_or("/");
    let v2 = limits_up_to_root(&root.join("sys/fs/cgroup"), v2_path, "memory.max");
    let v1 = limits_up_to_root(
        &root.join("sys/fs/cgroup/memory"),
        v1_path,
        "memory.limit_in_bytes",
    );
    v2.into_iter().chain(v1).chain(ram_bytes(root)).min()
}

fn v1_memory_path(line: &str) -> Option<&str> {
    let mut parts = line.splitn(3, ':').skip(1);
    let controllers = parts.next()?;
    let path = parts.next()?;
    controllers
        .split(',')
        .any(|name| name == "memory")
        .then_some(path)
}

/// Reads `file` in the group and in every group above it: a parent's limit binds too. In a container the path may
/// name a directory of the host that is not visible, whose own limit is then the one at the mount's root.
fn limits_up_to_root(mount: &Path, path: &str, file: &str) -> Vec<u64> {
    let relative = path.trim_start_matches('/');
    let mut directories: Vec<PathBuf> = Path::new(relative)
        .ancestors()
        .map(|part| mount.join(part))
        .collect();
    directories.push(mount.to_owned());
    directories
        .iter()
        .filter_map(|directory| read_limit(&directory.join(file)))
        .collect()
}

/// `max` of version 2 is no limit; version 1 writes a huge number instead, which the RAM undercuts.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn ram_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\n");

    #[test]
    fn ram_counts_when_no_group_limits() {
        let root = machine(&[MEMINFO, ("sys/fs/cgroup/memory.max", "max\n")]);
        assert_eq!(memory_limit_bytes(root.path()), Some(16 << 20));
    }

    #[test]
    fn version_2_of_the_own_group_or_a_parent_wins() {
        let own = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "1000\n"),
        ]);
        assert_eq!(memory_limit_bytes(own.path()), Some(1000));
        let parent = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.max", "900\n"),
        ]);
        assert_eq!(memory_limit_bytes(parent.path()), Some(900));
        let container = machine(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "5000\n"),
        ]);
        assert_eq!(memory_limit_bytes(container.path()), Some(5000));
    }

    #[test]
    fn version_1_is_read_and_its_unlimited_value_is_undercut_by_ram() {
        let membership = ("proc/self/cgroup", "11:cpu,cpuacct:/x\n4:memory:/kubepods/pod1\n");
        let limited = machine(&[
            MEMINFO,
            membership,
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2048\n"),
        ]);
        assert_eq!(memory_limit_bytes(limited.path()), Some(2048));
        let unlimited = machine(&[
            MEMINFO,
            membership,
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ]);
        assert_eq!(memory_limit_bytes(unlimited.path()), Some(16 << 20));
    }

    #[test]
    fn nothing_readable_gives_none_and_a_budget_nonetheless() {
        assert_eq!(memory_limit_bytes(machine(&[]).path()), None);
        assert!(default_budget_bytes() > 0);
    }
}
