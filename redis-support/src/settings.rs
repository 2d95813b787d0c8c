//! Where Redis is and how to log in. No form of these settings prints the password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use redis::{ConnectionInfo, IntoConnectionInfo};
use url::Url;

/// Longest prefix of keys.
const PREFIX_MAXIMUM: usize = 128;

/// Redis as a process's settings name it. Flatten it into them.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisSettings {
    /// Redis for presence, for example `redis://redis:6379/0`; without it presence lives in memory, where that makes sense
    #[arg(
        id = "redis_url",
        long = "redis-url",
        env = "HEADEND_REDIS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub url: Option<RedisUrl>,
    /// File with the Redis password; it wins over one in the URL
    #[arg(
        id = "redis_password_file",
        long = "redis-password-file",
        env = "HEADEND_REDIS_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
}

/// A Redis URL that never prints its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Url);

impl FromStr for RedisUrl {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason: &str| SettingsError::Url {
            reason: reason.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        match url.scheme() {
            "redis" | "unix" | "redis+unix" => Ok(Self(url)),
            "rediss" => Err(refused("TLS (rediss) is not supported")),
            _ => Err(refused("its scheme is not redis or unix")),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(formatter, "{}://…@{host}", self.0.scheme())
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No URL was given where one is needed.
    #[error("failed to find the Redis URL: set HEADEND_REDIS_URL")]
    NoUrl,
    /// The URL is not one of a Redis.
    #[error("failed to use the Redis URL: {reason}")]
    Url {
        /// What is wrong, without the URL itself.
        reason: String,
    },
    /// The prefix is not usable in a key.
    #[error(
        "failed to use the Redis prefix {prefix:?}: it must be 1 to {PREFIX_MAXIMUM} letters, digits, '-', '_', '.', '/' or ':'"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The password file cannot be read.
    #[error("failed to read the Redis password from {path:?}: {reason}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

impl RedisSettings {
    pub(crate) fn connection_info(&self) -> Result<ConnectionInfo, SettingsError> {
        let url = self.url.as_ref().ok_or(SettingsError::NoUrl)?;
        let info = url.0.clone().into_connection_info();
        let info = info.map_err(|error| SettingsError::Url {
            reason: error.to_string(),
        })?;
        let Some(path) = &self.password_file else {
            return Ok(info);
        };
        let login = info.redis_settings().clone();
        Ok(info.set_redis_settings(login.set_password(read_password(path)?)))
    }
}

/// The prefix, if it can neither leave its place in a key nor grow without bound.
///
/// # Errors
/// When it can.
pub fn checked_prefix(prefix: &str) -> Result<&str, SettingsError> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if (1..=PREFIX_MAXIMUM).contains(&prefix.len()) && prefix.bytes().all(usable) {
        return Ok(prefix);
    }
    Err(SettingsError::Prefix {
        prefix: prefix.to_owned(),
    })
}

fn read_password(path: &Path) -> Result<String, SettingsError> {
    let refused = |reason: String| SettingsError::PasswordFile {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused("it is empty".to_owned())),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: Some(url.parse().unwrap()),
            password_file: None,
        }
    }

    #[test]
    fn the_password_is_in_no_printed_form() {
        let settings = settings("redis://user:hunter2@redis:6379/1");
        assert!(!format!("{settings:?}").contains("hunter2"));
        let info = settings.connection_info().unwrap();
        assert_eq!(info.addr().to_string(), "redis:6379");
        assert_eq!(info.redis_settings().password(), Some("hunter2"));
    }

    #[test]
    fn the_password_of_the_file_wins_and_loses_its_line_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"from file\n").unwrap();
        let mut settings = settings("redis://user:hunter2@redis:6379/1");
        settings.password_file = Some(file.path().to_owned());
        let info = settings.connection_info().unwrap();
        assert_eq!(info.redis_settings().password(), Some("from file"));
        assert_eq!(info.redis_settings().username(), Some("user"));
        assert_eq!(info.redis_settings().db(), 1);
    }

    #[test]
    fn a_password_file_that_is_missing_or_empty_is_named() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for path in [Path::new("/nonexistent/password"), empty.path()] {
            let mut settings = settings("redis://redis");
            settings.password_file = Some(path.to_owned());
            let error = settings.connection_info().unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn urls_that_cannot_work_are_refused_without_being_repeated() {
        for url in [
            "http://:hunter2@redis",
            "rediss://:hunter2@redis",
            "hunter2",
        ] {
            let error = url.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(
                error.starts_with("failed to use the Redis URL: "),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_prefix_cannot_break_out_of_its_hash_tag() {
        assert_eq!(checked_prefix("tv/one").unwrap(), "tv/one");
        for prefix in ["", "a}b", "a b", "a\n", &"a".repeat(129)] {
            assert!(checked_prefix(prefix).is_err(), "{prefix:?}");
        }
    }
}
