//! Reports in Redis: one sorted set a gateway, all of one score and so ordered by what they begin with, which is the session's id. Only what
//! changed is written, and a page is read without reading what stands before it. The memory adapter says what the steps mean.

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::Script;

use super::RedisPresence;
use super::script::with_prelude;
use crate::reports::{
    Change, Heard, OVER_TIME_TO_LIVE, PERIODS_MAXIMUM, Report, Reported, Reports, SessionId,
    is_kept, merged,
};
use crate::{PresenceError, StoreTime, milliseconds};

/// `ARGV`: since, whether anew, how the gateway is, then for each change id and text; no text where it was left. A space follows the id in a
/// member, and `!` is what follows a space.
const REPORT: &str = r"
local sessions, over, status = KEYS[5], KEYS[6], KEYS[7]
local since = tonumber(ARGV[1])
if ARGV[3] ~= '' then redis.call('SET', status, ARGV[3], 'PX', GATEWAY_STALE_AFTER) end
if ARGV[2] == '1' then redis.call('DEL', sessions) end
for index = 4, #ARGV, 2 do
  local id, said = ARGV[index], ARGV[index + 1]
  redis.call('ZREMRANGEBYLEX', sessions, '[' .. id .. ' ', '(' .. id .. '!')
  if said ~= '' then redis.call('ZADD', sessions, 0, id .. ' ' .. said) end
end
redis.call('PEXPIRE', sessions, GATEWAY_STALE_AFTER)
redis.call('ZREMRANGEBYSCORE', over, '-inf', text(now - OVER_TIME_TO_LIVE))
return {now, redis.call('ZCARD', sessions), redis.call('ZRANGEBYSCORE', over, text(since), '+inf')}
";

const SAID: &str = r"
local least, greatest, most, prefix, rows = ARGV[1], ARGV[2], ARGV[3], ARGV[4], {}
for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', flushed, '(' .. text(now - GATEWAY_STALE_AFTER), '+inf')) do
  for _, row in ipairs(redis.call('ZRANGEBYLEX', prefix .. gateway, least, greatest, 'LIMIT', 0, most)) do
    rows[#rows + 1] = {gateway, row}
  end
end
return rows
";

const STATUSES: &str = r"
local rows = {}
for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', flushed, '(' .. text(now - GATEWAY_STALE_AFTER), '+inf')) do
  local status = redis.call('GET', ARGV[1] .. gateway)
  if status then rows[#rows + 1] = {gateway, status} end
end
return rows
";

/// `ARGV`: bytes, then each period.
const ADD_TRAFFIC: &str = r"
local traffic, alike = KEYS[5], {}
for index = 2, #ARGV do redis.call('HINCRBY', traffic, ARGV[index], ARGV[1]) end
for _, period in ipairs(redis.call('HKEYS', traffic)) do
  local periods = alike[#period] or {}
  periods[#periods + 1] = period
  alike[#period] = periods
end
for _, periods in pairs(alike) do
  table.sort(periods)
  for index = 1, #periods - PERIODS_MAXIMUM do redis.call('HDEL', traffic, periods[index]) end
end
";

const TRAFFIC: &str = "return redis.call('HGETALL', KEYS[1])";

const END: &str = r"
local over = KEYS[5]
redis.call('ZADD', over, text(now), ARGV[1])
redis.call('PEXPIRE', over, OVER_TIME_TO_LIVE)
";

/// The scripts of this port.
pub(super) struct ReportScripts {
    report: Script,
    said: Script,
    statuses: Script,
    add_traffic: Script,
    traffic: Script,
    end: Script,
}

impl ReportScripts {
    pub(super) fn new() -> Self {
        let span = milliseconds(OVER_TIME_TO_LIVE);
        let constants = format!(
            "local OVER_TIME_TO_LIVE = {span}\nlocal PERIODS_MAXIMUM = {PERIODS_MAXIMUM}\n"
        );
        let script = |body: &str| with_prelude(&[&constants, body].concat());
        Self {
            report: script(REPORT),
            said: script(SAID),
            statuses: script(STATUSES),
            add_traffic: script(ADD_TRAFFIC),
            traffic: Script::new(TRAFFIC),
            end: script(END),
        }
    }
}

impl RedisPresence {
    /// What gateways that are here say of sessions whose members stand between those, each of at most so many.
    async fn said(
        &self,
        least: &str,
        greatest: &str,
        most: usize,
    ) -> Result<Vec<Reported>, PresenceError> {
        let mut call = self.call(&self.report_scripts.said);
        call.arg(least).arg(greatest).arg(most);
        call.arg(&self.keys.sessions);
        let rows: Vec<(String, String)> = self.run("read who is watching", &call).await?;
        let said = rows.into_iter().filter_map(|(gateway, row)| {
            let (id, text) = row.split_once(' ')?;
            Some((id.parse().ok()?, gateway, text.to_owned()))
        });
        Ok(merged(said.collect(), most))
    }
}

#[async_trait]
impl Reports for RedisPresence {
    async fn report(&self, gateway: &str, report: Report<'_>) -> Result<Heard, PresenceError> {
        let mut call = self.call(&self.report_scripts.report);
        call.key(format!("{}{gateway}", self.keys.sessions));
        call.key(&self.keys.over);
        call.key(format!("{}{gateway}", self.keys.status));
        call.arg(report.since.0).arg(u8::from(report.anew));
        let status = Some(report.status).filter(|status| is_kept(status));
        call.arg(status.unwrap_or_default());
        for change in report.changes {
            match change {
                Change::Began(id, text) if is_kept(text) => call.arg(id.to_string()).arg(text),
                Change::Began(id, _) | Change::Left(id) => call.arg(id.to_string()).arg(""),
            };
        }
        let (now, sessions, over): (u64, u64, Vec<String>) =
            self.run("report who is watching", &call).await?;
        Ok(Heard {
            now: StoreTime(now),
            sessions,
            over: over.iter().filter_map(|id| id.parse().ok()).collect(),
        })
    }

    async fn sessions(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Reported>, PresenceError> {
        let least = after.map_or_else(|| "-".to_owned(), |id| format!("[{id}!"));
        self.said(&least, "+", most).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Reported>, PresenceError> {
        let (least, greatest) = (format!("[{id} "), format!("({id}!"));
        let mut found = self.said(&least, &greatest, 1).await?;
        Ok(found.pop())
    }

    async fn statuses(&self) -> Result<BTreeMap<String, String>, PresenceError> {
        let mut call = self.call(&self.report_scripts.statuses);
        call.arg(&self.keys.status);
        let rows: Vec<(String, String)> = self.run("read how gateways are", &call).await?;
        Ok(rows.into_iter().collect())
    }

    async fn add_traffic(&self, periods: &[String], bytes: u64) -> Result<(), PresenceError> {
        let mut call = self.call(&self.report_scripts.add_traffic);
        call.key(&self.keys.traffic).arg(bytes);
        for period in periods {
            call.arg(period);
        }
        self.run("add what was sent", &call).await
    }

    async fn traffic(&self) -> Result<BTreeMap<String, u64>, PresenceError> {
        let call = self.report_scripts.traffic.key(&self.keys.traffic);
        self.run("read what was sent", &call).await
    }

    async fn end(&self, id: SessionId) -> Result<(), PresenceError> {
        let mut call = self.call(&self.report_scripts.end);
        call.key(&self.keys.over).arg(id.to_string());
        self.run("end a session", &call).await
    }
}
