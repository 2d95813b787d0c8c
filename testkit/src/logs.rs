//! What the product logs while a test runs: shown with the test when it fails, or kept for it. Says nothing where a test passes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// Which lines are kept, where that is told: as `tracing_subscriber::EnvFilter` reads it.
const FILTER: &str = "HEADEND_TEST_LOG";

/// Logs from here on are captured as the output of the test that they were written in; calling again changes nothing.
pub fn with_the_test() {
    let filter = std::env::var(FILTER).unwrap_or_else(|_| "info".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_test_writer()
        .with_ansi(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter));
    let _ = subscriber.try_init();
}

/// The log of one thread, as a process writes it: a JSON object each line.
pub struct Captured {
    written: Written,
    _guard: DefaultGuard,
    // While there is one only, a place that is first passed by another test's thread asks that thread's, which is none.
    _second: Dispatch,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what this thread logs from here on, from `info` upwards.
#[must_use]
pub fn capture() -> Captured {
    let written = Written::default();
    let writer = written.clone();
    let layer = tracing_subscriber::fmt().json().flatten_event(true);
    let subscriber = layer.with_writer(move || writer.clone()).finish();
    let silent = tracing_subscriber::fmt().with_writer(io::sink);
    Captured {
        written,
        _guard: tracing::subscriber::set_default(subscriber),
        _second: Dispatch::new(silent.finish()),
    }
}

impl Captured {
    /// All lines so far.
    #[must_use]
    pub fn text(&self) -> String {
        let written = self.written.0.lock();
        let written = written.unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Those of a target.
    #[must_use]
    pub fn lines(&self, target: &str) -> Vec<serde_json::Value> {
        let text = self.text();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let of_target = |line: &serde_json::Value| line["target"] == target;
        lines.filter(of_target).collect()
    }
}
