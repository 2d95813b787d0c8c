//! The volumes of a transcoder pod: its own directory of the output volume, or memory instead, its sources' Secrets, the files that sources
//! may be, room for scratch files.
//! A pod never sees the directory of another: that is isolation and fence in one.

use api::names::{FILES_MOUNT, OUTPUT_MOUNT, PODS_DIRECTORY, SOURCES_MOUNT};
use api::stream_class::OutputMode;
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Fleet;
use crate::class::{Effective, SecretFile};

const OUTPUT: &str = "output";
const SCRATCH: &str = "scratch";
const FILES: &str = "files";
/// Its name is what the kubelet says when a Secret of a source is not there.
pub(crate) const SOURCES: &str = "sources";

const SCRATCH_LIMIT: &str = "64Mi";
/// What is in a pod's own output beside segments: a state file, and what is being written. Above its limit the kubelet evicts the pod.
const LOCAL_SLACK_MEBIBYTES: u64 = 16;

pub(super) fn volumes(fleet: &Fleet, effective: &Effective) -> Vec<Volume> {
    let mut volumes = vec![output(fleet, effective), scratch()];
    if !effective.files.is_empty() {
        volumes.push(sources(&effective.files));
    }
    volumes.extend(effective.files_claim.as_deref().map(files));
    volumes
}

pub(super) fn mounts(effective: &Effective, pod_name: &str) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let sub_path = match effective.output {
        OutputMode::SharedVolume => Some(format!("{PODS_DIRECTORY}/{pod_name}")),
        OutputMode::PodLocal => None,
    };
    let mut mounts = vec![
        VolumeMount {
            sub_path,
            ..mount(OUTPUT, OUTPUT_MOUNT)
        },
        mount(SCRATCH, "/tmp"),
    ];
    let read = |name: &str, path: &str| VolumeMount {
        read_only: Some(true),
        ..mount(name, path)
    };
    if !effective.files.is_empty() {
        mounts.push(read(SOURCES, SOURCES_MOUNT));
    }
    if effective.files_claim.is_some() {
        mounts.push(read(FILES, FILES_MOUNT));
    }
    mounts
}

fn output(fleet: &Fleet, effective: &Effective) -> Volume {
    if effective.output == OutputMode::PodLocal {
        let limit = (effective.byte_limit >> 20) + LOCAL_SLACK_MEBIBYTES;
        return Volume {
            name: OUTPUT.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity(format!("{limit}Mi"))),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        };
    }
    Volume {
        name: OUTPUT.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: fleet.transcoder.output_claim.clone(),
            read_only: None,
        }),
        ..Volume::default()
    }
}

fn scratch() -> Volume {
    Volume {
        name: SCRATCH.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(SCRATCH_LIMIT.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The platform team's own: read-only as a volume too, so that the kubelet gives none of it to the pod's group.
fn files(claim: &str) -> Volume {
    Volume {
        name: FILES.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: Some(true),
        }),
        ..Volume::default()
    }
}

fn sources(files: &[SecretFile]) -> Volume {
    let projection = |file: &SecretFile| VolumeProjection {
        secret: Some(SecretProjection {
            name: file.secret.clone(),
            items: Some(vec![KeyToPath {
                key: file.key.clone(),
                path: file.path.clone(),
                ..KeyToPath::default()
            }]),
            optional: file.optional.then_some(true),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: SOURCES.to_owned(),
        projected: Some(ProjectedVolumeSource {
            // Read by the one user of the pod through its group.
            default_mode: Some(0o440),
            sources: Some(files.iter().map(projection).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}
