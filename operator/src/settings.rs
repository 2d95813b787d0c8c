//! What a process of the operator's binary is told by its environment. The only place that reads it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use presence::redis::RedisSettings;
use runtime::telemetry::LogSettings;

/// Turns LiveStreams into transcoder pods, and idle ones into nothing.
#[derive(Debug, Clone, Parser)]
#[command(name = "headend-operator", version = runtime::build::version())]
pub enum Settings {
    /// Reconciles LiveStreams (what happens without a subcommand)
    Run(RunSettings),
    /// Removes what pods that are gone have left on the output volume
    Sweep(SweepSettings),
    /// Stops every stream of the release, before it is uninstalled
    Uninstall(UninstallSettings),
}

/// Which release this process belongs to, and its log.
#[derive(Debug, Clone, clap::Args)]
pub struct ReleaseSettings {
    /// Its log
    #[command(flatten)]
    pub log: LogSettings,
    /// Namespace of the release; nothing outside of it is touched
    #[arg(long, env = "HEADEND_NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub namespace: String,
    /// Name of the release (label app.kubernetes.io/instance)
    #[arg(long, env = "HEADEND_INSTANCE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub instance: String,
}

/// Settings of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunSettings {
    /// The release
    #[command(flatten)]
    pub release: ReleaseSettings,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "HEADEND_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Where presence is kept
    #[command(flatten)]
    pub redis: RedisSettings,
    /// What transcoder pods are made of
    #[command(flatten)]
    pub transcoder: TranscoderSettings,
}

/// What every transcoder pod gets, whatever its class.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TranscoderSettings {
    /// Image of transcoder pods
    #[arg(long = "transcoder-image", env = "HEADEND_TRANSCODER_IMAGE")]
    pub image: String,
    /// When that image is pulled: Always, IfNotPresent or Never
    #[arg(long = "transcoder-image-pull-policy", env = "HEADEND_TRANSCODER_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub image_pull_policy: String,
    /// Secrets with which that image is pulled, separated by commas
    #[arg(
        long = "transcoder-image-pull-secrets",
        env = "HEADEND_TRANSCODER_IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    pub image_pull_secrets: Vec<String>,
    /// PersistentVolumeClaim that transcoder pods write to
    #[arg(long, env = "HEADEND_OUTPUT_CLAIM")]
    pub output_claim: String,
    /// Keep every pod that uses the output volume on one node (a ReadWriteOnce volume)
    #[arg(long, env = "HEADEND_OUTPUT_AFFINITY", default_value_t = false, action = clap::ArgAction::Set)]
    pub output_affinity: bool,
}

/// Settings of `sweep`.
#[derive(Debug, Clone, clap::Args)]
pub struct SweepSettings {
    /// The release
    #[command(flatten)]
    pub release: ReleaseSettings,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "HEADEND_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Where the output volume is mounted
    #[arg(long, env = "HEADEND_OUTPUT_DIRECTORY")]
    pub output_directory: PathBuf,
    /// How long the directory of a pod that is gone is kept while its LiveStream is there, in seconds; the default fits the longest
    /// playlist a class can have
    #[arg(long = "sweep-retention-seconds", env = "HEADEND_SWEEP_RETENTION_SECONDS", default_value = "610", value_parser = seconds)]
    pub retention: Duration,
}

/// Settings of `uninstall`.
#[derive(Debug, Clone, clap::Args)]
pub struct UninstallSettings {
    /// The release
    #[command(flatten)]
    pub release: ReleaseSettings,
    /// How long to wait for the pods to end, in seconds
    #[arg(long = "uninstall-timeout-seconds", env = "HEADEND_UNINSTALL_TIMEOUT_SECONDS", default_value = "90", value_parser = seconds)]
    pub timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

impl Settings {
    /// Reads arguments and environment; ends the process with a message where they are wrong.
    #[must_use]
    pub fn read() -> Self {
        Self::parse_from(with_command(std::env::args_os().collect()))
    }

    /// How to log.
    #[must_use]
    pub fn log(&self) -> &LogSettings {
        match self {
            Self::Run(settings) => &settings.release.log,
            Self::Sweep(settings) => &settings.release.log,
            Self::Uninstall(settings) => &settings.release.log,
        }
    }
}

/// The arguments with `run` put in where no subcommand stands.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).and_then(|argument| argument.to_str());
    let asks = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if !asks && first.is_none_or(|argument| argument.starts_with('-')) {
        arguments.insert(arguments.len().min(1), "run".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Result<Settings, clap::Error> {
        let words = std::iter::once("headend-operator").chain(words.iter().copied());
        Settings::try_parse_from(with_command(words.map(OsString::from).collect()))
    }

    const RELEASE: [&str; 4] = ["--namespace", "tv", "--instance", "one"];

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_without_a_subcommand() {
        let words = [
            "--transcoder-image",
            "transcoder:1",
            "--output-claim",
            "output",
            "--output-affinity",
            "true",
        ];
        let Ok(Settings::Run(settings)) = parse(&[&RELEASE[..], &words[..]].concat()) else {
            panic!("run must be the default");
        };
        assert_eq!(
            settings.transcoder,
            TranscoderSettings {
                image: "transcoder:1".to_owned(),
                image_pull_policy: "IfNotPresent".to_owned(),
                image_pull_secrets: Vec::new(),
                output_claim: "output".to_owned(),
                output_affinity: true,
            }
        );
        assert_eq!(settings.release.namespace, "tv");
        assert_eq!(settings.admin_listen.port(), 9090);
    }

    #[test]
    fn a_sweep_keeps_directories_as_long_as_any_playlist_can_name_them() {
        let words = ["sweep", "--output-directory", "/output"];
        let Ok(Settings::Sweep(settings)) = parse(&[&words[..], &RELEASE[..]].concat()) else {
            panic!("sweep must be read");
        };
        // The longest segment and the longest playlist that the schema of a class permits.
        assert_eq!(settings.retention, Duration::from_secs(10 + 600));
    }

    #[test]
    fn wrong_settings_are_refused() {
        let no_policy = [
            "--transcoder-image",
            "x",
            "--output-claim",
            "x",
            "--transcoder-image-pull-policy",
            "Sometimes",
        ];
        assert!(parse(&[&RELEASE[..], &no_policy[..]].concat()).is_err());
        assert!(parse(&["sweep", "--namespace", "", "--instance", "one"]).is_err());
        assert!(parse(&["dance"]).is_err());
    }
}
