//! What a catalog knows of a channel, a group and a user. Plain values, checked by [`crate::draft`] before anyone sees them, and written
//! by store adapters as they are here: a field that is new has a default, one that is unknown is passed over.

mod source;
mod user;

use api::stream_class::Preset;
use serde::{Deserialize, Serialize};

pub use source::{ChannelSource, SourceAddress};
pub use user::{Allowed, Formats, OverLimit, Standing, Status, User, UserToken};

/// Something to watch or listen to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its name in URLs and of its LiveStream: a DNS label of at most 44 characters. Unique among channels.
    pub slug: String,
    /// The name that people read: 1 to 256 characters.
    pub name: String,
    /// Its number on a remote control, such as `7` or `7.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Id of the group it is listed in. A group that has no row of its own is named by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
    /// Its id in the XMLTV guide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide_id: Option<String>,
    /// Its place in lists; those of one place stand by slug.
    #[serde(default)]
    pub order: u32,
    /// Name of its StreamClass; the default class when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Which renditions, instead of what the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Preferred language of the audio (ISO 639-2), instead of what the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_language: Option<String>,
    /// Where it can be had, tried in order: 1 to 16.
    pub sources: Vec<ChannelSource>,
    /// No picture.
    #[serde(default, skip_serializing_if = "is_false")]
    pub radio: bool,
    /// Switched off: for viewers it is not there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
}

/// What channels are listed in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// What channels and users name it by: 1 to 256 characters. Unique among groups.
    pub id: String,
    /// The name that people read: 1 to 256 characters.
    pub name: String,
    /// Its place in lists; those of one place stand by id.
    #[serde(default)]
    pub order: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(value: &bool) -> bool {
    !*value
}
