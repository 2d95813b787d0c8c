//! Builds images from the Containerfiles in `images/` with buildah, in a storage of its own below the cache. Runs in
//! mount namespaces of its own, so that no mount is ever left behind.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::apt::{Archive, RELEASE};
use super::node_config::Snapshots;
use super::process::run;
use super::progress;

const LIMIT: Duration = Duration::from_secs(20 * 60);
const BASE: &str = "localhost/debian:trixie-slim";
/// What a base image can do without, or must not say about the machine it was made on.
const TRIMMED: [&str; 11] = [
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
];

/// buildah with its storage.
pub(crate) struct Builder {
    storage: PathBuf,
    scratch: PathBuf,
    snapshots: Snapshots,
    archive: Archive,
}

impl Builder {
    /// A builder below the folder for images.
    pub(crate) fn new(images: &Path, snapshots: Snapshots, archive: Archive) -> Result<Self> {
        let builder = Self {
            archive,
            storage: images.join("storage"),
            scratch: images.join("scratch"),
            snapshots,
        };
        if builder.scratch.exists() {
            fs::remove_dir_all(&builder.scratch).context("failed to empty the scratch folder")?;
        }
        fs::create_dir_all(builder.scratch.join("tmp"))
            .context("failed to create the scratch folder")?;
        let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";
        fs::write(builder.policy(), policy).context("failed to write the image policy")?;
        Ok(builder)
    }

    /// A folder that is empty at the start of each command.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Builds an image on the local base and returns its id.
    pub(crate) fn build(
        &self,
        reference: &str,
        containerfile: &Path,
        context: &Path,
    ) -> Result<String> {
        let apt = self.archive.write(&self.scratch.join("apt"))?;
        let mut command = self.buildah("build");
        command
            .args([
                "--layers",
                "--isolation=chroot",
                "--format=oci",
                "--pull=never",
            ])
            .arg(format!("--build-arg=BASE={BASE}"));
        for (source, target) in apt {
            command.arg(format!("--volume={}:{target}:ro", source.display()));
        }
        let identifier = self.scratch.join("image-id");
        command
            .args([OsStr::new("--iidfile"), identifier.as_os_str()])
            .args(["--tag", reference, "--file"])
            .args([containerfile, context]);
        run(&mut command, LIMIT)?;
        let text = fs::read_to_string(&identifier).context("failed to read the image's id")?;
        Ok(text.trim().to_owned())
    }

    /// Makes the base image if it is not there.
    pub(crate) fn ensure_base(&self) -> Result<()> {
        let mut command = self.buildah("inspect");
        command.args(["--type", "image", "--format", "{{.FromImageID}}", BASE]);
        if run(&mut command, LIMIT).is_ok() {
            return Ok(());
        }
        progress(&format!(
            "bootstrapping Debian {RELEASE} for the base image (once)"
        ));
        let (root, context) = (self.scratch.join("root"), self.scratch.join("base"));
        self.archive.bootstrap(&root)?;
        trim(&root)?;
        fs::create_dir(&context)?;
        let mut command = Command::new("tar");
        command
            .args(["--numeric-owner", "--create", "--file"])
            .arg(context.join("root.tar"))
            .arg("--directory")
            .args([root.as_os_str(), OsStr::new(".")]);
        run(&mut command, LIMIT)?;
        let containerfile = context.join("Containerfile");
        fs::write(
            &containerfile,
            "FROM scratch\nADD root.tar /\nCMD [\"bash\"]\n",
        )?;
        self.build(BASE, &containerfile, &context)?;
        fs::remove_dir_all(&root).and_then(|()| fs::remove_dir_all(&context))?;
        Ok(())
    }

    /// Writes an image into an OCI layout, where layers that are there already are not written again, and returns
    /// the digest of its manifest. (buildah's own push compresses every layer anew.)
    pub(crate) fn push(&self, reference: &str, layout: &Path) -> Result<String> {
        let digest = self.scratch.join("digest");
        let storage = format!(
            "[{}@{}+{}]",
            self.driver(),
            self.storage.display(),
            self.scratch.join("run").display()
        );
        let mut command = self.unshared("skopeo");
        command
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-oci-accept-uncompressed-layers",
            ])
            .arg("--digestfile")
            .arg(&digest)
            .arg(format!("containers-storage:{storage}{reference}"))
            .arg(format!("oci:{}:{reference}", layout.display()));
        run(&mut command, LIMIT)?;
        let text = fs::read_to_string(&digest).context("failed to read the manifest's digest")?;
        Ok(text.trim().to_owned())
    }

    /// Removes what earlier builds left that no image needs.
    pub(crate) fn prune(&self) -> Result<()> {
        let mut command = self.buildah("rmi");
        command.args(["--prune", "--force"]);
        run(&mut command, LIMIT).map(drop)
    }

    fn policy(&self) -> PathBuf {
        self.scratch.join("policy.json")
    }

    fn buildah(&self, task: &str) -> Command {
        let mut command = self.unshared("buildah");
        command
            .arg("--root")
            .arg(&self.storage)
            .arg("--runroot")
            .arg(self.scratch.join("run"))
            .args(["--storage-driver", self.driver(), task]);
        if task == "build" {
            command.arg("--signature-policy").arg(self.policy());
        }
        command
    }

    fn unshared(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", program])
            .env("TMPDIR", self.scratch.join("tmp"));
        command
    }

    fn driver(&self) -> &'static str {
        match self.snapshots {
            Snapshots::Overlay => "overlay",
            Snapshots::Copies => "vfs",
        }
    }
}

fn trim(root: &Path) -> Result<()> {
    for name in TRIMMED {
        let path = root.join(name);
        let removed = match path.is_dir() {
            // Programs expect the folders themselves.
            true => fs::remove_dir_all(&path).and_then(|()| fs::create_dir(&path)),
            false if path.exists() => fs::remove_file(&path),
            false => Ok(()),
        };
        removed.with_context(|| format!("failed to trim {path:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_keeps_folders_and_drops_what_they_hold() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc", "usr/share/doc/apt", "var/log/apt"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in ["etc/hostname", "etc/passwd", "usr/share/doc/apt/copyright"] {
            fs::write(root.path().join(file), "text").unwrap();
        }
        trim(root.path()).unwrap();
        let exists = |name| root.path().join(name).exists();
        assert!(!exists("etc/hostname"));
        assert!(exists("etc/passwd"));
        assert!(exists("usr/share/doc") && !exists("usr/share/doc/apt"));
        assert!(exists("var/log") && !exists("var/log/apt"));
    }

    #[test]
    fn buildah_keeps_its_storage_apart_and_its_mounts_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let builder = Builder::new(folder.path(), Snapshots::Copies, Archive::default()).unwrap();
        let command = builder.buildah("rmi");
        let words: Vec<String> = command
            .get_args()
            .map(|word| {
                word.to_string_lossy()
                    .replace(folder.path().to_str().unwrap(), "/i")
            })
            .collect();
        assert_eq!(
            words.join(" "),
            "--mount --propagation private -- buildah --root /i/storage --runroot /i/scratch/run \
             --storage-driver vfs rmi"
        );
    }
}
