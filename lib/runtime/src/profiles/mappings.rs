//! Which files are mapped into the process where, as `/proc/self/maps` says.

/// A file, or a part of it, that holds code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodeMapping {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) file_offset: u64,
    pub(super) file: String,
}

/// The mappings of this process; none if they cannot be read.
pub(super) fn of_this_process() -> Vec<CodeMapping> {
    // File names need not be text.
    let text = std::fs::read("/proc/self/maps").unwrap_or_default();
    parse(&String::from_utf8_lossy(&text))
}

/// Reads lines of `start-end permissions offset device inode file`, and leaves out what is no code or of no file.
pub(super) fn parse(text: &str) -> Vec<CodeMapping> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<CodeMapping> {
    let (range, rest) = line.split_once(' ')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (_device, rest) = rest.split_once(' ')?;
    let (_inode, file) = rest.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let file = file.trim();
    if !permissions.contains('x') || file.is_empty() {
        return None;
    }
    Some(CodeMapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        file_offset: u64::from_str_radix(offset, 16).ok()?,
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_found_and_everything_else_left_out() {
        let text = "55d0c0000000-55d0c0010000 r--p 00000000 08:01 1234                       /bin/sabre\n\
                    55d0c0010000-55d0c0090000 r-xp 00010000 08:01 1234                       /bin/sabre\n\
                    55d0c0090000-55d0c00a0000 rw-p 00090000 08:01 1234                       /bin/sabre\n\
                    7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 r-xp 00028000 08:01 77                         /lib/a folder/libc.so.6\n\
                    nonsense\n\
                    zz-7f r-xp 0 08:01 1 /x\n";
        let sabre = CodeMapping {
            start: 0x55d0_c001_0000,
            end: 0x55d0_c009_0000,
            file_offset: 0x1_0000,
            file: "/bin/sabre".to_owned(),
        };
        let libc = CodeMapping {
            start: 0x7f00_0000_2000,
            end: 0x7f00_0000_3000,
            file_offset: 0x2_8000,
            file: "/lib/a folder/libc.so.6".to_owned(),
        };
        assert_eq!(parse(text), [sabre, libc]);
    }

    #[test]
    fn this_process_has_code() {
        let here = this_process_has_code as fn() as usize as u64;
        let all = of_this_process();
        assert!(
            all.iter()
                .any(|mapping| (mapping.start..mapping.end).contains(&here))
        );
    }
}
