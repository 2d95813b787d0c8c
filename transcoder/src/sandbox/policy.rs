//! What an encoder is left with, as plain data. Never applies anything.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Resource;

/// Where programs and their libraries lie: read and executed, never written.
pub(super) const SYSTEM: [&str; 6] = ["/usr", "/lib", "/lib64", "/bin", "/opt", "/nix/store"];
/// What the loader and libraries ask about the system; without it they guess, and warn. Nothing of /proc: it shows other processes.
pub(super) const FACTS: [&str; 3] = [
    "/etc/ld.so.cache",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];

/// What says how names are looked up, and whose certificates are trusted.
pub(super) const NAMES: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/run/systemd/resolve",
];

/// Where programs are looked for when nobody says.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What Linux gives a process, and glibc each of its threads.
const STACK: u64 = 8 << 20;
/// Threads of a ladder of three (18 of FFmpeg 5.1, 30 of 7.1, on two cores), with room.
const THREADS: u64 = 64;
/// Threads that come with each processor, for filters.
const THREADS_PER_PROCESSOR: u64 = 4;
/// Memory of an encoder where nothing says how much there is: ten times what a ladder takes.
const MEMORY: u64 = 4 << 30;
/// Descriptors: 3 streams, a pipe each rendition (9 in all for a ladder of three with audio), a library being loaded.
const DESCRIPTORS: u64 = 64;

/// The limits of an encoder, soft and hard, on a machine with so many processors, in a container with so many bytes of memory.
///
/// Data counts what is reserved before it is touched, so that a header that claims a monstrous picture fails inside FFmpeg, not as
/// the end of the whole container; stacks that are hardly used count too. The address space is not limited: the allocator reserves
/// gigabytes of it that mean nothing. The number of processes is not limited either: Linux counts it by user over the whole node,
/// and all pods run as one user.
pub(super) fn limits(memory: Option<u64>, processors: u64) -> [(Resource, u64); 5] {
    let threads = THREADS + THREADS_PER_PROCESSOR * processors;
    let data = memory.unwrap_or(MEMORY).saturating_add(threads * STACK);
    [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Stack, STACK),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Data, data),
    ]
}

/// What `memory.max` of a control group says: bytes, or `max` for no limit.
pub(super) fn memory_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Looks for a program as `execvp` does, so that it may be allowed wherever it lies.
pub(super) fn find(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.components().count() > 1 || program.is_absolute() {
        return Some(program.to_owned());
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(memory: Option<u64>, processors: u64) -> u64 {
        let limits = limits(memory, processors);
        let (_, value) = limits
            .iter()
            .find(|(resource, _)| *resource == Resource::Data)
            .unwrap();
        *value
    }

    #[test]
    fn data_are_limited_by_the_container_and_grow_with_the_stacks_of_threads() {
        let mebibyte = 1 << 20;
        assert_eq!(data(Some(380 * mebibyte), 2), (380 + 72 * 8) * mebibyte);
        assert_eq!(data(Some(380 * mebibyte), 64), (380 + 320 * 8) * mebibyte);
        assert_eq!(data(None, 2), (4096 + 72 * 8) * mebibyte);
        assert_eq!(data(Some(u64::MAX), 2), u64::MAX);
    }

    #[test]
    fn a_control_group_without_a_limit_says_max() {
        for (text, limit) in [
            ("398458880\n", Some(398_458_880)),
            ("max\n", None),
            ("", None),
        ] {
            assert_eq!(memory_limit(text), limit, "{text}");
        }
    }

    #[test]
    fn a_program_is_found_in_the_path_unless_it_has_one_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let tool = directory.path().join("tool");
        std::fs::write(&tool, "").unwrap();
        let path = std::env::join_paths([Path::new("/nonexistent"), directory.path()]).unwrap();
        assert_eq!(find(Path::new("tool"), Some(&path)), None, "not executable");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Path::new("tool"), Some(&path)), Some(tool));
        assert_eq!(
            find(Path::new("sh"), None),
            Some(PathBuf::from("/usr/bin/sh"))
        );
        for given in ["/opt/ffmpeg", "./ffmpeg", "build/ffmpeg"] {
            let found = find(Path::new(given), Some(&path));
            assert_eq!(found, Some(PathBuf::from(given)));
        }
    }
}
