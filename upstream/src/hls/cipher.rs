//! Decrypts a segment (AES-128, CBC, PKCS7 padding) as its bytes come. Pure; holds back one block, because the last one is padded.

use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use bytes::{Bytes, BytesMut};

/// Bytes of a key, a block and an initialization vector.
pub(super) const BLOCK: usize = 16;

/// The decryption of one segment.
pub(super) struct Cipher {
    decryptor: cbc::Decryptor<aes::Aes128>,
    /// What is not decrypted yet: at most one block, unless bytes were just added.
    held: BytesMut,
}

/// What was encrypted was no segment, or with another key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPadding;

impl Cipher {
    /// Begins a segment.
    pub(super) fn new(key: [u8; BLOCK], vector: [u8; BLOCK]) -> Self {
        Self {
            decryptor: cbc::Decryptor::new(&key.into(), &vector.into()),
            held: BytesMut::new(),
        }
    }

    /// Takes more of it, and answers what is certain to be no padding.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Bytes {
        self.held.extend_from_slice(bytes);
        let count = self.held.len().saturating_sub(1) / BLOCK * BLOCK;
        self.decrypt(count)
    }

    /// The segment has ended: what is left of it, without its padding.
    pub(super) fn finish(mut self) -> Result<Bytes, BadPadding> {
        if self.held.len() != BLOCK {
            return Err(BadPadding);
        }
        let last = self.decrypt(BLOCK);
        let padding = usize::from(last[BLOCK - 1]);
        let is_padding = |&byte: &u8| usize::from(byte) == padding;
        if !(1..=BLOCK).contains(&padding) || !last[BLOCK - padding..].iter().all(is_padding) {
            return Err(BadPadding);
        }
        Ok(last.slice(..BLOCK - padding))
    }

    fn decrypt(&mut self, count: usize) -> Bytes {
        let mut bytes = self.held.split_to(count);
        let (blocks, _) = aes::Block::slice_as_chunks_mut(&mut bytes);
        self.decryptor.decrypt_blocks(blocks);
        bytes.freeze()
    }
}

/// The initialization vector of a segment that names none: its number.
pub(super) fn vector_of(sequence: u64) -> [u8; BLOCK] {
    u128::from(sequence).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [0x42; 16];
    const VECTOR: [u8; 16] = [0x24; 16];
    /// From the documentation of the crate `cbc`, made by another implementation.
    const PLAIN: &[u8] = b"hello world! this is my plaintext.";
    const ENCRYPTED: &str = "c7fe247ef97b21f07cbdd26cb5d346bfd27867cb00d9486723e159978fb9a5f914cfb228a710de4171e396e7b6cf859e";

    fn encrypted() -> Vec<u8> {
        let digits = ENCRYPTED.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn decrypted(key: [u8; 16], bytes: &[u8], step: usize) -> Result<Vec<u8>, BadPadding> {
        let mut cipher = Cipher::new(key, VECTOR);
        let mut plain = Vec::new();
        for part in bytes.chunks(step) {
            plain.extend(cipher.push(part));
            assert!(cipher.held.len() <= BLOCK);
        }
        plain.extend(cipher.finish()?);
        Ok(plain)
    }

    #[test]
    fn a_segment_is_decrypted_however_its_bytes_come() {
        for step in 1..60 {
            assert_eq!(
                decrypted(KEY, &encrypted(), step).as_deref(),
                Ok(PLAIN),
                "{step}"
            );
        }
    }

    #[test]
    fn what_was_not_encrypted_so_is_told() {
        let bytes = encrypted();
        assert_eq!(decrypted([1; 16], &bytes, 7), Err(BadPadding));
        assert_eq!(decrypted(KEY, &bytes[..40], 7), Err(BadPadding));
        assert_eq!(decrypted(KEY, &[], 7), Err(BadPadding));
    }

    #[test]
    fn the_number_of_a_segment_is_its_vector() {
        let mut expected = [0; 16];
        expected[14..].copy_from_slice(&[1, 2]);
        assert_eq!(vector_of(0x0102), expected);
    }
}
