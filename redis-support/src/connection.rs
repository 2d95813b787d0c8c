//! One shared connection to Redis that is made when needed and thrown away when in doubt.
//! Nothing waits longer than the operation's limit, and no step runs on a connection that failed before.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
    ScriptInvocation,
};
use tokio::sync::Mutex;

use crate::settings::{RedisSettings, SettingsError};

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connecting.
    pub connect: Duration,
    /// One answer.
    pub response: Duration,
    /// An operation, with what is tried again.
    pub operation: Duration,
}

/// The connection to one Redis.
pub struct Connection {
    client: Client,
    address: String,
    limits: Limits,
    current: Mutex<Current>,
}

/// What is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    Script(&'a ScriptInvocation<'a>),
    Commands(&'a Pipeline),
}

/// The connection in use; `generation` tells which one a failure belongs to.
#[derive(Default)]
struct Current {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Connection {
    /// Prepares a connection; it is made when it is first needed.
    ///
    /// # Errors
    /// When the settings are wrong, or the password file cannot be read. An unreachable Redis is no error here.
    pub fn new(settings: &RedisSettings, limits: Limits) -> Result<Self, SettingsError> {
        let info = settings.connection_info()?;
        let address = info.addr().to_string();
        let client = Client::open(info).map_err(|error| SettingsError::Url {
            reason: error.to_string(),
        })?;
        Ok(Self {
            client,
            address,
            limits,
            current: Mutex::default(),
        })
    }

    /// Host and port of the server, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a script; once more when a connection that was fine before turns out to be broken, so every script must be one that may be
    /// repeated.
    ///
    /// # Errors
    /// Why there is no answer, without credentials.
    pub async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, String> {
        self.ask(Question::Script(call)).await
    }

    /// Sends commands together and answers with all their answers; repeated like scripts.
    ///
    /// # Errors
    /// Why there is no answer, without credentials.
    pub async fn send<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, String> {
        self.ask(Question::Commands(commands)).await
    }

    /// What is published from now on, over a connection of its own; ends with that connection.
    ///
    /// # Errors
    /// Why it cannot be had, without credentials.
    pub async fn subscribe(&self, channel: &str) -> Result<PubSubStream, String> {
        let subscribing = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            Ok::<_, RedisError>(connection.into_on_message())
        };
        match tokio::time::timeout(self.limits.operation, subscribing).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> String {
        format!("no answer within {:?}", self.limits.operation)
    }

    async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, String> {
        let attempts = async {
            match self.attempt(question).await {
                Err(Attempt::Stale(_)) => self.attempt(question).await,
                outcome => outcome,
            }
        };
        match tokio::time::timeout(self.limits.operation, attempts).await {
            Ok(outcome) => outcome.map_err(|attempt| attempt.reason()),
            Err(_) => Err(self.too_late()),
        }
    }

    async fn attempt<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, Attempt> {
        let (generation, fresh, mut connection) = self.connection().await?;
        let answer: RedisResult<T> = match question {
            Question::Script(call) => call.invoke_async(&mut connection).await,
            Question::Commands(commands) => commands.query_async(&mut connection).await,
        };
        match answer {
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
            .set_connection_timeout(Some(self.limits.connect))
            .set_response_timeout(Some(self.limits.response));
        let making = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        // The handshake (AUTH, SELECT) is not part of the connect limit.
        let limit = self.limits.connect + self.limits.response;
        let connection = match tokio::time::timeout(limit, making).await {
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
