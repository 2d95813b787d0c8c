//! The part of a keeper that remembers: what its channel was the last time, said of an attempt that knows nothing yet.

use std::sync::Arc;

use api::playlists::Playlists;
use futures::future::BoxFuture;

use super::Keeper;
use crate::directory::StreamPhase;
use crate::remembered::Remembered;
use crate::streams::lock;
use crate::window::Window;

/// What a keeper knows of its channel's past.
#[derive(Default)]
pub(super) struct Past {
    /// The question that is under way.
    pub(super) recalling: Option<BoxFuture<'static, Option<Remembered>>>,
    /// What players may have been promised since.
    remembered: Option<Remembered>,
    /// What was remembered anew since.
    noted: Option<Remembered>,
}

impl Keeper {
    /// Asks the memory, once. Nobody waits for it but who waits for the stream anyway.
    pub(super) fn recall(&mut self, slug: String) {
        let memory = self.shared().memory.clone();
        self.past.recalling = Some(Box::pin(async move { memory.recall(&slug).await }));
    }

    /// The memory has answered.
    pub(super) fn recalled(&mut self, remembered: Option<Remembered>) {
        self.past.recalling = None;
        self.past.remembered = remembered;
        self.tell_promised();
    }

    /// Says which renditions the attempt that answers will have, as far as is remembered, while it has none yet.
    pub(super) fn tell_promised(&self) {
        let promised = self.promised();
        self.active.status.send_if_modified(|status| {
            let is_news = promised.is_some() || status.promised.is_some();
            status.promised = promised;
            is_news
        });
    }

    fn promised(&self) -> Option<Arc<Window>> {
        let offered = self.documents.as_ref()?.borrow().clone()?;
        let latest = self.past.noted.as_ref().or(self.past.remembered.as_ref());
        let is_new = offered.renditions.is_empty() && self.phase() == StreamPhase::Wanted;
        let promise = self.promise(latest.filter(|_| is_new), &offered)?;
        let window = Window::render(Arc::new(promise), &self.shared().keys);
        Some(Arc::new(window))
    }

    /// What is listed, with stand-ins for what was promised in vain.
    pub(super) fn window(&self, document: &Arc<Playlists>) -> Window {
        let window = Window::render(document.clone(), &self.shared().keys);
        match self.promise(self.past.remembered.as_ref(), document) {
            Some(promise) if window.has_renditions() => window.standing_in_for(&promise),
            _ => window,
        }
    }

    fn promise(&self, remembered: Option<&Remembered>, document: &Playlists) -> Option<Playlists> {
        let channel = lock(&self.active.channel);
        remembered?.promise(&channel, document)
    }

    /// Remembers what a whole window was played with, where that is news.
    pub(super) fn remember(&mut self, document: &Playlists) {
        let channel = lock(&self.active.channel).clone();
        let fresh = Remembered::of(&channel, document);
        if fresh.is_some() && fresh != self.past.noted {
            if let Some(fresh) = &fresh {
                self.shared().memory.remember(&channel.slug, fresh);
            }
            self.past.noted = fresh;
        }
    }
}
