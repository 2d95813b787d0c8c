//! The secret keys of a gateway: read from mounted files or generated, and used only to sign and check. No form of a key is printed.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Bytes that a key has at least.
pub const KEY_MINIMUM: usize = 32;

/// Bytes that a key file has at most.
const FILE_MAXIMUM: u64 = 4096;

/// Bytes of a signature: HMAC-SHA256, truncated to 128 bits.
pub const SIGNATURE_LENGTH: usize = 16;

/// A signature.
pub type Signature = [u8; SIGNATURE_LENGTH];

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("failed to read the key {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is too short or too long.
    #[error(
        "failed to use the key {path:?}: it has {length} bytes; a key has {KEY_MINIMUM} to {FILE_MAXIMUM}, raw or in base64"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        length: u64,
    },
    /// The system gives no random bytes.
    #[error("failed to generate a key: {0}")]
    Random(getrandom::Error),
}

/// One key, ready to sign.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

impl Key {
    /// A key of these bytes; [`read_key`] sees to it that there are enough.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"))
    }

    /// Signs the parts in their order; no two lists of parts are signed alike.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Signature {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        let mut signature = [0; SIGNATURE_LENGTH];
        signature.copy_from_slice(&full[..SIGNATURE_LENGTH]);
        signature
    }

    /// Whether the signature is that of the parts, in constant time.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.sign(parts).ct_eq(signature).into()
    }
}

/// The keys with which a gateway mints URLs. All replicas have the same.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs sessions.
    pub session: Key,
    /// Signs segment URLs.
    pub segment: Key,
}

impl Keys {
    /// Reads `session` and `segment` from a directory (a mounted Secret).
    ///
    /// # Errors
    /// When a file cannot be read or is too short.
    pub fn read(directory: &Path) -> Result<Self, KeysError> {
        let key = |name: &str| read_key(&directory.join(name)).map(|bytes| Key::new(&bytes));
        Ok(Self {
            session: key("session")?,
            segment: key("segment")?,
        })
    }

    /// Keys that live as long as this process, for a gateway without replicas.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, KeysError> {
        Ok(Self {
            session: Key::new(&random()?),
            segment: Key::new(&random()?),
        })
    }

    /// The key in a segment's URL: equal for all viewers and replicas, and not to be guessed without a playlist.
    #[must_use]
    pub fn segment_key(&self, stream_uid: &str, rendition: &str, name: &str) -> String {
        let parts = [stream_uid.as_bytes(), rendition.as_bytes(), name.as_bytes()];
        URL_SAFE_NO_PAD.encode(self.segment.sign(&parts))
    }

    /// Whether that is the key of the segment.
    #[must_use]
    pub fn is_segment_key(&self, key: &str, stream_uid: &str, rendition: &str, name: &str) -> bool {
        let parts = [stream_uid.as_bytes(), rendition.as_bytes(), name.as_bytes()];
        let mut signature = [0; SIGNATURE_LENGTH];
        // Exactly this many characters: a longer text would not fit, another one would have other bits.
        URL_SAFE_NO_PAD.decode_slice(key, &mut signature) == Ok(SIGNATURE_LENGTH)
            && self.segment.verifies(&parts, &signature)
    }
}

/// Reads a key file: base64 of at least 32 bytes, else the bytes as they are.
///
/// # Errors
/// When the file cannot be read, is too short or too long.
pub fn read_key(path: &Path) -> Result<Vec<u8>, KeysError> {
    let refused = |source| KeysError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(refused)?.len();
    let wrong = |length| KeysError::Length {
        path: path.to_owned(),
        length,
    };
    if length > FILE_MAXIMUM {
        return Err(wrong(length));
    }
    let key = decode_key(std::fs::read(path).map_err(refused)?);
    if key.len() < KEY_MINIMUM {
        return Err(wrong(key.len() as u64));
    }
    Ok(key)
}

fn decode_key(raw: Vec<u8>) -> Vec<u8> {
    match STANDARD.decode(raw.trim_ascii()) {
        Ok(decoded) if decoded.len() >= KEY_MINIMUM => decoded,
        _ => raw,
    }
}

fn random() -> Result<[u8; KEY_MINIMUM], KeysError> {
    let mut bytes = [0; KEY_MINIMUM];
    getrandom::fill(&mut bytes).map_err(KeysError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";

    fn keys(byte: u8) -> Keys {
        Keys {
            session: Key::new(&[byte; 32]),
            segment: Key::new(&[byte; 32]),
        }
    }

    #[test]
    fn a_segment_key_fits_one_segment_of_one_stream_in_one_rendition() {
        let (ours, theirs) = (keys(1), keys(2));
        let key = ours.segment_key(UID, "720p", "3-17.ts");
        assert_eq!(key.len(), 22);
        assert_eq!(key, keys(1).segment_key(UID, "720p", "3-17.ts"));
        assert!(ours.is_segment_key(&key, UID, "720p", "3-17.ts"));
        for (uid, rendition, name) in [
            ("another", "720p", "3-17.ts"),
            (UID, "480p", "3-17.ts"),
            (UID, "720p", "3-18.ts"),
        ] {
            assert!(!ours.is_segment_key(&key, uid, rendition, name));
        }
        assert!(!theirs.is_segment_key(&key, UID, "720p", "3-17.ts"));
    }

    #[test]
    fn what_is_no_segment_key_is_refused() {
        let keys = keys(1);
        let key = keys.segment_key(UID, "720p", "3-17.ts");
        let longer = format!("{key}AA");
        let padded = format!("{key}==");
        for bad in [
            "",
            "A",
            &key[..21],
            &longer,
            &padded,
            "ä",
            "../../../../../etc/passwd",
        ] {
            assert!(!keys.is_segment_key(bad, UID, "720p", "3-17.ts"), "{bad}");
        }
    }

    #[test]
    fn moving_a_letter_from_one_part_to_the_next_changes_the_signature() {
        let key = Key::new(&[1; 32]);
        assert_ne!(key.sign(&[b"ab", b"c"]), key.sign(&[b"a", b"bc"]));
        assert_ne!(key.sign(&[b"ab"]), key.sign(&[b"ab", b""]));
    }

    #[test]
    fn a_key_file_is_base64_or_raw_and_long_enough() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        std::fs::write(&path, format!("{}\n", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!(read_key(&path).unwrap(), [7; 32]);
        std::fs::write(&path, [0xff; 40]).unwrap();
        assert_eq!(read_key(&path).unwrap(), [0xff; 40]);
        std::fs::write(&path, "short").unwrap();
        let message = read_key(&path).unwrap_err().to_string();
        assert!(
            message.contains("session") && message.contains("5 bytes"),
            "{message}"
        );
        std::fs::write(&path, vec![7; 5000]).unwrap();
        assert!(matches!(
            read_key(&path),
            Err(KeysError::Length { length: 5000, .. })
        ));
        assert!(matches!(
            Keys::read(directory.path()),
            Err(KeysError::Length { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            Keys::read(directory.path()),
            Err(KeysError::Read { .. })
        ));
    }

    #[test]
    fn a_key_never_prints_itself() {
        assert_eq!(format!("{:?}", Key::new(&[65; 32])), "Key(…)");
    }
}
