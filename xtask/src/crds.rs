//! `cargo xtask crds`: rewrites crds/ by the test that compares it, so that there is one generator.

use anyhow::Result;

use crate::steps;

/// Rewrites crds/ from the types in `api`.
pub(crate) fn run() -> Result<()> {
    let mut command = steps::cargo(&[
        "test",
        "--quiet",
        "--package",
        "api",
        "--test",
        "it",
        "the_committed_crds",
    ]);
    command.env("UPDATE", "1");
    steps::run(command)
}
