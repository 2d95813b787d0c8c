//! Everything the process is told from outside. The only place where the environment is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use api::stream_class::{Preset, TranscodeMode};
use clap::Parser;
use runtime::telemetry::LogSettings;
use runtime::trace::TraceSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Headend in one process: plays the channels of a list, without a cluster.
#[derive(Debug, Parser)]
#[command(name = "headend-standalone", version)]
pub struct Settings {
    /// Logs.
    #[command(flatten)]
    pub log: LogSettings,
    /// Traces of starts.
    #[command(flatten)]
    pub trace: TraceSettings,
    /// Address for viewers.
    #[arg(long, env = "HEADEND_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address for probes and metrics; none when not given.
    #[arg(long, env = "HEADEND_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    /// Where channels and users come from.
    #[command(flatten)]
    pub channels: ChannelSettings,
    /// How streams run.
    #[command(flatten)]
    pub streams: StreamSettings,
}

/// Where channels and users come from.
#[derive(Debug, clap::Args)]
pub struct ChannelSettings {
    /// Files and directories with channels and users, separated by commas.
    #[arg(
        long,
        env = "HEADEND_CATALOG",
        value_delimiter = ',',
        required_unless_present_any = ["playlist", "catalog_file"]
    )]
    pub catalog: Vec<PathBuf>,
    /// A channel list: an M3U or YAML file, or the http address of an M3U, which is fetched every hour.
    #[arg(
        long,
        env = "HEADEND_PLAYLIST",
        hide_env_values = true,
        value_name = "FILE|URL"
    )]
    pub playlist: Option<String>,
    /// File with channels and users that the admin API changes. Made when it is not there, and filled from the lists above; later they are not
    /// looked at. Hashes of tokens are worth something only with the keys that they were made with.
    #[arg(long, env = "HEADEND_CATALOG_FILE", requires = "keys_directory")]
    pub catalog_file: Option<PathBuf>,
    /// Token of an administrator `admin`, who may do everything by the admin API (/api/v1); without it there is none.
    #[arg(long, env = "HEADEND_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Directory with the keys `session`, `segment` and `token`; new ones at every start when not given.
    #[arg(long, env = "HEADEND_KEYS_DIRECTORY")]
    pub keys_directory: Option<PathBuf>,
    /// Token of a user `guest` who may watch every channel; generated when there is no catalog.
    #[arg(long, env = "HEADEND_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// How streams run.
#[derive(Debug, clap::Args)]
pub struct StreamSettings {
    /// Where segments are written; a temporary directory when not given.
    #[arg(long, env = "HEADEND_OUTPUT_DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Where the files are that channels may be, as `file:///loops/barker.ts`, whichever class they have; none may when not given.
    #[arg(long, env = "HEADEND_FILES_DIRECTORY")]
    pub files_directory: Option<PathBuf>,
    /// YAML file with StreamClass objects, as in a cluster.
    #[arg(long, env = "HEADEND_CLASSES")]
    pub classes: Option<PathBuf>,
    /// Idle timeout of the class `default`, in seconds: how long nobody must have watched.
    #[arg(long, env = "HEADEND_IDLE_TIMEOUT_SECONDS", value_parser = clap::value_parser!(i32).range(15..=86_400))]
    pub idle_timeout_seconds: Option<i32>,
    /// Renditions of the class `default`: source, low, medium, high or ultra.
    #[arg(long, env = "HEADEND_PRESET", value_parser = named::<Preset>)]
    pub preset: Option<Preset>,
    /// Mode of the class `default`: Auto, Copy or Transcode.
    #[arg(long, env = "HEADEND_MODE", value_parser = named::<TranscodeMode>)]
    pub mode: Option<TranscodeMode>,
    /// The FFmpeg to run.
    #[arg(long, env = "HEADEND_FFMPEG", default_value = "ffmpeg")]
    pub ffmpeg: PathBuf,
    /// Memory for recent segments, in mebibytes.
    #[arg(long, env = "HEADEND_CACHE_MEBIBYTES", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub cache_mebibytes: u64,
}

/// A value by the name that it has in a StreamClass.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(name.to_owned())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from([&["headend-standalone"], arguments].concat())
    }

    #[test]
    fn the_settings_are_consistent_and_each_has_an_environment_variable() {
        let command = Settings::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn a_list_of_channels_is_all_that_must_be_given() {
        assert!(parse(&["--playlist", "channels.m3u"]).is_ok());
        assert!(parse(&["--catalog", "a.yaml,b"]).is_ok());
        assert!(parse(&["--catalog-file", "a.redb", "--keys-directory", "keys"]).is_ok());
        assert!(parse(&["--catalog-file", "a.redb"]).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn values_that_cannot_be_right_are_refused_by_name() {
        for (option, value) in [
            ("--idle-timeout-seconds", "14"),
            ("--preset", "huge"),
            ("--mode", "copy"),
            ("--cache-mebibytes", "0"),
        ] {
            let refused = parse(&["--playlist", "x", option, value]).unwrap_err();
            assert!(refused.to_string().contains(option), "{refused}");
        }
        let settings = parse(&["--playlist", "x", "--preset", "high"]).unwrap();
        assert_eq!(settings.streams.preset, Some(Preset::High));
    }
}
