//! What processes cost, as the kernel counts it, and which ports are free. Changes nothing.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The kernel's unit of processor time in /proc (USER_HZ, 100 on every Linux that runs this).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and all it started have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, ended children included.
    pub(crate) processor: Duration,
    /// Bytes that no other process shares.
    pub(crate) private: u64,
}

/// The fields of /proc/<pid>/stat that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

/// The command lines of the given processes and of all they started, a word each.
pub(crate) fn command_lines(roots: &[u32]) -> Result<Vec<Vec<String>>> {
    let stats = stats()?;
    let within = |pid: &&u32| roots.iter().any(|root| is_within(&stats, **pid, *root));
    let line = |pid: &u32| {
        // A process that has ended meanwhile has no command line.
        let text = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text.split_terminator('\0').map(str::to_owned).collect()
    };
    Ok(stats.keys().filter(within).map(line).collect())
}

/// Sums up the trees below the given processes.
pub(crate) fn usage(roots: &[u32]) -> Result<Usage> {
    let stats = stats()?;
    let mut total = Usage::default();
    for (pid, stat) in &stats {
        if !roots.iter().any(|root| is_within(&stats, *pid, *root)) {
            continue;
        }
        total.processor += Duration::from_secs_f64(stat.ticks as f64 / TICKS_PER_SECOND);
        // A process that has ended meanwhile has no memory.
        total.private += fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .map_or(0, |text| private_bytes(&text));
    }
    Ok(total)
}

/// Processor time of the trees below the given processes, ended children and threads included.
pub(crate) fn processor(roots: &[u32]) -> Result<Duration> {
    let stats = stats()?;
    let within = stats
        .iter()
        .filter(|(pid, _)| roots.iter().any(|root| is_within(&stats, **pid, *root)));
    let ticks: u64 = within.map(|(_, stat)| stat.ticks).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// What all processors were busy with since the machine started, whoever it was for.
pub(crate) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat is odd")?;
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// Everything in the first line but what was idle or waiting: fields 4 and 5; guests are in the first two.
fn busy_ticks(text: &str) -> Option<u64> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?;
    let fields = fields.split_whitespace().take(8).enumerate();
    let busy = fields.filter(|(index, _)| !matches!(index, 3 | 4));
    busy.map(|(_, field)| field.parse::<u64>().ok()).sum()
}

/// Lets this process and all that it starts open as many files as the system allows.
pub(crate) fn raise_limit() -> Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, all).context("failed to raise the limit of open files")
}

/// Processor time of a process that has no children, to the nanosecond, as its scheduler counts it.
pub(crate) fn on_processor(pid: u32) -> Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut total = Duration::ZERO;
    for task in fs::read_dir(&tasks).with_context(|| format!("failed to read {tasks}"))? {
        // A thread that has ended meanwhile has no more to say.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
        total += Duration::from_nanos(nanoseconds.unwrap_or(0));
    }
    Ok(total)
}

/// A port of loopback that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

fn stats() -> Result<HashMap<u32, Stat>> {
    let entries = fs::read_dir("/proc").context("failed to read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let stat = |pid| {
        Some((
            pid,
            parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    };
    Ok(pids.filter_map(stat).collect())
}

fn is_within(stats: &HashMap<u32, Stat>, pid: u32, root: u32) -> bool {
    let parent = |pid: &u32| stats.get(pid).map(|stat| stat.parent);
    std::iter::successors(Some(pid), parent)
        .take(64)
        .any(|pid| pid == root)
}

/// The name in parentheses may hold anything, so fields are counted from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields = rest.split_whitespace().collect::<Vec<_>>();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

fn private_bytes(rollup: &str) -> u64 {
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kibibytes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "42 (a) (b) S 7 42 42 0 -1 4194560 100 0 0 0 11 12 13 14 20 0 1 0 100 1000 10";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                parent: 7,
                ticks: 50
            })
        );
    }

    #[test]
    fn private_memory_is_summed_up() {
        let text = "Rss: 100 kB\nPrivate_Clean: 3 kB\nPrivate_Dirty: 4 kB\nPrivate_Hugetlb: 0 kB\n";
        assert_eq!(private_bytes(text), 7 * 1024);
    }

    #[test]
    fn a_tree_holds_children_of_children_and_nothing_else() {
        let stat = |parent| Stat { parent, ticks: 0 };
        let stats = HashMap::from([(2, stat(1)), (3, stat(2)), (4, stat(1))]);
        let within = [2, 3, 4].map(|pid| is_within(&stats, pid, 2));
        assert_eq!(within, [true, true, false]);
    }

    #[test]
    fn the_command_line_of_a_process_is_told_word_by_word() {
        let lines = command_lines(&[std::process::id()]).unwrap();
        let own = std::env::args().collect::<Vec<_>>();
        assert!(lines.contains(&own), "{lines:?}");
    }

    #[test]
    fn idle_time_is_not_busy() {
        let text = "cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ticks(text), Some(63));
        assert_eq!(busy_ticks("cpux"), None);
        assert!(busy().unwrap() > Duration::ZERO);
    }

    #[test]
    fn this_process_uses_a_processor() {
        let before = on_processor(std::process::id()).unwrap();
        let sum: u64 = (0..3_000_000).map(std::hint::black_box).sum();
        assert!(sum > 0 && on_processor(std::process::id()).unwrap() > before);
        assert!(on_processor(u32::MAX).is_err());
    }

    #[test]
    fn this_process_has_private_memory() {
        assert!(usage(&[std::process::id()]).unwrap().private > 0);
    }
}
