//! What a source changes in mid-stream without ending its connections: its tables, the places of its tracks, a track that stops.
//! Pure: packets in, packets out; never touches timestamps or payloads of a track.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::carousel::{AUDIO, PAT, PMT, VIDEO};
use super::faults::Faults;
use super::settings::Mute;
use crate::ts::packet::{PACKET_SIZE, Packet};
use crate::ts::tables::{ProgrammeMap, parse_pmt, pat_section, pmt_section, section_packet};

/// How far tracks, map and clock move.
const DISTANCE: u16 = 0x20;

/// The version of changed tables; those before have version 0.
const VERSION: u8 = 1;

/// How the tables of a channel change from one moment to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tables {
    /// A new version that says the same.
    Renewed,
    /// The map and all tracks are on other PIDs.
    Moved,
    /// The audio alone is on another PID.
    AudioMoved,
    /// The audio is announced no more, and does not come.
    WithoutAudio,
}

/// How far one client's stream has followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// What its tables say so far.
    pub(crate) tables: Option<Tables>,
    /// The track that is left out so far.
    pub(crate) mute: Option<Mute>,
}

/// The packets as they are sent by a source that has changed so. A track stops and starts with a key picture, so that no sound by
/// which sync is measured is cut in two; tracks move where the tables say so, so that nobody looks for them in vain.
pub(crate) fn turned(chunk: Bytes, faults: &Faults, holds: &mut Holds) -> Bytes {
    let Holds { tables, mute } = holds;
    if (faults.tables, faults.mute, *tables, *mute) == (None, None, None, None) {
        return chunk;
    }
    let mut out = BytesMut::with_capacity(chunk.len());
    for packet in chunk.chunks(PACKET_SIZE) {
        let parsed = Packet::parse(packet);
        if parsed.is_some_and(|parsed| parsed.pid == VIDEO && parsed.random_access) {
            *mute = faults.mute;
        }
        if parsed.is_some_and(|parsed| parsed.pid == PAT) {
            *tables = faults.tables;
        }
        match parsed {
            Some(parsed) if is_left_out(parsed.pid, *tables, *mute) => {}
            Some(parsed) => out.extend_from_slice(&changed(packet, parsed, *tables)),
            None => out.extend_from_slice(packet),
        }
    }
    out.freeze()
}

fn is_left_out(pid: u16, tables: Option<Tables>, mute: Option<Mute>) -> bool {
    match mute {
        Some(Mute::Audio) if pid == AUDIO => true,
        Some(Mute::Video) if pid == VIDEO => true,
        _ => pid == AUDIO && tables == Some(Tables::WithoutAudio),
    }
}

fn changed(packet: &[u8], parsed: Packet, tables: Option<Tables>) -> Vec<u8> {
    let Some(tables) = tables else {
        return packet.to_vec();
    };
    let mut bytes = match parsed.pid {
        PAT => section_packet(PAT, &pat_section(moved(PMT, tables), VERSION)).to_vec(),
        PMT => match parse_pmt(parsed.payload) {
            Some(map) => {
                let section = pmt_section(&changed_map(map, tables), VERSION);
                section_packet(moved(PMT, tables), &section).to_vec()
            }
            None => packet.to_vec(),
        },
        pid => {
            let mut bytes = packet.to_vec();
            let [high, low] = moved(pid, tables).to_be_bytes();
            bytes[1] = bytes[1] & 0xe0 | high;
            bytes[2] = low;
            bytes
        }
    };
    bytes[3] = bytes[3] & 0xf0 | parsed.continuity;
    bytes
}

fn changed_map(mut map: ProgrammeMap, tables: Tables) -> ProgrammeMap {
    map.pcr_pid = moved(map.pcr_pid, tables);
    if tables == Tables::WithoutAudio {
        map.streams.retain(|stream| stream.pid != AUDIO);
    }
    for stream in &mut map.streams {
        stream.pid = moved(stream.pid, tables);
    }
    map
}

fn moved(pid: u16, tables: Tables) -> u16 {
    match tables {
        Tables::Moved => pid + DISTANCE,
        Tables::AudioMoved if pid == AUDIO => pid + DISTANCE,
        Tables::Renewed | Tables::AudioMoved | Tables::WithoutAudio => pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test_media::carousel;
    use crate::ts::demux::{Demuxed, demux};

    fn sent(faults: &Faults) -> Demuxed {
        let carousel = carousel(|_| {});
        let mut cursor = carousel.cursor(0);
        let mut out = BytesMut::new();
        carousel.render(&mut cursor, 27_000_000, 90_000, &mut out);
        let mut holds = Holds {
            tables: faults.tables,
            mute: faults.mute,
        };
        demux(&turned(out.freeze(), faults, &mut holds))
    }

    fn tables(tables: Tables) -> Demuxed {
        sent(&Faults {
            tables: Some(tables),
            ..Faults::default()
        })
    }

    fn announced(demuxed: &Demuxed) -> Vec<u16> {
        let map = demuxed.map.as_ref().unwrap();
        map.streams.iter().map(|stream| stream.pid).collect()
    }

    fn sizes(demuxed: &Demuxed) -> Vec<(u16, usize)> {
        let sizes = demuxed.pes.iter().map(|(pid, pes)| (*pid, pes.len()));
        sizes.collect()
    }

    #[test]
    fn tracks_move_with_their_tables_and_lose_nothing() {
        let plain = sent(&Faults::default());
        for (change, pids) in [
            (Tables::Renewed, [VIDEO, AUDIO]),
            (Tables::AudioMoved, [VIDEO, AUDIO + DISTANCE]),
            (Tables::Moved, [VIDEO + DISTANCE, AUDIO + DISTANCE]),
        ] {
            let changed = tables(change);
            assert_eq!(announced(&changed), pids, "{change:?}");
            let moved = pids.iter().zip(plain.pes.values());
            let moved = moved.map(|(pid, pes)| (*pid, pes.len()));
            assert_eq!(sizes(&changed), moved.collect::<Vec<_>>(), "{change:?}");
            assert_eq!(changed.clocks.len(), plain.clocks.len());
            assert_eq!(changed.broken, 0);
        }
    }

    #[test]
    fn audio_stops_with_or_without_being_announced() {
        let hidden = tables(Tables::WithoutAudio);
        assert_eq!(announced(&hidden), [VIDEO]);
        let silent = sent(&Faults {
            mute: Some(Mute::Audio),
            ..Faults::default()
        });
        assert_eq!(announced(&silent), [VIDEO, AUDIO]);
        for demuxed in [hidden, silent] {
            assert_eq!(sizes(&demuxed).len(), 1);
            assert!(demuxed.pes.contains_key(&VIDEO));
        }
    }
}
