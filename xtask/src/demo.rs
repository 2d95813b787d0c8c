//! `cargo xtask demo`: the product in one process on this machine, with two synthetic channels or a list of the user's own.
//! Installs what is missing, and leaves no process behind however it ends.

mod children;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cluster::ensure_packages;
use crate::steps::{cargo, root, run};
use crate::web;
use children::{Children, End};

/// Two channels that look and behave differently: one passes through as it is, one has a longer wait for its keyframes.
const CHANNELS: [&str; 2] = ["test-one:size=1280x720,bitrate=2500,gop=1", "test-two"];

/// Plays two synthetic channels, or a channel list of yours, on this machine
#[derive(Args)]
pub(crate) struct Arguments {
    /// Plays this channel list instead: an M3U file, a YAML catalog, or the http address of an M3U
    #[arg(long, value_name = "FILE|URL")]
    playlist: Option<String>,
    /// Where viewers connect; port 8080 of this machine, or a free one when that is taken
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// A channel that nobody has watched for so many seconds is stopped
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    idle_timeout_seconds: u32,
    /// Which renditions, such as `source` (passed through) or `high` (720p, 480p and 360p)
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// Runs the programs as they were built last
    #[arg(long)]
    no_build: bool,
}

/// Runs the task.
pub(crate) fn run_demo(arguments: &Arguments) -> Result<()> {
    ensure_ffmpeg()?;
    if !arguments.no_build {
        build()?;
    }
    let folder = tempfile::Builder::new().prefix("headend-demo-").tempdir()?;
    let mut children = Children::new()?;
    let outcome = play(arguments, &mut children, folder.path());
    let ended = children.end();
    outcome.and(ended)
}

fn build() -> Result<()> {
    if let Err(error) = web::build() {
        eprintln!("LEFT OUT: the start page's player: {error:#}");
    }
    let packages = ["--package", "standalone", "--package", "testkit", "--bins"];
    run(cargo(&[&["build"], packages.as_slice()].concat()))
}

fn play(arguments: &Arguments, children: &mut Children, folder: &Path) -> Result<()> {
    let playlist = match &arguments.playlist {
        Some(playlist) => playlist.clone(),
        None => synthetic(children, folder)?,
    };
    let listen = arguments.listen.unwrap_or_else(default_address);
    let mut command = program("headend-standalone")?;
    command
        .arg("--playlist")
        .arg(playlist)
        .arg("--listen")
        .arg(listen.to_string())
        .arg("--directory")
        .arg(folder.join("output"))
        .arg("--idle-timeout-seconds")
        .arg(arguments.idle_timeout_seconds.to_string());
    if let Some(preset) = &arguments.preset {
        command.arg("--preset").arg(preset);
    }
    if std::env::var_os("HEADEND_LOG").is_none() {
        // What happens is told on standard output; the log is for trouble.
        command.env("HEADEND_LOG", "warn");
    }
    eprintln!("\nCtrl-C ends it.\n");
    children.start("headend-standalone", &mut command)?;
    match children.wait()? {
        End::Signal => {
            eprintln!("\nending");
            Ok(())
        }
        End::Child { name, status } => bail!("{name} ended with {status}"),
    }
}

/// Starts the live source and writes the list of its channels.
fn synthetic(children: &mut Children, folder: &Path) -> Result<String> {
    eprintln!("\nmaking two synthetic channels (kept for the next time)");
    let source = |further: &[&str]| -> Result<Command> {
        let mut command = program("headend-testkit")?;
        command.arg("source").args(further);
        for channel in CHANNELS {
            command.args(["--channel", channel]);
        }
        Ok(command)
    };
    children.start("the maker of channels", &mut source(&["--prepare"])?)?;
    match children.wait()? {
        End::Child { status, .. } if status.success() => {}
        End::Child { name, status } => bail!("{name} ended with {status}"),
        End::Signal => bail!("interrupted"),
    }
    let mut command = source(&["--listen", "127.0.0.1:0"])?;
    command.stdout(Stdio::piped());
    let output = children.start("the live source", &mut command)?;
    let urls = announced(output.context("failed to read what the live source says")?)?;
    let list = folder.join("channels.m3u");
    std::fs::write(&list, channel_list(&urls))?;
    Ok(list.to_string_lossy().into_owned())
}

/// The addresses that the live source prints after the one it listens on.
fn announced(output: ChildStdout) -> Result<Vec<String>> {
    let lines: Vec<String> = BufReader::new(output)
        .lines()
        .take(1 + CHANNELS.len())
        .collect::<std::io::Result<_>>()?;
    if lines.len() < 1 + CHANNELS.len() {
        bail!("the live source ended before it listened");
    }
    Ok(lines.into_iter().skip(1).collect())
}

fn channel_list(urls: &[String]) -> String {
    let mut list = "#EXTM3U\n".to_owned();
    for (channel, url) in CHANNELS.iter().zip(urls) {
        let slug = channel.split(':').next().unwrap_or(channel);
        let name = slug.replace("test-", "Test ");
        list.push_str(&format!(
            "#EXTINF:-1 headend-slug=\"{slug}\",{name}\n{url}\n"
        ));
    }
    list
}

fn default_address() -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// A program that cargo built beside this one.
fn program(name: &str) -> Result<Command> {
    let own = std::env::current_exe().context("failed to find this program's own path")?;
    let path = own.with_file_name(name);
    let fallback: PathBuf = root().join("target/debug").join(name);
    Ok(Command::new(if path.exists() { path } else { fallback }))
}

/// Installs FFmpeg where that is possible, else says how.
pub(crate) fn ensure_ffmpeg() -> Result<()> {
    let works = |program: &str| {
        let mut command = Command::new(program);
        command.arg("-version").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if works("ffmpeg") {
        return Ok(());
    }
    let may_install = rustix::process::geteuid().is_root() && works("apt-get");
    if !may_install {
        bail!(
            "FFmpeg is missing: install it (Debian: apt-get install ffmpeg, as root) and run this again"
        );
    }
    ensure_packages(&["ffmpeg"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_synthetic_channels_are_a_channel_list() {
        let urls = [
            "http://127.0.0.1:1/test-one.ts",
            "http://127.0.0.1:1/test-two.ts",
        ];
        assert_eq!(
            channel_list(&urls.map(str::to_owned)),
            "#EXTM3U\n\
             #EXTINF:-1 headend-slug=\"test-one\",Test one\nhttp://127.0.0.1:1/test-one.ts\n\
             #EXTINF:-1 headend-slug=\"test-two\",Test two\nhttp://127.0.0.1:1/test-two.ts\n"
        );
    }
}
