//! Playlist checker: follows a live stream like a player and names every rule it breaks.
