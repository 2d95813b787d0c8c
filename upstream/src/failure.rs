//! Why a source does not deliver, by name. Messages name the host and nothing else of an address: paths and queries carry logins.

use std::error::Error;
use std::time::Duration;

use api::condition::Reason;

use crate::egress::Refused;
use crate::input::Track;
use crate::proxy::ProxyFailure;

const DETAIL_MAXIMUM: usize = 200;

/// A failure of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFailure {
    /// The request cannot be made at all: trying again without a change is of no use.
    #[error("failed to build the request: {detail}")]
    InvalidRequest {
        /// What is wrong with it.
        detail: String,
    },
    /// The egress policy refuses the address.
    #[error("failed to connect to {origin}: the egress policy refuses it ({refused})")]
    EgressRefused {
        /// Scheme, host and port.
        origin: String,
        /// The address and what it is.
        refused: Refused,
    },
    /// FFmpeg would look the address up and connect by itself, which the class does not allow.
    #[error(
        "failed to connect to {origin}: FFmpeg would look it up and connect by itself; set egress.allowUnpinned in the stream's class to allow that"
    )]
    EgressUnpinned {
        /// Scheme, host and port.
        origin: String,
    },
    /// The source is a file, and the class has none.
    #[error(
        "failed to open {file}: the stream's class has no files; name a claim with them in files.claimName of the class (in standalone --files-directory)"
    )]
    FilesRefused {
        /// Its address, which holds no secret.
        file: String,
    },
    /// A file cannot be read.
    #[error("failed to open {file}: {detail}")]
    FileUnavailable {
        /// Its address.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Lookup, connection or TLS failed.
    #[error("failed to connect to {origin}: {detail}")]
    ConnectFailed {
        /// Scheme, host and port.
        origin: String,
        /// The innermost cause.
        detail: String,
    },
    /// The answer is an HTTP error.
    #[error("{origin} answered with HTTP status {status}")]
    HttpStatus {
        /// Scheme, host and port.
        origin: String,
        /// The status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The provider refuses the account itself: no channel of it can be had until somebody acts.
    #[error("{origin} refuses the account: {detail}")]
    AccountRefused {
        /// Scheme, host and port.
        origin: String,
        /// What is wrong with it, and what to do.
        detail: String,
    },
    /// Every connection that the account may have is in use.
    #[error(
        "{origin} gives the account no further connection: {detail}; a closed one counts for some seconds, else lower the Provider's maximumConnections or see who else uses the account"
    )]
    NoFreeConnection {
        /// Scheme, host and port.
        origin: String,
        /// How many are.
        detail: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is no usable HTTP: too many redirects, one to nowhere, or not HTTP at all.
    #[error("failed to read the answer of {origin}: {detail}")]
    BadAnswer {
        /// Scheme, host and port.
        origin: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No answer, or no bytes, for longer than allowed.
    #[error("{origin} sent nothing for {} ms", waited.as_millis())]
    Silent {
        /// Scheme, host and port.
        origin: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Its playlist has grown no more for longer than allowed.
    #[error("{origin} listed no new segment for {} ms", waited.as_millis())]
    Stalled {
        /// Scheme, host and port.
        origin: String,
        /// How long was waited.
        waited: Duration,
    },
    /// What it offers cannot be played.
    #[error("{origin} cannot be played: {detail}")]
    Unsupported {
        /// Scheme, host and port.
        origin: String,
        /// What it offers.
        detail: String,
    },
    /// The source closed the stream, or the connection broke.
    #[error("{origin} ended the stream{}", detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}")))]
    EndOfStream {
        /// Scheme, host and port.
        origin: String,
        /// The cause when the connection broke; a clean end has none.
        detail: Option<String>,
    },
}

impl SourceFailure {
    /// Its name in conditions.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidRequest { .. } | Self::ConnectFailed { .. } => Reason::ConnectFailed,
            Self::EgressRefused { .. }
            | Self::EgressUnpinned { .. }
            | Self::FilesRefused { .. } => Reason::EgressRefused,
            Self::FileUnavailable { .. } => Reason::FileUnavailable,
            Self::HttpStatus { .. } | Self::BadAnswer { .. } => Reason::HttpError,
            Self::AccountRefused { .. } => Reason::AccountRefused,
            Self::NoFreeConnection { .. } => Reason::NoFreeConnection,
            Self::Silent { .. } | Self::Stalled { .. } => Reason::Silent,
            Self::Unsupported { .. } => Reason::UnsupportedMedia,
            Self::EndOfStream { .. } => Reason::EndOfStream,
        }
    }

    /// The same, saying whose it is where it is not the main track's.
    pub(crate) fn of(mut self, track: Track) -> Self {
        let part = match track {
            Track::Main => return self,
            Track::Audio => "audio",
        };
        match &mut self {
            Self::InvalidRequest { .. }
            | Self::FilesRefused { .. }
            | Self::FileUnavailable { .. } => {}
            Self::EgressRefused { origin, .. }
            | Self::EgressUnpinned { origin }
            | Self::ConnectFailed { origin, .. }
            | Self::HttpStatus { origin, .. }
            | Self::AccountRefused { origin, .. }
            | Self::NoFreeConnection { origin, .. }
            | Self::BadAnswer { origin, .. }
            | Self::Silent { origin, .. }
            | Self::Stalled { origin, .. }
            | Self::Unsupported { origin, .. }
            | Self::EndOfStream { origin, .. } => *origin = format!("{origin} ({part})"),
        }
        self
    }

    /// How long the source asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::HttpStatus { retry_after, .. } | Self::NoFreeConnection { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// What opening a connection failed with.
pub(crate) fn opening(origin: &str, error: &hyper_util::client::legacy::Error) -> SourceFailure {
    let origin = origin.to_owned();
    if let Some(refused) = find::<Refused>(error) {
        let refused = refused.clone();
        return SourceFailure::EgressRefused { origin, refused };
    }
    if let Some(failed) = find::<ProxyFailure>(error) {
        let detail = failed.to_string();
        return SourceFailure::ConnectFailed { origin, detail };
    }
    let detail = innermost(error);
    if error.is_connect() {
        SourceFailure::ConnectFailed { origin, detail }
    } else {
        SourceFailure::BadAnswer { origin, detail }
    }
}

/// What reading a body failed with: the connection broke under it.
pub(crate) fn reading(origin: &str, error: &hyper::Error) -> SourceFailure {
    SourceFailure::EndOfStream {
        origin: origin.to_owned(),
        detail: Some(innermost(error)),
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The innermost cause: the outer ones say less.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(DETAIL_MAXIMUM).collect()
}
