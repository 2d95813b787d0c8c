//! What a process of the operator's binary is told by its environment. The only place that reads it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use presence::redis::RedisSettings;
use runtime::telemetry::LogSettings;
use runtime::trace::TraceSettings;

use crate::leader::Timing;

/// Turns LiveStreams into transcoder pods, and idle ones into nothing.
#[derive(Debug, Clone, Parser)]
#[command(name = "headend-operator", version = runtime::build::version())]
pub enum Settings {
    /// Reconciles LiveStreams (what happens without a subcommand)
    Run(Box<RunSettings>),
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
    /// Traces of starts, of this process and of transcoders
    #[command(flatten)]
    pub trace: TraceSettings,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "HEADEND_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Which of several replicas reconciles
    #[command(flatten)]
    pub election: ElectionSettings,
    /// What becomes of streams that nobody watches
    #[command(flatten)]
    pub collection: CollectionSettings,
    /// File of 32 random bytes: the key with which the jobs of pods that wait are signed; without it no class has any
    #[arg(long, env = "HEADEND_JOB_KEY_FILE")]
    pub job_key: Option<PathBuf>,
    /// Where presence is kept
    #[command(flatten)]
    pub redis: RedisSettings,
    /// What transcoder pods are made of
    #[command(flatten)]
    pub transcoder: TranscoderSettings,
}

/// Whether and how fast streams that nobody watches are collected.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CollectionSettings {
    /// Collect streams that nobody watches; false stops every collection of the release, and says so
    #[arg(long, env = "HEADEND_COLLECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub collect: bool,
    /// How many of them are removed in a second at most; others wait for their turn
    #[arg(
        long = "collections-per-second",
        env = "HEADEND_COLLECTIONS_PER_SECOND",
        default_value = "20"
    )]
    pub per_second: NonZeroU32,
}

/// How several replicas elect the one that reconciles.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ElectionSettings {
    /// Lease (coordination.k8s.io) by which replicas elect one of them; without it this one always reconciles
    #[arg(long = "election-lease", env = "HEADEND_ELECTION_LEASE", value_parser = clap::builder::NonEmptyStringValueParser::new(), requires = "identity")]
    pub lease: Option<String>,
    /// What this replica is called in the Lease: the name of its pod
    #[arg(long = "election-identity", env = "HEADEND_ELECTION_IDENTITY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub identity: Option<String>,
    /// After how many seconds without a renewal another replica takes over
    #[arg(long = "election-lease-seconds", env = "HEADEND_ELECTION_LEASE_SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,
    /// After how many seconds without a renewal a leader stops by itself; less than the above
    #[arg(long = "election-renew-seconds", env = "HEADEND_ELECTION_RENEW_SECONDS", default_value = "10", value_parser = seconds)]
    pub renew_deadline: Duration,
    /// How many seconds lie between two looks at the Lease; less than the above
    #[arg(long = "election-retry-seconds", env = "HEADEND_ELECTION_RETRY_SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_period: Duration,
}

/// Times of an election that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the election's seconds must fall: lease {lease} > renew {renew} > retry {retry} > 0; correct --election-lease-seconds, --election-renew-seconds or --election-retry-seconds"
)]
pub struct ElectionTimes {
    lease: u64,
    renew: u64,
    retry: u64,
}

impl ElectionSettings {
    /// Its times.
    ///
    /// # Errors
    /// When two replicas could lead at once by them, or none ever.
    pub(crate) fn timing(&self) -> Result<Timing, ElectionTimes> {
        let (lease, renew, retry) = (self.lease_duration, self.renew_deadline, self.retry_period);
        if lease > renew && renew > retry && !retry.is_zero() {
            return Ok(Timing {
                lease,
                renew,
                retry,
            });
        }
        Err(ElectionTimes {
            lease: lease.as_secs(),
            renew: renew.as_secs(),
            retry: retry.as_secs(),
        })
    }
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
    /// Deployment of the gateways, which end first: for who watches they would make streams again
    #[arg(long, env = "HEADEND_GATEWAY_DEPLOYMENT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub gateway_deployment: Option<String>,
    /// Deployment of the operators, which end last, with the pods that wait for streams: they would make them again
    #[arg(long, env = "HEADEND_OPERATOR_DEPLOYMENT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub operator_deployment: Option<String>,
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
        let expected = CollectionSettings {
            collect: true,
            per_second: NonZeroU32::new(20).unwrap(),
        };
        assert_eq!(settings.collection, expected);
        assert_eq!(settings.release.namespace, "tv");
        assert_eq!(settings.admin_listen.port(), 9090);
        assert_eq!(settings.election.lease, None);
        assert_eq!(
            settings.election.timing().unwrap().renew,
            Duration::from_secs(10)
        );
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
    fn times_by_which_two_could_lead_at_once_are_refused() {
        let election = |words: &[&str]| {
            let run = [
                "--transcoder-image",
                "x",
                "--output-claim",
                "x",
                "--election-lease",
                "one",
            ];
            match parse(&[&RELEASE[..], &run[..], words].concat()) {
                Ok(Settings::Run(settings)) => {
                    settings.election.timing().map_err(|e| e.to_string())
                }
                Ok(_) => panic!("run must be the default"),
                Err(error) => Err(error.to_string()),
            }
        };
        assert!(election(&["--election-identity", "a"]).is_ok());
        let refused = election(&["--election-identity", "a", "--election-renew-seconds", "15"]);
        assert!(refused.unwrap_err().contains("lease 15 > renew 15"));
        let nameless = election(&[]).unwrap_err();
        assert!(nameless.contains("--election-identity"), "{nameless}");
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
