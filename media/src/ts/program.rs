//! Follows the tables of a transport stream and chooses one programme, one video and one audio track of it.
//! The choice depends on the tables alone, never on which of them happened to come first.

use crate::ts::packet::Packet;
use crate::ts::section::{Section, SectionAssembler};
use crate::ts::tables::{ElementaryStream, NULL_PID, PAT_PID, Pat, Pmt, Program};
use crate::unit::{AudioCodec, VideoCodec};

/// More programmes than any real multiplex has; the rest is ignored.
const MAX_PROGRAMS: usize = 64;

/// How often a programme's map must have come before programmes that are listed but silent are passed over.
const PATIENCE: u8 = 2;

/// ISO 639-2 languages with two codes, terminological and bibliographic.
const SYNONYMS: [(&str, &str); 20] = [
    ("sqi", "alb"),
    ("hye", "arm"),
    ("eus", "baq"),
    ("mya", "bur"),
    ("zho", "chi"),
    ("ces", "cze"),
    ("nld", "dut"),
    ("fra", "fre"),
    ("kat", "geo"),
    ("deu", "ger"),
    ("ell", "gre"),
    ("isl", "ice"),
    ("mkd", "mac"),
    ("mri", "mao"),
    ("msa", "may"),
    ("fas", "per"),
    ("ron", "rum"),
    ("slk", "slo"),
    ("bod", "tib"),
    ("cym", "wel"),
];

/// The chosen programme and its chosen tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Which programme.
    pub program_number: u16,
    /// Where its clock is, if anywhere.
    pub pcr_pid: Option<u16>,
    /// Its first video track.
    pub video: Option<(VideoCodec, ElementaryStream)>,
    /// Its audio track in the preferred language, else its first.
    pub audio: Option<(AudioCodec, ElementaryStream)>,
}

/// What a table packet changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Another programme, track, codec or clock than before.
    Selected(Selection),
    /// The tables are there, and no programme has a track that we know.
    NothingPlayable,
}

/// Follows PAT and PMTs. Bounded: 64 programmes, one unfinished section each.
#[derive(Debug)]
pub struct ProgramFollower {
    language: Option<String>,
    pat: SectionAssembler,
    last_pat: Vec<u8>,
    programs: Vec<Candidate>,
    chosen: Option<Change>,
}

/// A programme of the PAT.
#[derive(Debug)]
struct Candidate {
    program: Program,
    assembler: SectionAssembler,
    last_section: Vec<u8>,
    pmt: Option<Pmt>,
    sightings: u8,
}

impl Candidate {
    fn new(program: Program) -> Self {
        Self {
            program,
            assembler: SectionAssembler::default(),
            last_section: Vec::new(),
            pmt: None,
            sightings: 0,
        }
    }
}

impl ProgramFollower {
    /// Prefers audio in `language` (ISO 639-2) where a programme has several tracks.
    #[must_use]
    pub fn new(language: Option<String>) -> Self {
        Self {
            language,
            pat: SectionAssembler::default(),
            last_pat: Vec::new(),
            programs: Vec::new(),
            chosen: None,
        }
    }

    /// Whether a PID carries a table that is followed.
    #[must_use]
    pub fn is_table(&self, pid: u16) -> bool {
        pid == PAT_PID
            || self
                .programs
                .iter()
                .any(|candidate| candidate.program.pmt_pid == pid)
    }

    /// Whether a PAT has come.
    #[must_use]
    pub fn has_pat(&self) -> bool {
        !self.last_pat.is_empty()
    }

    /// Takes a packet of a table; `Some` when the choice is another than before.
    pub fn push(&mut self, packet: Packet<'_>) -> Option<Change> {
        if packet.has_transport_error() || packet.is_scrambled() {
            return None;
        }
        if packet.pid() == PAT_PID {
            for section in self.pat.push(packet.payload(), packet.starts_unit()) {
                self.take_pat(section);
            }
        } else {
            self.take_pmt_packet(packet);
        }
        let choice = self.choose()?;
        if self.chosen.as_ref() == Some(&choice) {
            return None;
        }
        self.chosen = Some(choice.clone());
        Some(choice)
    }

    /// Forgets unfinished sections, as at a new connection.
    pub fn reset(&mut self) {
        self.pat.reset();
        for candidate in &mut self.programs {
            candidate.assembler.reset();
        }
    }

    fn take_pat(&mut self, bytes: Vec<u8>) {
        if bytes == self.last_pat {
            return;
        }
        let Ok(section) = Section::parse(&bytes) else {
            return;
        };
        // Only multiplexes beyond our limit of programmes need a second section.
        let Some(pat) = Pat::parse(&section).filter(|_| section.number == 0) else {
            return;
        };
        self.last_pat = bytes;
        let mut known = std::mem::take(&mut self.programs);
        self.programs = pat
            .programs
            .into_iter()
            .take(MAX_PROGRAMS)
            .map(|program| {
                let position = known.iter().position(|old| old.program == program);
                position.map_or_else(|| Candidate::new(program), |index| known.swap_remove(index))
            })
            .collect();
    }

    fn take_pmt_packet(&mut self, packet: Packet<'_>) {
        let pid = packet.pid();
        let sharing = self.programs.iter_mut();
        for candidate in sharing.filter(|candidate| candidate.program.pmt_pid == pid) {
            let sections = candidate
                .assembler
                .push(packet.payload(), packet.starts_unit());
            for bytes in sections {
                candidate.take_section(bytes);
            }
        }
    }

    /// The first programme with video, else the first with audio; `None` while a programme before it may still show itself.
    fn choose(&self) -> Option<Change> {
        if self.programs.is_empty() {
            return self.has_pat().then_some(Change::NothingPlayable);
        }
        let patient = !self
            .programs
            .iter()
            .any(|candidate| candidate.sightings >= PATIENCE);
        let mut audio_only = None;
        let mut seen = false;
        for candidate in &self.programs {
            let Some(pmt) = &candidate.pmt else {
                if patient {
                    return None;
                }
                continue;
            };
            seen = true;
            let selection = self.select(pmt);
            if selection.video.is_some() {
                return Some(Change::Selected(selection));
            }
            if selection.audio.is_some() {
                audio_only = audio_only.or(Some(Change::Selected(selection)));
            }
        }
        audio_only.or(seen.then_some(Change::NothingPlayable))
    }

    fn select(&self, pmt: &Pmt) -> Selection {
        let video = pmt
            .streams
            .iter()
            .find_map(|stream| Some((stream.video_codec()?, stream.clone())));
        let mut audio = pmt
            .streams
            .iter()
            .filter_map(|stream| Some((stream.audio_codec()?, stream)));
        let first = audio.clone().next();
        let preferred = audio.find(|(_, stream)| self.is_preferred(stream));
        Selection {
            program_number: pmt.program_number,
            pcr_pid: (pmt.pcr_pid != NULL_PID).then_some(pmt.pcr_pid),
            video,
            audio: preferred
                .or(first)
                .map(|(codec, stream)| (codec, stream.clone())),
        }
    }

    fn is_preferred(&self, stream: &ElementaryStream) -> bool {
        let Some(wanted) = self.language.as_deref() else {
            return false;
        };
        stream
            .language()
            .is_some_and(|language| same_language(&language, wanted))
    }
}

impl Candidate {
    fn take_section(&mut self, bytes: Vec<u8>) {
        if bytes != self.last_section {
            let Ok(section) = Section::parse(&bytes) else {
                return;
            };
            let pmt = Pmt::parse(&section);
            let Some(pmt) = pmt.filter(|pmt| pmt.program_number == self.program.number) else {
                return;
            };
            self.pmt = Some(pmt);
            self.last_section = bytes;
        }
        self.sightings = self.sightings.saturating_add(1);
    }
}

fn same_language(a: &str, b: &str) -> bool {
    fn terminological(code: &str) -> &str {
        SYNONYMS
            .iter()
            .find(|(_, bibliographic)| code.eq_ignore_ascii_case(bibliographic))
            .map_or(code, |(terminological, _)| terminological)
    }
    terminological(a).eq_ignore_ascii_case(terminological(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::section::PACKET_BYTES;
    use crate::ts::tables::Descriptor;

    fn stream(stream_type: u8, pid: u16, language: Option<&str>) -> ElementaryStream {
        ElementaryStream {
            stream_type,
            pid,
            descriptors: language
                .map(|code| Descriptor {
                    tag: 0x0A,
                    data: [code.as_bytes(), &[0]].concat(),
                })
                .into_iter()
                .collect(),
        }
    }

    fn pat(programs: &[(u16, u16)]) -> Section {
        Pat {
            transport_stream_id: 1,
            version: 0,
            programs: programs
                .iter()
                .map(|&(number, pmt_pid)| Program { number, pmt_pid })
                .collect(),
        }
        .section()
    }

    fn pmt(program_number: u16, version: u8, streams: Vec<ElementaryStream>) -> Section {
        Pmt {
            program_number,
            version,
            pcr_pid: 0x1FFF,
            streams,
        }
        .section()
    }

    fn push(follower: &mut ProgramFollower, pid: u16, section: &Section) -> Option<Change> {
        let packets = section.packets(pid, &mut 0);
        let (packets, _) = packets.as_chunks::<PACKET_BYTES>();
        packets
            .iter()
            .filter_map(|packet| follower.push(Packet::new(packet)))
            .last()
    }

    fn selected(change: Option<Change>) -> (u16, Option<u16>, Option<u16>) {
        match change {
            Some(Change::Selected(selection)) => (
                selection.program_number,
                selection.video.map(|(_, stream)| stream.pid),
                selection.audio.map(|(_, stream)| stream.pid),
            ),
            other => panic!("no selection: {other:?}"),
        }
    }

    #[test]
    fn the_first_programme_with_video_wins_whatever_comes_first() {
        let tables = [
            (0x30, pmt(3, 0, vec![stream(0x1B, 0x31, None)])),
            (0x20, pmt(2, 0, vec![stream(0x1B, 0x21, None)])),
            (0x10, pmt(1, 0, vec![stream(0x0F, 0x11, None)])),
        ];
        let mut follower = ProgramFollower::new(None);
        push(
            &mut follower,
            PAT_PID,
            &pat(&[(1, 0x10), (2, 0x20), (3, 0x30)]),
        );
        assert_eq!(push(&mut follower, 0x30, &tables[0].1), None);
        assert_eq!(push(&mut follower, 0x20, &tables[1].1), None);
        let change = push(&mut follower, 0x10, &tables[2].1);
        assert_eq!(selected(change), (2, Some(0x21), None));
    }

    #[test]
    fn a_listed_programme_that_never_comes_is_passed_over() {
        let mut follower = ProgramFollower::new(None);
        push(&mut follower, PAT_PID, &pat(&[(1, 0x10), (2, 0x20)]));
        let table = pmt(2, 0, vec![stream(0x1B, 0x21, None)]);
        assert_eq!(push(&mut follower, 0x20, &table), None);
        assert_eq!(
            selected(push(&mut follower, 0x20, &table)),
            (2, Some(0x21), None)
        );
        assert_eq!(push(&mut follower, 0x20, &table), None);
    }

    #[test]
    fn audio_follows_the_preferred_language_by_either_code() {
        let streams = vec![
            stream(0x1B, 0x21, None),
            stream(0x0F, 0x22, Some("eng")),
            stream(0x0F, 0x23, Some("ger")),
        ];
        for (language, expected) in [(None, 0x22), (Some("deu"), 0x23), (Some("fra"), 0x22)] {
            let mut follower = ProgramFollower::new(language.map(str::to_owned));
            push(&mut follower, PAT_PID, &pat(&[(1, 0x10)]));
            let change = push(&mut follower, 0x10, &pmt(1, 0, streams.clone()));
            assert_eq!(selected(change), (1, Some(0x21), Some(expected)));
        }
    }

    #[test]
    fn a_changed_map_changes_the_choice() {
        let mut follower = ProgramFollower::new(None);
        push(&mut follower, PAT_PID, &pat(&[(1, 0x10)]));
        let first = pmt(1, 0, vec![stream(0x1B, 0x21, None)]);
        assert_eq!(
            selected(push(&mut follower, 0x10, &first)),
            (1, Some(0x21), None)
        );
        let second = pmt(1, 1, vec![stream(0x24, 0x41, None)]);
        assert_eq!(
            selected(push(&mut follower, 0x10, &second)),
            (1, Some(0x41), None)
        );
    }

    #[test]
    fn a_programme_without_known_tracks_is_named() {
        let mut follower = ProgramFollower::new(None);
        push(&mut follower, PAT_PID, &pat(&[(1, 0x10)]));
        let table = pmt(1, 0, vec![stream(0x05, 0x21, None)]);
        assert_eq!(
            push(&mut follower, 0x10, &table),
            Some(Change::NothingPlayable)
        );
    }
}
