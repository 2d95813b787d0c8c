//! The process that runs one live stream. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    transcoder::sandbox::main(transcoder::process::main)
}
