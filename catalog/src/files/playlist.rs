//! Catalog files in M3U: each entry a channel. A row that cannot be one is left out and named; two with one slug are an error,
//! because nobody could say which of them a URL means.

use api::live_stream::SOURCE_SCHEMES;
use iptv::m3u::{self, Entry, Limits};

use crate::draft::{Draft, Place};
use crate::model::{Channel, ChannelSource};
use crate::slug;

/// Attribute of `#EXTINF` that names the channel's slug.
const SLUG: &str = "headend-slug";
/// Attribute of `#EXTINF` that names the channel's class.
const CLASS: &str = "headend-class";

/// Adds the entries of a list.
pub(super) fn add(draft: &mut Draft, file: &str, text: &[u8]) {
    let place = |line: usize| Place {
        file: file.to_owned(),
        line,
    };
    let playlist = match m3u::parse(text, Limits::default()) {
        Ok(playlist) => playlist,
        Err(error) => return draft.error(&place(1), error.to_string()),
    };
    for problem in playlist.problems {
        draft.warning(&place(problem.line), problem.fault.to_string());
    }
    for entry in playlist.entries {
        let place = place(entry.line);
        if has_known_scheme(&entry.url) {
            draft.add_channel(channel(entry), &place);
        } else {
            let schemes = SOURCE_SCHEMES.join(", ");
            let fault = format!(
                "the address of {:?} begins with none of {schemes}",
                entry.name
            );
            draft.warning(&place, fault);
        }
    }
}

fn has_known_scheme(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let is_one = |scheme: &str| {
        SOURCE_SCHEMES
            .iter()
            .any(|one| one.eq_ignore_ascii_case(scheme))
    };
    scheme.is_some_and(is_one)
}

fn channel(entry: Entry) -> Channel {
    let Entry {
        line: _,
        name,
        guide_id,
        guide_name: _,
        logo,
        number,
        groups,
        radio,
        user_agent,
        headers,
        url,
        mut attributes,
    } = entry;
    let slug = attributes
        .remove(SLUG)
        .unwrap_or_else(|| slug::derive(&name, guide_id.as_deref()));
    Channel {
        slug,
        name,
        number,
        group: groups.into_iter().next(),
        logo,
        guide_id,
        class: attributes.remove(CLASS),
        preset: None,
        audio_language: None,
        sources: vec![ChannelSource {
            url,
            user_agent,
            headers,
        }],
        radio,
    }
}
