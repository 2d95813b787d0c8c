//! `/api/v1/groups`: what channels are listed in. A group that channels name and that has no row here is called by its id.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catalog::store::Change;
use catalog::{Group, Row, RowKey};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use super::caller::{Caller, ChangeCatalog, ReadCatalog};
use super::change::{Precondition, revised};
use super::listing::{ListQuery, Listing, weighed};
use super::refusal::{Refusal, RefusalBody};
use crate::Gateway;

/// What refusals call it.
const WHAT: &str = "group";

/// A group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupDocument {
    /// What channels and users name it by: 1 to 256 characters. In `PUT` that of the address when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The name that people read: 1 to 256 characters.
    name: String,
    /// Its place in lists; those of one place stand by id.
    #[serde(default)]
    order: u32,
}

/// A page of groups.
#[derive(Debug, Serialize, ToSchema)]
struct GroupsPage {
    /// In the catalog's order.
    groups: Vec<GroupDocument>,
    /// `cursor` of the next page; none after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, replace, remove))
}

/// Lists groups.
#[utoipa::path(
    get, path = "/api/v1/groups", operation_id = "listGroups", tag = "groups", params(ListQuery),
    responses((status = 200, description = "As asked for", body = GroupsPage), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadCatalog>,
    listing: Listing,
) -> Json<GroupsPage> {
    let snapshot = gateway.access.snapshot();
    let (order, id) = &listing.after;
    let (groups, next) = listing.page(
        snapshot.groups_after(*order, id),
        |group| [group.id.as_str(), group.name.as_str()],
        |group| (group.order, group.id.as_str()),
        |group| weighed(document(group)),
    );
    Json(GroupsPage { groups, next })
}

/// One group.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}", operation_id = "readGroup", tag = "groups", params(("id" = String, Path)),
    responses((status = 200, description = "As asked for", body = GroupDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    _: Caller<ReadCatalog>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let snapshot = gateway.access.snapshot();
    let group = snapshot.group(&id);
    let group = group.ok_or_else(|| Refusal::missing(WHAT, &id))?;
    let revision = snapshot.revision(&RowKey::Group(id)).unwrap_or(0);
    Ok(revised(revision, document(group)))
}

/// Makes a group.
#[utoipa::path(
    post, path = "/api/v1/groups", operation_id = "createGroup", tag = "groups", request_body = GroupDocument,
    responses((status = 201, description = "Made", body = GroupDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Body(wish): Body<GroupDocument>,
) -> Result<Response, Refusal> {
    let GroupDocument { id, name, order } = wish;
    let id = id.ok_or_else(|| Refusal::invalid("id", "a group needs an id"))?;
    let group = Group { id, name, order };
    let key = RowKey::Group(group.id.clone());
    let made = gateway.make(WHAT, Row::Group(group.clone())).await;
    let revision = caller.audit("create", &key, made)?;
    Ok((StatusCode::CREATED, revised(revision, document(&group))).into_response())
}

/// Writes a group, in place of the one of that id if there is one.
#[utoipa::path(
    put, path = "/api/v1/groups/{id}", operation_id = "replaceGroup", tag = "groups", request_body = GroupDocument,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is replaced"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none")),
    responses((status = 200, description = "As asked for", body = GroupDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn replace(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Path(id): Path<String>,
    precondition: Precondition,
    Body(wish): Body<GroupDocument>,
) -> Result<Response, Refusal> {
    if wish.id.is_some_and(|wished| wished != id) {
        let message = "a group keeps its id: leave it out, or make another group";
        return Err(Refusal::invalid("id", message));
    }
    let (name, order) = (wish.name, wish.order);
    let group = Group { id, name, order };
    let change = Change::put(Row::Group(group.clone()));
    let key = change.key();
    let changed = gateway.change(change, precondition).await;
    let revision = caller.audit("replace", &key, changed)?;
    Ok(revised(revision, document(&group)))
}

/// Removes a group. Channels that name it are listed under its id.
#[utoipa::path(
    delete, path = "/api/v1/groups/{id}", operation_id = "removeGroup", tag = "groups",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is removed")),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn remove(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Path(id): Path<String>,
    precondition: Precondition,
) -> Result<StatusCode, Refusal> {
    let key = RowKey::Group(id.clone());
    let removed = gateway.remove(WHAT, &id, key.clone(), precondition).await;
    caller.audit("remove", &key, removed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn document(group: &Group) -> GroupDocument {
    GroupDocument {
        id: Some(group.id.clone()),
        name: group.name.clone(),
        order: group.order,
    }
}
