//! A source opened the way its kind asks for: an address as it is, a provider's channel by the provider's own protocol.
//! Nothing here shows an address or a login; a link that a provider made serves one connection and is kept nowhere.

use tokio_util::task::AbortOnDropHandle;

use crate::failure::SourceFailure;
use crate::input::{Input, Piece, Wish};
use crate::redirect;
use crate::source::{Opener, SourceRequest};
use crate::stalker;
use crate::xtream;

/// What is to be opened.
pub enum Target {
    /// Whatever stands at an address.
    Address(SourceRequest),
    /// A channel of an Xtream panel.
    Xtream(xtream::Channel),
    /// A channel of a Stalker portal.
    Stalker(stalker::Channel),
}

/// A source that is open. Dropping it closes its connections.
pub struct Playing {
    input: Input,
    first: Option<Piece>,
    /// What a provider wants to be told meanwhile.
    _beside: Option<AbortOnDropHandle<()>>,
}

impl Playing {
    /// Opens a source, and takes of what it may offer what is wished for.
    ///
    /// # Errors
    /// The named failure of the source.
    pub async fn open(opener: &Opener, target: Target, wish: &Wish) -> Result<Self, SourceFailure> {
        match target {
            Target::Address(request) => Ok(Self {
                input: Input::open(opener, request, wish).await?,
                first: None,
                _beside: None,
            }),
            Target::Xtream(channel) => Box::pin(xtream::open(opener, &channel, wish)).await,
            Target::Stalker(channel) => Box::pin(stalker::open(opener, &channel, wish)).await,
        }
    }

    /// What comes next. May be cancelled and called again without losing anything.
    ///
    /// # Errors
    /// As [`Input::next`].
    pub async fn next(&mut self) -> Result<Piece, SourceFailure> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.input.next().await,
        }
    }

    /// Scheme, host and port of what is open.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.input.origin()
    }

    /// Opens the link of a provider's channel and waits until something comes: providers say with status 200, and a web page or
    /// nothing at all, what others say with an error.
    pub(crate) async fn start(
        opener: &Opener,
        request: SourceRequest,
        wish: &Wish,
    ) -> Result<Self, SourceFailure> {
        let origin = redirect::origin(&request.url);
        let mut input = Input::open(opener, request, wish).await?;
        let first = input.next().await.map_err(|failure| match failure {
            SourceFailure::EndOfStream { origin, detail } => SourceFailure::EndOfStream {
                origin,
                detail: Some(detail.unwrap_or_else(|| "it sent nothing at all".to_owned())),
            },
            other => other,
        })?;
        if let Piece::Bytes(bytes) = &first
            && bytes.trim_ascii_start().starts_with(b"<")
        {
            let detail = "a web page came instead of the channel".to_owned();
            return Err(SourceFailure::BadAnswer { origin, detail });
        }
        Ok(Self {
            input,
            first: Some(first),
            _beside: None,
        })
    }

    /// With something that goes on for as long as it plays.
    pub(crate) fn beside(self, beside: AbortOnDropHandle<()>) -> Self {
        Self {
            _beside: Some(beside),
            ..self
        }
    }
}
