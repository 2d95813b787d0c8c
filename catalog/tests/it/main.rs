//! The catalog in real files and stores: what is read, what is refused and how it is said, and what happens when they change.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod fetch;
mod load;
mod reload;
mod store;
mod transfer;

use std::path::Path;

use catalog::TokenKey;

pub(crate) fn key() -> TokenKey {
    TokenKey::new(b"a key that is long enough for tests").unwrap()
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

/// A file with one channel of that name.
pub(crate) fn one_channel(name: &str) -> String {
    format!("channels:\n  - name: {name}\n    sources: [{{ url: 'http://source.example/1' }}]\n")
}
