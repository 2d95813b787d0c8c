//! Starts the process's log: one line per event on standard error, JSON for machines or text for people.
//! Standard output is never written to: it belongs to what a program was asked to print.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged and how. Flatten it into a process's settings.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// Least important level to log, or levels by module: `info`, `warn,gateway=debug`
    #[arg(
        id = "log",
        long = "log",
        env = "HEADEND_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub filter: Targets,
    /// Form of a log line (default: text on a terminal, else json)
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "HEADEND_LOG_FORMAT",
        value_name = "FORMAT"
    )]
    pub format: Option<LogFormat>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, fields flattened.
    Json,
    /// One readable line per event.
    Text,
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Something else already took the process-wide subscriber.
    #[error("failed to start logging: {0}")]
    Start(#[source] TryInitError),
}

/// Starts logging for the whole process; call once, first.
///
/// # Errors
/// When logging was started before.
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match effective_format(settings.format, terminal) {
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            // The innermost span alone: it repeats what the ones around it say.
            .with_span_list(false)
            .boxed(),
        LogFormat::Text => layer.with_ansi(terminal).with_target(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(settings.filter.clone()))
        .try_init()
        .map_err(TelemetryError::Start)
}

fn effective_format(chosen: Option<LogFormat>, terminal: bool) -> LogFormat {
    match (chosen, terminal) {
        (Some(format), _) => format,
        (None, true) => LogFormat::Text,
        (None, false) => LogFormat::Json,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        log: LogSettings,
    }

    #[test]
    fn the_filter_is_levels_by_module() {
        let settings = Settings::try_parse_from(["x", "--log", "warn,gateway=debug"]).unwrap();
        let expected = Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("gateway", LevelFilter::DEBUG);
        assert_eq!(settings.log.filter, expected);
    }

    #[test]
    fn a_bad_filter_is_refused_when_the_settings_are_parsed() {
        assert!(Settings::try_parse_from(["x", "--log", "gateway=loud"]).is_err());
        assert!(Settings::try_parse_from(["x", "--log-format", "xml"]).is_err());
    }

    #[test]
    fn lines_are_text_for_people_and_json_for_machines_unless_chosen() {
        assert_eq!(effective_format(None, true), LogFormat::Text);
        assert_eq!(effective_format(None, false), LogFormat::Json);
        assert_eq!(
            effective_format(Some(LogFormat::Json), true),
            LogFormat::Json
        );
        assert_eq!(
            effective_format(Some(LogFormat::Text), false),
            LogFormat::Text
        );
    }
}
