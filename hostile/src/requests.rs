//! Requests to a gateway: whoever sends whatever is answered, and never with a failure of the gateway's own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use futures::StreamExt;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use tower::ServiceExt;

use crate::world::{WORLD, World};

/// The proxy that all requests come from.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4711);

/// Bytes of an answer that are read at least: a channel that is one stream has no end.
const ENOUGH: usize = 1024;

/// Far more than any hold of the gateway.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as text: method and target in its first line, a header in each line up to an empty one, and the body. `{session}` and `{key}` in
/// the target stand for what only the gateway can mint.
pub(crate) fn request(bytes: &[u8]) {
    if let Some(request) = read(bytes, &WORLD) {
        let _ = answered(&WORLD, request);
    }
}

fn answered(world: &World, request: Request<Body>) -> StatusCode {
    let asked = format!("{} {}", request.method(), request.uri());
    let answering = async {
        let Ok(answer) = world.app.clone().oneshot(request).await;
        let status = answer.status();
        let mut body = answer.into_body().into_data_stream();
        let mut length = 0;
        while length < ENOUGH
            && let Some(piece) = body.next().await
        {
            let piece = piece.ok();
            assert!(piece.is_some(), "the answer to {asked} breaks off");
            length += piece.map_or(0, |piece| piece.len());
        }
        status
    };
    let answer = async { tokio::time::timeout(PATIENCE, answering).await };
    let status = world.runtime.block_on(answer).ok();
    let is_ours_to_answer_for = status.is_none_or(|status| status.is_server_error());
    assert!(!is_ours_to_answer_for, "{asked}: {status:?}");
    status.unwrap_or_default()
}

fn read(bytes: &[u8], world: &World) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = bytes.split_at(end.unwrap_or(bytes.len()));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = cut(lines.next()?, b' ')?;
    let target = std::str::from_utf8(target).ok()?;
    let target = target.replace("{session}", &world.session);
    let mut request = Request::builder()
        .method(Method::from_bytes(method).ok()?)
        .uri(target.replace("{key}", &world.key))
        .extension(ConnectInfo(PEER));
    for (name, value) in lines.filter_map(|line| cut(line, b':')) {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    let body = body.get(2..).unwrap_or_default().to_vec();
    request.body(Body::from(body)).ok()
}

fn cut(line: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == separator)?;
    Some((&line[..at], &line[at + 1..]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The name of each seed begins with the status that it is answered with: what is made of them begins where a good request gets.
    #[test]
    fn every_seed_gets_as_far_as_its_name_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/request");
        let mut misled = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let request = read(&std::fs::read(&path).unwrap(), &WORLD).expect(name);
            let status = answered(&WORLD, request);
            if !name.starts_with(status.as_str()) {
                misled.push(format!("{name}: {status}"));
            }
        }
        assert!(misled.is_empty(), "{misled:#?}");
    }
}
