//! Runs the commands of a task one after the other, each printed as it runs. Stops at the first that fails; never hides a command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A command of the workspace, started in its root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// A cargo command, by the cargo that started this task.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, arguments)
}

/// Prints the command, runs it, and says how long it took.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let line = describe(&command);
    eprintln!("\n$ {line}");
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("failed to start {line}"))?;
    eprintln!("  {} s", started.elapsed().as_secs());
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}

/// The command as a person would type it: variables that differ, program, arguments.
fn describe(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    let program = Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = variables.chain([program]).chain(arguments).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut shown = command("/usr/bin/npm", &["run", "build"]);
        shown.env("UPDATE", "1");
        assert_eq!(describe(&shown), "UPDATE=1 npm run build");
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = run(command("false", &[])).unwrap_err().to_string();
        assert!(
            error.contains("false") && error.contains("exit status: 1"),
            "{error}"
        );
        let error = format!("{:#}", run(command("no-such-program", &[])).unwrap_err());
        assert!(error.contains("failed to start no-such-program"), "{error}");
    }
}
