//! Signs the jobs of pods that wait. The private key is here and nowhere else: pods have its other half.

use std::path::Path;
use std::time::Duration;

use api::assignment::{Assignment, Claims};
use api::job::TranscodeJob;
use k8s_openapi::jiff::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};

/// How long a job may be taken: far longer than giving it takes, since clocks of nodes differ.
const VALID: Duration = Duration::from_secs(300);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("failed to read the key of jobs at {path}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("failed to use the key of jobs at {path}: it has {found} bytes and needs 32")]
    Length { path: String, found: usize },
    #[error("failed to use the key of jobs at {path}")]
    Unusable { path: String },
}

/// The operator's key.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    /// From a file of 32 random bytes.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let seed = std::fs::read(path).map_err(|source| KeyError::Read {
            path: shown(),
            source,
        })?;
        if seed.len() != 32 {
            return Err(KeyError::Length {
                path: shown(),
                found: seed.len(),
            });
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&seed);
        let key = key.map_err(|_| KeyError::Unusable { path: shown() })?;
        Ok(Self { key })
    }

    /// The other half, in hexadecimal digits.
    pub(crate) fn public_key(&self) -> String {
        hex::encode(self.key.public_key().as_ref())
    }

    /// A job for this pod and no other, for a while.
    pub(crate) fn assign(
        &self,
        pod_uid: &str,
        job: &TranscodeJob,
        now: Timestamp,
    ) -> Result<Assignment, serde_json::Error> {
        let document = serde_json::to_string(job)?;
        let valid = i64::try_from(VALID.as_secs()).unwrap_or(0);
        let expires_unix_seconds = now.as_second().saturating_add(valid);
        let claims = Claims {
            pod_uid,
            stream_uid: &job.stream.uid,
            attempt: job.attempt,
            document_hash: Sha256::digest(&document).into(),
            expires_unix_seconds,
        };
        let signature = self.key.sign(&claims.signed_bytes());
        Ok(Assignment {
            document,
            expires_unix_seconds,
            signature: hex::encode(signature.as_ref()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_and_anything_else_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            Signer::read(file.path()).map(|signer| signer.public_key())
        };
        // RFC 8032, section 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(said(&hex::decode(seed).unwrap()).unwrap(), public);
        let refused = said(b"short").unwrap_err().to_string();
        assert!(refused.contains("5 bytes and needs 32"), "{refused}");
    }
}
