//! Tells the store what became of places, and hears which ones were taken: with each flush of presence, in bounded portions.

use presence::StoreTime;
use presence::places::Change;
use tokio::time::Instant;

use crate::Gateway;

/// Changes that are told at once.
const PORTION: usize = 1000;

/// Where the telling stands.
#[derive(Debug)]
pub(crate) struct Settling {
    /// The store's clock when it last said what was taken.
    since: StoreTime,
    /// The store was away, and may come back with less than it had.
    is_in_doubt: bool,
}

impl Default for Settling {
    fn default() -> Self {
        Self {
            since: StoreTime(0),
            is_in_doubt: false,
        }
    }
}

impl Settling {
    /// Tells and hears everything there is.
    ///
    /// # Errors
    /// When the store does not take it, with its words: everything is told again then.
    pub(crate) async fn settle(&mut self, gateway: &Gateway) -> Result<(), String> {
        if self.is_in_doubt {
            gateway.places.doubt();
        }
        let changes = gateway.places.changes(Instant::now());
        let outcome = self.tell(gateway, &changes).await;
        self.is_in_doubt = outcome.is_err();
        outcome
    }

    /// The store did not answer something else.
    pub(crate) fn is_away(&mut self) {
        self.is_in_doubt = true;
    }

    async fn tell(&mut self, gateway: &Gateway, changes: &[Change]) -> Result<(), String> {
        let nothing: &[Change] = &[];
        let portions = changes.chunks(PORTION);
        let portions = portions.chain(changes.is_empty().then_some(nothing));
        let mut now = self.since;
        for portion in portions {
            let settled = gateway
                .place_store
                .settle(&gateway.name, self.since, portion);
            let settled = settled.await.map_err(|error| error.to_string())?;
            gateway.places.told(portion);
            let moment = Instant::now();
            for ended in &settled.ended {
                gateway.places.end(ended, moment);
            }
            now = settled.now;
        }
        self.since = now;
        Ok(())
    }
}
