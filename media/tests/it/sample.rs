//! FFmpeg as the judge of streams that we make.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Decodes every frame strictly; returns what FFmpeg had to say, which is nothing for a clean stream.
pub(crate) fn complaints(stream: &[u8]) -> String {
    let arguments = "-v warning -xerror -err_detect explode -f mpegts -i pipe:0 -f null -";
    let output = run("ffmpeg", arguments, stream);
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        text.push_str(&output.status.to_string());
    }
    text
}

/// Runs a program, its arguments separated by blanks, that reads `input` from its standard input.
pub(crate) fn run(program: &str, arguments: &str, input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that has seen enough closes its end; that is its right.
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}
