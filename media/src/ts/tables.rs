//! Programme association and programme map tables, read and written. One-section tables only; never chooses a programme or a track.

use crate::ts::section::Section;
use crate::unit::{AudioCodec, VideoCodec};

/// The PID of the programme association table.
pub const PAT_PID: u16 = 0x0000;

/// Stuffing packets.
pub const NULL_PID: u16 = 0x1FFF;

/// Table id of the programme association table.
pub const PAT_TABLE: u8 = 0x00;

/// Table id of a programme map table.
pub const PMT_TABLE: u8 = 0x02;

const REGISTRATION: u8 = 0x05;
const ISO_639_LANGUAGE: u8 = 0x0A;
const DVB_AC3: u8 = 0x6A;
const DVB_EAC3: u8 = 0x7A;

/// The programme association table: which programmes there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pat {
    /// Id of the transport stream.
    pub transport_stream_id: u16,
    /// Version, 5 bits.
    pub version: u8,
    /// The programmes, in the order of the table; programme 0 (the network information table) is left out.
    pub programs: Vec<Program>,
}

/// One programme of a PAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Programme number.
    pub number: u16,
    /// The PID its PMT is on.
    pub pmt_pid: u16,
}

impl Pat {
    /// Reads a PAT; `None` when the section is another table or not yet in force.
    #[must_use]
    pub fn parse(section: &Section) -> Option<Self> {
        if section.table_id != PAT_TABLE || !section.current {
            return None;
        }
        let programs = section
            .body
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&[number_high, number_low, pid_high, pid_low]| Program {
                number: u16::from_be_bytes([number_high, number_low]),
                pmt_pid: u16::from_be_bytes([pid_high & 0x1F, pid_low]),
            })
            .filter(|program| program.number != 0)
            .collect();
        Some(Self {
            transport_stream_id: section.extension,
            version: section.version,
            programs,
        })
    }

    /// The table as a section.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut body = Vec::with_capacity(self.programs.len() * 4);
        for program in &self.programs {
            body.extend(program.number.to_be_bytes());
            body.extend((program.pmt_pid | 0xE000).to_be_bytes());
        }
        Section::single(PAT_TABLE, self.transport_stream_id, self.version, body)
    }
}

/// A programme map table: which elementary streams a programme has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pmt {
    /// The programme it describes.
    pub program_number: u16,
    /// Version, 5 bits.
    pub version: u8,
    /// The PID that carries the programme's clock; 0x1FFF when there is none.
    pub pcr_pid: u16,
    /// The elementary streams, in the order of the table.
    pub streams: Vec<ElementaryStream>,
}

/// One elementary stream of a PMT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementaryStream {
    /// ISO/IEC 13818-1 stream type.
    pub stream_type: u8,
    /// The PID it is on.
    pub pid: u16,
    /// Its descriptors, unparsed.
    pub descriptors: Vec<Descriptor>,
}

/// One descriptor of a PMT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What it describes.
    pub tag: u8,
    /// Its bytes after tag and length.
    pub data: Vec<u8>,
}

impl Pmt {
    /// Reads a PMT; `None` when the section is another table, not yet in force, or its lengths do not fit.
    #[must_use]
    pub fn parse(section: &Section) -> Option<Self> {
        if section.table_id != PMT_TABLE || !section.current {
            return None;
        }
        let &[pcr_high, pcr_low, info_high, info_low, ref rest @ ..] = section.body.as_slice()
        else {
            return None;
        };
        let mut rest = rest.get(length_12(info_high, info_low)..)?;
        let mut streams = Vec::new();
        while let &[
            stream_type,
            pid_high,
            pid_low,
            info_high,
            info_low,
            ref tail @ ..,
        ] = rest
        {
            let (descriptors, next) = tail.split_at_checked(length_12(info_high, info_low))?;
            streams.push(ElementaryStream {
                stream_type,
                pid: u16::from_be_bytes([pid_high & 0x1F, pid_low]),
                descriptors: parse_descriptors(descriptors),
            });
            rest = next;
        }
        Some(Self {
            program_number: section.extension,
            version: section.version,
            pcr_pid: u16::from_be_bytes([pcr_high & 0x1F, pcr_low]),
            streams,
        })
    }

    /// The table as a section.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut body = Vec::new();
        body.extend((self.pcr_pid | 0xE000).to_be_bytes());
        body.extend([0xF0, 0x00]);
        for stream in &self.streams {
            let mut info = Vec::new();
            for descriptor in &stream.descriptors {
                let data = &descriptor.data[..descriptor.data.len().min(255)];
                info.push(descriptor.tag);
                info.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
                info.extend_from_slice(data);
            }
            info.truncate(0x3FF);
            body.push(stream.stream_type);
            body.extend((stream.pid | 0xE000).to_be_bytes());
            body.extend((u16::try_from(info.len()).unwrap_or(0) | 0xF000).to_be_bytes());
            body.extend(info);
        }
        Section::single(PMT_TABLE, self.program_number, self.version, body)
    }
}

impl ElementaryStream {
    /// The video format, if this is video.
    #[must_use]
    pub fn video_codec(&self) -> Option<VideoCodec> {
        match self.stream_type {
            0x01 | 0x02 => Some(VideoCodec::Mpeg2),
            0x1B => Some(VideoCodec::H264),
            0x24 => Some(VideoCodec::Hevc),
            // MPEG-4 part 2, JPEG 2000, VVC, AVS, VC-1
            other @ (0x10 | 0x21 | 0x33 | 0x42 | 0xD2 | 0xEA) => Some(VideoCodec::Other(other)),
            0x06 if self.is_registered(b"HEVC") => Some(VideoCodec::Hevc),
            _ => None,
        }
    }

    /// The audio format, if this is audio.
    #[must_use]
    pub fn audio_codec(&self) -> Option<AudioCodec> {
        match self.stream_type {
            0x03 | 0x04 => Some(AudioCodec::Mpeg),
            0x0F => Some(AudioCodec::Aac),
            0x11 => Some(AudioCodec::AacLatm),
            0x81 => Some(AudioCodec::Ac3),
            0x84 | 0x87 => Some(AudioCodec::Eac3),
            // DTS and TrueHD; 0x86 is DTS-HD on discs only, on air it carries SCTE 35 cues
            other @ (0x82 | 0x83 | 0x85 | 0x8A) => Some(AudioCodec::Other(other)),
            0x06 => self.private_audio_codec(),
            _ => None,
        }
    }

    /// ISO 639 language of the stream, lower case, if the table names one.
    #[must_use]
    pub fn language(&self) -> Option<String> {
        let data = &self.descriptor(ISO_639_LANGUAGE)?.data;
        let code = data.first_chunk::<3>()?.to_ascii_lowercase();
        code.iter()
            .all(u8::is_ascii_lowercase)
            .then(|| code.iter().map(|&letter| char::from(letter)).collect())
    }

    fn private_audio_codec(&self) -> Option<AudioCodec> {
        if self.descriptor(DVB_AC3).is_some() || self.is_registered(b"AC-3") {
            Some(AudioCodec::Ac3)
        } else if self.descriptor(DVB_EAC3).is_some() || self.is_registered(b"EAC3") {
            Some(AudioCodec::Eac3)
        } else {
            None
        }
    }

    fn is_registered(&self, format: &[u8; 4]) -> bool {
        self.descriptor(REGISTRATION)
            .is_some_and(|descriptor| descriptor.data.starts_with(format))
    }

    fn descriptor(&self, tag: u8) -> Option<&Descriptor> {
        self.descriptors
            .iter()
            .find(|descriptor| descriptor.tag == tag)
    }
}

fn length_12(high: u8, low: u8) -> usize {
    usize::from(high & 0x0F) << 8 | usize::from(low)
}

/// Descriptors up to the first that does not fit: the rest of a broken list is not worth the programme.
fn parse_descriptors(mut bytes: &[u8]) -> Vec<Descriptor> {
    let mut descriptors = Vec::new();
    while let &[tag, length, ref tail @ ..] = bytes {
        let Some((data, next)) = tail.split_at_checked(usize::from(length)) else {
            break;
        };
        descriptors.push(Descriptor {
            tag,
            data: data.to_vec(),
        });
        bytes = next;
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stream_type: u8, descriptors: &[(u8, &[u8])]) -> ElementaryStream {
        ElementaryStream {
            stream_type,
            pid: 0x101,
            descriptors: descriptors
                .iter()
                .map(|&(tag, data)| Descriptor {
                    tag,
                    data: data.to_vec(),
                })
                .collect(),
        }
    }

    #[test]
    fn tables_read_back_as_they_were_written() {
        let pat = Pat {
            transport_stream_id: 5,
            version: 3,
            programs: vec![
                Program {
                    number: 1,
                    pmt_pid: 0x1000,
                },
                Program {
                    number: 2,
                    pmt_pid: 0x1FFE,
                },
            ],
        };
        assert_eq!(Pat::parse(&pat.section()), Some(pat));
        let pmt = Pmt {
            program_number: 1,
            version: 2,
            pcr_pid: 0x100,
            streams: vec![
                stream(0x1B, &[]),
                stream(0x06, &[(0x6A, &[1]), (0x0A, b"deu\0")]),
            ],
        };
        assert_eq!(Pmt::parse(&pmt.section()), Some(pmt));
    }

    #[test]
    fn the_network_programme_and_tables_of_the_future_are_left_out() {
        let mut section = Section::single(PAT_TABLE, 1, 0, vec![0, 0, 0xE0, 0x10]);
        assert_eq!(
            Pat::parse(&section).map(|pat| pat.programs),
            Some(Vec::new())
        );
        section.current = false;
        assert_eq!(Pat::parse(&section), None);
        assert_eq!(Pmt::parse(&section), None);
    }

    #[test]
    fn a_map_whose_lengths_run_over_its_end_is_refused() {
        let broken = |body: &[u8]| Pmt::parse(&Section::single(PMT_TABLE, 1, 0, body.to_vec()));
        assert_eq!(broken(&[0xE1, 0x00, 0xF0]), None);
        assert_eq!(broken(&[0xE1, 0x00, 0xF0, 0x09, 1]), None);
        assert_eq!(
            broken(&[0xE1, 0x00, 0xF0, 0x00, 0x1B, 0xE1, 0x00, 0xF0, 0x01]),
            None
        );
    }

    #[test]
    fn stream_types_and_descriptors_name_the_codec() {
        let cases = [
            (stream(0x02, &[]), Some(VideoCodec::Mpeg2), None),
            (stream(0x1B, &[]), Some(VideoCodec::H264), None),
            (stream(0x24, &[]), Some(VideoCodec::Hevc), None),
            (stream(0xEA, &[]), Some(VideoCodec::Other(0xEA)), None),
            (stream(0x03, &[]), None, Some(AudioCodec::Mpeg)),
            (stream(0x0F, &[]), None, Some(AudioCodec::Aac)),
            (stream(0x11, &[]), None, Some(AudioCodec::AacLatm)),
            (stream(0x81, &[]), None, Some(AudioCodec::Ac3)),
            (stream(0x82, &[]), None, Some(AudioCodec::Other(0x82))),
            (stream(0x06, &[(0x6A, &[])]), None, Some(AudioCodec::Ac3)),
            (stream(0x06, &[(0x7A, &[])]), None, Some(AudioCodec::Eac3)),
            (
                stream(0x06, &[(0x05, b"AC-3")]),
                None,
                Some(AudioCodec::Ac3),
            ),
            (stream(0x06, &[(0x59, &[])]), None, None),
            (stream(0x86, &[]), None, None),
            (stream(0x05, &[]), None, None),
        ];
        for (stream, video, audio) in cases {
            assert_eq!(
                (stream.video_codec(), stream.audio_codec()),
                (video, audio),
                "{stream:?}"
            );
        }
    }

    #[test]
    fn a_language_is_three_letters_or_unknown() {
        assert_eq!(
            stream(0x0F, &[(0x0A, b"ENG\x01")]).language().as_deref(),
            Some("eng")
        );
        assert_eq!(stream(0x0F, &[(0x0A, b"\0\0\0\0")]).language(), None);
        assert_eq!(stream(0x0F, &[(0x0A, b"de")]).language(), None);
        assert_eq!(stream(0x0F, &[]).language(), None);
    }
}
