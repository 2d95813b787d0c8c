//! What an Xtream panel answers. Its types are those of real panels: numbers as text.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, Standing, play};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/player_api.php", get(player_api))
        .route("/live/{username}/{password}/{file}", get(live))
        .route("/edge/{token}/{left}", get(edge))
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn player_api(State(shared): State<Shared>, Query(login): Query<Login>) -> Json<Value> {
    let account = shared.account();
    if !account.knows(&login.username, &login.password) {
        return Json(json!({ "user_info": { "auth": 0 } }));
    }
    let status = match account.settings.standing {
        Standing::Active => "Active",
        Standing::Expired => "Expired",
        Standing::Banned => "Banned",
    };
    Json(json!({
        "user_info": {
            "username": login.username,
            "password": login.password,
            "message": "",
            "auth": 1,
            "status": status,
            "exp_date": null,
            "active_cons": account.stats().counted.to_string(),
            "max_connections": account.settings.maximum_connections.to_string(),
            "allowed_output_formats": ["ts"],
        },
        "server_info": {},
    }))
}

async fn live(
    State(shared): State<Shared>,
    Path((username, password, file)): Path<(String, String, String)>,
) -> Response {
    let (channel, extension) = file.rsplit_once('.').unwrap_or((&file, ""));
    let known = {
        let channels = shared.channels.borrow();
        channels
            .as_ref()
            .is_some_and(|channels| channels.contains_key(channel))
    };
    let mut account = shared.account();
    let refused = StatusCode::from_u16(account.settings.refusal).unwrap_or(StatusCode::FORBIDDEN);
    if !account.knows(&username, &password) || !account.is_active() || !account.has_room() {
        return refused.into_response();
    }
    match (known, extension) {
        (true, "ts") => {}
        // Playlists are counted by nobody here: the source's own server has them.
        (true, "m3u8") => {
            let location = format!("http://{}/{channel}/index.m3u8", shared.source);
            return (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    }
    let token = account.link(channel);
    let left = account.settings.redirects.saturating_sub(1);
    redirect(&token, left)
}

fn redirect(token: &str, left: u32) -> Response {
    let location = format!("/edge/{token}/{left}");
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

async fn edge(State(shared): State<Shared>, Path((token, left)): Path<(String, u32)>) -> Response {
    if left > 0 {
        return redirect(&token, left - 1);
    }
    let taken = shared.account().take(&token);
    match taken {
        Some((channel, slot)) => play(&shared, &channel, slot).await,
        None => StatusCode::FORBIDDEN.into_response(),
    }
}
