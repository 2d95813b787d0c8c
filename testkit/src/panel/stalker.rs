//! What a Stalker portal answers: to a box whose MAC it knows, under the token of its last handshake, which every other one ends.

use std::collections::BTreeMap;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::account::Account;
use super::{Shared, Standing};

const REFUSAL: &str = "Authorization failed.";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/portal/server/load.php", get(load))
}

async fn load(
    State(shared): State<Shared>,
    Query(question): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let word = |key: &str| question.get(key).map_or("", String::as_str);
    let header = |name| {
        let value = headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let address = header(header::HOST);
    let mut account = shared.account();
    let cookie = format!("mac={}; stb_lang=en; timezone=", account.settings.mac);
    if !header(header::COOKIE).starts_with(&cookie) {
        return REFUSAL.into_response();
    }
    let action = word("action");
    if action == "handshake" {
        let token = account.handshake();
        return said(&json!({ "token": token, "not_valid": 0 }));
    }
    let bearer = header(header::AUTHORIZATION).strip_prefix("Bearer ");
    if !account.has_session(bearer.unwrap_or("")) {
        return REFUSAL.into_response();
    }
    match action {
        "get_profile" => said(&profile(&account, word("auth_second_step"))),
        "do_auth" => said(&account.knows(word("login"), word("password")).into()),
        "create_link" => said(&link(&mut account, address, word("cmd"))),
        "get_events" => {
            account.watchdogs += 1;
            said(&json!({ "data": {} }))
        }
        _ => said(&Value::Null),
    }
}

fn said(js: &Value) -> Response {
    Json(json!({ "js": js })).into_response()
}

fn profile(account: &Account, second_step: &str) -> Value {
    let status = match account.settings.standing {
        Standing::Expired | Standing::Banned => "1",
        Standing::Active if account.settings.asks_for_login && second_step != "1" => "2",
        Standing::Active => "0",
    };
    json!({
        "id": "7",
        "status": status,
        "msg": "",
        "watchdog_timeout": account.settings.watchdog.as_secs(),
    })
}

/// A channel's command names it as the portal's own tools do: `ffrt http://localhost/ch/NAME_`.
fn link(account: &mut Account, address: &str, command: &str) -> Value {
    let name = command.rsplit('/').next().unwrap_or("");
    let name = name.trim_end_matches('_').to_owned();
    if !account.has_room() {
        return json!({ "cmd": "", "error": "limit" });
    }
    let token = account.link(&name);
    let left = account.settings.redirects;
    json!({ "cmd": format!("ffmpeg http://{address}/edge/{token}/{left}"), "error": "" })
}
