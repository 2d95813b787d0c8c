//! What every store in Redis needs: settings, keys of a release, and one shared connection that is made when needed and bounded in time.
//! Knows no domain and no key but its prefix, and prints no password.

pub mod connection;
pub mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use connection::{Connection, Limits};
pub use settings::{RedisSettings, RedisUrl, SettingsError};
