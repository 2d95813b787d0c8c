//! Image stores: the OCI layout that builds are written to, and the containerd roots that nodes run from. An image is
//! imported with only those of its parts that a store does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::node_config::{Snapshots, image_store};
use super::process::{Process, run, tail, wait_until};

const LIMIT: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(30);
/// Each containerd namespace has its own images; Kubernetes looks in this one.
const NAMESPACE: &str = "k8s.io";
/// A name that exists for the moment in which removing it makes containerd collect what nothing refers to.
const COLLECTED: &str = "localhost/collect-garbage:now";

/// An image in an OCI layout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pushed {
    /// Name under which pods ask for it.
    pub(crate) reference: String,
    /// Digest of its manifest.
    pub(crate) digest: String,
}

/// A running containerd.
pub(crate) struct Store {
    socket: PathBuf,
    snapshots: Snapshots,
}

impl Store {
    /// The store behind a socket.
    pub(crate) fn new(socket: PathBuf, snapshots: Snapshots) -> Self {
        Self { socket, snapshots }
    }

    /// Takes those images over that it does not have in this version; returns their names.
    pub(crate) fn import(
        &self,
        layout: &Path,
        images: &[Pushed],
        scratch: &Path,
    ) -> Result<Vec<String>> {
        // Layers that only an image's former version refers to may be collected between being found and being built upon. What is
        // left of a failure is collected before the second try, which so finds nothing that can vanish.
        self.try_import(layout, images, scratch)
            .or_else(|_| self.try_import(layout, images, scratch))
    }

    fn try_import(&self, layout: &Path, images: &[Pushed], scratch: &Path) -> Result<Vec<String>> {
        let known = parse_images(&self.ctr(&["images", "ls"])?);
        let changed: Vec<Pushed> = images
            .iter()
            .filter(|image| known.get(&image.reference) != Some(&image.digest))
            .cloned()
            .collect();
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let archive = scratch.join("import.tar");
        let present = self.ctr(&["content", "ls", "--quiet"])?;
        write_archive(layout, &changed, &present.lines().collect(), &archive)?;
        let file = archive
            .to_str()
            .context("the cache folder's name is not text")?;
        let snapshotter = self.snapshots.containerd_name();
        self.ctr(&["images", "import", "--snapshotter", snapshotter, file])
            .inspect_err(|_| self.forget(&changed))?;
        fs::remove_file(&archive)?;
        self.collect_garbage(&changed[0].reference)?;
        Ok(changed.into_iter().map(|image| image.reference).collect())
    }

    /// Frees what no image refers to any more; containerd does that by itself only when an image is removed.
    fn collect_garbage(&self, any_image: &str) -> Result<()> {
        self.ctr(&["images", "tag", "--force", any_image, COLLECTED])?;
        self.ctr(&["images", "rm", "--sync", COLLECTED]).map(drop)
    }

    /// An image gets its name before its layers are unpacked: after a failure the name must not say it is there.
    fn forget(&self, images: &[Pushed]) {
        for image in images {
            // The failure that led here is the one to report.
            self.ctr(&["images", "rm", "--sync", &image.reference]).ok();
        }
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", NAMESPACE])
            .args(arguments);
        run(&mut command, LIMIT)
    }
}

/// A containerd that runs only to fill the golden root; ends with this value or with this process.
pub(crate) struct GoldenStore {
    child: Child,
    /// The store itself.
    pub(crate) store: Store,
}

impl GoldenStore {
    /// Starts it on the golden root.
    pub(crate) fn start(root: &Path, scratch: &Path, snapshots: Snapshots) -> Result<Self> {
        let (socket, config) = (scratch.join("golden.sock"), scratch.join("golden.toml"));
        let log = scratch.join("golden.log");
        fs::write(&config, image_store(root, &socket))?;
        let output = fs::File::create(&log)?;
        let script = "mount -t tmpfs tmpfs /run && exec containerd --config \"$0\"";
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", script])
            .arg(&config)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("failed to start containerd for the golden root")?;
        let store = Store::new(socket, snapshots);
        let golden = Self { child, store };
        wait_until(
            "containerd of the golden root to answer",
            START_LIMIT,
            || {
                ensure!(golden.process()?.is_running(), "it ended");
                Ok(golden.store.ctr(&["version"]).is_ok())
            },
        )
        .map_err(|error| error.context(tail(&log)))?;
        Ok(golden)
    }

    /// Ends it so that its databases are whole.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process()?.signal(Signal::TERM)?;
        let mut ended = None;
        wait_until("containerd of the golden root to end", START_LIMIT, || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })
    }

    fn process(&self) -> Result<Process> {
        Process::of(i32::try_from(self.child.id())?)
    }
}

impl Drop for GoldenStore {
    fn drop(&mut self) {
        // After `stop` both find nothing to do; after a failure nobody is left to tell.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Removes parts of an OCI layout that none of its images needs any more.
pub(crate) fn prune_layout(layout: &Path) -> Result<()> {
    let index = read_json(&layout.join("index.json"))?;
    let mut needed = BTreeSet::new();
    for manifest in index["manifests"].as_array().into_iter().flatten() {
        let digest = manifest["digest"]
            .as_str()
            .context("an image without a digest")?;
        needed.extend(
            parts(layout, digest)?
                .into_iter()
                .map(|digest| blob(layout, &digest)),
        );
    }
    for entry in fs::read_dir(layout.join("blobs/sha256"))? {
        let path = entry?.path();
        if !needed.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("failed to remove {path:?}"))?;
        }
    }
    Ok(())
}

/// Name and manifest digest of each image, from the table that `ctr images ls` prints.
fn parse_images(table: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.split_whitespace();
        Some((cells.next()?.to_owned(), cells.nth(1)?.to_owned()))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// A tar archive of an OCI layout with these images, without the parts that its reader has.
fn write_archive(
    layout: &Path,
    images: &[Pushed],
    present: &BTreeSet<&str>,
    archive: &Path,
) -> Result<()> {
    let index_folder = archive.with_extension("index");
    fs::create_dir_all(&index_folder)?;
    let mut files = BTreeSet::new();
    let mut manifests = Vec::new();
    for image in images {
        let manifest = blob(layout, &image.digest);
        manifests.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "size": fs::metadata(&manifest)?.len(),
            "annotations": {"io.containerd.image.name": image.reference},
        }));
        let missing = parts(layout, &image.digest)?
            .into_iter()
            .filter(|digest| !present.contains(digest.as_str()));
        files.extend(missing.map(|digest| blob(Path::new(""), &digest)));
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(index_folder.join("index.json"), index.to_string())?;
    let mut command = Command::new("tar");
    command
        .args(["--create", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(layout)
        .arg("oci-layout")
        .args(&files)
        .arg("--directory")
        .arg(&index_folder)
        .arg("index.json");
    run(&mut command, LIMIT)?;
    fs::remove_dir_all(&index_folder)?;
    Ok(())
}

/// Digests of a manifest and of all it names.
fn parts(layout: &Path, manifest: &str) -> Result<Vec<String>> {
    let document = read_json(&blob(layout, manifest))?;
    let layers = document["layers"].as_array().into_iter().flatten();
    let mut digests = vec![manifest.to_owned()];
    for part in layers.chain([&document["config"]]) {
        match part["digest"].as_str() {
            Some(digest) => digests.push(digest.to_owned()),
            None => bail!("{manifest:?} is not the manifest of an image"),
        }
    }
    Ok(digests)
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("failed to read {path:?}"))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to understand {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layout with images that share their first layer.
    fn layout_of(images: &[(&str, &[&str])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(
            folder.path().join("oci-layout"),
            "{\"imageLayoutVersion\": \"1.0.0\"}",
        )
        .unwrap();
        let mut manifests = Vec::new();
        for (name, layers) in images {
            let descriptors: Vec<Value> = layers
                .iter()
                .map(|layer| json!({"digest": format!("sha256:{layer}")}))
                .collect();
            let config = format!("{name}-config");
            let document =
                json!({"layers": descriptors, "config": {"digest": format!("sha256:{config}")}});
            fs::write(blobs.join(name), document.to_string()).unwrap();
            for blob in layers.iter().copied().chain([config.as_str()]) {
                fs::write(blobs.join(blob), blob).unwrap();
            }
            manifests.push(json!({"digest": format!("sha256:{name}")}));
        }
        let index = json!({"manifests": manifests});
        fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
        folder
    }

    fn names(archive: &Path) -> Vec<String> {
        let listed = run(Command::new("tar").arg("-tf").arg(archive), LIMIT).unwrap();
        let mut names: Vec<String> = listed.lines().map(String::from).collect();
        names.sort();
        names
    }

    #[test]
    fn the_table_of_images_gives_names_and_digests() {
        let table = "REF                TYPE  DIGEST     SIZE      PLATFORMS   LABELS \n\
                     localhost/pause:1  oci   sha256:aa  800.1 KiB linux/amd64 io.cri=managed \n\
                     localhost/redis:dev oci  sha256:bb  1.1 MiB   linux/amd64 - \n";
        let expected = [
            ("localhost/pause:1", "sha256:aa"),
            ("localhost/redis:dev", "sha256:bb"),
        ]
        .map(|(name, digest)| (name.to_owned(), digest.to_owned()));
        assert_eq!(parse_images(table), BTreeMap::from(expected));
    }

    #[test]
    fn an_archive_leaves_out_what_its_reader_has() {
        let layout = layout_of(&[("first", &["base", "one"]), ("second", &["base", "two"])]);
        let archive = layout.path().join("x.tar");
        let images = [Pushed {
            reference: "localhost/second:dev".to_owned(),
            digest: "sha256:second".to_owned(),
        }];
        let present = BTreeSet::from(["sha256:base"]);
        write_archive(layout.path(), &images, &present, &archive).unwrap();
        let expected = [
            "blobs/sha256/second",
            "blobs/sha256/second-config",
            "blobs/sha256/two",
            "index.json",
            "oci-layout",
        ];
        assert_eq!(names(&archive), expected);
    }

    #[test]
    fn pruning_a_layout_keeps_what_its_images_need() {
        let layout = layout_of(&[("first", &["base", "one"])]);
        let blobs = layout.path().join("blobs/sha256");
        fs::write(blobs.join("stale"), "stale").unwrap();
        prune_layout(layout.path()).unwrap();
        let mut left: Vec<String> = fs::read_dir(&blobs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["base", "first", "first-config", "one"]);
    }
}
