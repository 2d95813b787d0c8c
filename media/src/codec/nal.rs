//! Start codes and NAL units of H.264 and HEVC (start codes also of MPEG-2), found in a picture that is still growing.
//! Looks only at what stands before the first slice; the bulk of a picture is never scanned.

/// The most bytes before the first slice: captions and user data are far smaller.
const MAX_PREFIX: usize = 256 * 1024;

/// Bytes of a unit that must be there before the header of a slice is read.
const SLICE_PREFIX: usize = 48;

/// Walks the start codes of one picture while its bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct StartCodes {
    /// Where the unit begins whose end is being looked for, after its start code.
    unit: Option<usize>,
    /// Nothing before this needs to be looked at again.
    searched: usize,
}

/// What a walk found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A unit between two start codes, or to the end of the picture.
    Whole(&'a [u8]),
    /// A unit of which enough has arrived to read the header of a slice, but whose end has not been looked for.
    Head(&'a [u8]),
    /// More bytes are needed.
    Pending,
    /// There is no further unit worth looking at.
    Exhausted,
}

impl StartCodes {
    /// The next unit. `is_slice` tells from a unit's first byte whether its head is enough; `ended` says that the picture will not grow.
    pub(crate) fn next<'a>(
        &mut self,
        picture: &'a [u8],
        ended: bool,
        is_slice: fn(u8) -> bool,
    ) -> Found<'a> {
        loop {
            let Some(start) = self.unit else {
                match self.find(picture) {
                    Some(code) => {
                        self.unit = Some(code + 3);
                        self.searched = code + 3;
                        continue;
                    }
                    None => return self.starved(ended),
                }
            };
            if picture.get(start).copied().is_some_and(is_slice) {
                let head = &picture[start..];
                if head.len() < SLICE_PREFIX && !ended {
                    return Found::Pending;
                }
                self.unit = None;
                return Found::Head(head);
            }
            return match self.find(picture) {
                Some(code) => {
                    self.unit = Some(code + 3);
                    self.searched = code + 3;
                    Found::Whole(&picture[start..code])
                }
                None if ended && start < picture.len() => {
                    self.unit = None;
                    self.searched = picture.len();
                    Found::Whole(&picture[start..])
                }
                None => self.starved(ended),
            };
        }
    }

    fn find(&mut self, picture: &[u8]) -> Option<usize> {
        let found = find_start_code(picture, self.searched);
        if found.is_none() {
            self.searched = self.searched.max(picture.len().saturating_sub(2));
        }
        found
    }

    fn starved<'a>(&self, ended: bool) -> Found<'a> {
        if ended || self.searched > MAX_PREFIX {
            Found::Exhausted
        } else {
            Found::Pending
        }
    }
}

/// Where the next 00 00 01 stands at or after `from`; steps over what cannot be part of one.
fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut position = from + 2;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            0 => position += 1,
            1 if bytes[position - 1] == 0 && bytes[position - 2] == 0 => return Some(position - 2),
            _ => position += 3,
        }
    }
    None
}

/// The unit without its emulation prevention bytes, at most `limit` bytes of it.
pub(crate) fn unescape(unit: &[u8], limit: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len().min(limit));
    let mut zeros = 0;
    for &byte in unit {
        if plain.len() == limit {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

/// One supplemental enhancement message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SeiMessage<'a> {
    pub(crate) kind: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of an SEI unit, without its header and emulation prevention bytes; ends at the first that does not fit.
pub(crate) fn sei_messages(mut body: &[u8]) -> Vec<SeiMessage<'_>> {
    let mut messages = Vec::new();
    while body.len() > 2 {
        let Some((kind, rest)) = sei_number(body) else {
            break;
        };
        let Some((size, rest)) = sei_number(rest) else {
            break;
        };
        let Some((payload, rest)) = rest.split_at_checked(size as usize) else {
            break;
        };
        messages.push(SeiMessage { kind, payload });
        body = rest;
    }
    messages
}

fn sei_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let full = bytes.iter().take_while(|&&byte| byte == 0xFF).count();
    let (&last, rest) = bytes.get(full..)?.split_first()?;
    Some((u32::try_from(full).ok()? * 255 + u32::from(last), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_slice(first: u8) -> bool {
        first == 0x65
    }

    fn picture() -> Vec<u8> {
        let mut bytes = vec![
            0, 0, 0, 1, 0x09, 0xF0, 0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 1, 0x65,
        ];
        bytes.extend([0xAA; 100]);
        bytes
    }

    #[test]
    fn units_are_found_up_to_the_first_slice() {
        let picture = picture();
        let mut codes = StartCodes::default();
        assert_eq!(
            codes.next(&picture, false, is_slice),
            Found::Whole(&[0x09, 0xF0, 0])
        );
        assert_eq!(
            codes.next(&picture, false, is_slice),
            Found::Whole(&[0x67, 1, 2, 3])
        );
        assert_eq!(
            codes.next(&picture, false, is_slice),
            Found::Head(&picture[17..])
        );
    }

    #[test]
    fn a_growing_picture_gives_the_same_units_byte_by_byte() {
        let picture = picture();
        let mut codes = StartCodes::default();
        let mut units = Vec::new();
        for end in 0..picture.len() {
            loop {
                match codes.next(&picture[..end], false, is_slice) {
                    Found::Whole(unit) => units.push(unit.to_vec()),
                    Found::Head(_) => {
                        assert_eq!(end, 17 + SLICE_PREFIX);
                        assert_eq!(units, [vec![0x09, 0xF0, 0], vec![0x67, 1, 2, 3]]);
                        return;
                    }
                    Found::Pending => break,
                    Found::Exhausted => unreachable!(),
                }
            }
        }
        unreachable!("the slice was not found");
    }

    #[test]
    fn the_last_unit_of_an_ended_picture_is_whole() {
        let mut codes = StartCodes::default();
        let picture = [0, 0, 1, 0x06, 5, 6];
        assert_eq!(codes.next(&picture, false, is_slice), Found::Pending);
        assert_eq!(
            codes.next(&picture, true, is_slice),
            Found::Whole(&[0x06, 5, 6])
        );
        assert_eq!(codes.next(&picture, true, is_slice), Found::Exhausted);
    }

    #[test]
    fn a_picture_without_slices_is_given_up() {
        let picture = vec![0x55; MAX_PREFIX + 100];
        assert_eq!(
            StartCodes::default().next(&picture, false, is_slice),
            Found::Exhausted
        );
    }

    #[test]
    fn emulation_prevention_is_undone_up_to_the_limit() {
        assert_eq!(
            unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 100),
            [1, 0, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(unescape(&[1; 50], 7), [1; 7]);
    }

    #[test]
    fn sei_messages_end_at_the_first_that_does_not_fit() {
        let mut body = vec![0xFF, 0x01, 2, 8, 9, 6, 1, 0xC4, 5, 200, 0x80];
        assert_eq!(
            sei_messages(&body),
            [
                SeiMessage {
                    kind: 256,
                    payload: &[8, 9]
                },
                SeiMessage {
                    kind: 6,
                    payload: &[0xC4]
                }
            ]
        );
        body.clear();
        assert_eq!(sei_messages(&body), []);
    }
}
