//! Waiting for a condition, with a bound. The only place in the tests that lets time pass.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Asks again and again until the answer is `Ok(Some(_))`; after `limit` the error says what was awaited and what was seen last.
///
/// # Errors
/// When the condition does not come true in time.
pub async fn until<T, Found, Ask>(what: &str, limit: Duration, mut ask: Ask) -> Result<T>
where
    Ask: FnMut() -> Found,
    Found: Future<Output = Result<Seen<T>>>,
{
    let end = Instant::now() + limit;
    loop {
        let last = match ask().await {
            Ok(Seen::Yes(value)) => return Ok(value),
            Ok(Seen::NotYet(what)) => what,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!(
                "{what} did not happen within {} s; last seen: {last}",
                limit.as_secs()
            );
        }
        sleep(INTERVAL).await;
    }
}

/// What one look saw.
#[derive(Debug)]
pub enum Seen<T> {
    /// What was awaited.
    Yes(T),
    /// Something else, described for the error.
    NotYet(String),
}

impl<T> Seen<T> {
    /// What was awaited if the condition holds, else a description of the value.
    pub fn when(holds: bool, value: T) -> Self
    where
        T: Debug,
    {
        if holds {
            Self::Yes(value)
        } else {
            Self::NotYet(format!("{value:?}"))
        }
    }
}
