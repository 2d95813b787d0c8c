//! What 100,000 viewers cost Redis: gateways that tell every five seconds what is watched, beside one SET for each request of a viewer.
//! Both talk to the same kind of Redis, set up as the chart does.

use std::time::Duration;

use anyhow::{Context, Result};
use presence::redis::{RedisPresence, RedisSettings};
use presence::{Presence, StoreTime, Touch};
use redis::aio::MultiplexedConnection;

use crate::figure::{Figure, median};
use crate::machine::on_processor;
use crate::redis_server::Redis;

/// Of every figure here.
const NAME: &str = "presence";
/// Viewers, each of whom asks for a playlist once a second.
const VIEWERS: usize = 100_000;
/// Channels that they watch.
const STREAMS: usize = 4_000;
/// Gateways, each of which has viewers of every channel.
const GATEWAYS: usize = 3;
/// Seconds between two flushes of a gateway.
const FLUSH_SECONDS: usize = 5;
/// Flushes of each gateway that are measured in a round.
const FLUSHES: usize = 20;
/// Seconds of the peer's requests that are measured in a round.
const PEER_SECONDS: usize = 2;
/// Connections of the peer, those of its gateways together; each carries one request at a time, as a pool does it.
const PEER_CONNECTIONS: usize = 48;
/// How long the peer's keys are kept.
const PEER_KEEPS_SECONDS: usize = 300;

/// Measures so many rounds.
pub(crate) async fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let redis = Redis::start(directory.path()).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(flushes(&redis).await?);
        theirs.push(requests(&redis).await?);
    }
    let case = format!(
        "processor seconds of Redis in a second of {VIEWERS} viewers, beside a SET for each request"
    );
    let (ours, theirs) = (median(&ours), median(&theirs));
    Ok(vec![Figure::relative(NAME, case, ours, theirs, Some(0.01))])
}

/// Processor seconds of Redis for each second of watching, by the product's flushes.
async fn flushes(redis: &Redis) -> Result<f64> {
    let settings = RedisSettings {
        url: Some(redis.url().parse()?),
        password_file: None,
    };
    let store = RedisPresence::new(&settings, "tv/bench")?;
    // Those of the first time are made, and the script is known.
    flush_all(&store).await?;
    let before = on_processor(redis.pid()?)?;
    for _ in 0..FLUSHES {
        flush_all(&store).await?;
    }
    let used = on_processor(redis.pid()?)? - before;
    Ok(used.as_secs_f64() / (FLUSHES * FLUSH_SECONDS) as f64)
}

/// Every gateway tells once.
async fn flush_all(store: &RedisPresence) -> Result<()> {
    let touches: Vec<Touch> = (0..STREAMS).map(touch).collect();
    for gateway in 1..=GATEWAYS {
        let gateway = format!("tv-gateway-{gateway}");
        let gathered = StoreTime(u64::MAX);
        store.flush(&gateway, &touches, gathered).await?;
    }
    Ok(())
}

fn touch(stream: usize) -> Touch {
    let viewers = VIEWERS / STREAMS / GATEWAYS;
    Touch {
        stream_uid: uid(stream),
        age: Duration::from_millis(u64::try_from(stream % 1000).unwrap_or_default()),
        viewers: u32::try_from(viewers).unwrap_or(u32::MAX),
    }
}

fn uid(number: usize) -> String {
    format!("{number:08x}-7b1e-4c55-9d6a-d0c5a1b2c3d4")
}

/// Processor seconds of Redis for each second of watching, where every request sets the key of its viewer.
async fn requests(redis: &Redis) -> Result<f64> {
    let client = redis::Client::open(redis.url())?;
    let mut connections = Vec::new();
    for _ in 0..PEER_CONNECTIONS {
        connections.push(client.get_multiplexed_async_connection().await?);
    }
    let before = on_processor(redis.pid()?)?;
    let setting = connections.into_iter().enumerate().map(set_keys);
    futures::future::try_join_all(setting)
        .await
        .context("failed to set keys")?;
    let used = on_processor(redis.pid()?)? - before;
    Ok(used.as_secs_f64() / PEER_SECONDS as f64)
}

/// The share of the requests that one connection carries, one after the other.
async fn set_keys(
    (number, mut connection): (usize, MultiplexedConnection),
) -> redis::RedisResult<()> {
    for request in (number..VIEWERS * PEER_SECONDS).step_by(PEER_CONNECTIONS) {
        let mut set = redis::cmd("SET");
        set.arg(format!("last:{}", uid(request % VIEWERS)))
            .arg(request)
            .arg("EX")
            .arg(PEER_KEEPS_SECONDS);
        set.query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_its_share_of_the_viewers_of_every_channel() {
        let touch = touch(1234);
        assert_eq!(touch.stream_uid, "000004d2-7b1e-4c55-9d6a-d0c5a1b2c3d4");
        assert_eq!((touch.age, touch.viewers), (Duration::from_millis(234), 8));
    }
}
