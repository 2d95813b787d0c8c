//! What channels turned out to be when they were played last, kept for all replicas. Never makes anybody wait: what is not there in time, or
//! cannot be kept, is not remembered. No source and no address is in it.

use std::sync::Arc;

use api::playlists::{Playlists, Rendition};
use presence::notes::{NOTE_MAXIMUM, Notes};
use serde::{Deserialize, Serialize};

use crate::directory::Channel;

/// The renditions of a channel, and of what they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remembered {
    /// Hash of the catalog's entry, or the uid of a stream that is a channel of its own.
    revision: String,
    /// Hash of the class, as its attempt said it.
    class: String,
    renditions: Vec<Rendition>,
    #[serde(default)]
    on_request: Vec<Rendition>,
}

impl Remembered {
    /// What is worth remembering of these playlists: renditions that a whole window was played with.
    pub(crate) fn of(channel: &Channel, document: &Playlists) -> Option<Self> {
        let is_whole = !document.renditions.is_empty() && !document.class.is_empty();
        is_whole.then(|| Self {
            revision: revision(channel, document),
            class: document.class.clone(),
            renditions: document.renditions.clone(),
            on_request: document.on_request.clone(),
        })
    }

    /// The playlists of an attempt that has none yet, with the renditions that it will have; `None` where channel or class are others.
    pub(crate) fn promise(&self, channel: &Channel, document: &Playlists) -> Option<Playlists> {
        let is_same = self.revision == revision(channel, document) && self.class == document.class;
        is_same.then(|| Playlists {
            renditions: self.renditions.clone(),
            on_request: self.on_request.clone(),
            segments: Vec::new(),
            ..document.clone()
        })
    }
}

fn revision(channel: &Channel, document: &Playlists) -> String {
    let entry = channel.entry.as_ref();
    entry.map_or_else(
        || document.stream_uid.clone(),
        |entry| entry.revision.clone(),
    )
}

/// Where it is kept.
#[derive(Clone)]
pub struct Memory(Arc<dyn Notes>);

impl Memory {
    /// Memory in that store.
    #[must_use]
    pub fn new(notes: Arc<dyn Notes>) -> Self {
        Self(notes)
    }

    /// What is remembered of the channel of that name.
    pub(crate) async fn recall(&self, slug: &str) -> Option<Remembered> {
        match self.0.recall(slug).await {
            Ok(text) => serde_json::from_str(&text?).ok(),
            Err(error) => {
                tracing::debug!(stream.name = slug, %error, "nothing is remembered of the channel");
                None
            }
        }
    }

    /// Remembers it, sooner or later.
    pub(crate) fn remember(&self, slug: &str, remembered: &Remembered) {
        let text = serde_json::to_string(remembered).unwrap_or_default();
        if text.is_empty() || text.len() > NOTE_MAXIMUM {
            return;
        }
        let (notes, slug) = (self.0.clone(), slug.to_owned());
        tokio::spawn(async move {
            if let Err(error) = notes.note(&slug, &text).await {
                tracing::debug!(stream.name = slug, %error, "the channel is not remembered");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Entry;
    use crate::streams::testing::playlists;

    fn channel(revision: &str) -> Channel {
        Channel {
            slug: "news-one".to_owned(),
            entry: Some(Arc::new(Entry {
                spec: api::LiveStreamSpec::default(),
                revision: revision.to_owned(),
            })),
        }
    }

    fn document(class: &str) -> Playlists {
        Playlists {
            class: class.to_owned(),
            ..playlists("uid-1", 3, 9, 10..16)
        }
    }

    #[test]
    fn renditions_are_promised_for_the_same_entry_and_the_same_class_only() {
        let remembered = Remembered::of(&channel("one"), &document("a")).unwrap();
        let text = serde_json::to_string(&remembered).unwrap();
        assert_eq!(
            serde_json::from_str::<Remembered>(&text).unwrap(),
            remembered
        );
        let cold = Playlists {
            renditions: Vec::new(),
            segments: Vec::new(),
            stream_uid: "uid-2".to_owned(),
            ..document("a")
        };
        let promised = remembered.promise(&channel("one"), &cold).unwrap();
        assert_eq!(promised.renditions, document("a").renditions);
        assert!(promised.segments.is_empty());
        assert_eq!(remembered.promise(&channel("two"), &cold), None);
        let other = Playlists {
            class: "b".to_owned(),
            ..cold.clone()
        };
        assert_eq!(remembered.promise(&channel("one"), &other), None);
        let own = Channel {
            entry: None,
            ..channel("one")
        };
        let of_own = Remembered::of(&own, &document("a")).unwrap();
        assert_eq!(of_own.promise(&own, &cold), None, "another stream");
        assert!(of_own.promise(&own, &document("a")).is_some());
        assert_eq!(Remembered::of(&own, &document("")), None);
    }
}
