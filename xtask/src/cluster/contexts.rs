//! What images are made of: the programs that cargo builds for them and the workspace's assets, each image's in a
//! folder of its own. Needs neither root nor the cluster, so other builders can use the folders too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

use super::process::{run, run_visibly};
use super::progress;

const CARGO_LIMIT: Duration = Duration::from_secs(60 * 60);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// One image and what is put into the folder that it is built in.
pub(crate) struct Image {
    /// Name under which pods ask for it.
    pub(crate) reference: &'static str,
    /// In `images/`.
    containerfile: &'static str,
    /// Programs of the workspace, into `bin/`.
    programs: &'static [&'static str],
    /// A folder of the workspace and its name in the build; empty when the workspace has none yet.
    assets: Option<(&'static str, &'static str)>,
}

/// All images that programs of the workspace need.
pub(crate) const IMAGES: [Image; 4] = [
    Image {
        reference: "localhost/headend:dev",
        containerfile: "headend.Containerfile",
        programs: &["headend-operator", "headend-gateway", "headend-admin"],
        assets: Some(("gateway/web/dist", "web")),
    },
    Image {
        reference: "localhost/headend-transcoder:dev",
        containerfile: "transcoder.Containerfile",
        programs: &["headend-transcoder"],
        assets: None,
    },
    Image {
        reference: "localhost/headend-testkit:dev",
        containerfile: "testkit.Containerfile",
        programs: &["headend-testkit"],
        assets: None,
    },
    Image {
        reference: "localhost/redis:dev",
        containerfile: "redis.Containerfile",
        programs: &[],
        assets: None,
    },
];

impl Image {
    /// Name of the folder that it is built in.
    pub(crate) fn folder(&self) -> &'static str {
        self.containerfile.trim_end_matches(".Containerfile")
    }

    /// How it is built.
    pub(crate) fn containerfile(&self) -> PathBuf {
        containerfiles().join(self.containerfile)
    }
}

/// The folder with all Containerfiles.
pub(crate) fn containerfiles() -> PathBuf {
    workspace().join("images")
}

/// Puts together the folder that each Containerfile is built in: programs built by cargo, and assets.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let root = workspace();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(&root);
    let metadata: Value = serde_json::from_str(&run(&mut command, COMMAND_LIMIT)?)?;
    let available = programs_by_package(&metadata);
    let wanted: Vec<&(String, String)> = available
        .iter()
        .filter(|(program, _)| {
            IMAGES
                .iter()
                .any(|image| image.programs.contains(&program.as_str()))
        })
        .collect();
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--quiet", "--profile", "image", "--manifest-path"])
        .arg(root.join("Cargo.toml"));
    for (program, package) in &wanted {
        command.args(["--package", package, "--bin", program]);
    }
    if !wanted.is_empty() {
        progress("building the programs with cargo");
        run_visibly(&mut command, CARGO_LIMIT)?;
    }
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target directory")?;
    let built: Vec<&str> = wanted.iter().map(|(program, _)| program.as_str()).collect();
    for image in &IMAGES {
        write_context(
            image,
            &root,
            &Path::new(target).join("image"),
            &built,
            folder,
        )?;
    }
    Ok(())
}

fn write_context(
    image: &Image,
    root: &Path,
    target: &Path,
    built: &[&str],
    folder: &Path,
) -> Result<()> {
    let context = folder.join(image.folder());
    if context.exists() {
        fs::remove_dir_all(&context).with_context(|| format!("failed to empty {context:?}"))?;
    }
    let (ready, missing): (Vec<&str>, Vec<&str>) = image
        .programs
        .iter()
        .copied()
        .partition(|program| built.contains(program));
    if !missing.is_empty() {
        progress(&format!(
            "{}: the workspace has no {}",
            image.reference,
            missing.join(", ")
        ));
    }
    if ready.is_empty() && !image.programs.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(context.join("bin"))
        .with_context(|| format!("failed to create {context:?}"))?;
    for program in ready {
        copy_file(&target.join(program), &context.join("bin").join(program))?;
    }
    if let Some((source, name)) = image.assets {
        copy_tree(&root.join(source), &context.join(name))?;
    }
    Ok(())
}

fn copy_tree(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("failed to create {target:?}"))?;
    if !source.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(source).with_context(|| format!("failed to list {source:?}"))? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => copy_tree(&from, &to)?,
            false => copy_file(&from, &to)?,
        }
    }
    Ok(())
}

/// Copies with a fixed time, so that the same content is the same layer.
fn copy_file(source: &Path, target: &Path) -> Result<()> {
    fs::copy(source, target)
        .and_then(|_| {
            File::options()
                .append(true)
                .open(target)?
                .set_modified(SystemTime::UNIX_EPOCH)
        })
        .with_context(|| format!("failed to copy {source:?} to {target:?}"))
}

/// Each program of the workspace with the package that makes it.
fn programs_by_package(metadata: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut programs = Vec::new();
    for package in list(&metadata["packages"]) {
        let is_program = |target: &Value| list(&target["kind"]).contains(&Value::from("bin"));
        for target in list(&package["targets"]).into_iter().filter(is_program) {
            if let (Some(program), Some(package)) =
                (target["name"].as_str(), package["name"].as_str())
            {
                programs.push((program.to_owned(), package.to_owned()));
            }
        }
    }
    programs
}

fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
