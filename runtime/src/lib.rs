//! What every process needs and no domain: telemetry, shutdown, admin server.
