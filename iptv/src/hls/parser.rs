//! Reads a playlist line by line. What is optional and broken is left out; what is needed and broken is an error.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::attributes::attributes;
use super::{
    AudioRendition, BYTES_MAXIMUM, ByteRange, ENTRIES_MAXIMUM, Encryption, Map, MasterPlaylist,
    MediaPlaylist, Playlist, PlaylistError, Segment, Variant,
};

/// No segment lasts longer; a longer one is a mistake, or meant to be one.
const LONGEST_SEGMENT: f64 = 3600.0;

/// Reads a playlist.
///
/// # Errors
/// [`PlaylistError`] says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Playlist, PlaylistError> {
    if bytes.len() > BYTES_MAXIMUM {
        return Err(PlaylistError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PlaylistError::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.starts_with("#EXTM3U") {
        return Err(PlaylistError::NotPlaylist);
    }
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader
            .line(line.trim())
            .map_err(|problem| PlaylistError::Line {
                number: index + 1,
                problem,
            })?;
        if reader.entries() > ENTRIES_MAXIMUM {
            return Err(PlaylistError::TooManyEntries);
        }
    }
    reader.finish()
}

/// What is read so far.
#[derive(Default)]
struct Reader {
    master: MasterPlaylist,
    variant: Option<Variant>,
    target_duration: Option<u64>,
    media_sequence: u64,
    ended: bool,
    segments: Vec<Segment>,
    /// Of the segment that follows.
    duration: Option<Duration>,
    range: Option<(u64, Option<u64>)>,
    discontinuity: bool,
    gap: bool,
    /// Of all segments that follow.
    encryption: Option<Encryption>,
    map: Option<Arc<Map>>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let Some(tag) = line.strip_prefix("#EXT") else {
            if line.is_empty() || line.starts_with('#') {
                return Ok(());
            }
            return self.uri(line);
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "INF" => self.duration = Some(duration(value)?),
            "-X-TARGETDURATION" => self.target_duration = Some(whole(value)?),
            "-X-MEDIA-SEQUENCE" => self.media_sequence = whole(value)?,
            "-X-BYTERANGE" => self.range = Some(range(value)?),
            "-X-DISCONTINUITY" => self.discontinuity = true,
            "-X-GAP" => self.gap = true,
            "-X-ENDLIST" => self.ended = true,
            "-X-KEY" => self.encryption = Some(encryption(value)?),
            "-X-MAP" => self.map = Some(Arc::new(self.map(value)?)),
            "-X-STREAM-INF" => self.variant = Some(variant(value)),
            "-X-MEDIA" => self.master.audio.extend(audio(value)),
            _ => {}
        }
        Ok(())
    }

    fn entries(&self) -> usize {
        let master = &self.master;
        self.segments.len() + master.variants.len() + master.audio.len()
    }

    fn uri(&mut self, uri: &str) -> Result<(), &'static str> {
        let uri = uri.to_owned();
        if let Some(variant) = self.variant.take() {
            self.master.variants.push(Variant { uri, ..variant });
            return Ok(());
        }
        let Some(duration) = self.duration.take() else {
            return Err("names a segment without a duration");
        };
        let range = match self.range.take() {
            None => None,
            Some((length, offset)) => {
                let offset = offset.or_else(|| self.end_of_last(&uri));
                let offset = offset.ok_or("names a part of a resource without its offset")?;
                Some(part(length, offset)?)
            }
        };
        self.segments.push(Segment {
            range,
            uri,
            duration,
            encryption: self.encryption.clone().unwrap_or(Encryption::None),
            map: self.map.clone(),
            discontinuity: std::mem::take(&mut self.discontinuity),
            gap: std::mem::take(&mut self.gap),
        });
        Ok(())
    }

    /// A range without an offset begins where that of the segment before ended, in the same resource.
    fn end_of_last(&self, uri: &str) -> Option<u64> {
        let before = self.segments.last().filter(|before| before.uri == uri)?;
        before.range.map(|range| range.offset + range.length)
    }

    /// What holds for segments holds for the section before them: it is encrypted as they are.
    fn map(&self, value: &str) -> Result<Map, &'static str> {
        let (mut uri, mut range) = (None, None);
        for (name, value) in attributes(value) {
            match name {
                "URI" => uri = Some(value.to_owned()),
                "BYTERANGE" => range = Some(self::range(value)?),
                _ => {}
            }
        }
        let range = range.map(|(length, offset)| part(length, offset.unwrap_or(0)));
        Ok(Map {
            uri: uri.ok_or("names no initialization section")?,
            range: range.transpose()?,
            encryption: self.encryption.clone().unwrap_or(Encryption::None),
        })
    }

    fn finish(self) -> Result<Playlist, PlaylistError> {
        if !self.master.variants.is_empty() {
            return Ok(Playlist::Master(self.master));
        }
        let longest = self.segments.iter().map(|segment| segment.duration).max();
        let rounded = |longest: Duration| longest.as_secs_f64().round().max(1.0);
        // Required, and yet not in every list that is played.
        let target = match (self.target_duration, longest) {
            (Some(seconds), _) => Duration::from_secs(seconds),
            (None, Some(longest)) => Duration::from_secs_f64(rounded(longest)),
            (None, None) => return Err(PlaylistError::NotHls),
        };
        Ok(Playlist::Media(MediaPlaylist {
            target_duration: target,
            media_sequence: self.media_sequence,
            ended: self.ended,
            segments: self.segments,
        }))
    }
}

fn whole(value: &str) -> Result<u64, &'static str> {
    // Some lists write a fraction where none may be.
    let digits = value.trim().split('.').next().unwrap_or_default();
    let number = u64::from_str(digits).map_err(|_| "has no whole number")?;
    // Leaves room for as many more as there may be segments.
    Ok(number.min(u64::MAX >> 1))
}

fn duration(value: &str) -> Result<Duration, &'static str> {
    let text = value.split(',').next().unwrap_or_default().trim();
    let seconds = f64::from_str(text).map_err(|_| "has no duration")?;
    if (0.0..=LONGEST_SEGMENT).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("has a duration that no segment has")
    }
}

fn range(value: &str) -> Result<(u64, Option<u64>), &'static str> {
    let (length, offset) = match value.trim().split_once('@') {
        Some((length, offset)) => (length, Some(whole(offset)?)),
        None => (value, None),
    };
    Ok((whole(length)?, offset))
}

fn part(length: u64, offset: u64) -> Result<ByteRange, &'static str> {
    let fits = length > 0 && offset.checked_add(length).is_some();
    fits.then_some(ByteRange { offset, length })
        .ok_or("names a part of a resource that cannot be")
}

fn encryption(value: &str) -> Result<Encryption, &'static str> {
    let (mut method, mut uri, mut iv, mut format) = ("", None, None, "identity");
    for (name, value) in attributes(value) {
        match name {
            "METHOD" => method = value,
            "URI" => uri = Some(Arc::from(value)),
            "IV" => iv = Some(vector(value)?),
            "KEYFORMAT" => format = value,
            _ => {}
        }
    }
    match (method, uri) {
        ("NONE", _) => Ok(Encryption::None),
        ("AES-128", Some(uri)) if format == "identity" => Ok(Encryption::Aes128 { uri, iv }),
        ("AES-128", None) => Err("names no key"),
        (method, _) => Ok(Encryption::Other(printable(method))),
    }
}

/// A hexadecimal number of 128 bits, as it is written behind `0x`.
fn vector(value: &str) -> Result<[u8; 16], &'static str> {
    let digits = value.strip_prefix("0x").or(value.strip_prefix("0X"));
    // A number may have a sign, digits may not.
    let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    number
        .map(u128::to_be_bytes)
        .ok_or("has an initialization vector that is none")
}

fn printable(name: &str) -> String {
    let safe = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    name.chars().filter(safe).take(32).collect()
}

fn variant(value: &str) -> Variant {
    let mut variant = Variant::default();
    for (name, value) in attributes(value) {
        match name {
            "BANDWIDTH" => variant.bandwidth = value.parse().unwrap_or(0),
            "RESOLUTION" => variant.height = height(value),
            "CODECS" => variant.codecs = Some(value.to_owned()),
            "AUDIO" => variant.audio_group = Some(value.to_owned()),
            _ => {}
        }
    }
    variant
}

fn height(value: &str) -> Option<u32> {
    value.split_once(['x', 'X'])?.1.parse().ok()
}

fn audio(value: &str) -> Option<AudioRendition> {
    let (mut is_audio, mut group) = (false, None);
    let mut rendition = AudioRendition::default();
    for (name, value) in attributes(value) {
        match name {
            "TYPE" => is_audio = value == "AUDIO",
            "GROUP-ID" => group = Some(value.to_owned()),
            "URI" => rendition.uri = Some(value.to_owned()),
            "LANGUAGE" => rendition.language = Some(value.to_owned()),
            "DEFAULT" => rendition.is_default = value == "YES",
            _ => {}
        }
    }
    rendition.group = group.filter(|_| is_audio)?;
    Some(rendition)
}

#[cfg(test)]
mod tests;
