//! One supervisor per stream: owns the upstream connection, the clock and the playlists; FFmpeg only encodes.
