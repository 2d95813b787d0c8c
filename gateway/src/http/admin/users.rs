//! `/api/v1/users`: who may watch what. No token, password or hash of one is ever in an answer, and writing a user leaves them as they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catalog::model::{Formats, OverLimit, Standing, Status};
use catalog::store::{Change, Claim, Expected, StoreError};
use catalog::{Allowed, Row, RowKey, User};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::caller::{Caller, ChangeUsers, EndSessions, ReadUsers};
use super::change::{Precondition, revised};
use super::listing::{ListQuery, Listing, weighed};
use super::refusal::{Refusal, RefusalBody};
use super::tokens::{TokenDocument, shown};
use crate::Gateway;

/// What refusals call it.
pub(super) const WHAT: &str = "user";

/// Random bytes of a user's id.
const ID_BYTES: usize = 16;

/// How often a change of a row is tried that others change at the same time.
const TRIES: usize = 4;

/// How long a try waits for what the others made of it.
const NEWS: Duration = Duration::from_secs(1);

/// A user. What is read only is not looked at in requests, so that what was read can be changed and sent back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserDocument {
    /// The name it logs in with: 1 to 256 characters. In `PUT` that of the address when left out; another one renames the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `active`, `disabled` or `banned`.
    #[serde(default)]
    #[schema(value_type = String, default = "active")]
    status: Status,
    /// From when on no longer allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// In how many places at once, at least 1; no limit when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sessions: Option<u32>,
    /// What happens to one place too many: `refuse`, or `newestWins`.
    #[serde(default)]
    #[schema(value_type = String, default = "refuse")]
    over_limit: OverLimit,
    /// Which channels: `"all"`, those made by hand included, or a list of slugs; none when left out.
    #[serde(default)]
    channels: AllowedDocument,
    /// Groups whose channels are allowed, by id.
    #[serde(default)]
    groups: Vec<String>,
    /// In which forms: `hls` and `ts`; both when left out.
    #[serde(default = "all_formats")]
    #[schema(default = json!(["hls", "ts"]))]
    formats: Vec<Format>,
    /// Read only. How the user stands now: `active`, `disabled`, `expired` or `banned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(read_only)]
    standing: Option<String>,
    /// Read only. Its tokens: `/api/v1/users/{name}/tokens` makes and takes them.
    #[serde(default)]
    #[schema(read_only)]
    tokens: Vec<TokenDocument>,
}

/// Which channels by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "`channels` of a user is \"all\" or a list of slugs"
)]
enum AllowedDocument {
    /// Every one.
    All(AllWord),
    /// These.
    Only(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum AllWord {
    All,
}

impl Default for AllowedDocument {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// A form in which a user may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Format {
    Hls,
    Ts,
}

fn all_formats() -> Vec<Format> {
    vec![Format::Hls, Format::Ts]
}

/// A page of users.
#[derive(Debug, Serialize, ToSchema)]
struct UsersPage {
    /// By name.
    users: Vec<UserDocument>,
    /// `cursor` of the next page; none after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, replace, remove))
        .routes(routes!(kick))
}

/// Lists users.
#[utoipa::path(
    get, path = "/api/v1/users", operation_id = "listUsers", tag = "users", params(ListQuery),
    responses((status = 200, description = "As asked for", body = UsersPage), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadUsers>,
    listing: Listing,
) -> Json<UsersPage> {
    let snapshot = gateway.access.snapshot();
    let (now, _) = gateway.now();
    let (users, next) = listing.page(
        snapshot.users_after(&listing.after.1),
        |user| [user.name.as_str(), ""],
        |user| (0, user.name.as_str()),
        |user| weighed(document(user, now)),
    );
    Json(UsersPage { users, next })
}

/// One user.
#[utoipa::path(
    get, path = "/api/v1/users/{name}", operation_id = "readUser", tag = "users", params(("name" = String, Path)),
    responses((status = 200, description = "As asked for", body = UserDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadUsers>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let snapshot = gateway.access.snapshot();
    let user = snapshot.user_named(&name);
    let user = user.ok_or_else(|| Refusal::missing(WHAT, &name))?;
    let revision = snapshot.revision(&RowKey::User(user.id.clone()));
    let (now, _) = gateway.now();
    Ok(revised(revision.unwrap_or(0), document(user, now)))
}

/// Makes a user, without a token: `/api/v1/users/{name}/tokens` makes one.
#[utoipa::path(
    post, path = "/api/v1/users", operation_id = "createUser", tag = "users", request_body = UserDocument,
    responses((status = 201, description = "Made", body = UserDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeUsers>,
    Body(wish): Body<UserDocument>,
) -> Result<Response, Refusal> {
    let name = wish.name.clone();
    let name = name.ok_or_else(|| Refusal::invalid("name", "a user needs a name"))?;
    let user = wished(&wish, new_user(&name)?);
    let made = gateway.make(WHAT, Row::User(user.clone())).await;
    let revision = caller.audit("create", &named(&name), made)?;
    let (now, _) = gateway.now();
    Ok((StatusCode::CREATED, revised(revision, document(&user, now))).into_response())
}

/// Writes a user, in place of the one of that name if there is one, which keeps its tokens and its password.
#[utoipa::path(
    put, path = "/api/v1/users/{name}", operation_id = "replaceUser", tag = "users", request_body = UserDocument,
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is replaced"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none")),
    responses((status = 200, description = "As asked for", body = UserDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn replace(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeUsers>,
    Path(name): Path<String>,
    precondition: Precondition,
    Body(wish): Body<UserDocument>,
) -> Result<Response, Refusal> {
    let edit = |before: Option<&User>| {
        let user = before.cloned().map_or_else(|| new_user(&name), Ok)?;
        let other = wish.name.as_ref().filter(|wished| **wished != name);
        match (before, other) {
            (None, Some(_)) => Err(Refusal::missing(WHAT, &name)),
            _ => Ok(wished(&wish, user)),
        }
    };
    let changed = gateway.edit_user(&name, precondition, edit).await;
    let (user, revision) = caller.audit("replace", &named(&name), changed)?;
    let (now, _) = gateway.now();
    Ok(revised(revision, document(&user, now)))
}

/// Removes a user. Whatever it watches is refused with the next playlist.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", operation_id = "removeUser", tag = "users",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is removed")),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn remove(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeUsers>,
    Path(name): Path<String>,
    precondition: Precondition,
) -> Result<StatusCode, Refusal> {
    let snapshot = gateway.access.snapshot();
    let id = snapshot.user_named(&name).map(|user| user.id.clone());
    let key = RowKey::User(id.unwrap_or_default());
    let removed = gateway.remove(WHAT, &name, key, precondition).await;
    caller.audit("remove", &named(&name), removed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of a user, wherever it watches: with its next playlist every one is refused. It may begin new ones; ban it to keep it out.
#[utoipa::path(
    post, path = "/api/v1/users/{name}/kick", operation_id = "kickUser", tag = "users", params(("name" = String, Path)),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn kick(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<EndSessions>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    let (now, _) = gateway.now();
    let edit = |before: Option<&User>| {
        let user = before.ok_or_else(|| Refusal::missing(WHAT, &name))?;
        Ok(User {
            sessions_ended: Some(now),
            ..user.clone()
        })
    };
    let kicked = gateway.edit_user(&name, Precondition::None, edit).await;
    caller.audit("kick", &named(&name), kicked)?;
    Ok(StatusCode::NO_CONTENT)
}

impl Gateway {
    /// Changes a user as it is when it is written: tried again when somebody else was faster, unless the caller said what must be there.
    pub(super) async fn edit_user(
        &self,
        name: &str,
        precondition: Precondition,
        edit: impl Fn(Option<&User>) -> Result<User, Refusal>,
    ) -> Result<(User, u64), Refusal> {
        let store = self.catalog_store()?;
        for _ in 0..TRIES {
            let mut versions = store.versions();
            let snapshot = store.snapshot();
            let before = snapshot.user_named(name);
            let after = edit(before.map(AsRef::as_ref))?;
            let found = snapshot.revision(&RowKey::User(after.id.clone()));
            let expected = match precondition.expected(found)? {
                // What is kept of the row before is kept of this one.
                Expected::Any => found.map_or(Expected::Absent, Expected::Revision),
                bound => bound,
            };
            let change = Change::put(Row::User(after.clone())).expecting(expected);
            match store.apply(vec![change]).await {
                Ok(version) => return Ok((after, version)),
                Err(StoreError::Conflict { .. }) if precondition == Precondition::None => {
                    let _ = tokio::time::timeout(NEWS, versions.changed()).await;
                }
                Err(StoreError::Taken {
                    claim: Claim::Name, ..
                }) => {
                    return Err(Refusal::Exists {
                        what: WHAT,
                        name: after.name,
                    });
                }
                Err(error) => return Err(Refusal::of_store(&error)),
            }
        }
        Err(Refusal::Busy)
    }
}

/// What the log calls a user: its id says nothing to people.
pub(super) fn named(name: &str) -> String {
    format!("the user {name:?}")
}

/// A user of that name who may do nothing yet.
fn new_user(name: &str) -> Result<User, Refusal> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::NoRandom)?;
    Ok(User {
        id: hex::encode(bytes),
        name: name.to_owned(),
        ..User::default()
    })
}

/// A user with what a document says; the rest stays.
fn wished(wish: &UserDocument, user: User) -> User {
    let groups = wish.groups.iter().cloned().collect();
    let channels = match &wish.channels {
        AllowedDocument::All(AllWord::All) => Allowed::All,
        AllowedDocument::Only(channels) => Allowed::Only {
            channels: channels.iter().cloned().collect(),
            groups,
        },
    };
    User {
        name: wish.name.clone().unwrap_or(user.name),
        status: wish.status,
        expires: wish.expires,
        max_sessions: wish.max_sessions,
        over_limit: wish.over_limit,
        channels,
        formats: Formats {
            hls: wish.formats.contains(&Format::Hls),
            ts: wish.formats.contains(&Format::Ts),
        },
        id: user.id,
        password: user.password,
        tokens: user.tokens,
        sessions_ended: user.sessions_ended,
    }
}

/// A user as it is shown.
fn document(user: &User, now: Timestamp) -> UserDocument {
    let (channels, groups) = match &user.channels {
        Allowed::All => (AllowedDocument::All(AllWord::All), Vec::new()),
        Allowed::Only { channels, groups } => {
            let channels = channels.iter().cloned().collect();
            let groups = groups.iter().cloned().collect();
            (AllowedDocument::Only(channels), groups)
        }
    };
    let formats = [
        (Format::Hls, user.formats.hls),
        (Format::Ts, user.formats.ts),
    ];
    let standing = match user.standing(now) {
        Standing::Active => "active",
        Standing::Disabled => "disabled",
        Standing::Expired => "expired",
        Standing::Banned => "banned",
    };
    UserDocument {
        name: Some(user.name.clone()),
        status: user.status,
        expires: user.expires,
        max_sessions: user.max_sessions,
        over_limit: user.over_limit,
        channels,
        groups,
        formats: formats
            .into_iter()
            .filter_map(|(format, may)| may.then_some(format))
            .collect(),
        standing: Some(standing.to_owned()),
        tokens: user.tokens.iter().map(shown).collect(),
    }
}

#[cfg(test)]
mod tests {
    use catalog::{TokenHash, UserToken};
    use serde_json::{Value, json};

    use super::*;

    fn user() -> User {
        User {
            id: "1".to_owned(),
            name: "alice".to_owned(),
            password: Some(TokenHash::from_bytes([7; 32])),
            tokens: vec![UserToken::of_hash(TokenHash::from_bytes([8; 32]))],
            status: Status::Disabled,
            expires: "2030-01-31T00:00:00Z".parse().ok(),
            sessions_ended: "2026-01-31T00:00:00Z".parse().ok(),
            max_sessions: Some(2),
            over_limit: OverLimit::NewestWins,
            channels: Allowed::Only {
                channels: ["one".to_owned()].into(),
                groups: ["News".to_owned()].into(),
            },
            formats: Formats {
                hls: true,
                ts: false,
            },
        }
    }

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn shown(user: &User) -> Value {
        serde_json::to_value(document(user, now())).unwrap()
    }

    #[test]
    fn a_user_is_shown_without_a_hash() {
        let expected = json!({
            "name": "alice", "status": "disabled", "expires": "2030-01-31T00:00:00Z", "maxSessions": 2, "overLimit": "newestWins",
            "channels": ["one"], "groups": ["News"], "formats": ["hls"], "standing": "disabled", "tokens": [{ "name": "token" }]
        });
        assert_eq!(shown(&user()), expected);
    }

    #[test]
    fn a_user_that_is_read_and_written_is_the_same_with_its_tokens_and_its_password() {
        let mut all = user();
        all.channels = Allowed::All;
        for user in [user(), all] {
            let document: UserDocument = serde_json::from_value(shown(&user)).unwrap();
            assert_eq!(wished(&document, user.clone()), user);
        }
    }

    #[test]
    fn a_user_of_whom_only_the_name_is_said_may_watch_nothing() {
        let document: UserDocument = serde_json::from_value(json!({ "name": "bob" })).unwrap();
        let bob = wished(&document, new_user("x").unwrap());
        let expected = User {
            id: bob.id.clone(),
            name: "bob".to_owned(),
            ..User::default()
        };
        assert_eq!(bob, expected);
        assert_ne!(new_user("x").unwrap().id, bob.id);
        let refused = serde_json::from_value::<UserDocument>(json!({ "channels": "none" }));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("\"all\" or a list of slugs")
        );
    }
}
