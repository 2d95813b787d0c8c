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
/// Of the workspace: optimised enough to stream in real time, quick to rebuild.
const PROFILE: &str = "image";
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
    let mut command = cargo();
    command
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(&root);
    let metadata: Value = serde_json::from_str(&run(&mut command, COMMAND_LIMIT)?)?;
    let programs = wanted_programs(&metadata);
    build(&root, &programs)?;
    if root.join("gateway/web/package.json").exists() && !root.join("gateway/web/dist").exists() {
        crate::web::build()?;
    }
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target directory")?;
    let target = Path::new(target).join(PROFILE);
    let built: Vec<&str> = programs.iter().map(|(program, _)| *program).collect();
    for image in &IMAGES {
        write_context(image, &root, &target, &built, folder)?;
    }
    Ok(())
}

fn build(root: &Path, programs: &[(&str, &str)]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    progress("building the programs with cargo");
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--profile", PROFILE])
        .current_dir(root);
    for (program, package) in programs {
        command.args(["--package", package, "--bin", program]);
    }
    run_visibly(&mut command, CARGO_LIMIT)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
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

/// The programs that go into images, each with the package that makes it.
fn wanted_programs(metadata: &Value) -> Vec<(&str, &str)> {
    fn list(value: &Value) -> &[Value] {
        value.as_array().map_or(&[], Vec::as_slice)
    }
    let is_wanted = |name: &str| IMAGES.iter().any(|image| image.programs.contains(&name));
    let mut programs = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            let is_program = list(&target["kind"]).contains(&Value::from("bin"));
            match (target["name"].as_str(), package["name"].as_str()) {
                (Some(name), Some(package)) if is_program && is_wanted(name) => {
                    programs.push((name, package));
                }
                _ => {}
            }
        }
    }
    programs
}

fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_that_an_image_wants_are_built() {
        let metadata = serde_json::json!({"packages": [
            {"name": "gateway", "targets": [
                {"name": "gateway", "kind": ["lib"]},
                {"name": "headend-gateway", "kind": ["bin"]},
                {"name": "headend-admin", "kind": ["bin"]},
            ]},
            {"name": "xtask", "targets": [{"name": "xtask", "kind": ["bin"]}]},
            {"name": "other", "targets": [{"name": "headend-operator", "kind": ["test"]}]},
        ]});
        let expected = [("headend-gateway", "gateway"), ("headend-admin", "gateway")];
        assert_eq!(wanted_programs(&metadata), expected);
    }

    #[test]
    fn a_context_holds_what_is_there_with_times_that_do_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let (root, target) = (folder.path().join("root"), folder.path().join("target"));
        fs::create_dir_all(root.join("gateway/web/dist/player")).unwrap();
        fs::write(root.join("gateway/web/dist/player/index.html"), "page").unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("headend-gateway"), "program").unwrap();
        write_context(
            &IMAGES[0],
            &root,
            &target,
            &["headend-gateway"],
            folder.path(),
        )
        .unwrap();
        let context = folder.path().join("headend");
        let read = |file: &str| fs::read_to_string(context.join(file)).unwrap();
        assert_eq!(read("bin/headend-gateway"), "program");
        assert_eq!(read("web/player/index.html"), "page");
        let modified = fs::metadata(context.join("bin/headend-gateway"))
            .unwrap()
            .modified();
        assert_eq!(modified.unwrap(), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn an_image_without_its_program_has_no_context_not_even_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("transcoder/bin")).unwrap();
        let nowhere = Path::new("/nowhere");
        write_context(&IMAGES[1], nowhere, nowhere, &[], folder.path()).unwrap();
        assert!(!folder.path().join("transcoder").exists());
    }

    #[test]
    fn every_image_is_built_on_any_base_and_runs_as_headends_user() {
        for image in &IMAGES {
            let text = fs::read_to_string(image.containerfile()).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for wanted in [
                "ARG BASE=docker.io/library/debian:trixie-slim",
                "FROM ${BASE}",
                "USER 65532:65532",
            ] {
                assert!(lines.contains(&wanted), "{}: {wanted}", image.containerfile);
            }
        }
    }
}
