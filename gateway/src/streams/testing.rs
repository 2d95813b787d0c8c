//! Streams and windows for the tests of this crate's streams. Nothing outside tests may use it.

mod playlists;

use std::ops::Range;
use std::sync::Arc;

use api::job::StreamIdentity;

pub(crate) use self::playlists::playlists;
use crate::keys::{Key, Keys};
use crate::window::Window;

pub(crate) fn keys() -> Keys {
    Keys {
        session: Key::new(&[1; 32]),
        segment: Key::new(&[2; 32]),
    }
}

pub(crate) fn identity(uid: &str) -> Arc<StreamIdentity> {
    Arc::new(StreamIdentity {
        namespace: "tv".to_owned(),
        name: "news-one".to_owned(),
        uid: uid.to_owned(),
    })
}

pub(crate) fn window(uid: &str, attempt: i32, version: u64, numbers: Range<u64>) -> Arc<Window> {
    Arc::new(Window::render(
        Arc::new(playlists(uid, attempt, version, numbers)),
        &keys(),
    ))
}
