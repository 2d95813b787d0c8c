//! Brings a cluster up, or what is missing of it: programs, credentials, network, control plane, nodes, volumes.
//! Returns only when nodes are Ready and DNS answers.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::group::wait_for;
use super::layout::{Layout, node_name};
use super::process::{Process, run};
use super::programs::{CLUSTER_PACKAGES, ensure_go_programs, ensure_packages};
use super::state::State;
use super::{control_plane, down, images, inside, node, pki, progress, volumes};

const NODE_LIMIT: Duration = Duration::from_secs(120);
const DNS_LIMIT: Duration = Duration::from_secs(60);
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);
const DNS_MANIFESTS: &str = include_str!("../../cluster/init/dns.yaml");

/// Brings the cluster up with at least this many nodes.
pub(crate) fn up(layout: &Layout, nodes: u8) -> Result<()> {
    let started = Instant::now();
    ensure_packages(CLUSTER_PACKAGES)?;
    let programs = ensure_go_programs(layout)?;
    images::ensure_pause(layout)?;
    let mut state = match running_state(layout)? {
        Some(state) => state,
        None => start_control_plane(layout, programs)?,
    };
    let mut heartbeats = Vec::new();
    for number in 1..=nodes {
        heartbeats.push((number, ensure_node(layout, &mut state, number)?));
    }
    inside::apply(&state, DNS_MANIFESTS).context("failed to set up DNS")?;
    volumes::ensure(layout, &state)?;
    for (number, before) in heartbeats {
        wait_for_node(&state, number, before.as_deref())?;
    }
    wait_for_services(&state)?;
    progress(&format!(
        "cluster up in {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    println!("The cluster is up. Try: cargo xtask cluster kubectl get nodes");
    Ok(())
}

/// Starts a killed node again and waits until it is Ready.
pub(crate) fn start_node(layout: &Layout, number: u8) -> Result<()> {
    let mut state = State::of_running(layout)?;
    state.node(number)?;
    let before = ensure_node(layout, &mut state, number)?;
    wait_for_node(&state, number, before.as_deref())
}

/// The cluster's state if its control plane runs; what is left of one that does not is removed.
fn running_state(layout: &Layout) -> Result<Option<State>> {
    let state = State::load(layout)?;
    if state
        .as_ref()
        .and_then(|state| state.control_plane)
        .is_some_and(Process::is_running)
    {
        return Ok(state);
    }
    down::remove(layout).context("failed to remove what an earlier run left")?;
    Ok(None)
}

fn start_control_plane(layout: &Layout, programs: Vec<PathBuf>) -> Result<State> {
    let logs = layout.logs();
    if logs.exists() {
        fs::remove_dir_all(&logs).with_context(|| format!("failed to remove {logs:?}"))?;
    }
    fs::create_dir_all(&logs).with_context(|| format!("failed to create {logs:?}"))?;
    pki::ensure(layout)?;
    let mut state = State::new(layout, programs)?;
    state.save(layout)?;
    node::prepare(layout, 1, &[], images::snapshots(layout)?)?;
    progress("starting the control plane");
    state.control_plane = Some(control_plane::start_and_wait(layout, &state.programs)?);
    state.save(layout)?;
    Ok(state)
}

/// Starts a node that does not run; returns the last heartbeat of its earlier life, which is no sign of this one.
fn ensure_node(layout: &Layout, state: &mut State, number: u8) -> Result<Option<String>> {
    if state.node(number).is_ok_and(|node| node.is_running()) {
        return Ok(None);
    }
    progress(&format!("starting {}", node_name(number)));
    let before = match state.node(number) {
        Ok(_) => heartbeat(state, number)?,
        Err(_) => None,
    };
    let others: Vec<u8> = state
        .nodes
        .iter()
        .map(|node| node.number)
        .filter(|&other| other != number)
        .collect();
    node::prepare(layout, number, &others, images::snapshots(layout)?)?;
    node::start_processes(layout, state, number)?;
    Ok(before)
}

fn heartbeat(state: &State, number: u8) -> Result<Option<String>> {
    let node = inside::get(state, &format!("/api/v1/nodes/{}", node_name(number)))?;
    Ok(node.and_then(|node| node::ready_heartbeat(&node).map(String::from)))
}

fn wait_for_node(state: &State, number: u8, before: Option<&str>) -> Result<()> {
    let name = node_name(number);
    let process = state
        .node(number)?
        .process
        .with_context(|| format!("{name} does not run"))?;
    let logs =
        ["", "-containerd", "-kubelet"].map(|part| state.logs.join(format!("{name}{part}.log")));
    wait_for(
        process,
        &logs,
        &format!("{name} to be Ready"),
        NODE_LIMIT,
        || {
            let heartbeat = heartbeat(state, number)?;
            Ok(heartbeat.is_some() && heartbeat.as_deref() != before)
        },
    )?;
    progress(&format!("{name} is Ready"));
    Ok(())
}

/// Pods can be created and Services resolve.
fn wait_for_services(state: &State) -> Result<()> {
    let process = state
        .control_plane
        .context("the control plane does not run")?;
    let log = |name: &str| state.logs.join(format!("{name}.log"));
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    wait_for(
        process,
        &[log("kube-controller-manager")],
        "the default ServiceAccount",
        ACCOUNT_LIMIT,
        || Ok(inside::get(state, account)?.is_some()),
    )?;
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    let probe = [own.into_os_string(), "cluster".into(), "probe-dns".into()];
    wait_for(
        process,
        &[log("coredns"), log("node-1-kube-proxy")],
        "DNS to answer",
        DNS_LIMIT,
        || Ok(answers(state, &probe)),
    )?;
    progress("DNS answers");
    Ok(())
}

fn answers(state: &State, probe: &[OsString]) -> bool {
    inside::command(state, probe)
        .and_then(|mut command| run(&mut command, Duration::from_secs(5)))
        .is_ok()
}
