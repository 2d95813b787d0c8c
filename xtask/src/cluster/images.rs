//! The images: which there are, what goes into them, and getting them to nodes. An image whose content has not
//! changed is neither pushed nor imported again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::apt::Archive;
use super::build::Builder;
use super::contexts::{self, IMAGES, Image, containerfiles};
use super::layout::Layout;
use super::node_config::{PAUSE_IMAGE, Snapshots};
use super::process::run;
use super::programs::{CLUSTER_PACKAGES, IMAGE_PACKAGES, ensure_packages};
use super::progress;
use super::state::State;
use super::store::{GoldenStore, Pushed, Store, prune_layout};

const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// Within the golden root: which images it holds. Nodes copy it along.
const GOLDEN_IMAGES: &str = "headend-images.json";

/// The product's images are there under this tag too: what an upgrade upgrades to.
const NEXT_TAG: &str = "next";

/// How layers can be kept in the folder for images.
pub(crate) fn snapshots(layout: &Layout) -> Result<Snapshots> {
    fs::create_dir_all(layout.images()).context("failed to create the folder for images")?;
    let probe = tempfile::tempdir_in(layout.images())?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(probe.path().join(name))?;
    }
    let mount = "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged";
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            mount,
        ])
        .current_dir(probe.path());
    match run(&mut command, COMMAND_LIMIT) {
        Ok(_) => Ok(Snapshots::Overlay),
        Err(_) => Ok(Snapshots::Copies),
    }
}

/// Makes sure of the one image that every pod needs.
pub(crate) fn ensure_pause(layout: &Layout) -> Result<()> {
    if golden_images(&layout.golden())?.contains_key(PAUSE_IMAGE) {
        return Ok(());
    }
    ensure_packages(&[CLUSTER_PACKAGES, IMAGE_PACKAGES].concat())?;
    progress(&format!("building {PAUSE_IMAGE} (once)"));
    let snapshots = snapshots(layout)?;
    let builder = Builder::new(&layout.images(), snapshots, Archive::of_this_machine()?)?;
    let pushed = build_pause(layout, &builder)?;
    import_golden(layout, &builder, snapshots, &[pushed])
}

/// Builds all images and gives those that changed to the golden root and to running nodes.
pub(crate) fn update(layout: &Layout) -> Result<()> {
    let started = Instant::now();
    ensure_packages(&[CLUSTER_PACKAGES, IMAGE_PACKAGES].concat())?;
    let folders = layout.images().join("contexts");
    contexts::write(&folders)?;
    progress(&format!(
        "built the programs in {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    ensure_pause(layout)?;
    let started = Instant::now();
    let snapshots = snapshots(layout)?;
    let builder = Builder::new(&layout.images(), snapshots, Archive::of_this_machine()?)?;
    builder.ensure_base()?;
    let mut pushed = Vec::new();
    for image in &IMAGES {
        let context = folders.join(image.folder());
        if context.exists() {
            pushed.push(build_and_push(layout, &builder, image, &context)?);
        }
    }
    pushed.extend(next(&pushed));
    builder.prune()?;
    prune_layout(&oci_layout(layout))?;
    import_golden(layout, &builder, snapshots, &pushed)?;
    import_into_nodes(layout, &builder, snapshots, &pushed)?;
    progress(&format!(
        "images are up to date after {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// The images of the product once more, under the name of the next release.
fn next(pushed: &[Pushed]) -> Vec<Pushed> {
    let product = pushed.iter().filter_map(|image| {
        let name = image.reference.strip_suffix(":dev")?;
        name.starts_with("localhost/headend").then(|| Pushed {
            reference: format!("{name}:{NEXT_TAG}"),
            digest: image.digest.clone(),
        })
    });
    product.collect()
}

fn build_pause(layout: &Layout, builder: &Builder) -> Result<Pushed> {
    let context = builder.scratch().join("pause");
    fs::create_dir(&context).context("failed to create the folder for the pause image")?;
    let mut command = Command::new("rustc");
    command
        .args([
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
            "-C",
            "strip=symbols",
        ])
        .args(["-C", "panic=abort", "--edition=2024", "-o"])
        .args([context.join("pause"), containerfiles().join("pause.rs")]);
    run(&mut command, COMMAND_LIMIT)?;
    builder.build(
        PAUSE_IMAGE,
        &containerfiles().join("pause.Containerfile"),
        &context,
    )?;
    push(layout, builder, PAUSE_IMAGE)
}

fn build_and_push(
    layout: &Layout,
    builder: &Builder,
    image: &Image,
    context: &Path,
) -> Result<Pushed> {
    let started = Instant::now();
    let reference = image.reference;
    builder
        .build(reference, &image.containerfile(), context)
        .with_context(|| format!("failed to build {reference}"))?;
    let pushed = push(layout, builder, reference)?;
    progress(&format!(
        "{reference} in {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    Ok(pushed)
}

fn push(layout: &Layout, builder: &Builder, reference: &str) -> Result<Pushed> {
    let digest = builder.push(reference, &oci_layout(layout))?;
    Ok(Pushed {
        reference: reference.to_owned(),
        digest,
    })
}

/// Nodes that start later start with these images.
fn import_golden(
    layout: &Layout,
    builder: &Builder,
    snapshots: Snapshots,
    images: &[Pushed],
) -> Result<()> {
    let golden = layout.golden();
    let mut known = golden_images(&golden)?;
    if images
        .iter()
        .all(|image| known.get(&image.reference) == Some(&image.digest))
    {
        return Ok(());
    }
    fs::create_dir_all(&golden).context("failed to create the golden root")?;
    let running = GoldenStore::start(&golden, builder.scratch(), snapshots)?;
    let imported = running
        .store
        .import(&oci_layout(layout), images, builder.scratch())?;
    running.stop()?;
    known.extend(
        images
            .iter()
            .map(|image| (image.reference.clone(), image.digest.clone())),
    );
    let fresh = builder.scratch().join(GOLDEN_IMAGES);
    fs::write(&fresh, serde_json::to_vec_pretty(&known)?)
        .and_then(|()| fs::rename(&fresh, golden.join(GOLDEN_IMAGES)))
        .context("failed to record the images of the golden root")?;
    progress(&format!("new for nodes to come: {}", imported.join(", ")));
    Ok(())
}

fn import_into_nodes(
    layout: &Layout,
    builder: &Builder,
    snapshots: Snapshots,
    images: &[Pushed],
) -> Result<()> {
    let Some(state) = State::load(layout)? else {
        return Ok(());
    };
    for node in state.nodes.iter().filter(|node| node.is_running()) {
        let store = Store::new(node.containerd_socket.clone(), snapshots);
        let imported = store.import(&oci_layout(layout), images, builder.scratch())?;
        if !imported.is_empty() {
            progress(&format!("new on {}: {}", node.name, imported.join(", ")));
        }
    }
    Ok(())
}

fn golden_images(golden: &Path) -> Result<BTreeMap<String, String>> {
    let path = golden.join(GOLDEN_IMAGES);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read(&path).with_context(|| format!("failed to read {path:?}"))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to understand {path:?}"))
}

fn oci_layout(layout: &Layout) -> PathBuf {
    layout.images().join("layout")
}
