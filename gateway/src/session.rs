//! Sessions: who watches which channel from where, signed into the URL so that every replica knows it without a store.
//! A session carries no token, only the first bytes of its keyed hash, and nothing in it is believed before its signature is checked.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::TokenTag;

use crate::keys::{Key, SIGNATURE_LENGTH, Signature};

/// How long a session lives at most, in seconds.
pub const SESSION_SECONDS: u64 = 24 * 3600;

/// How far replicas' clocks may differ, in seconds.
const SKEW_SECONDS: u64 = 300;

/// Characters of a session in a URL at most.
const TEXT_MAXIMUM: usize = 1024;

const VERSION: u8 = 2;

/// Tells what a signature is for, so that none passes for another.
const SESSION_DOMAIN: &[u8] = b"session";
const CLIENT_DOMAIN: &[u8] = b"client";

/// A hash of where a viewer comes from: the address's prefix and the user agent. Not to be turned back.
pub type ClientKey = [u8; 8];

/// One viewer at one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Id of the user.
    pub user: String,
    /// Which of the user's tokens it began with.
    pub token: TokenTag,
    /// Slug of the channel.
    pub channel: String,
    /// Where the viewer comes from.
    pub client: ClientKey,
    /// When it began, Unix seconds.
    pub issued_at: u64,
}

/// A session that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub session: Session,
    /// What tells it from every other one.
    pub id: Signature,
}

/// Why a session is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It is not one of ours.
    #[error("the session is not valid")]
    Invalid,
    /// It is too old.
    #[error("the session has expired")]
    Expired,
}

impl Session {
    /// Whether it is too old.
    #[must_use]
    pub fn is_over(&self, now_unix_seconds: u64) -> bool {
        now_unix_seconds.saturating_sub(self.issued_at) > SESSION_SECONDS
    }
}

/// A session that stands in no URL: it lives as long as the one answer that it is for.
#[must_use]
pub fn begin(key: &Key, session: Session) -> Verified {
    let id = key.sign(&[SESSION_DOMAIN, &encode(&session)]);
    Verified { session, id }
}

/// The session's text for URLs.
#[must_use]
pub fn mint(key: &Key, session: &Session) -> String {
    let mut bytes = encode(session);
    let signature = key.sign(&[SESSION_DOMAIN, &bytes]);
    bytes.extend_from_slice(&signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a session from a URL.
///
/// # Errors
/// When it was not minted with this key, or is older than [`SESSION_SECONDS`].
pub fn verify(key: &Key, text: &str, now_unix_seconds: u64) -> Result<Verified, SessionError> {
    if text.len() > TEXT_MAXIMUM {
        return Err(SessionError::Invalid);
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| SessionError::Invalid)?;
    let (payload, id) = bytes
        .split_last_chunk::<SIGNATURE_LENGTH>()
        .ok_or(SessionError::Invalid)?;
    if !key.verifies(&[SESSION_DOMAIN, payload], id) {
        return Err(SessionError::Invalid);
    }
    let session = decode(payload).ok_or(SessionError::Invalid)?;
    let early = session.issued_at.saturating_sub(now_unix_seconds);
    if session.is_over(now_unix_seconds) || early > SKEW_SECONDS {
        return Err(SessionError::Expired);
    }
    Ok(Verified { session, id: *id })
}

fn encode(session: &Session) -> Vec<u8> {
    let user = session.user.as_bytes();
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&session.issued_at.to_be_bytes());
    bytes.extend_from_slice(&session.client);
    bytes.extend_from_slice(&session.token);
    bytes.extend_from_slice(&(user.len() as u64).to_be_bytes()[6..]);
    bytes.extend_from_slice(user);
    bytes.extend_from_slice(session.channel.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Session> {
    let (version, bytes) = bytes.split_first()?;
    let (issued_at, bytes) = bytes.split_first_chunk::<8>()?;
    let (client, bytes) = bytes.split_first_chunk::<8>()?;
    let (token, bytes) = bytes.split_first_chunk::<8>()?;
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    let (user, channel) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    (*version == VERSION).then_some(())?;
    Some(Session {
        user: String::from_utf8(user.to_vec()).ok()?,
        channel: String::from_utf8(channel.to_vec()).ok()?,
        client: *client,
        token: *token,
        issued_at: u64::from_be_bytes(*issued_at),
    })
}

/// The client key of an address and a user agent: equal within a /24 or a /48, so that a phone that changes its address keeps it.
#[must_use]
pub fn client_key(key: &Key, address: IpAddr, user_agent: &[u8]) -> ClientKey {
    let [a, b, c, d, e, f, g, h, ..] = key.sign(&[CLIENT_DOMAIN, &prefix(address), user_agent]);
    [a, b, c, d, e, f, g, h]
}

fn prefix(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets()[..6].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn session() -> Session {
        Session {
            user: "äda".to_owned(),
            channel: "news-one".to_owned(),
            client: *b"client--",
            token: *b"token---",
            issued_at: NOW,
        }
    }

    fn key() -> Key {
        Key::new(&[1; 32])
    }

    #[test]
    fn a_session_comes_back_as_it_was_minted() {
        let text = mint(&key(), &session());
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        let verified = verify(&key(), &text, NOW + 10).unwrap();
        assert_eq!(verified.session, session());
        let later = Session {
            issued_at: NOW + 1,
            ..session()
        };
        let other = verify(&key(), &mint(&key(), &later), NOW + 10).unwrap();
        assert_ne!(verified.id, other.id);
        assert_eq!(begin(&key(), session()), verified);
    }

    #[test]
    fn a_session_lives_for_a_day() {
        let text = mint(&key(), &session());
        assert!(verify(&key(), &text, NOW + SESSION_SECONDS).is_ok());
        assert_eq!(
            verify(&key(), &text, NOW + SESSION_SECONDS + 1),
            Err(SessionError::Expired)
        );
        assert!(verify(&key(), &text, NOW - SKEW_SECONDS).is_ok());
        assert_eq!(
            verify(&key(), &text, NOW - SKEW_SECONDS - 1),
            Err(SessionError::Expired)
        );
    }

    #[test]
    fn a_session_that_was_touched_anywhere_is_refused() {
        let text = mint(&key(), &session());
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for index in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[index] ^= 1;
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(
                verify(&key(), &forged, NOW),
                Err(SessionError::Invalid),
                "byte {index}"
            );
        }
        for length in 0..text.len() {
            assert_eq!(
                verify(&key(), &text[..length], NOW),
                Err(SessionError::Invalid)
            );
        }
        assert_eq!(
            verify(&Key::new(&[2; 32]), &text, NOW),
            Err(SessionError::Invalid)
        );
        assert_eq!(
            verify(&key(), &"A".repeat(1025), NOW),
            Err(SessionError::Invalid)
        );
    }

    #[test]
    fn a_client_is_its_network_and_its_player() {
        let of = |address: &str, agent: &str| {
            client_key(&key(), address.parse().unwrap(), agent.as_bytes())
        };
        assert_eq!(of("192.0.2.1", "VLC"), of("192.0.2.250", "VLC"));
        assert_eq!(of("192.0.2.1", "VLC"), of("::ffff:192.0.2.9", "VLC"));
        assert_eq!(
            of("2001:db8:1:2::3", "VLC"),
            of("2001:db8:1:ffff::4", "VLC")
        );
        assert_ne!(of("192.0.2.1", "VLC"), of("192.0.3.1", "VLC"));
        assert_ne!(of("192.0.2.1", "VLC"), of("192.0.2.1", "Kodi"));
        assert_ne!(of("2001:db8:1::1", "VLC"), of("2001:db8:2::1", "VLC"));
    }
}
