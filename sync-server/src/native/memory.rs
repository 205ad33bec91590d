//! How much memory the process may take, where no setting says it: a share of what the machine or the container has (the
//! files of Linux; elsewhere a constant). And how much of it is for what connections make the server hold.

use std::path::{Path, PathBuf};

/// Of the memory that there is, one part in so many. The rest is for other programs and the system's cache of files.
const SHARE: u64 = 2;

/// However little there is: with less, a few clients would shut out all others.
const SHARE_MIN: u64 = 128 * 1024 * 1024;

/// Where nothing says how much there is.
const UNKNOWN: u64 = 512 * 1024 * 1024;

/// What connections may make the server hold, in percent of what the process may take. The rest is for the connections
/// themselves, SQLite, what is being worked on, and what the allocator has free between pieces that are held: under all
/// attacks at once (`tests/siege`) it took up to twice what was held, and some more.
const HELD_PERCENT: u64 = 25;

/// How much of so many bytes for the process is for what connections make it hold.
pub(super) fn for_connections(process: u64) -> u64 {
    process / 100 * HELD_PERCENT
}

/// The share of this machine or container, in bytes.
pub(super) fn share() -> u64 {
    share_of(available(|path| std::fs::read_to_string(path).ok()))
}

fn share_of(available: Option<u64>) -> u64 {
    available.map_or(UNKNOWN, |bytes| (bytes / SHARE).max(SHARE_MIN))
}

/// The least that any limit says: the machine's memory, and those of the process's control groups.
fn available(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let number = |path: &Path| read(path)?.trim().parse::<u64>().ok();
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(total);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|path| number(&path));
    machine.into_iter().chain(limits).min()
}

/// `MemTotal:       16384 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Where the limits are of a line of `/proc/self/cgroup`: of the group and of those above it. In a container the
/// path may be the host's, and what can be seen is the root.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (_, Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let groups = Path::new(group.trim_start_matches('/')).ancestors();
    groups.map(|group| Path::new(root).join(group).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    #[test]
    fn the_smallest_limit_counts() {
        const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\n");
        for (files, expected) in [
            (vec![], None),
            (vec![MEMINFO], Some(16 * GIB)),
            (vec![("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "max\n"), MEMINFO], Some(16 * GIB)),
            (vec![("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "1073741824\n"), MEMINFO], Some(GIB)),
            (
                vec![
                    ("/proc/self/cgroup", "0::/system.slice/sync.service\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
                    ("/sys/fs/cgroup/system.slice/sync.service/memory.max", "max\n"),
                    MEMINFO,
                ],
                Some(2 * GIB),
            ),
            (
                vec![
                    ("/proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
                    MEMINFO,
                ],
                Some(GIB),
            ),
            (
                vec![
                    ("/proc/self/cgroup", "5:memory:/\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    MEMINFO,
                ],
                Some(16 * GIB),
            ),
        ] {
            let read = |path: &Path| {
                let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
                Some(file.1.to_owned())
            };
            assert_eq!(available(read), expected, "{files:?}");
        }
    }

    #[test]
    fn a_share_is_never_too_small() {
        for (available, expected) in
            [(None, UNKNOWN), (Some(GIB), GIB / 2), (Some(GIB / 4), GIB / 8), (Some(GIB / 8), SHARE_MIN)]
        {
            assert_eq!(share_of(available), expected, "{available:?}");
        }
    }
}
