//! Builds the start page's player from npm. Without Node it says so and goes on: the gateway then explains how to build it.

use std::process::Command;

use anyhow::Result;

use crate::steps::{command, root, run};

/// Builds `gateway/web/dist`, if npm is there; whether it is.
pub(crate) fn build() -> Result<bool> {
    let folder = root().join("gateway/web");
    if Command::new("npm").arg("--version").output().is_err() {
        eprintln!("LEFT OUT: the start page's player, because npm is not installed");
        return Ok(false);
    }
    for arguments in [&["ci", "--no-audit", "--no-fund"][..], &["run", "build"]] {
        let mut npm = command("npm", arguments);
        npm.current_dir(&folder);
        run(npm)?;
    }
    Ok(true)
}
