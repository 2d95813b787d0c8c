//! Finds whole transport packets in a byte stream and finds them again after garbage.
//! Holds back less than three packets; never copies what lies whole in one chunk.

use bytes::{Buf, Bytes};

use crate::ts::packet::SYNC_BYTE;
use crate::ts::section::PACKET_BYTES;

/// Sync bytes that must stand one packet apart before we believe in them.
const CONFIRMATIONS: usize = 3;

/// Splits chunks of any size into runs of whole packets.
#[derive(Debug, Default)]
pub struct Framer {
    carry: Vec<u8>,
    synced: bool,
    skipped_bytes: u64,
    sync_losses: u64,
}

impl Framer {
    /// Takes the next bytes; every returned run is a whole number of packets, each with its sync byte.
    pub fn push(&mut self, chunk: &Bytes) -> Vec<Bytes> {
        let mut runs = Vec::new();
        let mut rest = chunk.clone();
        if !self.carry.is_empty() {
            rest = self.join_carry(rest, &mut runs);
        }
        while !rest.is_empty() {
            if !self.synced && !self.find_sync(&mut rest) {
                self.carry = rest.to_vec();
                break;
            }
            let run = synced_packets(&rest) * PACKET_BYTES;
            if run > 0 {
                runs.push(rest.split_to(run));
            }
            match rest.first() {
                Some(&SYNC_BYTE) => {
                    self.carry = rest.to_vec();
                    break;
                }
                Some(_) => {
                    self.synced = false;
                    self.sync_losses += 1;
                }
                None => break,
            }
        }
        runs
    }

    /// Forgets an unfinished packet, as at a new connection.
    pub fn reset(&mut self) {
        self.carry.clear();
        self.synced = false;
    }

    /// Whether packets are being found.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Bytes that belonged to no packet.
    #[must_use]
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// How often packets were found and then no longer.
    #[must_use]
    pub fn sync_losses(&self) -> u64 {
        self.sync_losses
    }

    /// Bytes held back for the next chunk.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.carry.len()
    }

    /// Puts the bytes held back before the new ones; in sync only one packet is copied for that.
    fn join_carry(&mut self, mut rest: Bytes, runs: &mut Vec<Bytes>) -> Bytes {
        if !self.synced {
            let mut joined = std::mem::take(&mut self.carry);
            joined.extend_from_slice(&rest);
            return Bytes::from(joined);
        }
        let missing = PACKET_BYTES
            .saturating_sub(self.carry.len())
            .min(rest.len());
        self.carry.extend_from_slice(&rest[..missing]);
        rest.advance(missing);
        if self.carry.len() == PACKET_BYTES {
            runs.push(Bytes::from(std::mem::take(&mut self.carry)));
        }
        rest
    }

    /// Advances to the first believable packet; `false` when there is none yet, with what may still become one left in `rest`.
    fn find_sync(&mut self, rest: &mut Bytes) -> bool {
        let start = first_candidate(rest);
        self.skipped_bytes += start as u64;
        rest.advance(start);
        self.synced = rest.len() > (CONFIRMATIONS - 1) * PACKET_BYTES;
        self.synced
    }
}

/// The first position where every sync byte that is there already is right.
fn first_candidate(bytes: &[u8]) -> usize {
    (0..bytes.len())
        .find(|&start| {
            bytes[start..]
                .iter()
                .step_by(PACKET_BYTES)
                .take(CONFIRMATIONS)
                .all(|&byte| byte == SYNC_BYTE)
        })
        .unwrap_or(bytes.len())
}

/// How many whole packets stand at the start of these bytes.
fn synced_packets(bytes: &[u8]) -> usize {
    bytes
        .as_chunks::<PACKET_BYTES>()
        .0
        .iter()
        .take_while(|packet| packet[0] == SYNC_BYTE)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: usize) -> Vec<u8> {
        (0..count)
            .flat_map(|index| {
                let mut packet = [u8::try_from(index % 64).unwrap(); PACKET_BYTES];
                packet[0] = SYNC_BYTE;
                packet
            })
            .collect()
    }

    fn framed(framer: &mut Framer, bytes: &[u8], chunk: usize) -> Vec<u8> {
        bytes
            .chunks(chunk)
            .flat_map(|chunk| framer.push(&Bytes::copy_from_slice(chunk)))
            .flatten()
            .collect()
    }

    #[test]
    fn chunks_of_any_size_give_the_same_packets() {
        let stream = packets(9);
        for chunk in [1, 7, 187, 188, 189, 564, 1316, 4000] {
            let mut framer = Framer::default();
            assert_eq!(framed(&mut framer, &stream, chunk), stream, "chunk {chunk}");
            assert_eq!(framer.skipped_bytes(), 0);
        }
    }

    #[test]
    fn garbage_before_and_between_packets_is_skipped_and_counted() {
        let mut stream = b"GGGarbage G".to_vec();
        stream.extend(packets(5));
        stream.extend([0x11; 100]);
        stream.extend(packets(6));
        let mut expected = packets(5);
        expected.extend(packets(6));
        for chunk in [1, 100, 188, 5000] {
            let mut framer = Framer::default();
            assert_eq!(
                framed(&mut framer, &stream, chunk),
                expected,
                "chunk {chunk}"
            );
            assert_eq!(framer.skipped_bytes(), 111);
            assert_eq!(framer.sync_losses(), 1);
        }
    }

    #[test]
    fn whole_packets_of_a_chunk_are_not_copied() {
        let chunk = Bytes::from(packets(8));
        let runs = Framer::default().push(&chunk);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn endless_garbage_is_not_kept() {
        let mut framer = Framer::default();
        for _ in 0..200 {
            assert!(
                framer
                    .push(&Bytes::from(vec![SYNC_BYTE - 1; 1000]))
                    .is_empty()
            );
        }
        assert!(framer.carry.len() < CONFIRMATIONS * PACKET_BYTES);
        assert_eq!(framer.skipped_bytes(), 200_000);
        assert!(!framer.is_synced());
    }
}
