//! The account of a panel: what it may do now, the links made for it, the slots in use. Knows no protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::PanelSettings;

/// What the panel says of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may play.
    Active,
    /// Its time is over.
    Expired,
    /// It was switched off.
    Banned,
}

/// What has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PanelStats {
    /// Connections that are open.
    pub open: usize,
    /// Connections that count: open ones, and closed ones for a while.
    pub counted: usize,
    /// Most that were ever open at once.
    pub peak: usize,
    /// Connections that were ever opened.
    pub total: usize,
    /// Channels that were refused because all slots were in use.
    pub refused: usize,
    /// How often a box said that it is there.
    pub watchdogs: usize,
    /// Paths and queries that were asked for, in their order.
    pub asked: Vec<String>,
}

/// Connections of an account.
#[derive(Debug, Default)]
struct Slots {
    open: usize,
    /// Until when closed ones count.
    held: Vec<Instant>,
    peak: usize,
    total: usize,
    refused: usize,
}

/// The account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) settings: PanelSettings,
    slots: Arc<Mutex<Slots>>,
    /// Links that were made: the channel, and until when each is good.
    links: BTreeMap<String, (String, Instant)>,
    made: u64,
    /// The token of the last handshake.
    session: Option<String>,
    pub(super) watchdogs: usize,
    asked: Vec<String>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Mutex<Slots>>,
    hold: std::time::Duration,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.open -= 1;
        slots.held.push(Instant::now() + self.hold);
    }
}

impl Account {
    pub(super) fn new(settings: PanelSettings) -> Self {
        Self {
            settings,
            slots: Arc::default(),
            links: BTreeMap::new(),
            made: 0,
            session: None,
            watchdogs: 0,
            asked: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, asked: String) {
        self.asked.push(asked);
    }

    pub(super) fn stats(&self) -> PanelStats {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        PanelStats {
            open: slots.open,
            counted: slots.counted(),
            peak: slots.peak,
            total: slots.total,
            refused: slots.refused,
            watchdogs: self.watchdogs,
            asked: self.asked.clone(),
        }
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_active(&self) -> bool {
        self.settings.standing == Standing::Active
    }

    /// Whether the login is the account's.
    pub(super) fn knows(&self, username: &str, password: &str) -> bool {
        (username, password) == (&self.settings.username, &self.settings.password)
    }

    /// Whether it may open another connection; counts the refusal.
    pub(super) fn has_room(&mut self) -> bool {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = slots.counted() < self.settings.maximum_connections;
        slots.refused += usize::from(!has_room);
        has_room
    }

    /// Begins another session; the one of before is over.
    pub(super) fn handshake(&mut self) -> String {
        let token = self.token();
        self.session = Some(token.clone());
        token
    }

    /// Whether a token is that of the session.
    pub(super) fn has_session(&self, token: &str) -> bool {
        self.session.as_deref() == Some(token)
    }

    pub(super) fn forget_session(&mut self) {
        self.session = None;
    }

    /// Something that nobody can guess twice.
    pub(super) fn token(&mut self) -> String {
        self.made += 1;
        format!("t0k3n{:04}", self.made)
    }

    /// A link to a channel, for one connection.
    pub(super) fn link(&mut self, channel: &str) -> String {
        let token = self.token();
        let until = Instant::now() + self.settings.token_lifetime;
        let link = (channel.to_owned(), until);
        self.links.insert(token.clone(), link);
        token
    }

    /// Takes a link and a slot, if both are to be had.
    pub(super) fn take(&mut self, token: &str) -> Option<(String, Slot)> {
        let (channel, until) = self.links.remove(token)?;
        if until < Instant::now() || !self.has_room() {
            return None;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.open += 1;
        slots.total += 1;
        slots.peak = slots.peak.max(slots.open);
        let slot = Slot {
            slots: Arc::clone(&self.slots),
            hold: self.settings.hold,
        };
        Some((channel, slot))
    }
}

impl Slots {
    fn counted(&self) -> usize {
        let now = Instant::now();
        self.open + self.held.iter().filter(|&&until| until > now).count()
    }
}
