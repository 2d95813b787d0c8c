//! The programs of the cluster: Debian packages, and Go programs built from the lock files in `xtask/cluster/`.
//! Builds are kept in the cache under a key of everything that goes into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::process::{run, run_visibly};
use super::progress;

const APT_LIMIT: Duration = Duration::from_secs(15 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Debian packages that a running cluster needs.
pub(crate) const CLUSTER_PACKAGES: &[&str] = &[
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "mount",
    "nftables",
    "openssl",
    "procps",
    "runc",
    "util-linux",
];
/// Debian packages that building images needs besides.
pub(crate) const IMAGE_PACKAGES: &[&str] =
    &["buildah", "debian-archive-keyring", "debootstrap", "skopeo"];

/// One Go module folder in `xtask/cluster/` and what is built from it.
struct GoModule {
    folder: &'static str,
    stamp: Option<Stamp>,
    /// Name of the program and its package.
    programs: &'static [(&'static str, &'static str)],
}

/// A version that programs report.
struct Stamp {
    /// Module that has it.
    module: &'static str,
    /// Linker variables that say it.
    variables: fn(&str) -> Vec<String>,
}

const GO_MODULES: &[GoModule] = &[
    GoModule {
        folder: "etcd",
        stamp: None,
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
    },
    GoModule {
        folder: "kubernetes",
        stamp: Some(Stamp {
            module: "k8s.io/kubernetes",
            variables: kubernetes_variables,
        }),
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            (
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
    },
    GoModule {
        folder: "helm",
        stamp: Some(Stamp {
            module: "helm.sh/helm/v4",
            variables: helm_variables,
        }),
        programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
    },
    GoModule {
        folder: "coredns",
        stamp: None,
        programs: &[("coredns", "github.com/coredns/coredns")],
    },
];

/// Installs the packages that are missing.
pub(crate) fn ensure_packages(wanted: &[&str]) -> Result<()> {
    let format = "-f=${Package} ${db:Status-Status}\\n";
    let installed = Command::new("dpkg-query")
        .arg("-W")
        .arg(format)
        .output()
        .context(
            "failed to ask dpkg: the test cluster needs Debian or a distribution made from it",
        )?;
    let missing = missing(wanted, &String::from_utf8_lossy(&installed.stdout));
    if missing.is_empty() {
        return Ok(());
    }
    progress(&format!(
        "installing Debian packages: {}",
        missing.join(" ")
    ));
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    apt_get(&["update", "-q"])?;
    apt_get(&[install.as_slice(), missing.as_slice()].concat())
        .with_context(|| format!("install these packages yourself: {}", missing.join(" ")))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command, APT_LIMIT).map(drop)
}

fn missing<'a>(wanted: &[&'a str], installed: &str) -> Vec<&'a str> {
    let is_installed = |package: &&str| {
        installed
            .lines()
            .any(|line| line.split_once(' ') == Some((package, "installed")))
    };
    wanted
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

/// Builds the Go programs that are not in the cache and returns the folders they lie in.
pub(crate) fn ensure_go_programs(layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    let compiler_cache = layout.cache.join("go-build");
    for module in GO_MODULES {
        folders.push(ensure_module(layout, module, &compiler_cache)?);
    }
    if compiler_cache.exists() {
        // Gigabytes that only another version would use again, and that in small part.
        fs::remove_dir_all(&compiler_cache).context("failed to remove the compiler's cache")?;
    }
    Ok(folders)
}

fn ensure_module(layout: &Layout, module: &GoModule, compiler_cache: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cluster")
        .join(module.folder);
    let read = |file: &str| {
        let path = source.join(file);
        fs::read_to_string(&path).with_context(|| format!("failed to read {path:?}"))
    };
    let (manifest, lock) = (read("go.mod")?, read("go.sum")?);
    let arguments = build_arguments(module, &manifest)?;
    let key = key(&manifest, &lock, &recipe(&arguments, module.programs));
    let folder = layout
        .cache
        .join("go")
        .join(format!("{}-{key}", module.folder));
    if !folder.exists() {
        let partial = folder.with_extension("partial");
        for (program, package) in module.programs {
            let output = partial.join("bin").join(program);
            build(&source, &arguments, &output, package, compiler_cache)
                .with_context(|| format!("failed to build {program}"))?;
        }
        fs::rename(&partial, &folder).with_context(|| format!("failed to keep {folder:?}"))?;
    }
    Ok(folder.join("bin"))
}

fn build(
    source: &Path,
    arguments: &[String],
    output: &Path,
    package: &str,
    compiler_cache: &Path,
) -> Result<()> {
    ensure!(
        Command::new("go").arg("version").output().is_ok(),
        "the test cluster is built with Go, which is not installed: put `go` into PATH"
    );
    progress(&format!("building {package} (once)"));
    let started = Instant::now();
    let mut command = Command::new("nice");
    command
        .args(["go", "build"])
        .args(arguments)
        .arg("-o")
        .arg(output)
        .arg(package)
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", compiler_cache);
    run_visibly(&mut command, BUILD_LIMIT)?;
    progress(&format!(
        "built {package} in {} s",
        started.elapsed().as_secs()
    ));
    Ok(())
}

fn build_arguments(module: &GoModule, manifest: &str) -> Result<Vec<String>> {
    let mut linker = vec!["-s".to_owned(), "-w".to_owned()];
    if let Some(stamp) = &module.stamp {
        for variable in (stamp.variables)(required_version(manifest, stamp.module)?) {
            linker.extend(["-X".to_owned(), variable]);
        }
    }
    Ok(
        ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"]
            .map(String::from)
            .into_iter()
            .chain([linker.join(" ")])
            .collect(),
    )
}

/// The version that a go.mod requires of a module.
fn required_version<'a>(manifest: &'a str, module: &str) -> Result<&'a str> {
    manifest
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("require ").split_once(' '))
        .find(|(path, rest)| *path == module && rest.starts_with('v'))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| format!("go.mod requires no version of {module:?}"))
}

fn kubernetes_variables(version: &str) -> Vec<String> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    [
        format!("gitVersion={version}"),
        format!("gitMajor={major}"),
        format!("gitMinor={minor}"),
        "gitTreeState=clean".to_owned(),
    ]
    .map(|variable| format!("k8s.io/component-base/version.{variable}"))
    .into()
}

fn helm_variables(version: &str) -> Vec<String> {
    vec![format!(
        "helm.sh/helm/v4/internal/version.version={version}"
    )]
}

fn recipe(arguments: &[String], programs: &[(&str, &str)]) -> String {
    let programs: String = programs
        .iter()
        .map(|(program, package)| format!("{program} {package}\n"))
        .collect();
    format!("CGO_ENABLED=0 go build {}\n{programs}", arguments.join(" "))
}

fn key(manifest: &str, lock: &str, recipe: &str) -> String {
    let digest = [manifest, lock, recipe]
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part))
        .finalize();
    hex::encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_that_are_fully_installed_count() {
        let installed = "runc installed\nbuildah config-files\nopenssl-tools installed\n";
        assert_eq!(
            missing(&["runc", "buildah", "openssl"], installed),
            ["buildah", "openssl"]
        );
        assert_eq!(missing(&["runc"], installed), Vec::<&str>::new());
    }

    #[test]
    fn programs_report_the_version_of_the_lock_file() {
        let manifest = "module x\n\nrequire (\n\tk8s.io/kubernetes-x v9.9.9\n\tk8s.io/kubernetes v1.35.4 // indirect\n)\n\
                        replace k8s.io/kubernetes => v0\n";
        let module = &GO_MODULES[1];
        assert_eq!(
            build_arguments(module, manifest).unwrap().last().unwrap(),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
             -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=35 \
             -X k8s.io/component-base/version.gitTreeState=clean"
        );
        assert!(build_arguments(module, "module x\n").is_err());
        assert_eq!(
            required_version("require a.b/c v1.2.3", "a.b/c").unwrap(),
            "v1.2.3"
        );
    }

    #[test]
    fn every_module_folder_has_a_lock_file_with_the_version_its_programs_report() {
        for module in GO_MODULES {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("cluster")
                .join(module.folder);
            let manifest = fs::read_to_string(folder.join("go.mod")).unwrap();
            assert!(folder.join("go.sum").exists(), "{folder:?}");
            assert!(build_arguments(module, &manifest).is_ok(), "{folder:?}");
            for (_, package) in module.programs {
                assert!(manifest.contains(package), "{package}");
            }
        }
    }

    #[test]
    fn the_key_changes_with_each_thing_that_goes_into_a_build() {
        let arguments = ["-trimpath".to_owned()];
        let recipe = recipe(&arguments, &[("etcd", "go.etcd.io/etcd/server/v3")]);
        assert_eq!(
            recipe,
            "CGO_ENABLED=0 go build -trimpath\netcd go.etcd.io/etcd/server/v3\n"
        );
        let keys = [
            key("mod", "sum", &recipe),
            key("mod2", "sum", &recipe),
            key("mod", "sum2", &recipe),
            key("mod", "sum", "other"),
        ];
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(key("", "", ""), "e3b0c44298fc1c14");
    }
}
