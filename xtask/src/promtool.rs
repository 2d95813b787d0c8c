//! Prometheus' own tool, by which a test of the operator checks the chart's alerts. Taken out of Debian's package and never installed:
//! with the package would come a Prometheus that runs.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::steps::{command, root, run};

/// Where it is unpacked, below the workspace. The test looks for it here first, and then in PATH.
const FOLDER: &str = "target/promtool";

/// Makes sure that the test finds it.
pub(crate) fn ensure_there() -> Result<()> {
    let folder = root().join(FOLDER);
    let is_there = folder.join("usr/bin/promtool").exists();
    if is_there || Command::new("promtool").arg("--version").output().is_ok() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {folder:?}"))?;
    // Whoever has every other package already may never have asked what there is.
    run(command("apt-get", &["update", "-q"]))?;
    let mut download = command("apt-get", &["download", "-q", "prometheus"]);
    download.current_dir(&folder);
    run(download).context("put promtool, of Debian's package prometheus, into PATH yourself")?;
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {folder:?}"))?;
    let mut packages = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = packages.next().context("apt-get has left no package")?;
    let mut unpack = command("dpkg-deb", &["--extract"]);
    unpack.args([&package, &folder]);
    run(unpack)?;
    ensure!(
        folder.join("usr/bin/promtool").exists(),
        "{package:?} has no promtool"
    );
    Ok(())
}
