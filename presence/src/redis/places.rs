//! Places in Redis: one hash a user, so that a claim costs the same however many users there are, and nothing is written while somebody
//! watches. The memory adapter says what the steps mean.

use async_trait::async_trait;
use redis::Script;

use super::RedisPresence;
use super::script::with_prelude;
use crate::places::{
    Change, Claimed, ENDED_TIME_TO_LIVE, Held, Limit, OverLimit, PLACE_TIME_TO_LIVE, Place, Places,
    Settled,
};
use crate::{PresenceError, StoreTime, milliseconds};

/// Fields of a user's hash: `<client>|<channel>|<gateway>` of a place that a gateway has, `!<client>|<channel>` of one that was taken;
/// each with when its last session began, and the millisecond of the claim or of the taking.
const SHARED: &str = r"
local function pair(value)
  local issued, at = string.match(value, '^(%d+)|(%d+)$')
  return tonumber(issued), tonumber(at)
end
local function ended(key, place, issued)
  local ending = redis.call('HGET', key, '!' .. place)
  return ending and issued <= pair(ending)
end
local function hold(key, place, gateway, issued)
  local field = place .. '|' .. gateway
  local before = redis.call('HGET', key, field)
  if not before or pair(before) < issued then
    redis.call('HSET', key, field, text(issued) .. '|' .. text(now))
  end
  redis.call('PEXPIRE', key, PLACE_TIME_TO_LIVE)
end
";

const CLAIM: &str = r"
local told, key = KEYS[5], KEYS[6]
local gateway, user, place, issued = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, newest_wins = tonumber(ARGV[5]), ARGV[6] == '1'
if ended(key, place, issued) then return {'ended', 0, ''} end
local places, order = {}, {}
local flat = redis.call('HGETALL', key)
for index = 1, #flat, 2 do
  local field, session, at = flat[index], pair(flat[index + 1])
  if now - at >= PLACE_TIME_TO_LIVE then
    redis.call('HDEL', key, field)
  elseif string.sub(field, 1, 1) ~= '!' then
    local name, holder = string.match(field, '^([^|]*|[^|]*)|(.*)$')
    -- A claim is a word of that gateway, too.
    local heard = math.max(moment(flushed, holder) or 0, at)
    if holder == gateway or now - heard < GATEWAY_STALE_AFTER then
      local seen = places[name]
      if not seen then
        seen = {name = name, since = at, issued = session}
        places[name] = seen
        order[#order + 1] = seen
      end
      seen.since = math.min(seen.since, at)
      seen.issued = math.max(seen.issued, session)
    end
  end
end
if not places[place] and most >= 0 and #order >= most then
  table.sort(order, function(one, other)
    if one.since ~= other.since then return one.since < other.since end
    return one.name < other.name
  end)
  local client, victim = string.match(place, '^[^|]*'), nil
  for _, seen in ipairs(order) do
    if not victim and string.match(seen.name, '^[^|]*') == client then victim = seen end
  end
  if not victim and newest_wins then victim = order[1] end
  if not victim then return {'refused', #order, ''} end
  for index = 1, #flat, 2 do
    if string.sub(flat[index], 1, #victim.name + 1) == victim.name .. '|' then
      redis.call('HDEL', key, flat[index])
    end
  end
  redis.call('HSET', key, '!' .. victim.name, text(victim.issued) .. '|' .. text(now))
  redis.call('ZADD', told, text(now), text(victim.issued) .. '|' .. victim.name .. '|' .. user)
  hold(key, place, gateway, issued)
  return {'taken', victim.issued, victim.name}
end
hold(key, place, gateway, issued)
return {'taken', 0, ''}
";

/// `ARGV`: gateway, since, the prefix of users' keys, then for each change user, place and when its session began; nothing where it was left.
const SETTLE: &str = r"
local told = KEYS[5]
local gateway, since, prefix, lost = ARGV[1], tonumber(ARGV[2]), ARGV[3], {}
for index = 4, #ARGV, 3 do
  local key, place, issued = prefix .. ARGV[index], ARGV[index + 1], tonumber(ARGV[index + 2])
  if not issued then
    redis.call('HDEL', key, place .. '|' .. gateway)
  elseif ended(key, place, issued) then
    lost[#lost + 1] = text(issued) .. '|' .. place .. '|' .. ARGV[index]
  else
    hold(key, place, gateway, issued)
  end
end
redis.call('ZREMRANGEBYSCORE', told, '-inf', text(now - ENDED_TIME_TO_LIVE))
return {now, redis.call('ZRANGEBYSCORE', told, text(since), '+inf'), lost}
";

/// The scripts of this port.
pub(super) struct PlaceScripts {
    claim: Script,
    settle: Script,
}

impl PlaceScripts {
    pub(super) fn new() -> Self {
        let spans = [
            ("PLACE_TIME_TO_LIVE", PLACE_TIME_TO_LIVE),
            ("ENDED_TIME_TO_LIVE", ENDED_TIME_TO_LIVE),
        ]
        .map(|(name, span)| format!("local {name} = {}\n", milliseconds(span)))
        .concat();
        let script = |body: &str| with_prelude(&[&spans, SHARED, body].concat());
        Self {
            claim: script(CLAIM),
            settle: script(SETTLE),
        }
    }
}

#[async_trait]
impl Places for RedisPresence {
    async fn claim(
        &self,
        gateway: &str,
        session: &Held,
        limit: Limit,
    ) -> Result<Claimed, PresenceError> {
        let user = &session.place.user;
        let mut call = self.call(&self.place_scripts.claim);
        call.key(&self.keys.ended)
            .key(format!("{}{user}", self.keys.places));
        call.arg(gateway).arg(user).arg(text(&session.place));
        call.arg(session.issued_at);
        call.arg(limit.places.map_or(-1, i64::from));
        call.arg(u8::from(limit.over == OverLimit::NewestWins));
        let (answer, number, name): (String, u64, String) =
            self.run("claim a session's place", &call).await?;
        Ok(match answer.as_str() {
            "ended" => Claimed::Ended,
            "refused" => Claimed::Refused {
                in_use: u32::try_from(number).unwrap_or(u32::MAX),
            },
            _ => Claimed::Taken {
                ended: place(user, &name).map(|place| Held {
                    place,
                    issued_at: number,
                }),
            },
        })
    }

    async fn settle(
        &self,
        gateway: &str,
        since: StoreTime,
        changes: &[Change],
    ) -> Result<Settled, PresenceError> {
        let mut call = self.call(&self.place_scripts.settle);
        call.key(&self.keys.ended);
        call.arg(gateway).arg(since.0).arg(&self.keys.places);
        for change in changes {
            match change {
                Change::Left(place) => call.arg(&place.user).arg(text(place)).arg(""),
                Change::Kept(session) => call
                    .arg(&session.place.user)
                    .arg(text(&session.place))
                    .arg(session.issued_at),
            };
        }
        let (now, ended, lost): (u64, Vec<String>, Vec<String>) =
            self.run("settle the places of sessions", &call).await?;
        let ended = ended.iter().chain(&lost);
        Ok(Settled {
            now: StoreTime(now),
            ended: ended.filter_map(|member| held(member)).collect(),
        })
    }
}

/// `<client>|<channel>`.
fn text(place: &Place) -> String {
    let client = u64::from_be_bytes(place.client);
    format!("{client:016x}|{}", place.channel)
}

fn place(user: &str, text: &str) -> Option<Place> {
    let (client, channel) = text.split_once('|')?;
    Some(Place {
        user: user.to_owned(),
        client: u64::from_str_radix(client, 16).ok()?.to_be_bytes(),
        channel: channel.to_owned(),
    })
}

/// `<issued at>|<client>|<channel>|<user>`; what a user is called may have any character.
fn held(member: &str) -> Option<Held> {
    let (issued_at, rest) = member.split_once('|')?;
    let (client, rest) = rest.split_once('|')?;
    let (channel, user) = rest.split_once('|')?;
    Some(Held {
        place: place(user, &format!("{client}|{channel}"))?,
        issued_at: issued_at.parse().ok()?,
    })
}
