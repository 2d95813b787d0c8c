//! Tokens as the catalog knows them: a keyed hash, worthless without the server's key.
//! No token and no key is ever printed, and finding a token takes as long whether it is nearly right or not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const SCHEME: &str = "hmac-sha256:";

/// Bytes of a key at least.
pub const KEY_MINIMUM: usize = 32;

/// Bytes of a token at most.
pub const TOKEN_MAXIMUM: usize = 512;

/// Begins what is hashed of a password, so that no token's hash is ever that of a password.
const PASSWORD_DOMAIN: &[u8] = b"headend password\0";

/// The keyed hash of a token, written as `hmac-sha256:<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// The first bytes of a token's keyed hash.
pub type TokenTag = [u8; 8];

impl TokenHash {
    /// A hash from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Enough to tell a user's tokens apart where the whole would be too long. It says nothing of the token.
    #[must_use]
    pub fn tag(&self) -> TokenTag {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    /// Enough to tell one from another.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}…", hex::encode(&self.0[..4]))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(SCHEME).ok_or(TokenHashError)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| TokenHashError)?;
        Ok(Self(bytes))
    }
}

/// A text is no token hash. The text itself is not repeated: somebody may have put the token there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token hash is hmac-sha256: and 64 hexadecimal digits, as headend-admin hash-token prints it"
)]
pub struct TokenHashError;

/// The server's key, with which tokens are hashed.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The file cannot be read.
    #[error("failed to read the token key {path:?}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The key is easily guessed.
    #[error(
        "failed to use the token key: it has {length} bytes, and at least {KEY_MINIMUM} are needed"
    )]
    TooShort {
        /// Its length.
        length: usize,
    },
}

impl TokenKey {
    /// The key of these bytes. A line end after [`KEY_MINIMUM`] bytes or more is no part of it, so that text files may have one.
    ///
    /// # Errors
    /// When there are too few.
    pub fn new(bytes: &[u8]) -> Result<Self, TokenKeyError> {
        let length = bytes.len();
        let trimmed = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
        let key = if trimmed.len() >= KEY_MINIMUM {
            trimmed
        } else {
            bytes
        };
        if length < KEY_MINIMUM {
            return Err(TokenKeyError::TooShort { length });
        }
        let mac = Hmac::new_from_slice(key).map_err(|_| TokenKeyError::TooShort { length })?;
        Ok(Self(mac))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// When the file cannot be read or holds too few bytes.
    pub fn read(path: &Path) -> Result<Self, TokenKeyError> {
        let bytes = std::fs::read(path).map_err(|error| TokenKeyError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::new(&bytes)
    }

    /// The keyed hash of a token.
    #[must_use]
    pub fn hash(&self, token: &[u8]) -> TokenHash {
        let mut mac = self.0.clone();
        mac.update(token);
        TokenHash(mac.finalize().into_bytes().into())
    }

    /// The keyed hash of a user's password. It is bound to the user's id: equal passwords are not seen to be equal.
    #[must_use]
    pub fn hash_password(&self, user_id: &str, password: &[u8]) -> TokenHash {
        let mut mac = self.0.clone();
        mac.update(PASSWORD_DOMAIN);
        mac.update(&(user_id.len() as u64).to_be_bytes());
        mac.update(user_id.as_bytes());
        mac.update(password);
        TokenHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac_sha_256_under_the_key() {
        // RFC 4231, test case 3: 20 bytes 0xaa are too few for us, so case 6 with its long key.
        let key = TokenKey::new(&[0xaa; 131]).unwrap();
        let hash = key.hash(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hash.to_string(),
            "hmac-sha256:60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn other_keys_and_other_tokens_give_other_hashes() {
        let key = TokenKey::new(&[1; 32]).unwrap();
        let other = TokenKey::new(&[2; 32]).unwrap();
        assert!(key.hash(b"token").matches(&key.hash(b"token")));
        assert!(!key.hash(b"token").matches(&key.hash(b"tokeN")));
        assert!(!key.hash(b"token").matches(&other.hash(b"token")));
    }

    #[test]
    fn a_password_s_hash_is_the_user_s_own_and_no_token_s() {
        let key = TokenKey::new(&[1; 32]).unwrap();
        let hash = key.hash_password("alice", b"hunter2");
        assert!(hash.matches(&key.hash_password("alice", b"hunter2")));
        for other in [
            key.hash_password("bob", b"hunter2"),
            key.hash_password("aliceh", b"unter2"),
            key.hash_password("alice", b"hunter3"),
            key.hash(b"hunter2"),
        ] {
            assert!(!hash.matches(&other));
        }
    }

    #[test]
    fn a_hash_is_printed_in_part_and_written_in_full() {
        let hash = TokenHash::from_bytes([0xab; 32]);
        assert_eq!(format!("{hash:?}"), "hmac-sha256:abababab…");
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(text, format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<TokenHash>(&text).unwrap(), hash);
        let error = serde_json::from_str::<TokenHash>("\"secret\"").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_line_end_is_no_part_of_a_key_in_text() {
        let text = TokenKey::new(&[b"k".repeat(32), b"\r\n".to_vec()].concat()).unwrap();
        let plain = TokenKey::new(&b"k".repeat(32)).unwrap();
        assert_eq!(text.hash(b"token"), plain.hash(b"token"));
        let binary = [b"k".repeat(31), b"\n".to_vec()].concat();
        assert!(TokenKey::new(&binary).is_ok());
    }

    #[test]
    fn short_keys_and_other_texts_are_refused_without_repeating_them() {
        let error = TokenKey::new(b"short\n").unwrap_err().to_string();
        assert!(
            error.contains("6 bytes") && !error.contains("short\n"),
            "{error}"
        );
        for text in ["", "secret", "hmac-sha256:12", "sha256:00", &"0".repeat(64)] {
            assert_eq!(text.parse::<TokenHash>(), Err(TokenHashError));
        }
        let missing = TokenKey::read(Path::new("/nonexistent/key")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/key"));
    }
}
