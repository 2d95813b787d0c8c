//! Arrows between crates go down only. Adding one here is a decision about the architecture: see ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata;

/// Which crates of ours each crate may depend on, tests aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("iptv", &[]),
    ("runtime", &[]),
    ("redis-support", &[]),
    ("presence", &["redis-support"]),
    ("media", &["api"]),
    ("upstream", &["api", "iptv"]),
    ("catalog", &["api", "iptv", "redis-support", "upstream"]),
    ("operator", &["api", "media", "presence", "runtime"]),
    (
        "gateway",
        &["api", "catalog", "iptv", "media", "presence", "runtime"],
    ),
    ("transcoder", &["api", "media", "runtime", "upstream"]),
    (
        "standalone",
        &[
            "api",
            "catalog",
            "gateway",
            "media",
            "presence",
            "runtime",
            "transcoder",
        ],
    ),
    ("testkit", &["media"]),
    (
        "hostile",
        &[
            "api", "catalog", "gateway", "iptv", "media", "presence", "runtime",
        ],
    ),
    ("e2e", &["api", "presence", "testkit"]),
    ("xtask", &[]),
];

/// Crates of ours that each crate names, by kind of dependency.
fn found(normal: bool) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let named = dependencies
                .filter(|dependency| dependency["kind"].is_null() == normal)
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| ours.contains(name))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().unwrap().to_owned(), named)
        })
        .collect()
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(name, below)| (*name, below.iter().copied().collect()))
        .collect();
    let found = found(true);
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    for (name, dependencies) in found {
        for dependency in dependencies {
            assert!(
                allowed[name.as_str()].contains(dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn the_three_components_never_meet_in_tests_either() {
    let components = ["operator", "gateway", "transcoder"];
    for (name, dependencies) in found(false) {
        if components.contains(&name.as_str()) {
            for other in components {
                assert!(
                    !dependencies.contains(other),
                    "{name}'s tests must not depend on {other}"
                );
            }
        }
    }
}

#[test]
fn what_components_share_is_no_cluster_client() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "api",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(crate::root())
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(text.starts_with("api "), "{text}");
    for client in ["tokio ", "hyper ", "kube-client ", "reqwest "] {
        assert!(
            !text.lines().any(|line| line.starts_with(client)),
            "api pulls in {client}"
        );
    }
}
