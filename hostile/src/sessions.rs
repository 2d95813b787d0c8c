//! What stands in URLs where only a gateway can have written it: of sessions and keys of segments none is accepted but as it was minted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::keys::{Key, Keys};
use gateway::session::{SESSION_SECONDS, Session, SessionError, mint, verify};

use crate::choice;

/// When sessions are looked at, Unix seconds.
const NOW: u64 = 1_790_000_000;

/// Seconds for each step of a session's age: some of 256 are too many.
const STEP: u64 = 600;

/// Bytes of a user and a channel, so that a session is no longer than a URL has room for.
const NAMES: usize = 200;

/// Bytes of a signature behind a session.
const SIGNATURE: usize = 16;

/// What is signed as a session.
const DOMAIN: &[u8] = b"session";

/// A session's text; the first two bytes say how old one made of the same bytes is, and where it is touched.
pub(crate) fn session(bytes: &[u8]) {
    let keys = [1, 2].map(|byte| Key::new(&[byte; 32]));
    let (age, bytes) = choice(bytes);
    let (place, bytes) = choice(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        canonical(&keys[0], text);
    }
    // Whatever may have been signed once, by another version for one.
    canonical(&keys[0], &signed(&keys[0], bytes));
    let age = age as u64 * STEP;
    let session = of(&bytes[..bytes.len().min(NAMES)], place, NOW - age);
    let text = mint(&keys[0], &session);
    let said = verify(&keys[0], &text, NOW).map(|verified| verified.session);
    let expected = match age > SESSION_SECONDS {
        true => Err(SessionError::Expired),
        false => Ok(session),
    };
    assert_eq!(said, expected);
    let minted = URL_SAFE_NO_PAD.decode(&text).unwrap_or_default();
    let (payload, _) = minted.split_at(minted.len() - SIGNATURE);
    assert_eq!(signed(&keys[0], payload), text, "signed another way");
    for touched in touched(&text, place) {
        let said = verify(&keys[0], &touched, NOW);
        assert_eq!(said, Err(SessionError::Invalid), "{text} as {touched}");
    }
    assert_eq!(verify(&keys[1], &text, NOW), Err(SessionError::Invalid));
}

/// What is accepted is what would be minted.
fn canonical(key: &Key, text: &str) {
    if let Ok(verified) = verify(key, text, NOW) {
        assert_eq!(mint(key, &verified.session), text);
    }
}

fn signed(key: &Key, payload: &[u8]) -> String {
    let signature = key.sign(&[DOMAIN, payload]);
    URL_SAFE_NO_PAD.encode([payload, &signature].concat())
}

fn of(names: &[u8], place: usize, issued_at: u64) -> Session {
    let (user, channel) = names.split_at(place.min(names.len()));
    Session {
        user: String::from_utf8_lossy(user).into_owned(),
        channel: String::from_utf8_lossy(channel).into_owned(),
        client: *b"client--",
        token: *b"token---",
        issued_at,
    }
}

/// A text as somebody else may have it: another character, cut, longer, padded. It is made of ASCII.
fn touched(text: &str, place: usize) -> [String; 4] {
    let at = place * text.len() / 256;
    let (before, after) = text.split_at(at);
    let other = if after.starts_with('A') { 'B' } else { 'A' };
    [
        format!("{before}{other}{}", &after[1..]),
        before.to_owned(),
        format!("{text}{other}"),
        format!("{text}="),
    ]
}

/// `uid/key/rendition/name`, as in a segment's URL; the first byte says where the right key is touched.
pub(crate) fn segment_key(bytes: &[u8]) {
    let (place, bytes) = choice(bytes);
    let keys = Keys {
        session: Key::new(&[1; 32]),
        segment: Key::new(&[2; 32]),
    };
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '/');
    let [uid, key, rendition, name] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let right = keys.segment_key(uid, rendition, name);
    assert!(keys.is_segment_key(&right, uid, rendition, name));
    assert_eq!(keys.is_segment_key(key, uid, rendition, name), key == right);
    for touched in touched(&right, place) {
        assert!(!keys.is_segment_key(&touched, uid, rendition, name));
    }
    // What is signed of another segment, though its parts read the same one after the other.
    let mut characters = rendition.chars();
    if let Some(first) = characters.next() {
        let (uid, rendition) = (format!("{uid}{first}"), characters.as_str());
        assert!(!keys.is_segment_key(&right, &uid, rendition, name));
    }
}
