//! The cluster's network: one namespace per node, joined by a bridge in that of node 1. Nothing in it has a default
//! route, so nothing of the cluster reaches anything outside.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::layout::{Layout, SERVICE_RANGE, node_address, pod_range};
use super::process::run;

const LIMIT: Duration = Duration::from_secs(20);

/// Makes the network of a node and the routes between it and the nodes that are there already.
pub(crate) fn ensure_node(layout: &Layout, number: u8, others: &[u8]) -> Result<()> {
    if layout.namespace_file(number).exists() {
        return Ok(());
    }
    for words in node_commands(&layout.name, number, others) {
        let mut words = words.split_whitespace();
        let program = words.next().context("an empty command")?;
        run(Command::new(program).args(words), LIMIT)
            .with_context(|| format!("failed to make the network of node {number}"))?;
    }
    Ok(())
}

/// Processes inside a node's network namespace.
pub(crate) fn processes(layout: &Layout, number: u8) -> Result<Vec<i32>> {
    if !layout.namespace_file(number).exists() {
        return Ok(Vec::new());
    }
    let listed = run(
        Command::new("ip").args(["netns", "pids", &layout.namespace(number)]),
        LIMIT,
    )?;
    Ok(listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect())
}

/// Removes a node's namespace with all its links and rules.
pub(crate) fn remove_node(layout: &Layout, number: u8) -> Result<()> {
    if layout.namespace_file(number).exists() {
        run(
            Command::new("ip").args(["netns", "delete", &layout.namespace(number)]),
            LIMIT,
        )?;
    }
    Ok(())
}

/// Gives `/run/netns` back when no namespace of anybody is left in it.
pub(crate) fn remove_empty_folder() -> Result<()> {
    let folder = Path::new("/run/netns");
    // The listing is closed before unmounting: it would keep the folder busy.
    let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for _ in mounts.lines().filter(|line| mounts_at(line, folder)) {
        run(Command::new("umount").arg(folder), LIMIT)?;
    }
    fs::remove_dir(folder).with_context(|| format!("failed to remove {folder:?}"))?;
    ensure!(!folder.exists(), "{folder:?} is still there");
    Ok(())
}

/// The fifth field of a line of mountinfo is the mount point.
fn mounts_at(line: &str, folder: &Path) -> bool {
    line.split(' ').nth(4).map(Path::new) == Some(folder)
}

/// Commands in order; words are separated by spaces and hold none.
fn node_commands(cluster: &str, number: u8, others: &[u8]) -> Vec<String> {
    let own = format!("{cluster}-{number}");
    let mut commands = vec![
        format!("ip netns add {own}"),
        format!("ip -n {own} link set lo up"),
    ];
    commands.extend(uplink(cluster, number));
    commands.extend([
        format!("ip -n {own} link add cni0 type bridge"),
        format!("ip -n {own} addr add 198.18.{number}.1/24 dev cni0"),
        format!("ip -n {own} link set cni0 up"),
        // Processes of the node itself, tests included, reach Services through it.
        format!("ip -n {own} route add {SERVICE_RANGE} dev cni0"),
        format!("nsenter --net=/run/netns/{own} sysctl -q -w net.ipv4.ip_forward=1"),
    ]);
    for &other in others {
        let route = |from: u8, to: u8| {
            let (range, address) = (pod_range(to), node_address(to));
            format!("ip -n {cluster}-{from} route add {range} via {address}")
        };
        commands.extend([route(number, other), route(other, number)]);
    }
    commands
}

fn uplink(cluster: &str, number: u8) -> Vec<String> {
    let (own, first) = (format!("{cluster}-{number}"), format!("{cluster}-1"));
    let address = node_address(number);
    if number == 1 {
        return vec![
            format!("ip -n {own} link add nodes0 type bridge"),
            format!("ip -n {own} addr add {address}/24 dev nodes0"),
            format!("ip -n {own} link set nodes0 up"),
        ];
    }
    vec![
        format!("ip -n {first} link add v{number} type veth peer name eth0 netns {own}"),
        format!("ip -n {first} link set v{number} master nodes0 up"),
        format!("ip -n {own} link set eth0 up"),
        format!("ip -n {own} addr add {address}/24 dev eth0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_holds_the_bridge_of_all() {
        let expected = [
            "ip netns add t-1",
            "ip -n t-1 link set lo up",
            "ip -n t-1 link add nodes0 type bridge",
            "ip -n t-1 addr add 198.18.0.1/24 dev nodes0",
            "ip -n t-1 link set nodes0 up",
            "ip -n t-1 link add cni0 type bridge",
            "ip -n t-1 addr add 198.18.1.1/24 dev cni0",
            "ip -n t-1 link set cni0 up",
            "ip -n t-1 route add 198.19.0.0/16 dev cni0",
            "nsenter --net=/run/netns/t-1 sysctl -q -w net.ipv4.ip_forward=1",
        ];
        assert_eq!(node_commands("t", 1, &[]), expected);
    }

    #[test]
    fn a_further_node_is_joined_to_it_and_routed_both_ways() {
        let expected = [
            "ip netns add t-2",
            "ip -n t-2 link set lo up",
            "ip -n t-1 link add v2 type veth peer name eth0 netns t-2",
            "ip -n t-1 link set v2 master nodes0 up",
            "ip -n t-2 link set eth0 up",
            "ip -n t-2 addr add 198.18.0.2/24 dev eth0",
            "ip -n t-2 link add cni0 type bridge",
            "ip -n t-2 addr add 198.18.2.1/24 dev cni0",
            "ip -n t-2 link set cni0 up",
            "ip -n t-2 route add 198.19.0.0/16 dev cni0",
            "nsenter --net=/run/netns/t-2 sysctl -q -w net.ipv4.ip_forward=1",
            "ip -n t-2 route add 198.18.1.0/24 via 198.18.0.1",
            "ip -n t-1 route add 198.18.2.0/24 via 198.18.0.2",
        ];
        assert_eq!(node_commands("t", 2, &[1]), expected);
    }

    #[test]
    fn a_mount_is_recognised_by_its_mount_point_alone() {
        let line = "36 35 0:27 / /run/netns rw shared:2 - tmpfs /run/netns rw";
        assert!(mounts_at(line, Path::new("/run/netns")));
        let within = "37 36 0:4 net:[1] /run/netns/a rw - nsfs nsfs rw";
        assert!(!mounts_at(within, Path::new("/run/netns")));
    }
}
