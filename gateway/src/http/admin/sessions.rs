//! `/api/v1/sessions`: who watches what, since when and from where, over all gateways, and the end of one session. They are read where all
//! gateways report them, as of some seconds ago, and each page looks at a bounded number of them. No address that plays follows from one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use catalog::Snapshot;
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use presence::PresenceError;
use presence::reports::{Reported, SessionId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Asked;
use super::caller::{Caller, EndSessions, ReadStreams};
use super::listing::{ListQuery, Listing, cursor};
use super::refusal::{Refusal, RefusalBody};
use crate::Gateway;
use crate::audience::About;

/// What refusals call it.
const WHAT: &str = "session";

/// Sessions that are read at once.
const PORTION: usize = 500;

/// Portions that are looked through for one page.
const PORTIONS: usize = 20;

/// How long the store may take for an answer.
const STORE_TIME: Duration = Duration::from_secs(5);

/// A session: one player of a user at a channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionDocument {
    /// What names it here.
    id: String,
    /// Name of its user; left out where there is no such user any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Slug of its channel, which is the name of the stream.
    channel: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Where it was asked from first.
    #[schema(value_type = String)]
    address: IpAddr,
    /// What its player calls itself, as that says.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// The gateways that its player asks.
    gateways: Vec<String>,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
struct SessionsPage {
    /// In no order that means anything.
    sessions: Vec<SessionDocument>,
    /// `cursor` of the next page, which may be there behind a page of few sessions, or none; left out after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which sessions are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionsQuery {
    /// Sessions at most: 1 to 500, 100 when not given. Where few of many are asked for, a page may have fewer, or none, and yet a next one.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Only those with this in the name of the user, the channel, the address or what the player calls itself; letters small or large.
    search: Option<String>,
    /// Only those of the user of this name.
    user: Option<String>,
    /// Only those at the channel of this slug: viewers of the stream of that name.
    channel: Option<String>,
}

/// The same, checked.
struct Wish {
    listing: Listing,
    after: Option<SessionId>,
    user: Option<String>,
    channel: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wish {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Asked(query) = Asked::<SessionsQuery>::from_request_parts(parts, state).await?;
        let listing = Listing::of(ListQuery {
            limit: query.limit,
            cursor: query.cursor,
            search: query.search,
        })?;
        let (_, after) = &listing.after;
        let after = (!after.is_empty()).then(|| after.parse::<SessionId>());
        let after = after.transpose().map_err(|_| {
            let message = "this is no cursor of sessions: take `next` of the page before as it is";
            Refusal::unreadable("cursor", message)
        })?;
        Ok(Self {
            listing,
            after,
            user: query.user,
            channel: query.channel,
        })
    }
}

impl Wish {
    fn is_asked_for(&self, session: &SessionDocument) -> bool {
        let is_of = |wish: &Option<String>, is: Option<&str>| {
            wish.as_deref().is_none_or(|wish| is == Some(wish))
        };
        let (user, channel) = (session.user.as_deref(), session.channel.as_str());
        is_of(&self.user, user) && is_of(&self.channel, Some(channel)) && {
            let address = session.address.to_string();
            let agent = session.agent.as_deref().unwrap_or_default();
            let texts = [user.unwrap_or_default(), channel, &address, agent];
            self.listing.finds(&texts)
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, end))
}

/// Lists the sessions that are in use.
#[utoipa::path(
    get, path = "/api/v1/sessions", operation_id = "listSessions", tag = "sessions", params(SessionsQuery),
    responses((status = 200, description = "As asked for", body = SessionsPage), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
    wish: Wish,
) -> Result<Json<SessionsPage>, Refusal> {
    let snapshot = gateway.access.snapshot();
    let deadline = Instant::now() + STORE_TIME;
    let mut after = wish.after;
    let mut sessions = Vec::new();
    for _ in 0..PORTIONS {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let read = gateway.reports.sessions(after, PORTION);
        let portion = in_time(left, read).await?;
        let is_last = portion.len() < PORTION;
        for reported in portion {
            after = Some(reported.id);
            let shown = gateway.shown(&snapshot, reported);
            sessions.extend(shown.filter(|session| wish.is_asked_for(session)));
            if sessions.len() == wish.listing.limit {
                let next = after.map(|id| cursor((0, &id.to_string())));
                return Ok(Json(SessionsPage { sessions, next }));
            }
        }
        if is_last {
            let next = None;
            return Ok(Json(SessionsPage { sessions, next }));
        }
    }
    let next = after.map(|id| cursor((0, &id.to_string())));
    Ok(Json(SessionsPage { sessions, next }))
}

/// One session.
#[utoipa::path(
    get, path = "/api/v1/sessions/{id}", operation_id = "readSession", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, description = "As asked for", body = SessionDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadStreams>,
    Path(id): Path<String>,
) -> Result<Json<SessionDocument>, Refusal> {
    let (_, session) = gateway.session_in_use(&id).await?;
    Ok(Json(session))
}

/// Ends a session: within seconds every gateway refuses its playlists. Its player may begin another one; ban the user to keep it out.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", operation_id = "endSession", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn end(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<EndSessions>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let found = gateway.session_in_use(&id).await;
    let object = found.as_ref().map_or_else(
        |_| format!("the session {id:?}"),
        |(id, session)| {
            let user = session.user.as_deref().unwrap_or_default();
            let channel = &session.channel;
            format!("the session {id} of the user {user:?} at {channel:?}")
        },
    );
    let ended = match found {
        Ok((id, _)) => gateway.end_session(id).await,
        Err(refusal) => Err(refusal),
    };
    caller.audit("end", &object, ended)?;
    Ok(StatusCode::NO_CONTENT)
}

impl Gateway {
    /// A session that is in use, by what it is shown as.
    async fn session_in_use(&self, id: &str) -> Result<(SessionId, SessionDocument), Refusal> {
        let missing = || Refusal::missing(WHAT, id);
        let id: SessionId = id.parse().map_err(|_| missing())?;
        let found = in_time(STORE_TIME, self.reports.session(id)).await?;
        let found = found.ok_or_else(missing)?;
        let session = self.shown(&self.access.snapshot(), found);
        session.map(|session| (id, session)).ok_or_else(missing)
    }

    async fn end_session(&self, id: SessionId) -> Result<(), Refusal> {
        in_time(STORE_TIME, self.reports.end(id)).await?;
        self.audience.end(&[id], Instant::now());
        Ok(())
    }

    /// A session as it is shown; not one that was ended and has not left yet.
    fn shown(&self, snapshot: &Snapshot, reported: Reported) -> Option<SessionDocument> {
        if self.audience.is_shown_over(reported.id) {
            return None;
        }
        // Of another version of this program, perhaps.
        let about: About = serde_json::from_str(&reported.text).ok()?;
        let user = snapshot.user(&about.user);
        let since = i64::try_from(about.since).ok();
        Some(SessionDocument {
            id: reported.id.to_string(),
            user: user.map(|user| user.name.clone()),
            channel: about.channel,
            since: since.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            address: about.address,
            agent: about.agent,
            gateways: reported.gateways,
        })
    }
}

/// What the store answers in time.
async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, PresenceError>>,
) -> Result<T, Refusal> {
    let reason = match timeout(limit, answer).await {
        Ok(Ok(answered)) => return Ok(answered),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the presence store did not answer in time".to_owned(),
    };
    tracing::warn!(reason, "failed to say who is watching");
    Err(Refusal::SessionsAway)
}
