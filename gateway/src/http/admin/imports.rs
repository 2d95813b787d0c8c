//! `/api/v1/imports` and `/api/v1/export`: channel lists in and out. An import is answered before it is done, and then tells how far it is. What
//! lists say is changed by nobody who may not change channels one by one, and shown to nobody who may not read their sources.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Asked;
use super::caller::{Caller, ChangeCatalog, ReadCatalog, ReadSources};
use super::refusal::{Refusal, RefusalBody};
use crate::Gateway;
use crate::imports::{Import, ListFormat};

/// What refusals call it.
const WHAT: &str = "import";

/// Bytes of a list at most, which is tens of thousands of channels: while it is read, some times as many are in memory.
const LIST_MAXIMUM: usize = 16 * 1024 * 1024;

/// How a list is to be imported.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// What the list is: `m3u`, or `pipe` for rows of `id|name|url|logo|category|quality|order|category_order`.
    #[param(value_type = String)]
    format: ListFormat,
    /// Only look what would be changed.
    #[serde(default)]
    dry_run: bool,
}

/// How channels are to be written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// What the list is to be: `m3u`, with the first address of each channel, or `pipe`, with a row for each address.
    #[param(value_type = String)]
    format: ListFormat,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(read))
        .routes(routes!(export))
}

/// Imports a channel list: its channels and groups are made, or replaced where they are there already; others stay. The answer comes before that
/// is done, and `location` has its progress. One import runs at a time.
#[utoipa::path(
    post, path = "/api/v1/imports", operation_id = "importChannels", tag = "channels", params(ImportQuery),
    request_body(content = String, content_type = "text/plain", description = "The list, of at most 16 MiB, whatever its content-type"),
    responses((status = 202, description = "It has begun", body = Import), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn begin(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Asked(query): Asked<ImportQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let ImportQuery { format, dry_run } = query;
    gateway.catalog_store()?;
    let turn = gateway.turn_to_import().await;
    let turn = turn.map_err(|other| Refusal::ImportUnderWay {
        at: other.map(|id| location(&id)),
    })?;
    let list = bounded(request.into_body()).await?;
    let (now, _) = gateway.now();
    let import = Import::new(&gateway.name, format, dry_run, now);
    let mut import = import.map_err(|_| Refusal::NoRandom)?;
    gateway.tell_import(&mut import).await;
    let begun = import.clone();
    if !dry_run {
        caller.audit("begin", &named(&begun), Ok(()))?;
    }
    tokio::spawn(async move {
        let import = gateway.import(import, list, turn).await;
        if !dry_run {
            let ended = import.outcome().map_err(Refusal::ImportFailed);
            let _ = caller.audit("end", &named(&import), ended);
        }
    });
    let headers = [(LOCATION, location(&begun.id))];
    Ok((StatusCode::ACCEPTED, headers, Json(begun)).into_response())
}

/// How far an import is. The last one is remembered for some days.
#[utoipa::path(
    get, path = "/api/v1/imports/{id}", operation_id = "readImport", tag = "channels", params(("id" = String, Path)),
    responses((status = 200, description = "As asked for", body = Import), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadCatalog>,
    Path(id): Path<String>,
) -> Result<Json<Import>, Refusal> {
    let import = gateway.known_import(&id).await;
    let import = import.ok_or_else(|| Refusal::missing(WHAT, &id))?;
    Ok(Json(import))
}

/// Exports all channels that have an address as a list. Addresses of sources are in it as they are: keep it like a password.
#[utoipa::path(
    get, path = "/api/v1/export", operation_id = "exportChannels", tag = "channels", params(ExportQuery),
    responses((status = 200, description = "The list", body = String, content_type = "text/plain"),
        (status = "default", description = "Why not", body = RefusalBody))
)]
async fn export(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadSources>,
    Asked(query): Asked<ExportQuery>,
) -> Result<Response, Refusal> {
    let snapshot = gateway.access.snapshot();
    let kind = match query.format {
        ListFormat::M3u => "audio/x-mpegurl",
        ListFormat::Pipe => "text/plain; charset=utf-8",
    };
    let writing = tokio::task::spawn_blocking(move || query.format.write(&snapshot));
    let text = writing.await.map_err(|_| Refusal::Unavailable)?;
    let kind = HeaderValue::from_static(kind);
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn location(id: &str) -> String {
    format!("/api/v1/imports/{id}")
}

/// What the log calls it, with how far it is.
fn named(import: &Import) -> String {
    format!(
        "the import {:?}, {} rows changed",
        import.id, import.changed
    )
}

/// A body of bounded length.
async fn bounded(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::Unreadable {
            field: None,
            message: "the body broke off".to_owned(),
        })?;
        if bytes.len() + chunk.len() > LIST_MAXIMUM {
            return Err(Refusal::TooLong { most: LIST_MAXIMUM });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
