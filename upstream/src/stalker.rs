//! A live channel of a Stalker portal: the box's handshake, its profile, a link for the channel, and what keeps the portal's session
//! while it plays. Each opening begins with a handshake; neither token nor link outlives it. Nothing here is ever shown.

mod portal;

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::failure::SourceFailure;
use crate::input::Wish;
use crate::provider::Playing;
use crate::source::{Opener, SourceRequest};
use crate::xtream::Login;
use portal::Portal;

/// How often a portal wants to hear from a box, where it does not say.
const WATCHDOG: Duration = Duration::from_secs(120);
/// What of its word is believed.
const WATCHDOG_MINIMUM: Duration = Duration::from_secs(2);
const WATCHDOG_MAXIMUM: Duration = Duration::from_secs(300);

/// What a portal knows a box by. Has no form that can be shown.
#[derive(Clone)]
pub struct Identity {
    /// Its MAC address.
    pub mac: String,
    /// Its serial number, where the portal asks for it.
    pub serial: Option<String>,
    /// Its device ids.
    pub device_id: Option<String>,
    /// The second one.
    pub device_id2: Option<String>,
    /// Its signature.
    pub signature: Option<String>,
    /// A login, where the portal asks for one besides.
    pub login: Option<Login>,
}

/// A channel. Has no form that can be shown.
#[derive(Clone)]
pub struct Channel {
    /// Address of the portal: as boxes are given it (`…/c/`), or that of its `.php`.
    pub base: Url,
    /// The channel's `cmd`.
    pub command: String,
    /// Who asks.
    pub identity: Identity,
    /// The User-Agent header; ours when there is none.
    pub user_agent: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// Opens a channel.
pub(crate) async fn open(
    opener: &Opener,
    channel: &Channel,
    wish: &Wish,
) -> Result<Playing, SourceFailure> {
    let (portal, watchdog) = Portal::enter(opener.clone(), channel).await?;
    let url = portal.link(&channel.command).await?;
    let request = SourceRequest {
        url,
        user_agent: channel.user_agent.clone(),
        headers: channel.headers.clone(),
    };
    // What was reached so far was the portal, not the channel.
    opener.milestones().begin();
    let playing = Playing::start(opener, request, wish).await?;
    let every = watchdog.map_or(WATCHDOG, |every| {
        every.clamp(WATCHDOG_MINIMUM, WATCHDOG_MAXIMUM)
    });
    let keeping = AbortOnDropHandle::new(tokio::spawn(keep(portal, every)));
    Ok(playing.beside(keeping))
}

/// Tells the portal now and then that the box is there. Where it knows the token no more, the box introduces itself anew; whatever
/// else goes wrong, the channel itself will say.
async fn keep(mut portal: Portal, every: Duration) {
    let mut is_first = true;
    loop {
        if portal.watchdog(is_first).await.is_err() {
            drop(portal.renew().await);
        }
        is_first = false;
        sleep(every).await;
    }
}

#[cfg(test)]
mod tests;
