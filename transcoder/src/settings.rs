//! Everything the process is told from outside. The only place where the environment is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use runtime::telemetry::LogSettings;
use runtime::trace::TraceSettings;

use crate::waiting::JobKey;

/// Runs one live stream: pulls the source, cuts it into segments, encodes where that is needed.
#[derive(Debug, Parser)]
#[command(name = "headend-transcoder", version)]
pub struct Settings {
    /// The logs.
    #[command(flatten)]
    pub log: LogSettings,
    /// The job document (JSON). Without it the process waits to be given one.
    #[arg(
        long,
        env = "HEADEND_JOB",
        hide_env_values = true,
        required_unless_present = "job_key"
    )]
    pub job: Option<String>,
    /// The public key (Ed25519, 64 hexadecimal digits) by which a process that waits knows the job that it is given.
    #[arg(long, env = "HEADEND_JOB_KEY", requires = "pod_uid")]
    pub job_key: Option<JobKey>,
    /// The uid of the pod, which is part of what is signed.
    #[arg(long, env = "HEADEND_POD_UID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub pod_uid: Option<String>,
    /// Traces of starts.
    #[command(flatten)]
    pub trace: TraceSettings,
    /// Where control HTTP, health and metrics listen.
    #[arg(long, env = "HEADEND_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The pod's terminationGracePeriodSeconds: after SIGTERM the stream goes on until it is told to stop, or until 5 s before this.
    #[arg(long, env = "HEADEND_GRACE_SECONDS", default_value_t = 30)]
    pub grace_seconds: u64,
    /// The FFmpeg to run.
    #[arg(long, env = "HEADEND_FFMPEG", default_value = "ffmpeg")]
    pub ffmpeg: PathBuf,
    /// Mebibytes of segments that may wait in memory for the volume.
    #[arg(long, env = "HEADEND_MEMORY_MEBIBYTES", default_value_t = 64)]
    pub memory_mebibytes: u64,
    /// Sources on this machine are allowed: for trying it out, never in a cluster.
    #[arg(long, env = "HEADEND_ALLOW_LOOPBACK", default_value_t = false)]
    pub allow_loopback: bool,
    /// Where the reason is written when the stream is given up, for the pod's status.
    #[arg(
        long,
        env = "HEADEND_TERMINATION_LOG",
        default_value = "/dev/termination-log"
    )]
    pub termination_log: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_settings_are_consistent_and_each_has_an_environment_variable() {
        let command = Settings::command();
        command.clone().debug_assert();
        for argument in command.get_arguments() {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }
}
