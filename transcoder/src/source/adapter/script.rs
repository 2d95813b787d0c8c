//! What FFmpeg is told to make a transport stream of a source of another protocol. Pure. The address stands in the script that
//! FFmpeg reads from its standard input, never among the arguments, which everybody on the machine can read.

use std::ffi::OsString;

use upstream::foreign::Protocol;
use url::Url;

/// Bytes and microseconds of the source that are looked at at most before anything comes out. It takes less where every track is
/// seen before; servers that send a second of sound before the first picture are not rare.
const PROBE_BYTES: &str = "5000000";
const PROBE_MICROSECONDS: &str = "3000000";
/// Silence on a connection that FFmpeg itself ends, in microseconds. We give up before, and do not rely on this.
const SILENCE_MICROSECONDS: &str = "20000000";

/// The arguments, for a script on standard input and a transport stream on standard output.
pub(super) fn arguments(protocol: Protocol) -> Vec<OsString> {
    let input = [
        "-f",
        "concat",
        "-safe",
        "0",
        "-protocol_whitelist",
        whitelist(protocol),
        "-probesize",
        PROBE_BYTES,
        "-analyzeduration",
        PROBE_MICROSECONDS,
        "-i",
        "pipe:0",
    ];
    let common = [
        "-nostdin",
        "-hide_banner",
        "-nostats",
        // It says by the way when it is connected; the level before each line tells that from what is wrong.
        "-loglevel",
        "repeat+level+verbose",
        "-copyts",
    ];
    let all = common.into_iter().chain(input).chain(OUTPUT);
    all.map(OsString::from).collect()
}

/// One picture and every sound, as they are, each packet as soon as it is there. A sound that is announced and does not come holds
/// the picture up for a second, not for ten.
const OUTPUT: [&str; 23] = [
    "-map",
    "0:v:0?",
    "-map",
    "0:a?",
    "-c",
    "copy",
    "-max_interleave_delta",
    "1000000",
    "-mpegts_copyts",
    "1",
    "-muxdelay",
    "0",
    "-muxpreload",
    "0",
    "-avoid_negative_ts",
    "disabled",
    "-flush_packets",
    "1",
    "-sdt_period",
    "3600",
    "-f",
    "mpegts",
    "pipe:1",
];

/// The protocols that FFmpeg may use: what the source's own needs, and the pipe that the script comes through.
fn whitelist(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtmp => "pipe,rtmp,tcp",
        Protocol::Rtmps => "pipe,rtmps,tls,tcp",
        Protocol::Rtsp => "pipe,rtp,tcp",
        Protocol::Rtsps => "pipe,rtp,tls,tcp",
        Protocol::Srt => "pipe,srt",
        Protocol::Udp => "pipe,udp",
        Protocol::Rtp => "pipe,rtp,udp",
    }
}

/// What is said of one protocol's connection.
fn options(protocol: Protocol) -> &'static [(&'static str, &'static str)] {
    match protocol {
        Protocol::Rtmp => &[("rw_timeout", SILENCE_MICROSECONDS), ("rtmp_live", "live")],
        Protocol::Rtmps => &[
            ("rw_timeout", SILENCE_MICROSECONDS),
            ("rtmp_live", "live"),
            ("tls_verify", "1"),
        ],
        // Over the connection that is there: other ports would have to be open, and lost packets are lost pictures.
        Protocol::Rtsp => &[("rtsp_transport", "tcp"), ("timeout", SILENCE_MICROSECONDS)],
        Protocol::Rtsps => &[
            ("rtsp_transport", "tcp"),
            ("timeout", SILENCE_MICROSECONDS),
            ("tls_verify", "1"),
        ],
        Protocol::Srt => &[
            ("timeout", SILENCE_MICROSECONDS),
            ("connect_timeout", "10000"),
        ],
        // Where more comes than is read, some of it is lost and the rest plays.
        Protocol::Udp => &[("timeout", SILENCE_MICROSECONDS), ("overrun_nonfatal", "1")],
        Protocol::Rtp => &[],
    }
}

/// What FFmpeg reads from its standard input.
pub(super) fn script(protocol: Protocol, url: &Url) -> String {
    let mut script = format!("ffconcat version 1.0\nfile {}\n", quoted(url.as_str()));
    let probing = [
        ("probesize", PROBE_BYTES),
        ("analyzeduration", PROBE_MICROSECONDS),
    ];
    for (name, value) in probing.iter().chain(options(protocol)) {
        script.push_str(&format!("option {name} {value}\n"));
    }
    script
}

/// A word of the script whatever is in it. An address has no line breaks: they are taken out where it is parsed.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_one_word_whatever_is_in_it() {
        let url = Url::parse("rtmp://a.example/live/it's\noption x y?a=' b\\").unwrap();
        let script = script(Protocol::Rtmp, &url);
        let expected = r"ffconcat version 1.0
file 'rtmp://a.example/live/it'\''soption%20x%20y?a='\''%20b\'
option probesize 5000000
option analyzeduration 3000000
option rw_timeout 20000000
option rtmp_live live
";
        assert_eq!(script, expected);
    }

    #[test]
    fn only_what_a_protocol_needs_may_be_used() {
        let whitelist = |protocol| {
            let arguments = arguments(protocol);
            let at = arguments
                .iter()
                .position(|one| one == "-protocol_whitelist");
            arguments[at.unwrap() + 1].clone()
        };
        for protocol in [Protocol::Rtsp, Protocol::Rtmps, Protocol::Udp] {
            let allowed = whitelist(protocol).into_string().unwrap();
            assert!(
                !allowed.contains("file") && !allowed.contains("http"),
                "{allowed}"
            );
        }
        assert_eq!(whitelist(Protocol::Rtp), "pipe,rtp,udp");
    }
}
