//! One shared connection to Redis that is made when needed and thrown away when in doubt.
//! Nothing waits longer than the operation's limit, and no step runs on a connection that failed before.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, FromRedisValue, RedisError,
    ScriptInvocation,
};
use tokio::sync::Mutex;

use super::settings::SettingsError;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const RESPONSE_LIMIT: Duration = Duration::from_secs(1);
const OPERATION_LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Connection {
    client: Client,
    address: String,
    current: Mutex<Current>,
}

/// The connection in use; `generation` tells which one a failure belongs to.
#[derive(Default)]
struct Current {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Connection {
    pub(super) fn new(info: ConnectionInfo) -> Result<Self, SettingsError> {
        let address = info.addr().to_string();
        let client = Client::open(info).map_err(|error| SettingsError::Url {
            reason: error.to_string(),
        })?;
        Ok(Self {
            client,
            address,
            current: Mutex::default(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Runs a script; once more when a connection that was fine before turns out to be broken, since every script may be repeated.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, String> {
        let attempts = async {
            match self.attempt(call).await {
                Err(Attempt::Stale(_)) => self.attempt(call).await,
                outcome => outcome,
            }
        };
        match tokio::time::timeout(OPERATION_LIMIT, attempts).await {
            Ok(outcome) => outcome.map_err(|attempt| attempt.reason()),
            Err(_) => Err(format!("no answer within {OPERATION_LIMIT:?}")),
        }
    }

    async fn attempt<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Attempt> {
        let (generation, fresh, mut connection) = self.connection().await?;
        match call.invoke_async(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) if is_answer(&error) => Err(Attempt::Failed(error)),
            Err(error) => {
                self.discard(generation).await;
                let wrap = if fresh {
                    Attempt::Failed
                } else {
                    Attempt::Stale
                };
                Err(wrap(error))
            }
        }
    }

    /// The connection in use or a new one (`fresh`). Whoever comes while one is being made waits for it.
    async fn connection(&self) -> Result<(u64, bool, MultiplexedConnection), Attempt> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.generation, false, connection.clone()));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(RESPONSE_LIMIT));
        let making = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        // The handshake (AUTH, SELECT) is not part of the connect limit.
        let connection = match tokio::time::timeout(CONNECT_LIMIT + RESPONSE_LIMIT, making).await {
            Ok(outcome) => outcome.map_err(Attempt::Failed)?,
            Err(_) => {
                return Err(Attempt::Failed(RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                ))));
            }
        };
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((current.generation, true, connection))
    }

    async fn discard(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }
}

enum Attempt {
    /// The connection had worked before: a new one may do.
    Stale(RedisError),
    Failed(RedisError),
}

impl Attempt {
    fn reason(&self) -> String {
        let (Self::Stale(error) | Self::Failed(error)) = self;
        error.to_string()
    }
}

/// Whether the server itself answered: then the connection is fine, and asking again changes nothing.
fn is_answer(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
    )
}
