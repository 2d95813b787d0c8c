//! Catalog files in M3U: each entry a channel. A row that cannot be one is left out and named; two with one slug are an error,
//! because nobody could say which of them a URL means.

use api::files;
use api::live_stream::SOURCE_SCHEMES;
use iptv::m3u::{self, Entry, Limits};

use crate::check::{NAME_MAXIMUM, NUMBER_MAXIMUM, URL_MAXIMUM, fits};
use crate::draft::{Draft, Place};
use crate::model::{Channel, ChannelSource};
use crate::slug;

/// Attribute of `#EXTINF` that names the channel's slug.
const SLUG: &str = "headend-slug";
/// Attribute of `#EXTINF` that names the channel's class.
const CLASS: &str = "headend-class";

/// Adds the entries of a list.
pub(crate) fn add(draft: &mut Draft, file: &str, text: &[u8]) {
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
    draft.leave_out_warnings(playlist.problems_left_out);
    for entry in playlist.entries {
        let place = place(entry.line);
        match scheme_fault(&entry.url) {
            None => {
                let mut channel = channel(entry);
                leave_out_what_does_not_fit(draft, &mut channel, &place);
                draft.add_channel(channel, &place);
            }
            Some(fault) => {
                draft.warning(&place, format!("the address of {:?} {fault}", entry.name));
            }
        }
    }
}

/// Lists name players' own protocols, and files of their users' machines.
fn scheme_fault(url: &str) -> Option<String> {
    if let Some(file) = files::path_of(url) {
        return file.err().map(|invalid| invalid.to_string());
    }
    let schemes = || format!("begins with none of {}", SOURCE_SCHEMES.join(", "));
    (!has_known_scheme(url)).then(schemes)
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

/// Lists have pictures written out as addresses, for one: a channel is a channel without.
pub(crate) fn leave_out_what_does_not_fit(draft: &mut Draft, channel: &mut Channel, place: &Place) {
    for (what, text, maximum) in [
        ("number", &mut channel.number, NUMBER_MAXIMUM),
        ("logo", &mut channel.logo, URL_MAXIMUM),
        ("guide id", &mut channel.guide_id, NAME_MAXIMUM),
    ] {
        if text
            .take_if(|text| !fits(text, maximum))
            .is_some_and(|text| !text.is_empty())
        {
            let fault = format!("the {what} is left out: it has more than {maximum} characters");
            draft.warning(place, fault);
        }
    }
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
        sources: vec![ChannelSource {
            user_agent,
            headers,
            ..ChannelSource::at(url)
        }],
        radio,
        ..Channel::default()
    }
}
