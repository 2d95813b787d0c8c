//! A playlist in the forms in which it is sent, made once for all who ask for it: as it is, and compressed. Each form has a tag of its own
//! (RFC 9110 section 8.8.3), which is the same on every replica.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Bytes of the hash that are in a tag.
const TAG_BYTES: usize = 12;

/// One form of a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What is sent.
    pub body: Bytes,
    /// Its strong entity tag.
    pub tag: HeaderValue,
}

/// A playlist in all its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// As it is.
    pub plain: Form,
    /// By gzip, where that is shorter.
    pub gzip: Option<Form>,
}

impl Rendered {
    /// All forms of a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let hash = Sha256::digest(&text);
        let hash = hex::encode(&hash[..TAG_BYTES]);
        let tag = |tag: String| HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static(""));
        let gzip = gzip(text.as_bytes()).filter(|gzip| gzip.len() < text.len());
        Self {
            gzip: gzip.map(|gzip| Form {
                body: gzip.into(),
                tag: tag(format!("\"{hash}-gzip\"")),
            }),
            plain: Form {
                body: text.into(),
                tag: tag(format!("\"{hash}\"")),
            },
        }
    }
}

/// Without the time and the system's name, so that every replica has the same bytes.
fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn both_forms_say_the_same_under_different_tags() {
        let text = "#EXTM3U\n#EXTINF:2.0,\n/seg/one\n#EXTINF:2.0,\n/seg/two\n".repeat(5);
        let rendered = Rendered::new(text.clone());
        let gzip = rendered.gzip.clone().unwrap();
        let mut read = String::new();
        GzDecoder::new(&gzip.body[..])
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!((read.as_bytes(), &read), (&rendered.plain.body[..], &text));
        assert_ne!(rendered.plain.tag, gzip.tag);
        assert_eq!(Rendered::new(text.clone()), rendered, "on every replica");
        let other = Rendered::new(text.replace("two", "six"));
        assert_ne!(other.plain.tag, rendered.plain.tag);
    }

    #[test]
    fn what_does_not_get_shorter_is_not_compressed() {
        assert_eq!(Rendered::new("#EXTM3U\n".to_owned()).gzip, None);
    }
}
