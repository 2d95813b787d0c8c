//! The admin API under `/api/v1`: its routes and their description come from the same functions, so that neither lacks what the other has. Every
//! handler names in its signature what its caller must be allowed ([`caller`]), and no body, page or wait is without a bound.

mod aliases;
mod body;
mod caller;
mod change;
mod channels;
mod groups;
mod imports;
mod listing;
mod refusal;
mod sessions;
mod stats;
mod streams;
mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use bytes::Bytes;
use catalog::store::ROW_BYTES_MAXIMUM;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::refusal::Refusal;
use crate::Gateway;
use crate::client::Client;
use crate::metrics::Surface;

/// From a request's head to its answer: its body has to come in that time too.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What the description says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headend admin API",
        description = "Channels, groups, users, streams and sessions of a Headend. Tokens of administrators come as `Authorization: Bearer`; each has a role: \
                       `admin` may do everything, `operator` reads everything, changes channels and groups, and steers streams, `support` reads, sees no \
                       addresses of sources, and ends sessions. A row's `ETag` is its revision: name it in `If-Match`, and a change that somebody else \
                       overtook is refused with 412. Refusals are `{ code, message, field }`: a stable word, a sentence, and what it is \
                       about where that is one field."
    ),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
    }
}

/// The description as it is served.
#[derive(Debug, Clone)]
struct Document(Bytes);

/// The routes, for the gateway whose they are.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let (router, document) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(channels::router())
        .merge(groups::router())
        .merge(imports::router())
        .merge(users::router())
        .merge(tokens::router())
        .merge(streams::router())
        .merge(sessions::router())
        .merge(stats::router())
        .routes(routes!(description))
        .split_for_parts();
    // A document of plain values always becomes text.
    let document = serde_json::to_vec(&document).unwrap_or_default();
    let router = router.merge(aliases::router());
    let watch = middleware::from_fn_with_state(gateway.clone(), watch);
    router
        .layer(Extension(Document(document.into())))
        .layer(DefaultBodyLimit::max(ROW_BYTES_MAXIMUM))
        .layer(watch)
}

/// Counts every answer, and ends what takes too long.
async fn watch(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIME, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| Refusal::TooSlow.into_response());
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    gateway.metrics.answered(Surface::Api, response.status());
    response
}

/// This description.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "describe", tag = "description", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
async fn description(
    State(gateway): State<Arc<Gateway>>,
    Extension(Document(document)): Extension<Document>,
    client: Client,
) -> Result<Response, Refusal> {
    gateway.meter(Surface::Api, &client)?;
    if gateway.administrators.is_none() {
        return Err(Refusal::Off);
    }
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], document).into_response())
}
