//! Who calls the admin API: an extractor that lets in only an administrator whose role may do what the handler's signature names. What the
//! caller changes is told in the log, once, with the outcome and without secrets.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::refusal::Refusal;
use crate::Gateway;
use crate::administrators::{Action, Administrator};
use crate::client::Client;
use crate::http::error::Error;
use crate::http::viewer;
use crate::metrics::Surface;

/// What a handler's caller must be allowed.
pub(super) trait Rule: Send + Sync + 'static {
    const ACTION: Action;
}

pub(super) struct ReadCatalog;
pub(super) struct ReadSources;
pub(super) struct ChangeCatalog;
pub(super) struct ReadUsers;
pub(super) struct ChangeUsers;
pub(super) struct EndSessions;
pub(super) struct ReadStreams;
pub(super) struct ControlStreams;

impl Rule for ReadCatalog {
    const ACTION: Action = Action::ReadCatalog;
}

impl Rule for ReadSources {
    const ACTION: Action = Action::ReadSources;
}

impl Rule for ChangeCatalog {
    const ACTION: Action = Action::ChangeCatalog;
}

impl Rule for ReadUsers {
    const ACTION: Action = Action::ReadUsers;
}

impl Rule for ChangeUsers {
    const ACTION: Action = Action::ChangeUsers;
}

impl Rule for EndSessions {
    const ACTION: Action = Action::EndSessions;
}

impl Rule for ReadStreams {
    const ACTION: Action = Action::ReadStreams;
}

impl Rule for ControlStreams {
    const ACTION: Action = Action::ControlStreams;
}

/// An administrator who may do what `R` says.
pub(super) struct Caller<R> {
    who: Arc<Administrator>,
    address: IpAddr,
    rule: PhantomData<fn() -> R>,
}

impl<R: Rule> FromRequestParts<Arc<Gateway>> for Caller<R> {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Refusal> {
        let Ok(client) = Client::from_request_parts(parts, gateway).await;
        let who = gateway.administrator(&client, viewer::bearer(parts))?;
        let role = who.role;
        if !role.may(R::ACTION) {
            let action = R::ACTION;
            let (name, role_name) = (&who.name, role.as_str());
            tracing::info!(
                target: AUDIT,
                {
                    audit.who = name,
                    audit.role = role_name,
                    audit.action = action.as_str(),
                    audit.outcome = "NotPermitted",
                    client.address = %client.address,
                },
                "audit"
            );
            return Err(Refusal::NotPermitted { role, action });
        }
        Ok(Self {
            who,
            address: client.address,
            rule: PhantomData,
        })
    }
}

/// The target of these lines, by which a filter finds them.
const AUDIT: &str = "headend::audit";

impl<R> Caller<R> {
    /// Whether the caller may do something else, too.
    pub(super) fn may(&self, action: Action) -> bool {
        self.who.role.may(action)
    }

    /// Tells what became of a change: one line, whatever it was.
    pub(super) fn audit<T>(
        &self,
        action: &'static str,
        object: &dyn Display,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (name, role) = (&self.who.name, self.who.role.as_str());
        let word = outcome.as_ref().err().map_or("Done", Refusal::code);
        tracing::info!(
            target: AUDIT,
            {
                audit.who = name,
                audit.role = role,
                audit.action = action,
                audit.object = %object,
                audit.outcome = word,
                client.address = %self.address,
            },
            "audit"
        );
        outcome
    }
}

impl Gateway {
    /// Whether a request comes with an administrator's token. What it may do, and whether it may ask now, is not said by that.
    pub(super) fn is_administrator(&self, parts: &Parts) -> bool {
        let token = viewer::bearer(parts).zip(self.administrators.as_ref());
        let (now, _) = self.now();
        token.is_some_and(|(token, administrators)| administrators.by_token(token, now).is_some())
    }

    /// The administrator whose token it is.
    fn administrator(
        &self,
        client: &Client,
        token: Option<&str>,
    ) -> Result<Arc<Administrator>, Refusal> {
        let administrators = self.administrators.as_ref().ok_or(Refusal::Off)?;
        let found = self.prove(Surface::Api, client, token, |token, now| {
            let token = token.ok_or(Error::NoBearer)?;
            let found = administrators.by_token(token, now);
            found.ok_or(Error::WrongToken)
        });
        Ok(found?)
    }
}
