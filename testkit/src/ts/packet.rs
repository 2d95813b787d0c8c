//! One 188-byte transport packet. Reads what a checker needs; never resynchronises.

/// Bytes of one transport packet.
pub(crate) const PACKET_SIZE: usize = 188;

/// Ticks of the 27 MHz system clock per tick of the 90 kHz clock.
pub(crate) const CLOCK_RATIO: u64 = 300;

/// Ticks of the 27 MHz system clock per second.
pub(crate) const CLOCK_RATE: u64 = 27_000_000;

/// One parsed transport packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) pid: u16,
    pub(crate) unit_start: bool,
    pub(crate) continuity: u8,
    pub(crate) has_payload: bool,
    pub(crate) discontinuity: bool,
    pub(crate) random_access: bool,
    /// The clock reference in 27 MHz ticks.
    pub(crate) pcr: Option<u64>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses 188 bytes; `None` when they are no valid packet.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() != PACKET_SIZE || bytes[0] != 0x47 || bytes[1] & 0x80 != 0 {
            return None;
        }
        let has_payload = bytes[3] & 0x10 != 0;
        let mut packet = Packet {
            pid: u16::from(bytes[1] & 0x1f) << 8 | u16::from(bytes[2]),
            unit_start: bytes[1] & 0x40 != 0,
            continuity: bytes[3] & 0x0f,
            has_payload,
            discontinuity: false,
            random_access: false,
            pcr: None,
            payload: &[],
        };
        let mut start = 4;
        if bytes[3] & 0x20 != 0 {
            let length = usize::from(bytes[4]);
            let field = bytes.get(5..5 + length)?;
            start = 5 + length;
            if let Some(flags) = field.first() {
                packet.discontinuity = flags & 0x80 != 0;
                packet.random_access = flags & 0x40 != 0;
                if flags & 0x10 != 0 {
                    packet.pcr = Some(read_pcr(field.get(1..7)?));
                }
            }
        }
        if has_payload {
            packet.payload = &bytes[start..];
        }
        Some(packet)
    }
}

/// Reads the six bytes of a clock reference.
fn read_pcr(bytes: &[u8]) -> u64 {
    let base = u64::from(bytes[0]) << 25
        | u64::from(bytes[1]) << 17
        | u64::from(bytes[2]) << 9
        | u64::from(bytes[3]) << 1
        | u64::from(bytes[4]) >> 7;
    let extension = u64::from(bytes[4] & 1) << 8 | u64::from(bytes[5]);
    base * CLOCK_RATIO + extension
}

/// Writes a clock reference, given in 27 MHz ticks, into six bytes.
pub(crate) fn write_pcr(bytes: &mut [u8], clock: u64) {
    let base = (clock / CLOCK_RATIO) & 0x1_ffff_ffff;
    let extension = clock % CLOCK_RATIO;
    bytes[0] = (base >> 25) as u8;
    bytes[1] = (base >> 17) as u8;
    bytes[2] = (base >> 9) as u8;
    bytes[3] = (base >> 1) as u8;
    bytes[4] = ((base & 1) << 7) as u8 | 0x7e | (extension >> 8) as u8;
    bytes[5] = extension as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reference_survives_writing_and_reading() {
        for clock in [0, 299, 300, 27_000_001, ((1 << 33) - 1) * 300 + 299] {
            let mut bytes = [0; 6];
            write_pcr(&mut bytes, clock);
            assert_eq!(read_pcr(&bytes), clock);
        }
    }

    #[test]
    fn bytes_without_the_sync_byte_are_no_packet() {
        assert_eq!(Packet::parse(&[0; PACKET_SIZE]), None);
        assert_eq!(Packet::parse(&[0x47; 100]), None);
    }

    #[test]
    fn an_adaptation_field_longer_than_the_packet_is_refused() {
        let mut bytes = [0xff; PACKET_SIZE];
        bytes[..5].copy_from_slice(&[0x47, 0x01, 0x00, 0x30, 200]);
        assert_eq!(Packet::parse(&bytes), None);
    }
}
