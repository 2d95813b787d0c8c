//! The life of a child process, on shell scripts that behave badly and on the real FFmpeg.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio::time::timeout;

use super::*;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn script(text: &str, pipes: usize) -> EncoderCommand {
    EncoderCommand {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), text.into()],
        pipes,
        hurry: PATIENCE,
    }
}

/// Media by pipe, progress lines, and the end.
struct Seen {
    media: Vec<Vec<u8>>,
    progress: Vec<String>,
    exit: Exit,
    last_words: Option<String>,
}

type Events = mpsc::UnboundedReceiver<(u64, EncoderEvent)>;

fn start(command: EncoderCommand) -> (Encoder, Events) {
    let (reports, events) = mpsc::unbounded_channel();
    (Encoder::start(command, 7, reports), events)
}

async fn watch(events: &mut Events, pipes: usize) -> Seen {
    let mut media = vec![Vec::new(); pipes];
    let mut progress = Vec::new();
    let to_the_end = async {
        loop {
            let (number, event) = events.recv().await.unwrap();
            assert_eq!(number, 7);
            match event {
                EncoderEvent::Media { pipe, bytes } => media[pipe].extend_from_slice(&bytes),
                EncoderEvent::Progress(line) => progress.push(line),
                EncoderEvent::Ended { exit, last_words } => break (exit, last_words),
            }
        }
    };
    let (exit, last_words) = timeout(PATIENCE, to_the_end).await.unwrap();
    Seen {
        media,
        progress,
        exit,
        last_words,
    }
}

#[tokio::test]
async fn media_goes_in_and_comes_out_of_numbered_pipes() {
    let copy = script("tee /dev/fd/3 >&4; echo speed=1.0x; echo careful >&2", 2);
    let (mut encoder, mut events) = start(copy);
    let media = Bytes::from(vec![7; 3 << 20]);
    encoder.feed(media.clone());
    encoder.close();
    let seen = watch(&mut events, 2).await;
    assert_eq!(seen.exit, Exit::Code(0));
    assert!(seen.media == [media.clone(), media]);
    assert_eq!(seen.progress, ["speed=1.0x"]);
    assert_eq!(seen.last_words.as_deref(), Some("careful"));
}

#[tokio::test]
async fn what_is_looked_at_in_intervals_comes_whole_and_in_order_too() {
    let copy = script("tee /dev/fd/3 >&4", 2);
    let (mut encoder, mut events) = start(EncoderCommand {
        hurry: Duration::ZERO,
        ..copy
    });
    let media: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for piece in media.chunks(77_777) {
        encoder.feed(Bytes::copy_from_slice(piece));
    }
    encoder.close();
    let seen = watch(&mut events, 2).await;
    assert_eq!(seen.exit, Exit::Code(0));
    assert!(seen.media == [media.clone(), media]);
}

#[tokio::test]
async fn an_encoder_that_does_not_read_has_no_room_and_still_ends() {
    let (mut encoder, mut events) = start(script("sleep 100", 1));
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    let mut taken = 0;
    while encoder.has_room() {
        encoder.feed(megabyte.clone());
        taken += 1;
    }
    assert!((2..8).contains(&taken), "{taken}");
    encoder.close();
    let seen = watch(&mut events, 1).await;
    assert_eq!(seen.exit, Exit::Signal(15));
}

#[tokio::test]
async fn an_encoder_that_ignores_being_asked_is_killed() {
    let stubborn = script("trap '' TERM; while :; do sleep 0.05; done", 1);
    let (mut encoder, mut events) = start(stubborn);
    encoder.close();
    let seen = watch(&mut events, 1).await;
    assert_eq!(seen.exit, Exit::Signal(9));
}

#[tokio::test]
async fn an_encoder_that_dies_says_how_and_why() {
    let dying = script("echo 'no such filter' >&2; exit 7", 1);
    let (_encoder, mut events) = start(dying);
    let seen = watch(&mut events, 1).await;
    assert_eq!(seen.exit, Exit::Code(7));
    assert_eq!(seen.last_words.as_deref(), Some("no such filter"));
}

#[tokio::test]
async fn dropping_an_encoder_leaves_no_process() {
    let (encoder, mut events) = start(script("echo pid=$$; sleep 100", 1));
    let Some((_, EncoderEvent::Progress(line))) = timeout(PATIENCE, events.recv()).await.unwrap()
    else {
        panic!("no progress line");
    };
    let id: i32 = line.strip_prefix("pid=").unwrap().parse().unwrap();
    let pid = Pid::from_raw(id).unwrap();
    test_kill_process(pid).unwrap();
    drop(encoder);
    let gone = async {
        while test_kill_process(pid).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_missing_ends_at_once_and_says_why() {
    let missing = EncoderCommand {
        program: PathBuf::from("/nonexistent/ffmpeg"),
        arguments: Vec::new(),
        pipes: 1,
        hurry: PATIENCE,
    };
    let (encoder, mut events) = start(missing);
    encoder.feed(Bytes::from_static(b"media"));
    let seen = watch(&mut events, 1).await;
    assert_eq!(seen.exit, Exit::Code(-1));
    let words = seen.last_words.unwrap();
    assert!(
        words.starts_with("failed to start /nonexistent/ffmpeg: "),
        "{words}"
    );
}
