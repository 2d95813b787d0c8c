//! Synthetic streams made by FFmpeg, as access units, and FFmpeg as the judge of what we make of them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use media::time::Ticks;
use media::ts::packet::Packet;
use media::ts::pes::{Assembly, Pes, PesAssembler};
use media::unit::{AccessUnit, RandomAccess, Track};

/// What a synthetic stream is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seconds: u32,
    pub(crate) group_of_pictures: u32,
    pub(crate) b_frames: u32,
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

impl Sample {
    pub(crate) const PLAIN: Self = Self {
        seconds: 9,
        group_of_pictures: 50,
        b_frames: 2,
        audio: true,
        video: true,
    };

    /// The transport stream.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let group = self.group_of_pictures.to_string();
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error"]);
        if self.video {
            command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
        }
        if self.audio {
            command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
            command.args(["-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
        }
        if self.video {
            command.args(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]);
            command.args(["-bf", &self.b_frames.to_string(), "-g", &group]);
            command.args(["-keyint_min", &group, "-sc_threshold", "0"]);
            command.args(["-b:v", "500k", "-pix_fmt", "yuv420p"]);
        }
        command.args(["-t", &self.seconds.to_string(), "-f", "mpegts", "pipe:1"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Its access units in the order of the bytes.
    pub(crate) fn units(&self) -> Vec<AccessUnit> {
        units(&self.bytes())
    }
}

/// Takes the access units out of a transport stream with video on the first and audio on the second PID of FFmpeg or of our own.
pub(crate) fn units(bytes: &[u8]) -> Vec<AccessUnit> {
    let (packets, rest) = bytes.as_chunks::<188>();
    assert!(rest.is_empty());
    let mut streams = [(Track::Video, 0x100), (Track::Audio, 0x101)].map(|(track, pid)| {
        let assembly = Assembly {
            limit: 8 << 20,
            joins_untimed: false,
            ends_on_stuffing: false,
        };
        (track, pid, PesAssembler::new(assembly))
    });
    if !packets
        .iter()
        .any(|packet| Packet::new(packet).pid() == 0x101)
    {
        streams[1].1 = if stream_id(packets) == Some(0xC0) {
            0x100
        } else {
            0x101
        };
        streams[0].1 = if streams[1].1 == 0x100 { 0 } else { 0x100 };
    }
    let mut found = Vec::new();
    let mut clock = Ticks::ZERO;
    for packet in packets {
        let packet = Packet::new(packet);
        if let Some(pcr) = packet.adaptation().and_then(|field| field.pcr) {
            clock = Ticks(i64::try_from(pcr).unwrap());
        }
        for (track, pid, assembler) in &mut streams {
            if packet.pid() == *pid {
                let step = assembler.push(packet);
                let done = step.ended.into_iter().chain(step.completed);
                found.extend(done.map(|pes| unit(*track, pes, clock)));
            }
        }
    }
    for (track, _, assembler) in &mut streams {
        found.extend(assembler.take().map(|pes| unit(*track, pes, clock)));
    }
    found
}

fn stream_id(packets: &[[u8; 188]]) -> Option<u8> {
    let first = packets
        .iter()
        .map(Packet::new)
        .find(|packet| packet.pid() == 0x100 && packet.starts_unit())?;
    first.payload().get(3).copied()
}

fn unit(track: Track, pes: Pes, arrival: Ticks) -> AccessUnit {
    let pts = Ticks(i64::try_from(pes.header.pts.unwrap()).unwrap());
    let dts = pes
        .header
        .dts
        .map_or(pts, |dts| Ticks(i64::try_from(dts).unwrap()));
    let random_access = match track {
        Track::Video if !is_idr(&pes.payload) => RandomAccess::None,
        _ => RandomAccess::Full,
    };
    AccessUnit {
        track,
        pts,
        dts,
        random_access,
        arrival,
        payload: Bytes::from(pes.payload),
    }
}

fn is_idr(payload: &[u8]) -> bool {
    payload
        .windows(4)
        .any(|window| window[..3] == [0, 0, 1] && window[3] & 0x1F == 5)
}

/// Decodes every frame strictly; returns what FFmpeg had to say, which is nothing for a clean stream.
pub(crate) fn complaints(stream: &[u8]) -> String {
    let arguments = [
        "-v",
        "warning",
        "-xerror",
        "-err_detect",
        "explode",
        "-f",
        "mpegts",
        "-i",
        "pipe:0",
        "-f",
        "null",
        "-",
    ];
    let output = run("ffmpeg", &arguments, stream);
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        text.push_str(&format!("{}", output.status));
    }
    text
}

/// Runs a program that reads `input` from its standard input.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}
