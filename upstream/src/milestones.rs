//! How far the connection to a source has come, and when: for the figures of a start. Takes note only; nothing is decided by it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// What a connection passes on its way to the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// The name is looked up.
    Resolved,
    /// The connection is there.
    Connected,
    /// The first byte of the stream has come.
    FirstByte,
}

/// When each milestone was reached for the first time since the connection was begun. One that was not needed is absent:
/// an address that stands in the URL is not looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// The name is looked up.
    pub resolved: Option<Instant>,
    /// The connection is there.
    pub connected: Option<Instant>,
    /// The first byte of the stream has come.
    pub first_byte: Option<Instant>,
}

/// The milestones of the connections of one opener. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Milestones(Arc<Mutex<Reached>>);

impl Milestones {
    /// Another connection is begun: nothing is reached.
    pub fn begin(&self) {
        self.change(|reached| *reached = Reached::default());
    }

    /// What was reached.
    #[must_use]
    pub fn reached(&self) -> Reached {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One is reached now, unless it was before.
    pub fn reach(&self, milestone: Milestone) {
        let now = Instant::now();
        self.change(|reached| {
            let first = match milestone {
                Milestone::Resolved => &mut reached.resolved,
                Milestone::Connected => &mut reached.connected,
                Milestone::FirstByte => &mut reached.first_byte,
            };
            first.get_or_insert(now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Reached)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
