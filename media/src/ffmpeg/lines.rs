//! What FFmpeg writes for people and for meters, line by line. Bounded; understands nothing of it.

/// Bytes of a line that are kept.
pub const LINE_MAXIMUM: usize = 400;

/// Cuts a stream of bytes into lines, long ones shortened, without control characters.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes and hands each line on that they end.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                if !self.partial.is_empty() {
                    line(printable(&self.partial));
                    self.partial.clear();
                }
            } else if self.partial.len() < LINE_MAXIMUM {
                self.partial.push(byte);
            }
        }
    }
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_bytes_are() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in [&b"one\ntw"[..], b"o\r\n\n", b"thr\x1bee\n", b"rest"] {
            lines.push(piece, |line| found.push(line));
        }
        assert_eq!(found, ["one", "two", "three"]);
    }

    #[test]
    fn a_line_without_end_is_kept_short() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        lines.push(&vec![b'x'; 10 * LINE_MAXIMUM], |line| found.push(line));
        lines.push(b"\n", |line| found.push(line));
        assert_eq!(found, ["x".repeat(LINE_MAXIMUM)]);
    }
}
