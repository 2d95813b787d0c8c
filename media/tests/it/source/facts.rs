//! Facts of each kind of source, held against the prober.

use media::codec::video::{Chroma, Scan};
use media::front_end::{AudioFacts, FrontEvent, SourceFacts, VideoFacts};
use media::unit::{AudioCodec, VideoCodec};
use serde_json::{Value, json};

use crate::source::probe;
use crate::source::stream::{events_of, make, television};

/// The last facts told, which must be complete.
fn facts_of(bytes: &[u8]) -> SourceFacts {
    let events = events_of(bytes, 1316);
    let facts = events.iter().rev().find_map(|event| match event {
        FrontEvent::Facts(facts) => Some(facts.clone()),
        _ => None,
    });
    let facts = facts.expect("facts are told");
    assert!(facts.complete, "{facts:?}");
    facts
}

/// Our facts in the prober's words.
fn video_in_words(video: &VideoFacts) -> Value {
    let dimensions = video.dimensions.expect("a size");
    let rate = video.frame_rate.expect("a frame rate");
    json!({
        "codec_name": match video.codec {
            VideoCodec::H264 => "h264",
            VideoCodec::Hevc => "hevc",
            VideoCodec::Mpeg2 => "mpeg2video",
            VideoCodec::Other(_) => "other",
        },
        "width": dimensions.width,
        "height": dimensions.height,
        "level": video.level,
        "avg_frame_rate": format!("{}/{}", rate.numerator, rate.denominator),
        "progressive": video.scan == Some(Scan::Progressive),
        "pix_fmt": match (video.chroma, video.bit_depth) {
            (Some(Chroma::Yuv420), Some(8)) => "yuv420p",
            (Some(Chroma::Yuv420), Some(10)) => "yuv420p10le",
            (Some(Chroma::Yuv422), Some(8)) => "yuv422p",
            (Some(Chroma::Yuv422), Some(10)) => "yuv422p10le",
            (Some(Chroma::Yuv444), Some(8)) => "yuv444p",
            _ => "other",
        },
    })
}

fn probed_video(bytes: &[u8]) -> Value {
    let stream = probe::stream(bytes, "video");
    let field_order = stream["field_order"].as_str().unwrap_or("progressive");
    json!({
        "codec_name": stream["codec_name"],
        "width": stream["width"],
        "height": stream["height"],
        "level": stream["level"],
        "avg_frame_rate": stream["r_frame_rate"],
        "progressive": matches!(field_order, "progressive" | "unknown"),
        "pix_fmt": stream["pix_fmt"],
    })
}

fn assert_video_as_probed(bytes: &[u8]) -> VideoFacts {
    let video = facts_of(bytes).video.expect("video");
    assert_eq!(video_in_words(&video), probed_video(bytes));
    video
}

fn assert_audio_as_probed(bytes: &[u8]) -> AudioFacts {
    let audio = facts_of(bytes).audio.expect("audio");
    let probed = probe::stream(bytes, "audio");
    let name = match audio.codec {
        AudioCodec::Aac => "aac",
        AudioCodec::AacLatm => "aac_latm",
        AudioCodec::Mpeg if audio.object_type == Some(34) => "mp3",
        AudioCodec::Mpeg => "mp2",
        AudioCodec::Ac3 => "ac3",
        AudioCodec::Eac3 => "eac3",
        AudioCodec::Other(_) => "other",
    };
    let ours = json!([
        name,
        audio.channels,
        audio.sample_rate.map(|rate| rate.to_string())
    ]);
    let theirs = json!([
        probed["codec_name"],
        probed["channels"],
        probed["sample_rate"]
    ]);
    assert_eq!(ours, theirs);
    audio
}

#[test]
fn h264_of_each_kind_is_read_as_the_prober_reads_it() {
    let x264 = "-c:v libx264 -preset ultrafast -g 10 -c:a aac -ac 2";
    let usual = format!("{x264} -pix_fmt yuv420p -profile:v high -bf 2");
    let video = assert_video_as_probed(&television("320x180", "30000/1001", 1.0, &usual));
    assert_eq!(video.codecs.as_deref(), Some("avc1.4d400d"));
    assert_video_as_probed(&television("640x352", "50", 0.5, &usual));
    let studio = format!("{x264} -pix_fmt yuv422p10le");
    assert_video_as_probed(&television("320x240", "24", 1.0, &studio));
}

#[test]
fn interlaced_h264_is_told_from_progressive() {
    let codecs = "-c:v libx264 -preset ultrafast -g 12 -pix_fmt yuv420p \
                  -flags +ilme+ildct -x264-params tff=1 -c:a ac3 -ac 2";
    let video = assert_video_as_probed(&television("720x576", "25", 1.0, codecs));
    assert_eq!(video.scan, Some(Scan::Interlaced));
}

#[test]
fn hevc_is_read_as_the_prober_reads_it() {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12";
    let video = assert_video_as_probed(&television(
        "320x180",
        "25",
        1.0,
        &format!("{x265} -pix_fmt yuv420p"),
    ));
    assert_eq!(video.codecs.as_deref(), Some("hvc1.1.6.L60.90"));
    let ten_bit = format!("{x265} -pix_fmt yuv420p10le");
    assert_video_as_probed(&television("640x360", "30", 1.0, &ten_bit));
}

#[test]
fn mpeg_2_is_read_as_the_prober_reads_it() {
    let codecs = "-c:v mpeg2video -b:v 1M -g 12 -bf 2 -flags +ilme+ildct -c:a mp2 -ac 2 -b:a 192k";
    let bytes = television("720x576", "25", 1.0, codecs);
    let video = facts_of(&bytes).video.expect("video");
    let mut ours = video_in_words(&video);
    let mut theirs = probed_video(&bytes);
    // The prober tells the level of the parameter table, not of the stream, and the field order of the pictures.
    for words in [&mut ours, &mut theirs] {
        words["level"] = Value::Null;
        words["progressive"] = Value::Null;
    }
    assert_eq!(ours, theirs);
    assert_eq!(video.scan, Some(Scan::Interlaced));
    assert_audio_as_probed(&bytes);
}

#[test]
fn audio_of_each_kind_is_read_as_the_prober_reads_it() {
    let video = "-c:v libx264 -preset ultrafast -g 10 -pix_fmt yuv420p";
    let sample = |audio: &str| television("160x96", "25", 1.0, &format!("{video} {audio}"));
    let stereo = assert_audio_as_probed(&sample("-c:a aac -ac 2 -ar 44100"));
    assert_eq!(stereo.codecs.as_deref(), Some("mp4a.40.2"));
    assert_audio_as_probed(&sample("-c:a aac -ac 1"));
    assert_audio_as_probed(&sample("-c:a aac -ac 6"));
    assert_audio_as_probed(&sample("-c:a mp2 -ac 2"));
    assert_audio_as_probed(&sample("-c:a libmp3lame -ac 2"));
    assert_audio_as_probed(&sample("-c:a ac3 -ac 6"));
    let enhanced = assert_audio_as_probed(&sample("-c:a eac3 -ac 2"));
    assert_eq!(enhanced.codecs.as_deref(), Some("ec-3"));
}

#[test]
fn the_preferred_language_is_found() {
    let bytes = make(
        "-f lavfi -i testsrc2=size=160x96:rate=25 -f lavfi -i sine=sample_rate=48000 \
         -f lavfi -i sine=sample_rate=48000 -t 1 -map 0 -map 1 -map 2 \
         -c:v libx264 -preset ultrafast -g 10 -pix_fmt yuv420p \
         -c:a:0 mp2 -c:a:1 aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger",
    );
    for (wanted, language, codec) in [
        (None, "eng", AudioCodec::Mpeg),
        (Some("deu"), "ger", AudioCodec::Aac),
    ] {
        let mut front = media::front_end::FrontEnd::new(media::front_end::FrontEndConfig {
            audio_language: wanted.map(str::to_owned),
            feed: false,
        });
        front.push(&bytes::Bytes::copy_from_slice(&bytes));
        let audio = front.facts().and_then(|facts| facts.audio.clone());
        let audio = audio.expect("audio");
        assert_eq!(
            (audio.language.as_deref(), audio.codec),
            (Some(language), codec)
        );
    }
}

#[test]
fn radio_has_facts_without_video() {
    let bytes = make("-f lavfi -i sine=sample_rate=48000 -t 1 -c:a mp2 -ac 2");
    let facts = facts_of(&bytes);
    assert_eq!(facts.video, None);
    assert_audio_as_probed(&bytes);
}

#[test]
fn keyframe_interval_and_audio_delay_are_learned() {
    let codecs = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac";
    let events = events_of(&television("160x96", "25", 3.0, codecs), 1316);
    let facts = events.iter().rev().find_map(|event| match event {
        FrontEvent::Facts(facts) => Some(facts.clone()),
        _ => None,
    });
    let interval = facts.expect("facts").keyframe_interval.expect("two keys");
    assert_eq!(interval, media::time::Ticks(90_000));
}
