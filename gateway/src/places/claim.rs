//! Asks the store for a session's place, once; decides what the answer means for the viewer. Where the store is away, this gateway's own
//! count decides: a limit holds for each replica then, and nobody who plays is sent away.

use std::time::Duration;

use catalog::User;
use presence::places::{Claimed, Held, Limit, OverLimit, Place};
use tokio::time::{Instant, timeout};

use super::Standing;
use crate::Gateway;
use crate::http::error::Error;
use crate::metrics::ClaimEnd;
use crate::session::Verified;

/// How long a start waits for the store.
const CLAIM_TIME: Duration = Duration::from_secs(1);

impl Gateway {
    /// Whether the session may be answered; and then, whether it counts as watching.
    ///
    /// # Errors
    /// When it is one too many, its place was taken, or somebody ended it.
    pub(crate) async fn admit(
        &self,
        session: &Verified,
        user: &User,
        now: Instant,
    ) -> Result<bool, Error> {
        if self.audience.is_over(&session.id) {
            return Err(Error::SessionClosed);
        }
        let Some(most) = user.max_sessions else {
            return Ok(true);
        };
        match self.places.standing(&session.id, now) {
            Standing::Seated => return Ok(true),
            Standing::Lingering => return Ok(false),
            Standing::Ended => return Err(Error::SessionEnded),
            Standing::Unknown => {}
        }
        let held = held(session);
        let limit = Limit {
            places: Some(most),
            over: match user.over_limit {
                catalog::model::OverLimit::Refuse => OverLimit::Refuse,
                catalog::model::OverLimit::NewestWins => OverLimit::NewestWins,
            },
        };
        let asked = self.place_store.claim(&self.name, &held, limit);
        let claimed = timeout(CLAIM_TIME, asked).await.ok().and_then(Result::ok);
        let (end, is_told) = match &claimed {
            Some(Claimed::Taken { ended: None }) => (ClaimEnd::Taken, true),
            Some(Claimed::Taken { ended: Some(ended) }) => {
                self.places.end(ended, now);
                (ClaimEnd::TakenOver, true)
            }
            Some(Claimed::Ended) => (ClaimEnd::Ended, false),
            // The flush says that the store is away.
            None if self.places.in_use(&held.place.user) < most as usize => {
                (ClaimEnd::Local, false)
            }
            Some(Claimed::Refused { .. }) | None => (ClaimEnd::Refused, false),
        };
        self.metrics.claimed(end);
        match end {
            ClaimEnd::Refused => Err(Error::TooManySessions { most }),
            ClaimEnd::Ended => Err(Error::SessionEnded),
            ClaimEnd::Taken | ClaimEnd::TakenOver | ClaimEnd::Local => {
                self.places.seat(session.id, &held, is_told, now);
                Ok(true)
            }
        }
    }
}

fn held(session: &Verified) -> Held {
    let session = &session.session;
    Held {
        place: Place {
            user: session.user.clone(),
            client: session.client,
            channel: session.channel.clone(),
        },
        issued_at: session.issued_at,
    }
}
