//! `/api/v1/users/{name}/tokens`: what proves a user. A token is made here and shown once, in the answer that made it; what is kept is its hash.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catalog::{User, UserToken};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::caller::{Caller, ChangeUsers, ReadUsers};
use super::change::Precondition;
use super::refusal::{Refusal, RefusalBody};
use super::users::{self, named};
use crate::Gateway;
use crate::admin::make_token;

/// What refusals call it.
const WHAT: &str = "token";

/// A token, as it is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenDocument {
    /// What it is for, such as `living room`: 1 to 256 characters, unique among the user's tokens.
    name: String,
    /// Read only. When it was made, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(read_only)]
    created: Option<Timestamp>,
    /// From when on it proves nothing; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

/// A token that was made just now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewToken {
    /// The token itself. It is shown here, and never again.
    token: String,
    #[serde(flatten)]
    known: TokenDocument,
}

/// The tokens of a user.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    tokens: Vec<TokenDocument>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(remove))
}

/// A token as it is shown.
pub(super) fn shown(token: &UserToken) -> TokenDocument {
    TokenDocument {
        name: token.name.clone(),
        created: token.created,
        expires: token.expires,
    }
}

/// Lists the tokens of a user: at most 100, and none of them can be told from this.
#[utoipa::path(
    get, path = "/api/v1/users/{name}/tokens", operation_id = "listTokens", tag = "users", params(("name" = String, Path)),
    responses((status = 200, description = "As asked for", body = Tokens), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadUsers>,
    Path(name): Path<String>,
) -> Result<Json<Tokens>, Refusal> {
    let snapshot = gateway.access.snapshot();
    let user = snapshot.user_named(&name);
    let user = user.ok_or_else(|| Refusal::missing(users::WHAT, &name))?;
    let tokens = user.tokens.iter().map(shown).collect();
    Ok(Json(Tokens { tokens }))
}

/// Makes a token. This answer is the only one that has it.
#[utoipa::path(
    post, path = "/api/v1/users/{name}/tokens", operation_id = "createToken", tag = "users", request_body = TokenDocument,
    params(("name" = String, Path)),
    responses((status = 201, description = "Made", body = NewToken), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeUsers>,
    Path(name): Path<String>,
    Body(wish): Body<TokenDocument>,
) -> Result<Response, Refusal> {
    let secret = make_token().map_err(|_| Refusal::NoRandom)?;
    let (now, _) = gateway.now();
    let token = UserToken {
        hash: gateway.access.hash(&secret),
        created: Some(now),
        name: wish.name,
        expires: wish.expires,
    };
    let edit = |before: Option<&User>| {
        let mut user = existing(before, &name)?;
        if user.tokens.iter().any(|other| other.name == token.name) {
            let name = token.name.clone();
            return Err(Refusal::Exists { what: WHAT, name });
        }
        user.tokens.push(token.clone());
        Ok(user)
    };
    let made = gateway.edit_user(&name, Precondition::None, edit).await;
    let object = format!("the token {:?} of {}", token.name, named(&name));
    caller.audit("create", &object, made)?;
    let made = NewToken {
        token: secret,
        known: shown(&token),
    };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Takes a token away: it proves nothing any more, and sessions that began with it are refused with their next playlist.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/tokens/{token}", operation_id = "removeToken", tag = "users",
    params(("name" = String, Path), ("token" = String, Path, description = "The token's name")),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn remove(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeUsers>,
    Path((name, token)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let edit = |before: Option<&User>| {
        let mut user = existing(before, &name)?;
        let count = user.tokens.len();
        user.tokens.retain(|other| other.name != token);
        if user.tokens.len() == count {
            return Err(Refusal::missing(WHAT, &token));
        }
        Ok(user)
    };
    let removed = gateway.edit_user(&name, Precondition::None, edit).await;
    let object = format!("the token {token:?} of {}", named(&name));
    caller.audit("remove", &object, removed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn existing(user: Option<&User>, name: &str) -> Result<User, Refusal> {
    let user = user.cloned();
    user.ok_or_else(|| Refusal::missing(users::WHAT, name))
}
