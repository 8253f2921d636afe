//! `sn_<index>`, its further generations, and what a restored index is called.

use super::{IndexDay, IndexNames};

const SNAPSHOT_PREFIX: &str = "sn_";

/// What stands before the name of a restored index. No configured prefix begins like it, so no run deletes one.
pub const RESTORED_PREFIX: &str = "restored-";

/// The name of the snapshot of an index: `sn_<index>` for generation 1, `sn_<index>-<generation>` beyond.
pub fn snapshot_name(index: &str, generation: u32) -> String {
    match generation {
        0 | 1 => format!("{SNAPSHOT_PREFIX}{index}"),
        _ => format!("{SNAPSHOT_PREFIX}{index}-{generation}"),
    }
}

/// The name under which a generation of an index is restored.
pub fn restored_name(index: &str, generation: u32) -> String {
    match generation {
        0 | 1 => format!("{RESTORED_PREFIX}{index}"),
        _ => format!("{RESTORED_PREFIX}{index}-{generation}"),
    }
}

/// The generation of a snapshot of this very index; `None` when its name says that it is of something else.
pub fn split_snapshot_name(snapshot: &str, index: &str) -> Option<u32> {
    let rest = snapshot.strip_prefix(SNAPSHOT_PREFIX)?.strip_prefix(index)?;
    match rest.strip_prefix('-') {
        None if rest.is_empty() => Some(1),
        None => None,
        Some(number) => generation(number),
    }
}

impl IndexNames {
    /// Reads the name of a snapshot of an index of this kind: the index, its day, the generation.
    pub fn read_snapshot<'a>(&self, snapshot: &'a str) -> Option<(&'a str, IndexDay, u32)> {
        let rest = snapshot.strip_prefix(SNAPSHOT_PREFIX)?;
        if let Some(day) = self.read(rest) {
            return Some((rest, day, 1));
        }
        let (index, number) = rest.rsplit_once('-')?;
        Some((index, self.read(index)?, generation(number)?))
    }
}

/// Reads `2`, `3`, ...: exactly as they are written, so that no two names are the same generation.
fn generation(number: &str) -> Option<u32> {
    let plain = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|generation| plain && *generation >= 2)
}
