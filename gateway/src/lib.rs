//! What viewers meet: authentication, sessions, held requests, playlists and segments.
