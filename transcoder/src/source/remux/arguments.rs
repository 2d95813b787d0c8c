//! What FFmpeg is told to join tracks that it reads from pipes. Pure.

use std::ffi::OsString;

use upstream::input::Format;

/// Number of the first input pipe in the child.
pub(super) const FIRST_PIPE: i32 = 3;

/// Bytes and microseconds of a track that are looked at at most before anything comes out. Fragmented MP4 says what it is in its
/// first bytes; of a transport stream so much is needed to see the size of its pictures.
const PROBE_BYTES: &str = "5000000";
const PROBE_MICROSECONDS: &str = "300000";
/// What waits for a track that has nothing yet, in microseconds. In a fragment one track lies behind the other: it must be longer
/// than a fragment, and a track that is announced and never comes holds up the other for so long.
const INTERLEAVE_MICROSECONDS: &str = "12000000";

/// The arguments for tracks of these formats, the main one first, and a transport stream on standard output.
pub(super) fn arguments(formats: &[Format]) -> Vec<OsString> {
    let mut all = words("-nostdin -hide_banner -nostats -loglevel error -copyts");
    for (pipe, format) in (FIRST_PIPE..).zip(formats) {
        let name = match format {
            Format::Mp4 => "mp4",
            // Sound without one is made one of.
            Format::TransportStream | Format::PackedAudio => "mpegts",
        };
        all.extend(words(&format!(
            "-protocol_whitelist pipe -probesize {PROBE_BYTES} -analyzeduration {PROBE_MICROSECONDS} -f {name} -i pipe:{pipe}"
        )));
    }
    // One picture and every sound of the main track, unless sound has a track of its own.
    all.extend(words(match formats {
        [_] => "-map 0:v:0? -map 0:a?",
        _ => "-map 0:v:0? -map 1:a:0?",
    }));
    all.extend(words(&format!(
        "-c copy -max_interleave_delta {INTERLEAVE_MICROSECONDS} -mpegts_copyts 1 -muxdelay 0 -muxpreload 0 \
         -avoid_negative_ts disabled -flush_packets 1 -sdt_period 3600 -f mpegts pipe:1"
    )));
    all
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(formats: &[Format]) -> String {
        let words = arguments(formats);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn each_track_has_a_pipe_and_sound_of_its_own_replaces_that_of_the_pictures() {
        let alone = told(&[Format::Mp4]);
        assert!(
            alone.contains("-f mp4 -i pipe:3 -map 0:v:0? -map 0:a? -c copy"),
            "{alone}"
        );
        let both = told(&[Format::TransportStream, Format::Mp4]);
        assert!(both.contains("-f mpegts -i pipe:3 "), "{both}");
        assert!(
            both.contains("-f mp4 -i pipe:4 -map 0:v:0? -map 1:a:0? -c copy"),
            "{both}"
        );
        assert_eq!(both.matches("-protocol_whitelist pipe ").count(), 2);
    }
}
