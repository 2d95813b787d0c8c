//! How a process is told to end.

use std::time::Duration;

use runtime::shutdown::signals;
use rustix::process::{Signal, getpid, kill_process};

#[tokio::test]
async fn the_first_signal_cancels_the_token() {
    let token = signals().unwrap();
    assert!(!token.is_cancelled());
    kill_process(getpid(), Signal::TERM).unwrap();
    let told = tokio::time::timeout(Duration::from_mins(1), token.cancelled()).await;
    assert!(told.is_ok());
}
