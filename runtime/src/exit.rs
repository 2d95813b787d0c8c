//! How a process ends: one clear message and a code that says whose turn it is, 2 for what the user must correct, 1 for everything else.
//! Nothing but `main` may use this to end a process.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;

type BoxError = Box<dyn Error + Send + Sync>;

/// Why a process ended. Any error converts into a failure by `?`; [`ProcessError::input`] marks what the user must correct.
#[derive(Debug)]
pub enum ProcessError {
    /// Settings or input are wrong: starting again without a change cannot help. Exit code 2.
    Input(BoxError),
    /// Something the process needs failed: starting again may help. Exit code 1.
    Failure(BoxError),
}

impl ProcessError {
    /// Marks an error as one of settings or input, for `map_err`.
    pub fn input(error: impl Into<BoxError>) -> Self {
        Self::Input(error.into())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failure(_) => 1,
            Self::Input(_) => 2,
        }
    }

    /// The message with its causes, each once, on one line.
    #[must_use]
    pub fn message(&self) -> String {
        let (Self::Input(error) | Self::Failure(error)) = self;
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                let _ = write!(message, ": {text}");
            }
            cause = error.source();
        }
        message
    }
}

impl<E: Into<BoxError>> From<E> for ProcessError {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

/// Turns the outcome of a process into its exit code, and says on standard error why it is not 0.
#[must_use]
pub fn report(process: &str, outcome: Result<(), ProcessError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{process}: {}", error.message());
            ExitCode::from(error.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to load the catalog")]
    struct Load(#[source] std::io::Error);

    fn refused() -> Load {
        Load(std::io::Error::other("permission denied"))
    }

    #[test]
    fn the_message_is_one_line_with_every_cause_once() {
        let error = ProcessError::from(refused());
        assert_eq!(
            error.message(),
            "failed to load the catalog: permission denied"
        );
        let nested = ProcessError::from(std::io::Error::other(refused()));
        assert_eq!(
            nested.message(),
            "failed to load the catalog: permission denied"
        );
    }

    #[test]
    fn bad_input_is_code_2_and_a_failure_is_code_1() {
        assert_eq!(ProcessError::input(refused()).code(), 2);
        assert_eq!(ProcessError::from(refused()).code(), 1);
        let plain = ProcessError::from("no channel");
        assert_eq!(plain.code(), 1);
    }
}
