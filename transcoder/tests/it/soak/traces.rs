//! What a process and its streams leave: descriptors, children, memory, files. Looks only; decides nothing.

use std::fs;

use crate::attempt::Attempt;

/// Resident memory may grow by this much between a third of the time and the end, in KiB.
const GROWTH: u64 = 48 * 1024;
/// Connections that a client or a server keeps for a while after their use.
const IDLE_CONNECTIONS: usize = 24;

/// Counts of a process.
#[derive(Debug)]
pub(super) struct Traces {
    descriptors: usize,
    /// Names of children, those that have ended and were not waited for marked by their state.
    children: Vec<String>,
    resident: u64,
}

impl Traces {
    pub(super) fn of_this_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: children(),
            resident: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
        }
    }
}

fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let stats = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("stat")).ok());
    let child = |stat: String| {
        let (name, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        (fields.next()? == own).then(|| format!("{name}) {state}"))
    };
    stats.filter_map(child).collect()
}

/// Renditions that have too many files.
pub(super) fn files(attempt: &Attempt, most: usize) -> impl Iterator<Item = String> {
    let folders = fs::read_dir(attempt.directory.path())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let count = fs::read_dir(&path).ok()?.count();
            (count > most).then(|| format!("{count} files in {}", path.display()))
        });
    folders.collect::<Vec<_>>().into_iter()
}

/// What is more than it should be.
pub(super) fn compare(before: &Traces, warm: &Traces, end: &Traces, after: &Traces) -> Vec<String> {
    let mut findings = Vec::new();
    if end.resident > warm.resident + GROWTH {
        findings.push(format!(
            "memory grew from {} to {} KiB",
            warm.resident, end.resident
        ));
    }
    if after.descriptors > before.descriptors + IDLE_CONNECTIONS {
        findings.push(format!(
            "{} descriptors became {}",
            before.descriptors, after.descriptors
        ));
    }
    if !after.children.is_empty() {
        findings.push(format!("children are left: {:?}", after.children));
    }
    if let Some(zombie) = end.children.iter().find(|child| child.ends_with('Z')) {
        findings.push(format!("nobody waits for {zombie}"));
    }
    findings
}
