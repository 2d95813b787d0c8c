//! The process itself: what it says to people when its job is no good, and how it ends.

use std::process::Command;

fn transcoder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headend-transcoder"));
    command.env_clear().env("HEADEND_LISTEN", "127.0.0.1:0");
    command
}

#[test]
fn a_bad_job_is_one_clear_message_and_code_2() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = transcoder()
        .env("HEADEND_JOB", "{\"version\":9}")
        .env("HEADEND_TERMINATION_LOG", log.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected = "failed to read the job document: version 9 is unknown, this transcoder reads version 1; upgrade the transcoder image";
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, format!("headend-transcoder: {expected}\n"));
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), expected);
}

#[test]
fn a_missing_job_is_named_with_its_variable() {
    let output = transcoder().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--job"), "{told}");
}
