//! `/api/v1/channels`: the catalog's channels as documents. A viewer's token is shown what it may watch, as the start page needs it; an
//! administrator's every channel. Addresses and headers of sources, which may be logins, are shown to nobody who may not read them.

use std::sync::Arc;

use api::live_stream::ProviderChannel;
use api::stream_class::Preset;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use catalog::store::Change;
use catalog::{Channel, ChannelSource, Row, RowKey, SourceAddress, slug};
use http::StatusCode;
use http::header::LOCATION;
use http::request::Parts;
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
use crate::administrators::Action;
use crate::http::channels::{self as watched, ListedChannels};

/// What refusals call it.
const WHAT: &str = "channel";

/// A channel. A field that is left out is none; of `GET`, one that is left out is not set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChannelDocument {
    /// Its name in URLs: 1 to 44 letters a-z, digits and inner hyphens. Made from the name when a channel is made without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    /// The name that people read: 1 to 256 characters.
    name: String,
    /// Its number on a remote control, such as `7` or `7.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// Id of the group it is listed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The address of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<String>,
    /// Its id in an XMLTV guide.
    #[serde(skip_serializing_if = "Option::is_none")]
    guide_id: Option<String>,
    /// Its place in lists; those of one place stand by slug.
    #[serde(default)]
    order: u32,
    /// Name of its StreamClass; the default class when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Which renditions, instead of what the class says: `source`, `low`, `medium`, `high` or `ultra`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    preset: Option<Preset>,
    /// Preferred language of the audio (ISO 639-2), instead of what the class says.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_language: Option<String>,
    /// No picture.
    #[serde(default)]
    radio: bool,
    /// Switched off: for viewers it is not there.
    #[serde(default)]
    disabled: bool,
    /// Where it can be had, tried in order: 1 to 16.
    sources: Vec<SourceDocument>,
}

/// Where a channel can be had: at an address, or as a channel of a Provider.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceDocument {
    /// Its address. Who may not read sources is shown scheme and host.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// A channel of a Provider, whose connections are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<ProviderDocument>,
    /// What people call its quality, such as `HD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    /// The User-Agent to ask with.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Further headers to ask with: at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderDocument>,
}

/// A channel of a Provider.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderDocument {
    /// Name of the Provider.
    name: String,
    /// Its channel there: the `stream_id` of a panel, the `cmd` of a portal.
    channel: String,
}

/// A header.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderDocument {
    /// Its name.
    name: String,
    /// Its value; who may not read sources is shown none.
    value: String,
}

/// A page of channels.
#[derive(Debug, Serialize, ToSchema)]
struct ChannelsPage {
    /// In the catalog's order.
    channels: Vec<ChannelDocument>,
    /// `cursor` of the next page; none after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, replace, remove))
}

/// Lists channels. A viewer's token is shown those that it may watch, all at once, with slug, name, number, logo and the group's name.
#[utoipa::path(
    get, path = "/api/v1/channels", operation_id = "listChannels", tag = "channels", params(ListQuery),
    responses((status = 200, description = "As asked for", body = ChannelsPage), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn list(State(gateway): State<Arc<Gateway>>, mut parts: Parts) -> Result<Response, Refusal> {
    if !gateway.is_administrator(&parts) {
        let viewer = watched::list(&gateway, &mut parts).await?;
        return Ok(Json::<ListedChannels>(viewer).into_response());
    }
    let caller = Caller::<ReadCatalog>::from_request_parts(&mut parts, &gateway).await?;
    let listing = Listing::from_request_parts(&mut parts, &gateway).await?;
    let snapshot = gateway.access.snapshot();
    let (order, slug) = &listing.after;
    let sees_sources = caller.may(Action::ReadSources);
    let (channels, next) = listing.page(
        snapshot.channels_after(*order, slug),
        |channel| [channel.slug.as_str(), channel.name.as_str()],
        |channel| (channel.order, channel.slug.as_str()),
        |channel| weighed(document(channel, sees_sources)),
    );
    Ok(Json(ChannelsPage { channels, next }).into_response())
}

/// One channel.
#[utoipa::path(
    get, path = "/api/v1/channels/{slug}", operation_id = "readChannel", tag = "channels", params(("slug" = String, Path)),
    responses((status = 200, description = "As asked for", body = ChannelDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn read(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ReadCatalog>,
    Path(slug): Path<String>,
) -> Result<Response, Refusal> {
    let snapshot = gateway.access.snapshot();
    let channel = snapshot.channel(&slug);
    let channel = channel.ok_or_else(|| Refusal::missing(WHAT, &slug))?;
    let revision = snapshot.revision(&RowKey::Channel(slug)).unwrap_or(0);
    let document = document(channel, caller.may(Action::ReadSources));
    Ok(revised(revision, document))
}

/// Makes a channel.
#[utoipa::path(
    post, path = "/api/v1/channels", operation_id = "createChannel", tag = "channels", request_body = ChannelDocument,
    responses((status = 201, description = "Made", body = ChannelDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn create(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Body(wish): Body<ChannelDocument>,
) -> Result<Response, Refusal> {
    let channel = channel(wish)?;
    let key = RowKey::Channel(channel.slug.clone());
    let made = gateway.make(WHAT, Row::Channel(channel.clone())).await;
    let revision = caller.audit("create", &key, made)?;
    let location = format!("/api/v1/channels/{}", channel.slug);
    let made = revised(revision, document(&channel, true));
    Ok((StatusCode::CREATED, [(LOCATION, location)], made).into_response())
}

/// Writes a channel, in place of the one of that slug if there is one. A stream that is watched follows its sources without a restart.
#[utoipa::path(
    put, path = "/api/v1/channels/{slug}", operation_id = "replaceChannel", tag = "channels", request_body = ChannelDocument,
    params(("slug" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is replaced"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none")),
    responses((status = 200, description = "As asked for", body = ChannelDocument), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn replace(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Path(slug): Path<String>,
    precondition: Precondition,
    Body(mut wish): Body<ChannelDocument>,
) -> Result<Response, Refusal> {
    if wish.slug.get_or_insert_with(|| slug.clone()) != &slug {
        let message = "a channel keeps its slug: leave it out, or make another channel";
        return Err(Refusal::invalid("slug", message));
    }
    let channel = channel(wish)?;
    let change = Change::put(Row::Channel(channel.clone()));
    let changed = gateway.change(change, precondition).await;
    let revision = caller.audit("replace", &RowKey::Channel(slug), changed)?;
    Ok(revised(revision, document(&channel, true)))
}

/// Removes a channel. Who watches it is refused with the next playlist, and its stream ends.
#[utoipa::path(
    delete, path = "/api/v1/channels/{slug}", operation_id = "removeChannel", tag = "channels",
    params(("slug" = String, Path), ("If-Match" = Option<String>, Header, description = "The revision that is removed")),
    responses((status = 204, description = "Done"), (status = "default", description = "Why not", body = RefusalBody))
)]
async fn remove(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller<ChangeCatalog>,
    Path(slug): Path<String>,
    precondition: Precondition,
) -> Result<StatusCode, Refusal> {
    let key = RowKey::Channel(slug.clone());
    let removed = gateway.remove(WHAT, &slug, key.clone(), precondition).await;
    caller.audit("remove", &key, removed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A channel as it is shown.
fn document(channel: &Channel, sees_sources: bool) -> ChannelDocument {
    let sources = channel.sources.iter();
    ChannelDocument {
        slug: Some(channel.slug.clone()),
        name: channel.name.clone(),
        number: channel.number.clone(),
        group: channel.group.clone(),
        logo: channel.logo.clone(),
        guide_id: channel.guide_id.clone(),
        order: channel.order,
        class: channel.class.clone(),
        preset: channel.preset,
        audio_language: channel.audio_language.clone(),
        radio: channel.radio,
        disabled: channel.disabled,
        sources: sources.map(|source| shown(source, sees_sources)).collect(),
    }
}

fn shown(source: &ChannelSource, sees_sources: bool) -> SourceDocument {
    let (url, provider) = match &source.address {
        SourceAddress::Url(url) if sees_sources => (Some(url.clone()), None),
        // Its printed form has no login.
        SourceAddress::Url(_) => (Some(format!("{:?}", source.address)), None),
        SourceAddress::Provider(ProviderChannel { name, channel }) => {
            let (name, channel) = (name.clone(), channel.clone());
            (None, Some(ProviderDocument { name, channel }))
        }
    };
    let header = |(name, value): &(String, String)| HeaderDocument {
        name: name.clone(),
        value: if sees_sources {
            value.clone()
        } else {
            String::new()
        },
    };
    SourceDocument {
        url,
        provider,
        quality: source.quality.clone(),
        user_agent: source.user_agent.clone(),
        headers: source.headers.iter().map(header).collect(),
    }
}

/// The channel that a document is.
fn channel(document: ChannelDocument) -> Result<Channel, Refusal> {
    let sources = document.sources.into_iter().enumerate();
    let sources: Result<Vec<_>, _> = sources.map(|(index, one)| source(index, one)).collect();
    let (name, guide_id) = (document.name, document.guide_id);
    let slug = document.slug;
    Ok(Channel {
        slug: slug.unwrap_or_else(|| slug::derive(&name, guide_id.as_deref())),
        name,
        number: document.number,
        group: document.group,
        logo: document.logo,
        guide_id,
        order: document.order,
        class: document.class,
        preset: document.preset,
        audio_language: document.audio_language,
        sources: sources?,
        radio: document.radio,
        disabled: document.disabled,
    })
}

fn source(index: usize, document: SourceDocument) -> Result<ChannelSource, Refusal> {
    let address = match (document.url, document.provider) {
        (Some(url), None) => SourceAddress::Url(url),
        (None, Some(ProviderDocument { name, channel })) => {
            SourceAddress::Provider(ProviderChannel { name, channel })
        }
        _ => {
            let message = "a source has either a url or a provider";
            return Err(Refusal::invalid(format!("sources[{index}]"), message));
        }
    };
    let headers = document.headers.into_iter();
    Ok(ChannelSource {
        address,
        quality: document.quality,
        user_agent: document.user_agent,
        headers: headers.map(|header| (header.name, header.value)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn whole() -> Value {
        json!({
            "slug": "news-one", "name": "News One", "number": "1", "group": "News", "logo": "http://logo.example/1.png", "guideId": "news.one",
            "order": 3, "class": "default", "preset": "high", "audioLanguage": "eng", "radio": false, "disabled": true,
            "sources": [
                {
                    "url": "http://alice:hunter2@source.example/hunter2", "quality": "HD", "userAgent": "VLC",
                    "headers": [{ "name": "Cookie", "value": "hunter2" }, { "name": "Cookie", "value": "second" }]
                },
                { "provider": { "name": "panel", "channel": "1234" } }
            ]
        })
    }

    #[test]
    fn a_channel_that_is_read_and_written_is_the_same() {
        let read = channel(serde_json::from_value(whole()).unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(document(&read, true)).unwrap(),
            whole()
        );
        assert_eq!(read.sources[0].headers.len(), 2);
    }

    #[test]
    fn who_may_not_read_sources_sees_where_they_are_and_no_login() {
        let read = channel(serde_json::from_value(whole()).unwrap()).unwrap();
        let shown = serde_json::to_value(document(&read, false)).unwrap();
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(shown["sources"][0]["url"], "http://source.example/…");
        assert_eq!(
            shown["sources"][0]["headers"][0],
            json!({ "name": "Cookie", "value": "" })
        );
        assert_eq!(shown["sources"][1]["provider"]["channel"], "1234");
    }

    #[test]
    fn only_a_name_and_sources_are_needed_and_a_source_is_one_thing() {
        let of = |sources: Value| {
            let document = json!({ "name": "News One!", "sources": sources });
            channel(serde_json::from_value(document).unwrap())
        };
        assert_eq!(
            of(json!([{ "url": "http://a.example/" }])).unwrap().slug,
            "news-one"
        );
        let both =
            json!({ "url": "http://a.example/", "provider": { "name": "p", "channel": "1" } });
        for wrong in [both, json!({})] {
            let refused = of(json!([{ "url": "http://a.example/" }, wrong])).unwrap_err();
            let expected =
                Refusal::invalid("sources[1]", "a source has either a url or a provider");
            assert_eq!(refused, expected);
        }
    }
}
