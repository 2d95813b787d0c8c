//! What the product logs while a test runs, shown with the test when it fails. Says nothing where a test passes.

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
