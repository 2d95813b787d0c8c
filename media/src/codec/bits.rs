//! Reads bits, most significant first. Every read past the end is `None`; nothing allocates.

/// The most leading zeros of an Exp-Golomb code that fits 32 bits.
const MAX_LEADING_ZEROS: u32 = 31;

/// A position in a bit string.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bits (at most 32) as a number.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.bit()?);
        }
        u32::try_from(value).ok()
    }

    /// The next 8 bits or fewer as a byte.
    pub(crate) fn byte(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.bits(count)?).ok()
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.position = self.position.checked_add(count)?;
        (self.position <= self.bytes.len() * 8).then_some(())
    }

    /// Unsigned Exp-Golomb code, `ue(v)`.
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > MAX_LEADING_ZEROS {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        ((1_u32 << zeros) - 1).checked_add(rest)
    }

    /// Signed Exp-Golomb code, `se(v)`.
    pub(crate) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }

    fn bit(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_exp_golomb_codes_are_read_in_order() {
        // 101 | 1 | 010 | 00111 | 00100 | 0000000
        let bytes = [0b1011_0100, 0b0111_0010, 0b0000_0000];
        let mut reader = BitReader::new(&bytes);
        assert_eq!(reader.bits(3), Some(5));
        assert_eq!(reader.unsigned(), Some(0));
        assert_eq!(reader.unsigned(), Some(1));
        assert_eq!(reader.unsigned(), Some(6));
        assert_eq!(reader.signed(), Some(2));
        assert_eq!(reader.unsigned(), None);
    }

    #[test]
    fn signed_codes_alternate() {
        // 010 011 00100 00101
        let bytes = [0b0100_1100, 0b1000_0101];
        let mut reader = BitReader::new(&bytes);
        let values: Vec<_> = (0..4).map(|_| reader.signed()).collect();
        assert_eq!(values, [Some(1), Some(-1), Some(2), Some(-2)]);
    }

    #[test]
    fn a_code_of_endless_zeros_is_refused() {
        assert_eq!(BitReader::new(&[0; 16]).unsigned(), None);
        assert_eq!(BitReader::new(&[0; 2]).skip(17), None);
        assert_eq!(BitReader::new(&[0xFF; 4]).bits(32), Some(u32::MAX));
    }
}
