//! Every reader of foreign bytes as a function of bytes. A function that returns has kept its promises; one that panics has not.
//! Fuzzers (`fuzz/`) and an ordinary test call the same functions; nothing of the product does.

mod documents;
mod requests;
mod segmenter;
mod sessions;
mod streams;
mod texts;
mod world;

/// A reader by the name of its fuzz target.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 16] = [
    ("codecs", streams::codecs),
    ("front_end", streams::front_end),
    ("packed_audio", streams::packed_audio),
    ("endless_audio", streams::endless_audio),
    ("tables", streams::tables),
    ("segmenter", segmenter::segmenter),
    ("channel_list", texts::channel_list),
    ("encoder_lines", texts::encoder_lines),
    ("hls_playlist", texts::hls_playlist),
    ("pipe_list", texts::pipe_list),
    ("import", texts::import),
    ("request", requests::request),
    ("session", sessions::session),
    ("segment_key", sessions::segment_key),
    ("job", documents::job),
    ("state", documents::state),
];

/// Calls the reader of this name; an unknown name is none of ours and reads nothing.
pub fn run(name: &str, bytes: &[u8]) {
    for (known, target) in TARGETS {
        if known == name {
            target(bytes);
        }
    }
}

/// The first byte as a number, and the others.
fn choice(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes {
        [first, rest @ ..] => (usize::from(*first), rest),
        [] => (0, bytes),
    }
}
