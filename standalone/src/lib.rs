//! One process without a cluster: gateway, local stream directory, transcoder jobs and in-memory presence.
