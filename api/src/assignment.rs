//! How a pod that waits is given its job: `POST /v1/pods/<pod uid>/job` on control HTTP, signed by the operator. Types and the bytes that are
//! signed; keys and signatures are made and checked elsewhere.
//!
//! | answer | when |
//! |---|---|
//! | 204 | the pod runs this attempt of this stream from now on, or did so before: asking again changes nothing |
//! | 403 | the signature is not the operator's for this pod, or its time is over |
//! | 409 | the pod runs another attempt or stream, and takes no other in its life |
//! | 421 | another pod is at that address |
//! | 422 | the job cannot be run |

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/pods/<pod uid>/job`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The job document ([`crate::job::TranscodeJob`]), byte for byte as it is signed.
    pub document: String,
    /// Until when it may be taken, Unix seconds.
    pub expires_unix_seconds: i64,
    /// Ed25519 (RFC 8032) over [`Claims::signed_bytes`], in hexadecimal digits.
    pub signature: String,
}

/// What the operator signs: this pod, and no other, is to run this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Uid of the pod.
    pub pod_uid: &'a str,
    /// Uid of the LiveStream.
    pub stream_uid: &'a str,
    /// The attempt.
    pub attempt: i32,
    /// SHA-256 of the document.
    pub document_hash: [u8; 32],
    /// [`Assignment::expires_unix_seconds`].
    pub expires_unix_seconds: i64,
}

impl Claims<'_> {
    /// One way to write it, and no two claims that are written alike: texts have their length before them.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"headend job 1\n".to_vec();
        for text in [self.pod_uid, self.stream_uid] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&self.document_hash);
        bytes.extend_from_slice(&self.expires_unix_seconds.to_be_bytes());
        bytes
    }
}

/// The path at which a pod takes its job.
#[must_use]
pub fn job_path(pod_uid: &str) -> String {
    format!("/v1/pods/{pod_uid}/job")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_can_be_changed_without_changing_what_is_signed() {
        let claims = Claims {
            pod_uid: "pod",
            stream_uid: "stream",
            attempt: 3,
            document_hash: [7; 32],
            expires_unix_seconds: 1_772_359_200,
        };
        let others = [
            Claims {
                pod_uid: "pods",
                stream_uid: "tream",
                ..claims
            },
            Claims {
                stream_uid: "other",
                ..claims
            },
            Claims {
                attempt: 4,
                ..claims
            },
            Claims {
                document_hash: [8; 32],
                ..claims
            },
            Claims {
                expires_unix_seconds: 0,
                ..claims
            },
        ];
        for other in others {
            assert_ne!(other.signed_bytes(), claims.signed_bytes(), "{other:?}");
        }
    }
}
