//! What viewers meet: authentication, sessions, held requests, playlists and segments.

pub mod directory;
pub mod origin;
