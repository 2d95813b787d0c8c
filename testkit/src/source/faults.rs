//! What a live source does wrong on request. Plain data that channel, admin call and query can each set; does nothing itself.

use serde::{Deserialize, Serialize};

use super::settings::Mute;
use super::turn::Tables;

/// Misbehaviour of a channel; every field that is absent is normal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Faults {
    /// Answer new requests with this HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Retry-After` seconds of that answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// Seconds before a new request is answered at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<f64>,
    /// Redirects (302) before a new request is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<u32>,
    /// Refuse new clients with 403 while this many are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Answer new requests with 200 and something that is no transport stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<Malformed>,
    /// Keep connections open without a byte; what passes meanwhile is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<bool>,
    /// Bandwidth of each client in kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<u32>,
    /// Close each connection this many seconds after it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_after: Option<f64>,
    /// Seconds of the past sent at once to a new client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<f64>,
    /// Start a new client at this share of the GOP (0 is the key picture), on a timeline of its own, late by less than a GOP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<f64>,
    /// Overwrite every n-th packet with noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<u32>,
    /// Stop a track, from the next key picture on, that goes on being announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<Mute>,
    /// Change the tables, and what they say of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<Tables>,
    /// Send pictures of the channel's other size, from the next key on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized: Option<bool>,
}

/// Bodies that are no transport stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Malformed {
    /// An error page with status 200, as panels send it.
    Html,
    /// Endless noise at the pace of a stream.
    Garbage,
    /// A body that ends at once.
    Empty,
}

/// How existing connections are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// The body ends as if the stream were over.
    Clean,
    /// The connection breaks in mid-body.
    Abort,
}

impl Faults {
    /// These faults, with every field that `over` sets replaced.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            status: over.status.or(self.status),
            retry_after: over.retry_after.or(self.retry_after),
            delay: over.delay.or(self.delay),
            redirect: over.redirect.or(self.redirect),
            limit: over.limit.or(self.limit),
            malformed: over.malformed.or(self.malformed),
            silence: over.silence.or(self.silence),
            slow: over.slow.or(self.slow),
            cut_after: over.cut_after.or(self.cut_after),
            burst: over.burst.or(self.burst),
            phase: over.phase.or(self.phase),
            corrupt: over.corrupt.or(self.corrupt),
            mute: over.mute.or(self.mute),
            tables: over.tables.or(self.tables),
            resized: over.resized.or(self.resized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_query_sets_wins_and_the_rest_stays() {
        let channel = Faults {
            burst: Some(2.0),
            slow: Some(500),
            ..Faults::default()
        };
        let query = Faults {
            slow: Some(100),
            phase: Some(0.4),
            ..Faults::default()
        };
        let expected = Faults {
            burst: Some(2.0),
            slow: Some(100),
            phase: Some(0.4),
            ..Faults::default()
        };
        assert_eq!(channel.overlaid(&query), expected);
    }
}
