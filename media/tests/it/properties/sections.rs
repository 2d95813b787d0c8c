//! Sections and PES packets: what was written is read again, whatever came before it.

use media::ts::packet::Packet;
use media::ts::pes::{Assembly, PesAssembler, PesHeader};
use media::ts::program::ProgramFollower;
use media::ts::section::{PACKET_BYTES, Section, SectionAssembler};
use media::ts::tables::{Pat, Pmt};
use proptest::collection::vec;
use proptest::prelude::*;

use super::one_in;

/// A section has at most this many bytes, and one packet may stand behind it.
const BOUND: usize = 4096 + PACKET_BYTES;

fn section() -> impl Strategy<Value = Section> {
    let body = prop_oneof![3 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 3000..4084)];
    (0..0xFF_u8, any::<u16>(), 0..32_u8, body).prop_map(|(table, extension, version, body)| {
        Section::single(table, extension, version, body)
    })
}

/// A packet that looks like one, with anything in it.
fn packet() -> impl Strategy<Value = [u8; PACKET_BYTES]> {
    (
        vec(any::<u8>(), PACKET_BYTES),
        0..4_u8,
        0..3_u8,
        any::<bool>(),
    )
        .prop_map(|(bytes, control, pid, starts)| {
            let mut packet: [u8; PACKET_BYTES] = bytes.try_into().unwrap();
            packet[0] = 0x47;
            packet[1] = u8::from(starts) << 6;
            packet[2] = pid;
            packet[3] = packet[3] & 0x0F | control << 4;
            packet
        })
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn sections_are_read_as_written_behind_anything(
        noise in vec((vec(any::<u8>(), 0..185), any::<bool>()), 0..12),
        sections in vec(section(), 1..4),
    ) {
        let mut assembler = SectionAssembler::default();
        for (payload, starts) in &noise {
            for section in assembler.push(payload, *starts) {
                prop_assert!(section.len() <= BOUND);
            }
        }
        let mut continuity = 0;
        let mut found = Vec::new();
        for section in &sections {
            for bytes in section.packets(0, &mut continuity).chunks(PACKET_BYTES) {
                let packet = Packet::new(bytes.try_into().unwrap());
                found.extend(assembler.push(packet.payload(), packet.starts_unit()));
            }
        }
        let found: Vec<_> = found.iter().filter_map(|bytes| Section::parse(bytes).ok()).collect();
        prop_assert!(found.ends_with(&sections), "{found:?}");
    }

    #[test]
    fn a_section_with_a_wrong_bit_is_not_believed(section in section(), bit in any::<prop::sample::Index>()) {
        let mut bytes = section.write();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(Section::parse(&bytes), Ok(section));
    }

    #[test]
    fn tables_of_any_content_are_survived(section in section(), bytes in vec(any::<u8>(), 0..600)) {
        let _ = Section::parse(&bytes);
        for table in [Pat::parse(&section).map(|_| ()), Pmt::parse(&section).map(|_| ())] {
            prop_assert!(table.is_none() || section.table_id <= 2);
        }
        for table_id in [0, 2] {
            let section = Section { table_id, ..section.clone() };
            if let Some(pmt) = Pmt::parse(&section) {
                for stream in &pmt.streams {
                    let _ = (stream.video_codec(), stream.audio_codec(), stream.language());
                }
            }
            let _ = Pat::parse(&section);
        }
    }

    #[test]
    fn packets_of_any_content_are_survived(
        packets in vec(packet(), 0..60),
        joins_untimed in any::<bool>(),
        ends_on_stuffing in any::<bool>(),
    ) {
        let limit = 2000;
        let mut assembler = PesAssembler::new(Assembly { limit, joins_untimed, ends_on_stuffing });
        let mut follower = ProgramFollower::new(None);
        for bytes in &packets {
            let packet = Packet::new(bytes);
            let step = assembler.push(packet);
            for pes in step.ended.iter().chain(&step.completed) {
                prop_assert!(pes.payload.len() <= limit && pes.payload.capacity() <= 2 * limit);
            }
            prop_assert!(assembler.progress().len() <= limit);
            follower.push(packet);
        }
    }

    #[test]
    fn a_header_is_read_the_same_once_it_is_whole(bytes in vec(any::<u8>(), 0..300), stream in 0xBD..0xF0_u8) {
        let mut bytes = bytes;
        bytes.splice(0..0, [0, 0, 1, stream]);
        let whole = PesHeader::parse(&bytes);
        for length in 0..bytes.len() {
            let part = PesHeader::parse(&bytes[..length]);
            prop_assert!(part == Ok(None) || part == whole, "{length}: {part:?} {whole:?}");
        }
    }
}
