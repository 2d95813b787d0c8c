//! The steps of the store as Lua, which Redis runs one at a time. They compare revisions and claims, and know nothing of rows.

use redis::Script;

use super::LOG_ROWS;

/// Bytes of changed rows in one answer; where there are more, all is read page by page.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

const PRELUDE: &str = r"
local meta, log, batches, owners, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local tables = {group = KEYS[6], channel = KEYS[7], user = KEYS[8]}
local function text(number) return string.format('%.0f', number) end
local function version() return redis.call('HGET', meta, 'version') or '0' end
local function each(list) return string.gmatch(list, '[^\n]+') end
";

/// Everything is looked at before anything is written: Redis takes nothing back. Five arguments an edit.
const COMMIT: &str = r"
local stamp, channel = ARGV[1], ARGV[2]
local done = redis.call('ZSCORE', batches, stamp)
if done then return {'done', done} end
local touched, wanted = {}, {}
for index = 3, #ARGV, 5 do
  local kind, id, expected = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local row = redis.call('HGET', tables[kind], id)
  local revision = row and string.match(row, '^%d+') or '0'
  if expected ~= 'any' and expected ~= revision then
    return {'conflict', text((index - 3) / 5), revision}
  end
  touched[kind .. ' ' .. id] = true
end
for index = 3, #ARGV, 5 do
  for claim in each(ARGV[index + 4]) do
    local owner = wanted[claim] or redis.call('HGET', owners, claim)
    if owner and (wanted[claim] or not touched[owner]) then
      return {'taken', text((index - 3) / 5), claim, owner}
    end
    wanted[claim] = ARGV[index] .. ' ' .. ARGV[index + 1]
  end
end
local made = text(version() + 1)
for key in pairs(touched) do
  for claim in each(redis.call('HGET', claims, key) or '') do redis.call('HDEL', owners, claim) end
  redis.call('HDEL', claims, key)
end
for index = 3, #ARGV, 5 do
  local kind, id, row, claimed = ARGV[index], ARGV[index + 1], ARGV[index + 3], ARGV[index + 4]
  local key = kind .. ' ' .. id
  if row == '' then
    redis.call('HDEL', tables[kind], id)
  else
    redis.call('HSET', tables[kind], id, made .. ' ' .. row)
    if claimed ~= '' then redis.call('HSET', claims, key, claimed) end
    for claim in each(claimed) do redis.call('HSET', owners, claim, key) end
  end
  redis.call('ZADD', log, made, key)
end
local excess = redis.call('ZCARD', log) - LOG_ROWS
if excess > 0 then
  redis.call('HSET', meta, 'floor', redis.call('ZRANGE', log, excess - 1, excess - 1, 'WITHSCORES')[2])
  redis.call('ZREMRANGEBYRANK', log, 0, excess - 1)
end
redis.call('ZADD', batches, made, stamp)
redis.call('ZREMRANGEBYRANK', batches, 0, -LOG_ROWS - 1)
redis.call('HSET', meta, 'version', made)
redis.call('PUBLISH', channel, made)
return {'done', made}
";

const POSITION: &str = r"
return {version(), redis.call('ZREVRANGE', batches, 0, 0)[1] or ''}
";

const SINCE: &str = r"
local known, stamp = ARGV[1], ARGV[2]
local mine = known == '0' and stamp == '' or redis.call('ZSCORE', batches, stamp) == known
if not mine or tonumber(known) < tonumber(redis.call('HGET', meta, 'floor') or '0') then return {'too much'} end
local answer, bytes = {'rows', version(), redis.call('ZREVRANGE', batches, 0, 0)[1] or ''}, 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. known, '+inf')) do
  local kind, id = string.match(key, '^(%a+) (.*)$')
  local row = redis.call('HGET', tables[kind], id) or ''
  bytes = bytes + #row
  if bytes > ANSWER_BYTES then return {'too much'} end
  answer[#answer + 1] = key
  answer[#answer + 1] = row
end
return answer
";

pub(super) struct Scripts {
    pub(super) commit: Script,
    pub(super) position: Script,
    pub(super) since: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            commit: script(COMMIT),
            position: script(POSITION),
            since: script(SINCE),
        }
    }
}

fn script(body: &str) -> Script {
    let text = format!("{PRELUDE}{body}");
    let text = text.replace("LOG_ROWS", &LOG_ROWS.to_string());
    Script::new(&text.replace("ANSWER_BYTES", &ANSWER_BYTES.to_string()))
}
