//! The steps of the port as Lua, which Redis runs one at a time. Only the server's `TIME` is a clock here.

use redis::Script;

use crate::{
    CLOSED_TIME_TO_LIVE, CLOSING_TIME_TO_LIVE, GATEWAY_STALE_AFTER, RETENTION, milliseconds,
};

/// What every script of presence begins with: its keys, the clock, and the fences that still stand.
const PRELUDE: &str = r"
local last, closing, closed, flushed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function moment(key, member) return tonumber(redis.call('ZSCORE', key, member) or nil) end
local function standing(key, member, time_to_live)
  local at = moment(key, member)
  if at and now - at < time_to_live then return at end
  return nil
end
";

/// Batches keep the arguments of one command below what Lua's `unpack` can carry.
const FLUSH: &str = r"
local gateway, gathered, viewers = ARGV[1], math.min(tonumber(ARGV[2]), now), KEYS[5]
redis.call('ZREMRANGEBYSCORE', last, '-inf', text(now - RETENTION))
redis.call('ZREMRANGEBYSCORE', flushed, '-inf', text(now - RETENTION))
redis.call('ZREMRANGEBYSCORE', closing, '-inf', text(now - CLOSING_TIME_TO_LIVE))
redis.call('ZREMRANGEBYSCORE', closed, '-inf', text(now - CLOSED_TIME_TO_LIVE))
redis.call('DEL', viewers)
local sealed = {}
for first = 3, #ARGV, 3000 do
  local uids, touches, counts = {}, {}, {}
  for index = first, math.min(first + 2999, #ARGV), 3 do
    local uid, age, count = ARGV[index], ARGV[index + 1], ARGV[index + 2]
    uids[#uids + 1] = uid
    touches[#touches + 1] = text(math.max(now - age, 0))
    touches[#touches + 1] = uid
    counts[#counts + 1] = uid
    counts[#counts + 1] = count
  end
  redis.call('ZADD', last, 'GT', unpack(touches))
  redis.call('ZREM', closing, unpack(uids))
  redis.call('HSET', viewers, unpack(counts))
  if redis.call('EXISTS', closed) == 1 then
    for index, at in ipairs(redis.call('ZMSCORE', closed, unpack(uids))) do
      if at then sealed[#sealed + 1] = uids[index] end
    end
  end
end
redis.call('PEXPIRE', viewers, GATEWAY_STALE_AFTER)
local before = moment(flushed, gateway)
-- One that was overtaken by a later one; a moment to come is of a clock that went back.
if before and before <= now then gathered = math.max(gathered, before) end
redis.call('ZADD', flushed, text(gathered), gateway)
return {now, sealed}
";

const STREAM: &str = r"
local uid, viewers = ARGV[1], ARGV[2]
local count = 0
for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', flushed, '(' .. text(now - GATEWAY_STALE_AFTER), '+inf')) do
  count = count + (redis.call('HGET', viewers .. gateway, uid) or 0)
end
return {
  now,
  standing(last, uid, RETENTION) or false,
  standing(closing, uid, CLOSING_TIME_TO_LIVE) or false,
  standing(closed, uid, CLOSED_TIME_TO_LIVE) or false,
  count,
}
";

const BEGIN_CLOSE: &str = r"
local uid, timeout = ARGV[1], tonumber(ARGV[2])
local touched = standing(last, uid, RETENTION)
if not touched then
  redis.call('ZADD', last, text(now), uid)
  return {'adopted', 0}
end
if touched > now then
  -- A clock that went back must not keep a stream for as long as it went.
  redis.call('ZADD', last, text(now), uid)
  touched = now
end
if now - touched < timeout then return {'in use', timeout - (now - touched)} end
local since = standing(closed, uid, CLOSED_TIME_TO_LIVE) or standing(closing, uid, CLOSING_TIME_TO_LIVE)
if not since then
  redis.call('ZREM', closed, uid)
  redis.call('ZADD', closing, text(now), uid)
  since = now
end
return {'closing', since}
";

const FLUSHES: &str = r"
local moments = {}
local flat = redis.call('ZRANGE', flushed, 0, -1, 'WITHSCORES')
for index = 1, #flat, 2 do
  local at = tonumber(flat[index + 1])
  if now - at < RETENTION then moments[#moments + 1] = {flat[index], at} end
end
return {now, moments}
";

const SEAL: &str = r"
local uid, since = ARGV[1], tonumber(ARGV[2])
local sealed = standing(closed, uid, CLOSED_TIME_TO_LIVE)
if sealed then return sealed == since and 1 or 0 end
if standing(closing, uid, CLOSING_TIME_TO_LIVE) ~= since then return 0 end
redis.call('ZREM', closing, uid)
redis.call('ZADD', closed, text(since), uid)
return 1
";

const OPEN: &str = r"
local uid = ARGV[1]
local sealed = standing(closed, uid, CLOSED_TIME_TO_LIVE) or 0
local fenced = sealed == 0 and standing(closing, uid, CLOSING_TIME_TO_LIVE) or 0
if fenced ~= tonumber(ARGV[2]) or sealed ~= tonumber(ARGV[3]) then return end
redis.call('ZREM', closing, uid)
redis.call('ZREM', closed, uid)
redis.call('ZADD', last, text(now), uid)
";

const FORGET: &str = r"
local uid, viewers = ARGV[1], ARGV[2]
redis.call('ZREM', last, uid)
redis.call('ZREM', closing, uid)
redis.call('ZREM', closed, uid)
for _, gateway in ipairs(redis.call('ZRANGE', flushed, 0, -1)) do
  redis.call('HDEL', viewers .. gateway, uid)
end
";

const NOTE: &str = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";

const RECALL: &str = "return redis.call('GET', KEYS[1])";

/// Every script, each with its digest: called by it, and loaded when the server does not know it.
pub(super) struct Scripts {
    pub(super) flush: Script,
    pub(super) stream: Script,
    pub(super) begin_close: Script,
    pub(super) flushes: Script,
    pub(super) seal: Script,
    pub(super) open: Script,
    pub(super) forget: Script,
    pub(super) note: Script,
    pub(super) recall: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            flush: with_prelude(FLUSH),
            stream: with_prelude(STREAM),
            begin_close: with_prelude(BEGIN_CLOSE),
            flushes: with_prelude(FLUSHES),
            seal: with_prelude(SEAL),
            open: with_prelude(OPEN),
            forget: with_prelude(FORGET),
            note: Script::new(NOTE),
            recall: Script::new(RECALL),
        }
    }
}

/// A script of steps on what every script of presence has.
pub(super) fn with_prelude(body: &str) -> Script {
    let constants = [
        ("RETENTION", RETENTION),
        ("CLOSING_TIME_TO_LIVE", CLOSING_TIME_TO_LIVE),
        ("CLOSED_TIME_TO_LIVE", CLOSED_TIME_TO_LIVE),
        ("GATEWAY_STALE_AFTER", GATEWAY_STALE_AFTER),
    ]
    .map(|(name, span)| format!("local {name} = {}\n", milliseconds(span)))
    .concat();
    Script::new(&[&constants, PRELUDE, body].concat())
}
