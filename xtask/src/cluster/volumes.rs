//! The cluster's PersistentVolumes, folders of this machine that every node sees. They have no claim, so that one of any namespace binds to
//! them: to two of them with `storageClassName: ""`, to the third, which says that one node mounts it, with `one-node`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::inside::{apply, get, kubectl};
use super::layout::Layout;
use super::state::State;

/// User and group of all of Headend's components.
const HEADEND_ID: u32 = 65532;

struct Volume {
    name: &'static str,
    access: &'static str,
    /// Name of its StorageClass, of which there need be no object.
    class: &'static str,
    owner: u32,
}

const VOLUMES: [Volume; 3] = [
    Volume {
        name: "media",
        access: "ReadWriteMany",
        class: "",
        owner: 0,
    },
    Volume {
        name: "redis",
        access: "ReadWriteOnce",
        class: "",
        owner: HEADEND_ID,
    },
    Volume {
        name: "one-node",
        access: "ReadWriteOnce",
        class: "one-node",
        owner: 0,
    },
];

/// Makes the folders and the objects that are missing.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    for volume in &VOLUMES {
        make_folder(&layout.volume(volume.name), volume.owner)?;
    }
    let items: Vec<Value> = VOLUMES
        .iter()
        .map(|volume| manifest(volume, &layout.volume(volume.name)))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    apply(state, &list.to_string()).context("failed to create the volumes")
}

/// Makes released volumes ready for another claim, without what was in them.
pub(crate) fn reset(layout: &Layout, state: &State) -> Result<()> {
    let list = get(state, "/api/v1/persistentvolumes")?.context("failed to list the volumes")?;
    let bound = bound(&list);
    ensure!(
        bound.is_empty(),
        "first delete the claims that use them: {}",
        bound.join(", ")
    );
    for volume in &VOLUMES {
        let name = object_name(volume);
        let arguments = [
            "delete",
            "persistentvolume",
            &name,
            "--ignore-not-found",
            "--timeout=20s",
        ];
        kubectl(state, &arguments)?;
        let folder = layout.volume(volume.name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {folder:?}"))?;
        }
    }
    ensure(layout, state)
}

/// Which of our volumes are in use, and by whom. Deleting one of them would take effect only with its claim.
fn bound(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    let describe = |item: &Value| {
        let name = item["metadata"]["name"].as_str()?;
        let ours = VOLUMES.iter().any(|volume| object_name(volume) == name);
        let claim = &item["spec"]["claimRef"];
        (ours && item["status"]["phase"] == "Bound").then(|| {
            let text = |field: &str| claim[field].as_str().unwrap_or_default().to_owned();
            format!("{name} by {}/{}", text("namespace"), text("name"))
        })
    };
    items.iter().filter_map(describe).collect()
}

fn object_name(volume: &Volume) -> String {
    format!("headend-{}", volume.name)
}

/// hostPath volumes ignore fsGroup, so the folder is made as fsGroup would leave it.
fn make_folder(path: &Path, owner: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| chown(path, Some(owner), Some(HEADEND_ID)))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o2775)))
        .with_context(|| format!("failed to make the volume {path:?}"))
}

fn manifest(volume: &Volume, path: &Path) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": object_name(volume)},
        "spec": {
            "accessModes": [volume.access],
            "capacity": {"storage": "1Ti"},
            "hostPath": {"path": path, "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": volume.class,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_volume_can_be_bound_by_any_claim_without_a_class() {
        let expected = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "headend-media"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "1Ti"},
                "hostPath": {"path": "/c/media", "type": "Directory"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
            },
        });
        assert_eq!(manifest(&VOLUMES[0], Path::new("/c/media")), expected);
    }

    #[test]
    fn a_volume_in_use_is_named_with_its_claim() {
        let item = |name: &str, phase: &str| {
            json!({
                "metadata": {"name": name},
                "spec": {"claimRef": {"namespace": "t", "name": "media"}},
                "status": {"phase": phase},
            })
        };
        let list = json!({"items": [
            item("headend-media", "Bound"), item("headend-redis", "Released"), item("another", "Bound"),
        ]});
        assert_eq!(bound(&list), ["headend-media by t/media"]);
    }
}
