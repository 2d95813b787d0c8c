//! Who may watch what. Answers come from the catalog's snapshot and the directory's index in memory; nothing here ever asks a server.

use std::sync::Arc;

use catalog::{Allowed, Catalog, Snapshot, TokenHash, TokenKey, TokenTag, User};
use jiff::Timestamp;

use crate::directory::{Channel, StreamDirectory};
use crate::entry;
use crate::http::error::Error;
use crate::session::Session;

/// The catalog's users and channels, and the directory's own channels.
pub struct Access {
    catalog: Arc<dyn Catalog>,
    token_key: TokenKey,
    directory: Arc<dyn StreamDirectory>,
}

/// In which form a channel is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// HLS playlists and segments.
    Hls,
    /// One continuous transport stream.
    Continuous,
}

/// A user who came in, and with which token.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The user.
    pub user: Arc<User>,
    /// The token.
    pub token: TokenTag,
}

/// A channel in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its slug.
    pub slug: String,
    /// The name that people read.
    pub name: String,
    /// Its number on a remote control.
    pub number: Option<String>,
    /// The name of the group it is listed in.
    pub group: Option<String>,
    /// The address of a picture.
    pub logo: Option<String>,
}

impl Listed {
    fn of(snapshot: &Snapshot, channel: &catalog::Channel) -> Self {
        let group = channel.group.as_ref();
        let named = |id: &String| {
            let group = snapshot.group(id);
            group.map_or_else(|| id.clone(), |group| group.name.clone())
        };
        Self {
            slug: channel.slug.clone(),
            name: channel.name.clone(),
            number: channel.number.clone(),
            group: group.map(named),
            logo: channel.logo.clone(),
        }
    }
}

impl Access {
    /// Access by these users to these channels.
    #[must_use]
    pub fn new(
        catalog: Arc<dyn Catalog>,
        token_key: TokenKey,
        directory: Arc<dyn StreamDirectory>,
    ) -> Self {
        Self {
            catalog,
            token_key,
            directory,
        }
    }

    /// The user whose token it is.
    ///
    /// # Errors
    /// When there is no token, it is nobody's any more, or its user is switched off or expired.
    pub fn by_token(&self, token: Option<&str>, now: Timestamp) -> Result<Admitted, Error> {
        let token = token.ok_or(Error::NoToken)?;
        let snapshot = self.catalog.snapshot();
        let found = snapshot.authenticate(&self.token_key, token, now);
        let (user, token) = found.ok_or(Error::WrongToken)?;
        let admitted = || Admitted {
            user: user.clone(),
            token: token.hash.tag(),
        };
        user.is_active(now).then(admitted).ok_or(Error::WrongToken)
    }

    /// The user of a session, if still allowed to come in and watch the channel in that form. One look-up, on the way of every playlist.
    ///
    /// # Errors
    /// When the user, its token or the channel is gone, the user is no longer allowed the channel, or somebody ended the session.
    pub fn still(&self, session: &Session, form: Form, now: Timestamp) -> Result<Arc<User>, Error> {
        let snapshot = self.catalog.snapshot();
        let user = snapshot.user(&session.user).ok_or(Error::WrongToken)?;
        if !user.is_active(now) || !user.has_token(&session.token, now) {
            return Err(Error::WrongToken);
        }
        if user.has_ended(session.issued_at) {
            return Err(Error::SessionClosed);
        }
        self.permit(user, &session.channel, form)?;
        Ok(user.clone())
    }

    /// Whether the user may watch the channel in that form.
    ///
    /// # Errors
    /// When there is no such channel, or the user is not allowed it, or not in that form.
    pub fn permit(&self, user: &User, slug: &str, form: Form) -> Result<(), Error> {
        let snapshot = self.catalog.snapshot();
        let allowed = match snapshot.channel(slug) {
            Some(channel) if channel.disabled => return Err(Error::NoChannel),
            Some(channel) => user.channels.includes(channel),
            // What was made by hand is nobody's business but theirs who are allowed everything.
            None if user.channels != Allowed::All => return Err(Error::NoChannel),
            None if self.directory.own_channel(slug).is_none() => return Err(Error::NoChannel),
            None => true,
        };
        let has_form = match form {
            Form::Hls => user.formats.hls,
            Form::Continuous => user.formats.ts,
        };
        (allowed && has_form).then_some(()).ok_or(Error::NotAllowed)
    }

    /// The channel of that slug, as the directory needs it.
    #[must_use]
    pub fn channel(&self, slug: &str) -> Option<Channel> {
        let snapshot = self.catalog.snapshot();
        let channel = snapshot.channel(slug);
        if channel.is_some_and(|channel| channel.disabled) {
            return None;
        }
        let entry = channel.map(|channel| Arc::new(entry::of(channel)));
        if entry.is_none() && self.directory.own_channel(slug).is_none() {
            return None;
        }
        Some(Channel {
            slug: slug.to_owned(),
            entry,
        })
    }

    /// The channels that the user may watch: the catalog's in its order, then the directory's own by name.
    #[must_use]
    pub fn list(&self, user: &User) -> Vec<Listed> {
        let snapshot = self.catalog.snapshot();
        let allowed =
            |channel: &&Arc<catalog::Channel>| !channel.disabled && user.channels.includes(channel);
        let listed = snapshot.channels().filter(allowed);
        let listed = listed.map(|channel| Listed::of(&snapshot, channel));
        let mut channels: Vec<Listed> = listed.collect();
        if user.channels == Allowed::All {
            let own = self.directory.own_channels().into_iter();
            let own = own.filter(|own| snapshot.channel(&own.slug).is_none());
            channels.extend(own.map(|own| Listed {
                name: own.display_name.unwrap_or_else(|| own.slug.clone()),
                slug: own.slug,
                ..Listed::default()
            }));
        }
        channels
    }

    /// What the catalog says now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.catalog.snapshot()
    }

    /// What the catalog knows a token by.
    #[must_use]
    pub fn hash(&self, token: &str) -> TokenHash {
        self.token_key.hash(token.as_bytes())
    }

    /// The catalog's versions.
    #[must_use]
    pub fn versions(&self) -> tokio::sync::watch::Receiver<u64> {
        self.catalog.versions()
    }
}
