//! The HLS side of the source's HTTP surface: playlists, segments, keys, tokens. Decides nothing about media.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::channel::Channel;
use super::client::duration;
use super::faults::{Faults, Malformed};
use super::fragments::Tracks;
use super::hls::{self, HlsContainer, KEY, Rendition};
use super::http::{Shared, find, from_pairs};

/// What a broken server answers instead of a playlist.
const PAGE: &str = "<!DOCTYPE html><html><body>Account expired</body></html>";

/// Answers `/<channel>/<file>`.
pub(crate) async fn file(
    State(channels): Shared,
    Path((name, file)): Path<(String, String)>,
    Query(mut query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let channel = find(channels, &name)
        .await
        .map_err(IntoResponse::into_response)?;
    let token = query.remove("token");
    let query: Faults =
        from_pairs(query).map_err(|message| (StatusCode::BAD_REQUEST, message).into_response())?;
    let agent = headers.get(header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    channel.count_request(agent.map(str::to_owned));
    let faults = channel.faults().borrow().overlaid(&query);
    if let Some(seconds) = faults.delay {
        tokio::time::sleep(duration(seconds)).await;
    }
    if let Some(status) = faults.status {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err(status.into_response());
    }
    if file == "entry.m3u8" {
        let location = format!("index.m3u8?token={:.3}", now());
        return Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response());
    }
    let passing = admitted(&channel, token.as_deref())
        .ok_or_else(|| (StatusCode::FORBIDDEN, "the token has expired").into_response())?;
    answer(&channel, &file, &faults, &passing, &headers)
        .await
        .ok_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// The query that further addresses need, when that of this one is good.
fn admitted(channel: &Channel, token: Option<&str>) -> Option<String> {
    let Some(life) = channel.settings.hls.token else {
        return Some(String::new());
    };
    let since = token?.parse::<f64>().ok()?;
    let is_good = (0.0..life).contains(&(now() - since));
    is_good.then(|| format!("?token={since:.3}"))
}

async fn answer(
    channel: &Channel,
    file: &str,
    faults: &Faults,
    query: &str,
    headers: &HeaderMap,
) -> Option<Response> {
    let settings = &channel.settings.hls;
    let position = channel.hls_position(faults.silence == Some(true));
    let listed = settings.listed(position);
    let playlist = |list: String| {
        let list = match faults.malformed {
            Some(Malformed::Html) => PAGE.to_owned(),
            Some(Malformed::Empty) => String::new(),
            Some(Malformed::Garbage) | None => list,
        };
        (
            [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl")],
            list,
        )
            .into_response()
    };
    match file {
        "master.m3u8" => Some(playlist(hls::master_playlist(&channel.settings, query))),
        "index.m3u8" | "audio.m3u8" => {
            let (prefix, tracks) = tracks(channel, file);
            let init = match settings.container {
                _ if settings.is_packed(tracks) => None,
                HlsContainer::Ts => None,
                HlsContainer::Fmp4 => Some(channel.hls_init(listed.first, tracks).await?.len()),
            };
            let rendition = Rendition {
                tracks,
                prefix,
                init,
                bytes: &|number| channel.hls_length(number),
            };
            let jumps = channel.hls_jumps();
            let list = hls::media_playlist(settings, listed, &jumps, &rendition, query);
            Some(playlist(list))
        }
        "key" => Some(KEY.to_vec().into_response()),
        _ => {
            let (prefix, tracks) = tracks(channel, file);
            let bare = file.strip_prefix(prefix)?;
            if bare == "init.mp4" {
                let init = channel.hls_init(listed.first, tracks).await?;
                return Some(part(init, headers));
            }
            let number = bare
                .strip_suffix(settings.extension(tracks))?
                .strip_suffix('.')?;
            let number = number.parse::<u64>().ok()?;
            // What has left the list stays for as long as it was listed.
            let oldest = listed.first.saturating_sub(u64::from(settings.window));
            if !(oldest..listed.end).contains(&number) {
                return None;
            }
            let segment = channel.hls_segment(number, tracks).await?;
            channel.count_bytes(segment.len());
            Some(part(segment, headers))
        }
    }
}

/// What a file's name begins with, and what of the channel it has.
fn tracks(channel: &Channel, file: &str) -> (&'static str, Tracks) {
    let hls = &channel.settings.hls;
    match (hls.audio_apart, file.starts_with("audio")) {
        (false, _) if hls.audio_packed => ("", Tracks::Audio),
        (false, _) => ("", Tracks::All),
        (true, false) => ("", Tracks::Video),
        (true, true) => ("audio-", Tracks::Audio),
    }
}

/// All of a resource, or the range that is asked for.
fn part(resource: Bytes, headers: &HeaderMap) -> Response {
    let kind = [(header::CONTENT_TYPE, "video/mp2t")];
    let range = headers.get(header::RANGE);
    let range =
        range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else {
        return (kind, resource).into_response();
    };
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last && last < resource.len() => {
            let range = format!("bytes {first}-{last}/{}", resource.len());
            let range = [(header::CONTENT_RANGE, range)];
            let bytes = resource.slice(first..=last);
            (StatusCode::PARTIAL_CONTENT, kind, range, bytes).into_response()
        }
        _ => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
